package replication

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/kvd-db/kvd/kv"
)

// wake lets a leader's clock run again (L25).
func (g *Group) wake() {
	if g.last.role == Leader && !g.lead.awake {
		g.lead.awake = true
		g.set.consider(g)
	}
}

// wakeLed wakes every led group with a replica in a loop of a node whose support began,
// ended or changed its epoch (L27, L28).
func (s *Set) wakeLed(p *pair, loop int) {
	for _, g := range s.groups {
		if g.last.role == Leader && (loop == allLoops || g.id.Loop(len(p.promises)) == loop) && g.hasReplicaOn(p.node) {
			g.wake()
		}
	}
}

// canSleep reports whether nothing is left to do: everybody on a node that supports us has
// everything, knows that it is committed, and is bound to us under the running epoch (L26).
func (g *Group) canSleep(bs raft.BasicStatus) bool {
	now := g.set.env.Now()
	last := g.log.view.LastIndex()
	switch {
	case g.LeaseUntil() <= now, g.joint(), bs.LeadTransferee != 0,
		len(g.lead.reads) > 0, len(g.lead.asked) > 0, !g.Idle(),
		kv.LogIndex(bs.GetCommit()) != last, kv.LogIndex(bs.Applied) != last, g.state.applied != last:
		return false
	}
	sleep := true
	g.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if id == uint64(g.replica) || !sleep {
			return
		}
		epoch, _, ok := g.set.support.supported(now, g.nodeOf(kv.ReplicaID(id)), g.id)
		if !ok {
			return // its node is down: the epoch changes when it comes back, and that wakes us
		}
		m := g.lead.markOf(kv.ReplicaID(id))
		sleep = pr.State == tracker.StateReplicate && kv.LogIndex(pr.Match) == last &&
			m != nil && m.term == g.last.term && m.epoch == epoch && m.commit == last
	})
	return sleep
}

// Asleep reports whether this leader costs nothing at the moment.
func (g *Group) Asleep() bool { return g.last.role == Leader && !g.lead.awake }

// Progress tells, for each replica, how far it is.
func (g *Group) Progress(fn func(id kv.ReplicaID, learner bool, match kv.LogIndex, streaming bool)) {
	g.rn.WithProgress(func(id uint64, t raft.ProgressType, pr tracker.Progress) {
		fn(kv.ReplicaID(id), t == raft.ProgressTypeLearner, kv.LogIndex(pr.Match), pr.State == tracker.StateReplicate)
	})
}
