package node

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
)

// replica is one partition on this node: the group that agrees, the partition that decides
// while it leads, and the machine that applies.
type replica struct {
	group   *replication.Group
	part    *partition.Partition // nil for the system partition
	machine *partition.Machine   // applied state; belongs to the applier while an Apply is under way
	leadership
	proposals
	applied applied // as heard by Applied
	garbage collecting
	sizing  sizing
	usage
	doomed  bool      // removed from the configuration: to be destroyed once that is applied
	inbound *Snapshot // received and not yet installed or discarded
	told
}

// leadership is what the partition (or the core) was told of leading, and who waits for it.
type leadership struct {
	leading bool
	term    kv.Term
	waiting parkedList     // requests that came between election and readiness
	change  *replicaChange // of the replicas, under way; leaders only

	closing   bool // has not closed the timestamp of the round
	republish bool // to the nodes of its replicas, which may be others
}

// proposals are what the replica has for the log.
type proposals struct {
	queued  bool   // in the list of those with commands for the next entry
	refused []byte // an entry that raft did not take: goes before all others of the term
}

// usage is when the partition was last used here, and what is under way for it.
type usage struct {
	applying
	held     int          // applies that are held back
	hastened bool         // since the last commit: somebody waits for what is committed
	usedAt   kv.Instant   // of the newest request
	wrote    kv.Timestamp // not before the newest commit asked for here; 0 = all of it is old and collected
	active   bool         // in the list of replicas that are ticked
}

// told is what the core knows of the replica.
type told struct {
	news           bool          // in the list of those it has to hear of
	toldGeneration kv.Generation // of the newest descriptor it was told
}

// applied is what the loop knows of the applied state.
type applied struct {
	gc, horizon   kv.Timestamp
	flushed       kv.LogIndex // durably, as last heard
	mvcc.Counters             // as last measured
}

// waitingMax bounds the requests of one replica that wait for it to be ready.
const waitingMax = 4096

// busyReplicas are those that lead and are in use.
func (n *Node) busyReplicas() []*replica {
	const quiet = kv.Instant(20 * time.Second) // longer than the window of seen ids
	kept := n.keep.active[:0]
	for _, r := range n.keep.active {
		if r.leading && (r.change != nil || n.now-r.usedAt < quiet || r.part != nil && r.part.Waiting() > 0) {
			kept = append(kept, r)
		} else {
			r.active = false
		}
	}
	clear(n.keep.active[len(kept):])
	n.keep.active = kept
	return kept
}

// changed follows the group's role: it is called whenever role, term or leader change.
func (n *Node) changed(g *replication.Group) {
	r := n.replicas[g.Partition()]
	if r == nil || r.group != g {
		return
	}
	if r.leading && (!g.Leads() || g.Term() != r.term) {
		n.unlead(r)
	}
	n.lead(r)
	n.news(r)
	if !g.Leads() && g.LeaderNode() != 0 {
		n.turnAway(r)
	}
	if g.Partition() == kv.SystemPartition {
		n.draws.oracleChanged(n)
	}
}

// lead tells the partition that it leads, once everything that earlier leaders committed is applied (A6).
func (n *Node) lead(r *replica) {
	ready := r.group.Serves() || r.group.Leads() && invariant.Mutated(invariant.ServeEarly)
	if r.leading || !ready {
		return
	}
	r.leading, r.term = true, r.group.Term()
	n.news(r)
	if r.part == nil {
		n.core.Lead(r.term)
		n.form()
	} else {
		r.part.Lead(r.term, r.group.Descriptor(), r.applied.gc, r.applied.horizon)
		n.closed.leads(r)
		n.draws.waiting = append(n.draws.waiting, draw{}) // to know the time of now
	}
	for _, w := range r.waiting.takeAll() {
		if w.admin != nil {
			n.admin(w.id, w.admin)
		} else {
			n.request(r, w.id, w.req)
		}
	}
}

// form makes the cluster, at the first leadership of its core.
func (n *Node) form() {
	if n.core.Initialized() || len(n.id.Founders) == 0 {
		return
	}
	const replicas = 3
	if err := n.core.InitCluster(n.id.Cluster, core.ChooseCore(n.id.Founders), replicas); err != nil {
		n.fault(kv.SystemPartition, err)
	}
}

func (n *Node) activate(r *replica) {
	if !r.active {
		r.active = true
		n.keep.active = append(n.keep.active, r)
	}
}

// unlead discards what the partition decided in the term that ended (A5).
func (n *Node) unlead(r *replica) {
	r.leading, r.refused = false, nil
	r.change.abandon(n)
	r.change = nil
	n.dropReads(r)
	if r.part == nil {
		n.keep.coreCommands = nil
		n.core.Unlead()
		return
	}
	if !invariant.Mutated(invariant.EvalSurvives) {
		n.draws.forget(r)
	}
	n.calls.forget(r)
	n.closed.closedBy(r)
	r.part.Unlead(r.group.LeaderNode(), r.group.Term())
}

// turnAway answers the requests that waited for this replica to lead.
func (n *Node) turnAway(r *replica) {
	for _, w := range r.waiting.takeAll() {
		if w.admin != nil {
			n.adminReply(w.id, nil, n.notLeader(r.group))
		} else {
			n.reply(w.id, nil, n.notLeader(r.group))
		}
	}
}

func (n *Node) notLeader(g *replication.Group) *kv.Error {
	e := kv.Errorf(kv.NotLeader, "partition %d is led by node %d, not by this one", g.Partition(), g.LeaderNode())
	if g.LeaderNode() == 0 {
		e.Message = kv.Errorf(kv.NotLeader, "partition %d has no known leader at the moment: try again", g.Partition()).Message
	}
	e.Leader, e.Term, e.Partition = g.LeaderNode(), g.Term(), g.Partition()
	return e
}

// committed answers what committed entries decide, and hands the entries to the applier.
func (n *Node) committed(g *replication.Group, entries []*raftpb.Entry, confs []*raftpb.ConfState, done replication.Responses) {
	r := n.replicas[g.Partition()]
	a := &Apply{kind: applyEntries, rep: r, entries: entries, confs: confs, done: done, summary: applied{Counters: r.applied.Counters}}
	r.applying.add(a, 1)
	r.hastened = false
	waits := confs != nil || r.part == nil || r.applying.bytes > n.heldBytesMax() || g.Leads() && !r.leading || n.reads.awaits(r)
	for i, e := range entries {
		if e.GetType() != raftpb.EntryNormal {
			r.doomed = r.doomed || confs[i] != nil && !memberOf(confs[i], g.Replica())
			continue
		}
		if len(e.GetData()) == 0 {
			continue
		}
		if r.part == nil {
			n.applyCore(r, a, i, e)
		} else if r.leading && kv.Term(e.GetTerm()) == r.term {
			waits = r.part.Committed(r.term, kv.LogIndex(e.GetIndex())) || waits
		}
	}
	a.lazy = !waits && !r.hastened
	n.apply(a)
}

// applyCore applies an entry of the system partition in the loop, where its state lives; the
// engine only gets the keys to write.
func (n *Node) applyCore(r *replica, a *Apply, i int, e *raftpb.Entry) {
	writes, err := n.core.Apply(kv.LogIndex(e.GetIndex()), kv.Term(e.GetTerm()), e.GetData())
	if err != nil {
		n.faultyGroup(r.group, err)
		return
	}
	if a.writes == nil {
		a.writes = make([][]core.Write, len(a.entries))
	}
	a.writes[i] = writes
}

// proposalBytesMax is how much of what is queued goes into one entry, unless one command is larger.
const proposalBytesMax = 1 << 20

func (n *Node) queue(r *replica) {
	if !r.queued {
		r.queued = true
		n.keep.proposing = append(n.keep.proposing, r)
	}
}

// propose packs what each partition has queued into one entry (and so one log write, one
// message a follower).
func (n *Node) propose() {
	list := n.keep.proposing
	n.keep.proposing = nil
	for _, r := range list {
		r.queued = false
		n.proposeFrom(r)
	}
}

// proposeFrom keeps what raft does not take now: the order of a partition's commands is
// the order in which it decided them.
func (n *Node) proposeFrom(r *replica) {
	for r.leading {
		if r.refused == nil {
			r.refused = n.takeProposal(r)
		}
		if r.refused == nil {
			return
		}
		if r.group.Propose(r.refused) != nil {
			n.queue(r)
			return
		}
		r.refused = nil
	}
}

func (n *Node) takeProposal(r *replica) []byte {
	if r.part != nil {
		return r.part.TakeProposal(proposalBytesMax)
	}
	cmds := n.keep.coreCommands
	if len(cmds) == 0 {
		return nil
	}
	n.keep.coreCommands = nil
	return core.PackCommands(cmds)
}
