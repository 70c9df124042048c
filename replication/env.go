package replication

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/wal"
)

// Frame carries one raft message between two replicas.
type Frame struct {
	Partition kv.PartitionID
	Message   *raftpb.Message
	// Tag is the epoch under which the sender is bound to the receiver, at the moment of
	// sending, in the message's term; 0 if it is not (L13). Answers to a leader only.
	Tag uint64
	// Commit is the sender's commit index (L26). Answers to a leader only.
	Commit kv.LogIndex
}

// Env takes what the groups want done. Calls do not re-enter the Set.
type Env interface {
	// Now is the time of the current input.
	Now() kv.Instant
	// Rand is a number in [0, n) from the node's seeded source.
	Rand(n int64) int64
	// Send queues a message for a node. Heartbeats go ahead of everything else (L8).
	Send(to kv.NodeID, f Frame)
	SendHeartbeat(to kv.NodeID, h Heartbeat)
	SendHeartbeatAck(to kv.NodeID, a HeartbeatAck)
	// SendSnapshot asks for a snapshot of the group to be streamed to a replica that is too far behind.
	SendSnapshot(g *Group, to kv.ReplicaID, m *raftpb.Message)
	// Append queues a log write; Set.Stored hears of it once it is processed.
	Append(a *Append)
	// Apply hands over committed entries, in order; Set.Applied hears of it. The group's configuration
	// changes among them are in force already; confStates[i] belongs to entries[i], nil for others.
	Apply(g *Group, entries []*raftpb.Entry, confStates []*raftpb.ConfState, done Responses)
	// Install asks for the received snapshot to replace the group's state; Set.Installed hears of it.
	Install(g *Group, s *raftpb.Snapshot)
	// Changed says that the group's role, term or known leader changed.
	Changed(g *Group)
	// ReadReady says that every entry that was committed when ReadIndex(ctx) was asked is at or below index.
	ReadReady(g *Group, ctx uint64, index kv.LogIndex)
	// ReadEntry reads an entry back from the log.
	ReadEntry(p wal.Position, e *wal.Entry) error
	// Faulty says that the group's log cannot be read: the replica must stop for good (rule 56).
	Faulty(g *Group, err error)
}

// Responses are what raft wants to hear once a piece of storage work is done.
type Responses []*raftpb.Message
