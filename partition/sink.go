package partition

import "github.com/kvd-db/kvd/kv"

// RequestID is given by the host to each request that it admits; no two requests that wait
// at a node have the same.
type RequestID uint64

// Sink takes a partition's decisions; the node implements it. Calls do not re-enter the
// partition.
type Sink interface {
	// Draw asks the oracle for one timestamp; the answer comes later as Drawn(token, ts).
	// Draws asked for in the same turn get ascending timestamps in the order asked, and are
	// answered in that order; a draw never rides on a request already under way (rule B1).
	Draw(p *Partition, token uint64)
	// Read runs t.Execute on an engine snapshot taken now or later, off the loop, or t.ExecuteAtHand
	// in the loop when the turn's effects are handed out. A serving task is answered by the node itself, if
	// the lease still holds afterwards, or leadership was confirmed before (rule D5); any other comes
	// back as ReadDone.
	Read(t *ReadTask)
	// Reply answers a request. Every request gets one answer, unless it is canceled or its
	// answer was handed over with a serving task.
	Reply(id RequestID, resp *kv.Response, err *kv.Error)
	// Call asks the leader of another partition; the answer comes later as Answered(token, resp,
	// err), at most once. It may never come.
	Call(p *Partition, token uint64, to kv.PartitionID, req *kv.Request)
	// Closed says that everything at or below t is applied, proposed or queued (rule G1): once what is
	// queued is proposed, t may be published with the last index of the log. The node checks its
	// lease after t was drawn.
	Closed(p *Partition, t kv.Timestamp)
	// Propose says that commands are queued: the node calls TakeProposal at the end of the
	// turn, until it returns nil.
	Propose(p *Partition)
	// Hasten says that somebody waits until what is committed is applied, of which Committed said that nobody does.
	Hasten(p *Partition)
	// Now is the time of the current event.
	Now() kv.Instant
	// Heard is the newest timestamp that this node has heard of.
	Heard() kv.Timestamp
}
