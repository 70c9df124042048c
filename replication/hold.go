package replication

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// After each commit raft tells every follower the new commit index by an append without
// entries, which is answered like any other. Under load the next append with entries says the same a
// moment later. So a leader holds appends without entries back until the next tick of the
// node, and drops them when one with entries goes to the same follower: half of the messages of
// a busy group. Nobody waits for a follower to know a commit index: reads at followers go by
// closed timestamps, and sleep waits for the answer (L26). A probe without entries comes a tick later.

// release decides about an append; false: it is held back.
func (g *Group) release(m *raftpb.Message) bool {
	if g.last.role != Leader {
		return true
	}
	g.lead.held = slices.DeleteFunc(g.lead.held, func(h *raftpb.Message) bool { return h.GetTo() == m.GetTo() })
	if len(m.GetEntries()) > 0 {
		return true
	}
	if len(g.lead.held) == 0 {
		g.set.lists.holding = append(g.set.lists.holding, g)
	}
	g.lead.held = append(g.lead.held, m)
	return false
}

// releaseHeld sends what was held back.
func (s *Set) releaseHeld() {
	list := s.lists.holding
	s.lists.holding = nil
	for _, g := range list {
		g.releaseHeld()
	}
}

// releaseHeld of one group also runs when a leadership ends: a leader that is removed has
// nobody but these messages to tell that its removal is committed.
func (g *Group) releaseHeld() {
	held := g.lead.held
	g.lead.held = nil
	if g.last.role != Leader && invariant.Mutated(invariant.HeldDropped) {
		return
	}
	for _, m := range held {
		if to := g.nodeOf(kv.ReplicaID(m.GetTo())); to != 0 {
			g.transmit(to, m)
		}
	}
}
