package node

import (
	"cmp"
	"slices"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// A server runs one Node, or several beside each other: its loops. Each owns the replicas of the
// partitions that fall to it and speaks with the others by messages only; loop 0 has the system
// partition as well, and asks other nodes for support in the name of all. What the world must
// bring to the right loop is named here (docs/adr/0008).

// EveryLoop is a message or request for all loops of a node.
const EveryLoop = -1

// Loop is which loop, of a node with so many, a message is for.
func (m *Message) Loop(loops int) int {
	switch {
	case m.Raft != nil:
		return m.Raft.Partition.Loop(loops)
	case m.Heartbeat != nil, m.Ack != nil:
		return EveryLoop
	case m.Grant != nil && m.Grant.Loop < loops:
		return m.Grant.Loop
	case m.Order != nil:
		return m.Order.Partition().Loop(loops)
	case m.Digest != nil:
		return m.Digest.Partition.Loop(loops)
	case m.Call != nil && m.Call.Request != nil:
		return m.Call.Request.Partition.Loop(loops)
	case m.CallDone != nil && m.CallDone.Loop < loops:
		return m.CallDone.Loop
	case m.Closed != nil && m.Closed.Loops != loops:
		return EveryLoop
	case m.Closed != nil:
		return m.Closed.Loop
	case m.ClosedGap != nil && m.ClosedGap.Loop < loops:
		return m.ClosedGap.Loop
	case m.Retain != nil && m.Retain.Loop < loops:
		return m.Retain.Loop
	}
	return 0
}

// AdminLoop is which loop an admin request is for.
func AdminLoop(req *kv.AdminRequest, loops int) int {
	switch {
	case req.NodeStatus != nil && loops > 1:
		return EveryLoop
	case req.MoveLeader != nil:
		return req.MoveLeader.Partition.Loop(loops)
	case req.Check != nil:
		return req.Check.Partition.Loop(loops)
	case req.ChangeReplicas != nil:
		return req.ChangeReplicas.Partition.Loop(loops)
	case req.Transactions != nil:
		return req.Transactions.Partition.Loop(loops)
	}
	return 0
}

// JoinStatus makes the status of a node out of those of its loops, in their order.
func JoinStatus(loops []*kv.NodeStatus) *kv.NodeStatus {
	all := *loops[0] // who the node is, only loop 0 knows
	for _, s := range loops[1:] {
		all.Replicas = append(all.Replicas, s.Replicas...)
		all.Faulty = append(all.Faulty, s.Faulty...)
		all.Draining = all.Draining || s.Draining
		all.Heard = max(all.Heard, s.Heard)
	}
	slices.SortFunc(all.Replicas, func(a, b kv.ReplicaStatus) int { return cmp.Compare(a.Partition, b.Partition) })
	return &all
}

// LowWater is what the loops of a node need of the log that they share.
type LowWater struct{ marks []uint64 }

// NewLowWater is of so many loops, of which none has spoken: until it has, a loop needs everything.
func NewLowWater(loops int) *LowWater { return &LowWater{make([]uint64, loops)} }

// Raise notes that a loop needs no segment below one, and returns the segment below which no loop
// needs any.
func (w *LowWater) Raise(loop int, segment uint64) uint64 {
	w.marks[loop] = max(w.marks[loop], segment)
	if invariant.Mutated(invariant.ReleaseByOneLoop) {
		return segment
	}
	return slices.Min(w.marks)
}

// CoreLeader is who leads the core, as far as loop 0 knows; its term is 0 on a node without the core's state.
type CoreLeader struct {
	Node kv.NodeID
	Term kv.Term
}

// CoreLeader tells a loop other than 0 who leads the core.
func (n *Node) CoreLeader(now kv.Instant, l CoreLeader) {
	n.at(now)
	n.system.outsider.leader, n.system.outsider.term = l.Node, l.Term
	n.draws.again()
}

// tellCore tells the other loops when the core's leader has changed.
func (n *Node) tellCore() {
	if n.id.Loops <= 1 || n.id.Loop != 0 {
		return
	}
	if l := (CoreLeader{n.oracle(), n.coreTerm()}); l != n.system.coreTold {
		n.system.coreTold = l
		n.out.Core = &l
	}
}

// Hear brings the newest timestamp that another loop of this node has heard of.
func (n *Node) Hear(now kv.Instant, t kv.Timestamp) {
	n.at(now)
	n.hear(t)
}

// LogGrew says which segment of the log is the newest: a loop that writes nothing must know, to
// write what it still needs forward (rule S5).
func (n *Node) LogGrew(now kv.Instant, segment uint64) {
	n.at(now)
	n.keep.newest = max(n.keep.newest, segment)
}

// LoopStalled says that another loop of this node does not turn, or that all do again (L9).
func (n *Node) LoopStalled(now kv.Instant, stalled bool) {
	n.at(now)
	n.set.LoopStalled(stalled)
}

// mine reports whether a partition is this loop's.
func (n *Node) mine(p kv.PartitionID) bool { return p.Loop(n.id.Loops) == n.id.Loop }
