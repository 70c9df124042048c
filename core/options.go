package core

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Limits; what exceeds one is answered with Kind Limit, or Unavailable if it passes by itself.
const (
	NodesMax          = 4096    // registry entries, replaced ones included
	KeyspacesMax      = 4096    // those being dropped included
	PartitionsMax     = 100_000 // of the cluster
	SplitAtBytesMax   = 1 << 20 // all split keys of one CreateKeyspace
	CoreVotersMax     = 5
	AdminWaitingMax   = 1024    // admin requests that wait for an answer
	DrawsWaitingMax   = 4096    // draws that wait for the bound
	DrawCountMax      = 1 << 18 // timestamps in one grant
	CommandBytesMax   = 16 << 20
	ordersPerTickMax  = 512 // 10,000 a second at a tick of 50 ms
	unhealthyNamesMax = 20  // sentences of one sort in a Status
)

// HoldMaxDefault is Options.HoldMax if that is 0.
const HoldMaxDefault = 24 * time.Hour

// DefaultKeyspace is made together with the cluster, of scheme range, in one partition.
const DefaultKeyspace = "default"

// SystemName is what the system partition is called; no keyspace may have that name.
const SystemName = "system"

// Options of a Machine. The zero value means all defaults.
type Options struct {
	// Self is the node this machine runs on: Status names it as the core's leader.
	Self kv.NodeID
	// SuspectAfter is how long a node may be silent before it is suspected. Default 3 s.
	SuspectAfter time.Duration
	// DeadAfter is how long a node may be silent before its replicas are replaced.
	// Default 5 min; must not be below SuspectAfter.
	DeadAfter time.Duration
	// ReplacedKeep is how long a node that was replaced, and is silent, stays in the registry once no
	// partition names it. Default 24 h.
	ReplacedKeep time.Duration
	// OrderRetry is how often an order that is not done is repeated. Default 500 ms.
	OrderRetry time.Duration
	// PlanEvery is how often repair and balance are planned. Default 1 s.
	PlanEvery time.Duration
	// OperatorMax is how long an operator may go without any change of its partition's
	// descriptor before it is given up. Default 10 min: a snapshot may be large.
	OperatorMax time.Duration
	// OperatorPause is how long a partition is left alone after an operator failed. Default 10 s.
	OperatorPause time.Duration
	// RepairsMax is how many partitions change their replicas at once. Default 4.
	RepairsMax int
	// LeaderMovesMax is how many leaders move at once, and per PlanEvery. Default 1;
	// negative: none, leaders are not balanced.
	LeaderMovesMax int
	// DrainMovesMax is how many leaders move away from draining nodes at once. Default 32.
	DrainMovesMax int
	// ClockJumpMax is how far the wall clock may jump forward and be followed at once; what
	// is beyond that is followed at ten times the speed of time. Default 10 s.
	ClockJumpMax time.Duration
	// HoldMax is how long an open snapshot keeps what it reads from being collected. Default 24 h.
	HoldMax time.Duration
}

func (o Options) withDefaults() Options {
	durations := []struct {
		p *time.Duration
		d time.Duration
	}{
		{&o.SuspectAfter, 3 * time.Second},
		{&o.DeadAfter, 5 * time.Minute},
		{&o.ReplacedKeep, 24 * time.Hour},
		{&o.OrderRetry, 500 * time.Millisecond},
		{&o.PlanEvery, time.Second},
		{&o.OperatorMax, 10 * time.Minute},
		{&o.OperatorPause, 10 * time.Second},
		{&o.ClockJumpMax, 10 * time.Second},
		{&o.HoldMax, HoldMaxDefault},
	}
	for _, x := range durations {
		if *x.p <= 0 {
			*x.p = x.d
		}
	}
	o.DeadAfter = max(o.DeadAfter, o.SuspectAfter)
	if o.RepairsMax <= 0 {
		o.RepairsMax = 4
	}
	if o.DrainMovesMax <= 0 {
		o.DrainMovesMax = 32
	}
	if o.LeaderMovesMax == 0 {
		o.LeaderMovesMax = 1
	}
	return o
}
