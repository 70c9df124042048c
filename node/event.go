package node

import (
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// RequestID is given by the world to each request that it hands in; answers carry it. The bit OwnRequest
// is never set in it.
type RequestID = partition.RequestID

// Identity is what the store of a node says about itself, and which of the node's loops this
// Node is: each owns the replicas of the partitions whose PartitionID.Loop it is.
type Identity struct {
	Loop, Loops int // 0 of 0 is 0 of 1
	Cluster     uint64
	Node        kv.NodeID
	Incarnation uint64 // bumped and synced at every start, before New
	Fresh       bool   // this very process created the store: nothing was ever promised from it (L6)
	Info        kv.NodeInfo
	Founders    []kv.NodeInfo // of the cluster, on its founders only: kept in the store for ever
	Peers       []kv.NodeInfo // the nodes known at the last stop; the registry is newer once it is heard
}

// Boot is what was found on the disk (rule 52).
type Boot struct {
	Log      *wal.Recovered
	Replicas []mvcc.ReplicaState // as flushed
	System   func(yield func(key string, value []byte) bool)
}

// Config is the configuration of a node.
type Config struct {
	Replication replication.Params
	QuorumReads bool   // --read-mode=quorum: no lease serves a read
	Seed        uint64 // of the node's random source
	Partition   partition.Options
	Flow        replication.Flow
	Core        core.Options
	// LogKeepBytes is how much log may stand before groups that hold it back are flushed or rewritten forward.
	LogKeepBytes int64
	DataDir      string // how errors name the disk
	// Retention is how long the old versions of keyspaces are kept that do not say how long; 0 = RetentionDefault.
	Retention time.Duration
	// RetainInterval is how often it is looked whether some can go; 0 = RetainIntervalDefault.
	RetainInterval time.Duration
	// ReadEntry reads an old log entry back: wal.Log.Read. It is the one blocking read that the loop does, for followers that lag.
	ReadEntry func(p wal.Position, e *wal.Entry) error
	// EntryCacheBytes bounds the cache of the newest log entries of all groups.
	EntryCacheBytes int64
}

// The events. Each begins with the node's own clock; a turn of the loop is any number of
// events and then one Flush, which returns what they caused. Nothing else enters a node.
//
//	Tick(now, wallMillis)              every 10 ms
//	Request(now, id, *kv.Request)      from a client
//	Admin(now, id, *kv.AdminRequest)
//	Cancel(now, id, partition)         nobody waits for id any more
//	Receive(now, from, Message)        from another node (or from itself)
//	PeerLost(now, node)                the stream to a node broke, or dropped something
//	Stored(now, []*replication.Append, [][]wal.Position)
//	Applied(now, []*Apply)             in the order of the effects
//	ReadDone(now, []*Read)             those that the world could not answer itself
//	SnapshotReceived(now, from, *Snapshot)
//	SnapshotSent(now, partition, replica, ok)
//	DigestDone(now, *DigestTask)
//	Collected(now, *CollectTask)
//	Flushed(now, []Flushed)            what an engine flush made durable, of all loops' replicas
//	DiskSlow(now, slow)                an fsync hangs (L9)
//	DiskFull(now, full)                the log finds no space
//	EngineFull(now, full)              the engine finds no space
//	Damaged(now, partition, error)     the engine cannot read a replica
//	Flush(now) *Effects
//
// Of a node with several loops:
//
//	LoopStalled(now, stalled)          to loop 0: another loop does not turn (L9)
//	CoreLeader(now, CoreLeader)        to the others: what loop 0's Effects.Core said
//	Hear(now, timestamp)               the newest that another loop has heard of
//	LogGrew(now, segment)              the newest segment of the log, when there is a new one
//
// The world hands a message to the loop that Message.Loop names, an admin request to that of
// AdminLoop, a client's request to that of its partition; PeerLost, DiskSlow, DiskFull and Drain concern all loops.
