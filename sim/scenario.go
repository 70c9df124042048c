package sim

import (
	"time"

	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
)

// Scenario is one kind of bad world: how often each fault strikes, and which traps are laid.
// The zero value of a field means never.
type Scenario struct {
	Name  string
	About string

	Shape
	Load    Load
	Network NetworkFaults
	Disk    DiskFaults
	Clients ClientFaults
	Process ProcessFaults
	Links   LinkFaults
	Traps   []Trap
	Script  Script
	Limits  Limits
}

// Script is a sequence of events that is written by hand, where chance would not find it.
type Script struct {
	Act  func(w *World)    // called when the faults begin
	Play func() *Violation // instead of a whole world: parts of it, driven by hand
}

// Shape is the cluster of a scenario.
type Shape struct {
	Nodes, Partitions int
	HashPartitions    int // of a second keyspace, 0 = none
	ClockPPM          int64
	QuorumReads       bool
	LoopsMin          int // of a process: each start draws its own number, up to LoopsMax; 0 = one
	LoopsMax          int
	Params            func(*replication.Params) // nil: the defaults
	Node              func(*node.Config)
	Duration          time.Duration // of the faults, unless the caller says otherwise
}

// DiskTroubles strike one disk. Intervals are means.
type DiskTroubles struct {
	Stall    time.Duration // it does nothing for a while
	StallMax time.Duration
	SyncFail time.Duration // the next sync of the log fails, which ends the process
	Full     time.Duration // it is full for a while
}

// ProcessFaults strike whole processes. Intervals are means.
type ProcessFaults struct {
	Crash     time.Duration // one machine loses what it had not synced
	CrashAll  time.Duration // all at once
	DownMax   time.Duration // until it comes back; most come back much sooner
	Pause     time.Duration // half of them hit a leader
	LoopStall time.Duration // of one loop of a process, while all else goes on
	PauseMax  time.Duration
	DiskTroubles
	Engine   EngineTroubles
	Flush    time.Duration // of an engine, beside those that the node asks for
	Transfer time.Duration // of a leadership to a random voter
	Move     time.Duration // of a replica to another node
	WallJump time.Duration // of a wall clock, to anywhere within an hour
}

// LinkFaults strike pairs of nodes, or all pairs of one node.
type LinkFaults struct {
	Cut    time.Duration // one pair or a whole node; one direction or both; all, or all but heartbeats
	CutMax time.Duration
	Slow   time.Duration
	SlowBy time.Duration
}

// Limits are what must hold in a scenario, beside what must hold always.
type Limits struct {
	Heal time.Duration // after the end of all faults every partition takes writes within it
	Wait time.Duration // of one of the transactions that are there to want the same
	Gap  time.Duration // between two acknowledged writes to a partition, where no fault explains more; 0 = not judged
}
