package node

import (
	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
)

// Message is what nodes say to each other. Exactly one pointer is set. AppendMessage and
// DecodeMessage (wire.go) are its encoding.
type Message struct {
	Heartbeat *replication.Heartbeat
	Ack       *replication.HeartbeatAck
	Raft      *replication.Frame
	// Heard goes with Raft: the newest timestamp that the sender has heard of. It was drawn, so whoever is asked to read at it
	// need not prove that by a draw of his own (docs/adr/0005).
	Heard     kv.Timestamp
	Draw      *core.Draw
	Grant     *core.Grant
	Report    *core.Report
	Order     *core.Order
	OrderDone *core.OrderDone
	Digest    *Digest
	CoreHint  *CoreHint
	Registry  *Registry
	Call      *Call
	CallDone  *CallDone
	Closed    *Closed
	ClosedGap *ClosedGap
	Retain    *core.Retain
}

// Urgent messages overtake all others on a stream (L8).
func (m *Message) Urgent() bool { return m.Heartbeat != nil || m.Ack != nil }

// Digest is one replica's sum over its versions at the index of a digest command.
type Digest struct {
	Partition kv.PartitionID
	Check     uint64 // the id of the check; 0: a snapshot carried the replica to Index, and over all commands before it
	Index     kv.LogIndex
	Replica   kv.ReplicaID
	Sum       kv.ReplicaDigest
}
