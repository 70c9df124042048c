package node

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
)

// Effects is all that one turn of the loop wants done. The world may do the kinds
// independently of each other; within a kind the order is binding where the comment says so.
// The slices belong to the world until it hands the struct back with Recycle.
type Effects struct {
	// Sends leave in this order per receiver. They do not wait for Appends: what must wait is sent by a later turn.
	Sends []Send
	// Appends go to the log in this order, all in one batch with at most one sync (needed if any has Sync).
	// Then Stored is called with all of them in this order.
	Appends []*replication.Append
	// Applies are run in this order against the engine (RunApplies), then Applied is called in this order.
	Applies []*Apply
	// Reads run in any order: in the loop what RunAtHand can do, the others off it by Run. Then, if Serve, answer when
	// Finish says so; else ReadDone.
	Reads []*Read
	// Digests are sums over a partition: Run off the loop, then DigestDone.
	Digests []*DigestTask
	// Collects delete old versions, or measure a replica: Run off the loop, at low priority, then Collected.
	Collects []*CollectTask
	// Replies to clients.
	Replies      []Reply
	AdminReplies []AdminReply
	// Snapshots to be built and streamed to other nodes; SnapshotSent is called at the end of each.
	Snapshots []SendSnapshot
	// Discards are received snapshots that are done with: their Sinks can be closed.
	Discards []*Snapshot
	// ReleaseLog is a segment number: this loop needs no log segment below it. 0 = nothing new. LowWater
	// says what can go.
	ReleaseLog uint64
	// FlushEngine asks for the engine's memtable to be flushed in the background, since it holds back the log.
	FlushEngine bool
	// Faulty are replicas that were found damaged while running (rule 56): for the log and the operator.
	Faulty []string
	// Nodes is set when the registry changed: the world connects to these. Loop 0 only.
	Nodes []kv.NodeInfo
	// Core is set when the core's leader changed: the other loops are told. Loop 0 of several only.
	Core *CoreLeader
}

// Send is a message to a node, which may be the sender itself.
type Send struct {
	To      kv.NodeID
	Message Message
	// Guard, if set, must hold by a clock read just before the message is handed to the network;
	// otherwise it is dropped (an oracle's grant, B1 and L17).
	Guard *replication.Guard
}

// Reply answers a client's request.
type Reply struct {
	ID       RequestID
	Response *kv.Response
	Err      *kv.Error
}

// AdminReply answers an admin request.
type AdminReply struct {
	ID       RequestID
	Response *kv.AdminResponse
	Err      *kv.Error
}

// SendSnapshot streams the state of a replica to another one: the world opens a
// mvcc.SnapshotSource with Args, lets FillSnapshot put its state into Message, and sends Args,
// Message and the chunks.
type SendSnapshot struct {
	Args      mvcc.SnapshotArgs
	To        kv.NodeID
	ToReplica kv.ReplicaID
	Message   *raftpb.Message // MsgSnap
}

// Snapshot is a received snapshot: Message is its MsgSnap, as FillSnapshot made it; Sink has
// seen and verified the last chunk. The world closes the Sink when it is discarded.
type Snapshot struct {
	Partition kv.PartitionID
	Message   *raftpb.Message
	Sink      *mvcc.SnapshotSink
}

// Read is a look at the engine: in the loop if all of it is at hand, else by the reader pool.
type Read struct {
	Task   *partition.ReadTask
	Guard  replication.Guard // of the lease under which it may be answered
	Result *partition.ReadResult
	Bare   bool // leadership was confirmed by ReadIndex after the request arrived: no lease is needed
}

// Run executes the read on a consistent view of the engine that is opened now.
func (x *Read) Run(e *mvcc.Engine) {
	r, err := e.NewReader()
	if err != nil {
		x.Result = &partition.ReadResult{Err: kv.AsError(err)}
		return
	}
	defer r.Close()
	x.Result = x.Task.Execute(r)
}

// RunReads executes several reads on one view. A clock, which may be nil, measures those that are Timed; breathe, which
// may be nil, is called by scans now and then (mvcc.Reader.Breathe).
func RunReads(e *mvcc.Engine, reads []*Read, clock func() kv.Instant, breathe func()) {
	r, err := e.NewReader()
	if err != nil {
		for _, x := range reads {
			x.Result = &partition.ReadResult{Err: kv.AsError(err)}
		}
		return
	}
	defer r.Close()
	r.Breathe(breathe)
	for _, x := range reads {
		if clock == nil || !x.Task.Timed() {
			x.Result = x.Task.Execute(r)
			continue
		}
		begin := clock()
		x.Result = x.Task.Execute(r)
		x.Result.Took = time.Duration(clock() - begin)
	}
}

// RunAtHand is Run for a read of which all is at hand: it may be called in the loop. false: Run must be called.
func (x *Read) RunAtHand(n mvcc.Newest) (ok bool) {
	x.Result, ok = x.Task.ExecuteAtHand(n)
	return ok
}

// Finish is the reply to a serving read, if it may be given: fresh is this node's clock, read
// after Run or RunAtHand. If not, the read goes back to the node by ReadDone.
func (x *Read) Finish(fresh kv.Instant) (Reply, bool) {
	if !x.Task.Serve || !x.Bare && !x.Guard.Holds(fresh) {
		return Reply{}, false
	}
	if x.Task.Unanswered(x.Result) {
		return Reply{}, false
	}
	if e := x.Result.Err; e != nil && e.Kind == kv.Corruption {
		return Reply{}, false // the node must hear of it
	}
	x.Task.Tell(x.Result)
	return Reply{ID: x.Task.Request, Response: x.Result.Response, Err: x.Result.Err}, true
}
