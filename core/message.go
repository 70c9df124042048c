package core

import "github.com/kvd-db/kvd/kv"

// RequestID names an admin request that waits; the node gives it.
type RequestID uint64

// Sink takes a machine's decisions; the node implements it. Calls do not re-enter the machine.
type Sink interface {
	// Propose queues one command for the log of the system partition, in order. It may be lost when
	// leadership ends; within a term it may be late, never out of order.
	Propose(cmd []byte)
	// Order sends a message to a node; it may be lost.
	Order(to kv.NodeID, o Order)
	// Grant answers a Draw. The node lets it go only if the lease still holds by a clock read after this call.
	Grant(to kv.NodeID, g Grant)
	// Retain tells a node how far it may collect; it may be lost, late, or come twice.
	Retain(to kv.NodeID, r Retain)
	// Reply answers an admin request; each is answered once.
	Reply(id RequestID, resp *kv.AdminResponse, err *kv.Error)
}

// Draw asks the oracle for Count timestamps, 1 to DrawCountMax.
type Draw struct {
	Seq   uint64 // the asking loop's own number
	Count uint32
	Loop  int // of the asking node, echoed
}

// Grant answers the Draw of the same Seq with the consecutive timestamps First..First+Count-1.
// Count is less than asked for only if DrawCountMax was exceeded.
type Grant struct {
	Seq   uint64
	First kv.Timestamp
	Count uint32
	Loop  int
}

// Order is something that the core wants of a node, idempotent, and repeated until it is done.
// Exactly one part is set.
type Order struct {
	// Create: make your replica of a new partition. All its replicas start as voters of the
	// same empty state at (index 1, term 1). Done when it is durable. An id that was dropped is
	// never made again: that is answered with Err.
	Create *kv.Descriptor
	// Join: make an empty replica, a learner, that waits for a snapshot.
	Join *JoinOrder
	// Drop: the replica is no member any more, or its partition is gone; remove it for ever.
	Drop *DropOrder
	// ChangeReplicas goes to a partition's leader.
	ChangeReplicas *ReplicaChange
	// MoveLeader goes to a partition's leader.
	MoveLeader *LeaderMove
}

// Partition is the partition that the order is about.
func (o *Order) Partition() kv.PartitionID {
	switch {
	case o.Create != nil:
		return o.Create.Partition
	case o.Join != nil:
		return o.Join.Descriptor.Partition
	case o.Drop != nil:
		return o.Drop.Partition
	case o.ChangeReplicas != nil:
		return o.ChangeReplicas.Partition
	case o.MoveLeader != nil:
		return o.MoveLeader.Partition
	}
	return 0
}

// JoinOrder makes one empty replica of the partition.
type JoinOrder struct {
	Descriptor *kv.Descriptor
	Replica    kv.ReplicaID // in Descriptor, on the addressed node
}

// DropOrder removes one replica and its data.
type DropOrder struct {
	Partition kv.PartitionID
	Replica   kv.ReplicaID
}

// ReplicaChange is one step of a partition's membership. It is done when the partition's descriptor has a
// voter on Add and nothing on Remove (0 = none): the core sees that in a report. If a learner is on Add already, that one is promoted.
type ReplicaChange struct {
	Partition kv.PartitionID
	// Generation is the newest that the core heard of. A leader whose descriptor is newer
	// ignores the order: it will come again, if it still makes sense.
	Generation kv.Generation
	Add        kv.NodeID
	Remove     kv.NodeID
	Reason     string
}

// LeaderMove hands a partition to the voter on a node.
type LeaderMove struct {
	Partition kv.PartitionID
	To        kv.NodeID
	Reason    string
}

// OrderDone says that an order is done, or why it cannot be. For Create and Join: the replica
// exists. For Drop: Dropped is set, and the replica does not exist. For ChangeReplicas and
// MoveLeader only failures are told, with Replica 0; success is seen in the reports.
type OrderDone struct {
	Partition kv.PartitionID
	Replica   kv.ReplicaID
	Dropped   bool
	Err       string
}

// Report is what one loop of a node tells the leader of the core of its own replicas, every 500 ms
// or so, and at once when it became the leader of a partition.
type Report struct {
	Loop, Loops int // of the node; 0 of 0 is 0 of 1
	// Complete says that Leaders and Held name everything the loop leads and holds. Otherwise they
	// are only what is new. A complete one every few seconds is enough.
	Complete bool
	Leaders  []LeaderReport
	Held     []ReplicaRef // replicas that exist on the node, damaged ones too
	Damaged  []ReplicaRef // damaged replicas (rule 56), always all of them
	Replicas int
	Bytes    int64
	Draining bool // the node is about to stop
	DiskFull bool // the disk of its log or of its engine is full: it cannot lead
}

// covers reports whether a complete report speaks of a partition.
func (r *Report) covers(p kv.PartitionID) bool { return p.Loop(r.Loops) == r.Loop }

// ReplicaRef names one replica on the reporting node.
type ReplicaRef struct {
	Partition kv.PartitionID
	Replica   kv.ReplicaID
}

// LeaderReport is one partition as its leader sees it.
type LeaderReport struct {
	Partition  kv.PartitionID
	Term       kv.Term
	Descriptor *kv.Descriptor // nil = as reported before
	Applied    kv.LogIndex
	Keys       int64
	Bytes      int64
	Garbage    int64 // old versions
}
