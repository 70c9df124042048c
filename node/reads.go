package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
)

// indexReads are the questions that wait for a proof of leadership by ReadIndex.
type indexReads struct {
	next   uint64
	parked map[uint64]*indexRead // by the context handed to the group
	ready  []*indexRead          // proven, waiting until index is applied
}

func (x *indexReads) len() int { return len(x.parked) + len(x.ready) }

type indexRead struct {
	ctx   uint64
	rep   *replica
	term  kv.Term
	index kv.LogIndex // proven
	task  *partition.ReadTask
	draw  *core.Draw // in quorum mode the oracle proves itself as well
	from  kv.NodeID
	since kv.Instant
}

// read takes a read that a partition has cleared: evaluations go to the engine as they are,
// answers need the lease or a proof of leadership (L17, L19).
func (n *Node) read(t *partition.ReadTask) {
	r := n.replicas[t.Partition]
	// What is told about a commit needs no lease (E6), and a call asks nothing else: no serving task, which the world answers, is for one.
	invariant.Check(!t.Serve || t.Request&OwnRequest == 0, "partition %d answers a call by a serving task", t.Partition)
	if !t.Serve {
		n.out.Reads = append(n.out.Reads, &Read{Task: t})
		return
	}
	if !n.cfg.QuorumReads {
		if guard, ok := r.group.Guard(); ok {
			n.out.Reads = append(n.out.Reads, &Read{Task: t, Guard: guard})
			return
		}
	}
	n.readIndex(r, &indexRead{task: t})
}

// parkedMax bounds the reads that wait for a proof of leadership, or for what it named to be applied.
const parkedMax = 1 << 16

func (n *Node) readIndex(r *replica, x *indexRead) {
	n.reads.next++
	x.ctx, x.rep, x.term, x.since = n.reads.next, r, r.term, n.now
	if n.reads.len() >= parkedMax {
		n.refuseRead(x, kv.Errorf(kv.Unavailable, "%d reads wait for a proof of leadership, the most that may: try again", parkedMax))
		return
	}
	if !r.group.ReadIndex(x.ctx) {
		n.refuseRead(x, n.notLeader(r.group))
		return
	}
	n.reads.parked[x.ctx] = x
}

func (n *Node) refuseRead(x *indexRead, err *kv.Error) {
	if x.task != nil {
		x.task.Proven(time.Duration(n.now - x.since))
		n.reply(x.task.Request, nil, x.task.Refuse(err, nil))
	}
}

// readReady is raft's proof: this node led when the question was asked.
func (n *Node) readReady(_ *replication.Group, ctx uint64, index kv.LogIndex) {
	x := n.reads.parked[ctx]
	if x == nil {
		return
	}
	delete(n.reads.parked, ctx)
	x.index = index
	if x.rep.group.Applied() >= index {
		n.proven(x)
		return
	}
	n.reads.ready = append(n.reads.ready, x)
	n.hasten(x.rep)
}

// awaits reports whether reads wait until a replica has applied more.
func (x *indexReads) awaits(r *replica) bool {
	return slices.ContainsFunc(x.ready, func(x *indexRead) bool { return x.rep == r })
}

// proven goes on with what waited for the proof and for the index to be applied.
func (n *Node) proven(x *indexRead) {
	switch {
	case !x.rep.leading || x.rep.term != x.term:
		n.refuseRead(x, n.notLeader(x.rep.group))
	case x.draw != nil:
		n.core.Draw(x.from, *x.draw)
	default:
		x.task.Proven(time.Duration(n.now - x.since))
		n.out.Reads = append(n.out.Reads, &Read{Task: x.task, Bare: true})
	}
}

// readsApplied goes on with the proven reads of a replica that has applied more.
func (n *Node) readsApplied(r *replica) {
	if len(n.reads.ready) == 0 {
		return
	}
	all := n.reads.ready
	n.reads.ready = nil
	for _, x := range all {
		if x.rep == r && r.group.Applied() >= x.index {
			n.proven(x)
		} else {
			n.reads.ready = append(n.reads.ready, x)
		}
	}
}

// dropReads answers the parked reads of a replica whose leadership ended.
func (n *Node) dropReads(r *replica) {
	var gone []*indexRead
	for ctx, x := range n.reads.parked {
		if x.rep == r {
			gone = append(gone, x)
			if !invariant.Mutated(invariant.ReadLeak) {
				delete(n.reads.parked, ctx)
			}
		}
	}
	slices.SortFunc(gone, func(a, b *indexRead) int { return cmp.Compare(a.ctx, b.ctx) })
	for _, x := range n.reads.ready {
		if x.rep == r {
			gone = append(gone, x)
		}
	}
	n.reads.ready = slices.DeleteFunc(n.reads.ready, func(x *indexRead) bool { return x.rep == r })
	for _, x := range gone {
		n.refuseRead(x, n.notLeader(r.group))
	}
}

// ReadDone takes back evaluations, and serving reads whose lease did not hold any more.
func (n *Node) ReadDone(now kv.Instant, reads []*Read) {
	n.at(now)
	for _, x := range reads {
		if err := x.Result.Err; err != nil && err.Kind == kv.Corruption {
			n.damagedRead(x, err)
			continue
		}
		r := n.replicas[x.Task.Partition]
		switch {
		case x.Task.Follows() && r != nil:
			n.followRead(r, x)
		case x.Task.Follows():
			n.reply(x.Task.Request, nil, n.wrongPartition(x.Task.Partition))
		case !x.Task.Serve && r != nil && r.leading:
			r.part.ReadDone(x.Task, x.Result)
		case !x.Task.Serve: // the term ended: the request was answered then
		case r == nil || !r.leading || r.term != x.Task.Term:
			n.reply(x.Task.Request, nil, x.Task.Refuse(n.lostLead(r, x.Task.Partition), x.Result))
		default:
			n.readIndex(r, &indexRead{task: x.Task})
		}
	}
}

// damagedRead answers a read that met damage, and stops the replica: what an evaluation decides is answered
// when its leadership ends.
func (n *Node) damagedRead(x *Read, err *kv.Error) {
	if x.Task.Serve {
		n.reply(x.Task.Request, nil, x.Task.Refuse(err, x.Result))
	}
	n.Damaged(n.now, x.Task.Partition, err)
}

func (n *Node) lostLead(r *replica, p kv.PartitionID) *kv.Error {
	if r == nil {
		return n.wrongPartition(p)
	}
	return n.notLeader(r.group)
}
