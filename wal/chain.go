package wal

import (
	"math"

	"github.com/kvd-db/kvd/kv"
)

// chain is what recovery knows of one group while it reads the log. Records that are
// missing do not matter if what they held was replaced later: the state by a later
// state, entries by later entries or by the low-water mark. So a chain that broke is
// trusted again from what was written after the break on.
type chain struct {
	view     *View
	sequence uint64 // of the last record that is known to have been written
	// stateKnown: a state was read after the last break.
	stateKnown bool
	// trustedFrom is the lowest index from which on the entries are complete; 0 = all,
	// neverTrusted = none. Fine if everything below is below the low-water mark.
	trustedFrom kv.LogIndex
	// seen is replay.losses when something was last heard of the group.
	seen     int
	damage   int         // index into replay.damage: what broke it last; -1 = nothing
	lastGood kv.LogIndex // last index before the break
	flagged  bool        // a directory says that the group is damaged
	// as of the last directory: who the replica is, should its records be gone
	replica, tombstone kv.ReplicaID
}

const neverTrusted = kv.LogIndex(math.MaxUint64)

// lose notes that a record of the group is missing or damaged here.
func (c *chain) lose(damage int) {
	c.stateKnown, c.trustedFrom = false, neverTrusted
	c.damage, c.lastGood = damage, c.view.LastIndex()
}

// apply takes over a record whose head was read, and its entries if they could be.
func (c *chain) apply(m *image, off uint32, r *record, verify bool) bool {
	if restarts(r.mark, &r.state) {
		c.stateKnown, c.trustedFrom, c.damage, c.flagged = true, 0, -1, false
	}
	first := true
	ok := m.entrySlots(off, r, verify, func(e *Entry, p Position) {
		if first {
			c.begin(r, e.Index)
			first = false
		}
		c.view.push(p, e.Term)
	})
	if first {
		c.view.begin(r.mark, &r.state, 0)
	}
	if r.hasState {
		c.stateKnown = true
		c.view.setState(r.state, m.segment)
	}
	return ok
}

func (c *chain) begin(r *record, first kv.LogIndex) {
	hole := !restarts(r.mark, &r.state) && first > c.view.LastIndex()+1
	if hole || first < c.trustedFrom {
		c.trustedFrom = first
	}
	c.view.begin(r.mark, &r.state, first)
}

// healthy reports whether everything that the group needs was read.
func (c *chain) healthy() bool {
	return c.stateKnown && (c.trustedFrom == 0 || c.trustedFrom != neverTrusted && c.trustedFrom <= c.view.state.low.Index+1)
}

// tracker is what the writer goes on with.
func (c *chain) tracker() *tracker {
	t := &tracker{sequence: c.sequence, state: c.view.state, stateSegment: c.view.stateSegment, damaged: !c.healthy()}
	t.last.Index = c.view.LastIndex()
	if term, err := c.view.Term(t.last.Index); err == nil {
		t.last.Term = term
	}
	return t
}
