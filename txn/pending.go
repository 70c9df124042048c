package txn

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Asked notes that the draw of the guard's timestamp is about to be asked for: from here on
// reads await its writes (rules B3, D3). Guards of one key are asked in the order of their grants.
func (t *Table) Asked(g *Guard) {
	invariant.Check(g.state == held || g.state == locked, "a timestamp is asked for under all latches or locks (rule B2)")
	g.state = asked
	if g.locks != nil {
		return
	}
	if invariant.Expensive {
		invariant.Check(t.Blocker(g) == nil, "a timestamp is asked for past no foreign lock (rule C2)")
	}
	for i := range g.Latches {
		l := &g.Latches[i]
		if l.Wide || l.Mode == Shared {
			continue
		}
		k := l.place.key
		if k.lock != nil {
			violated("a timestamp is asked for past no foreign lock (rule C2): %x", k.key)
		}
		k.asked = l
		if invariant.Mutated(invariant.PipeEarly) {
			t.advance(k)
		}
	}
}

// Propose notes that the guard's writes were queued for the log at timestamp c. They become
// pending versions and hold up no other writer any more (rule C5b); what was latched for
// reading is free, since whoever writes it next draws later than c. Locks stay until the guard is
// applied (rule H5).
func (t *Table) Propose(g *Guard, c kv.Timestamp) {
	invariant.Check(g.state == asked, "what is proposed has drawn its timestamp under latches or locks (rule B2)")
	g.state = pending
	for i := range g.Latches {
		if l := &g.Latches[i]; g.locks == nil && (l.Wide || l.Mode == Shared) {
			t.leave(l)
		}
	}
	t.sequence++
	g.order = t.sequence // only now: it orders the spans in their tree
	for i := range g.Latches {
		if l := &g.Latches[i]; !l.Wide && l.Mode != Shared {
			t.makePending(l, c)
		}
	}
}

func (t *Table) makePending(l *Latch, c kv.Timestamp) {
	k := l.place.key
	newest := k.pending.tail
	if newest != nil && newest.Write.Timestamp >= c {
		violated("versions of a key ascend (rule B4): %x proposed at %d after %d", k.key, c, newest.Write.Timestamp)
	}
	if l.place.prev != nil {
		violated("the writes of a key are proposed in the order of their grants: %x", k.key)
	}
	if l != k.lock {
		t.unqueue(l)
	}
	l.Write.Timestamp = c
	if invariant.Mutated(invariant.LatchToPropose) {
		t.finish(l)
	} else {
		k.pending.push(l)
		t.handBack(l)
	}
	t.release(l)
	t.advance(k)
	t.tidy(k)
}

// Applied notes that a proposed guard's writes are in the engine; its locks end as by Unlock.
// Guards are applied in the order of their proposals, but that those with locks may be later. It does nothing to a guard that is not proposed.
func (t *Table) Applied(g *Guard) {
	if g.state != pending {
		return
	}
	g.state = idle
	for i := range g.Latches {
		l := &g.Latches[i]
		if l.Wide || l.Mode == Shared || invariant.Mutated(invariant.LatchToPropose) {
			continue
		}
		k := l.place.key
		if k.pending.head != l {
			violated("the pending versions of a key are applied in order: %x", k.key)
		}
		k.pending.remove(l)
		t.finish(l)
		t.tidy(k)
	}
	if g.locks != nil {
		t.endLocks(g)
	}
}

// Newest is the newest pending version of a key.
func (t *Table) Newest(key kv.Key) (Pending, bool) {
	k := t.find(key)
	if k == nil || k.pending.tail == nil {
		return Pending{}, false
	}
	return k.pending.tail.Write, true
}

// Writer is the guard of the newest pending version of a key; nil if there is none.
func (t *Table) Writer(key kv.Key) *Guard {
	k := t.find(key)
	if k == nil || k.pending.tail == nil {
		return nil
	}
	return k.pending.tail.guard
}

// NewerIn is a key of the span with a pending version above ts; nil if there is none.
func (t *Table) NewerIn(s kv.Span, ts kv.Timestamp) (key kv.Key) {
	t.eachKey(s, func(k *keyState) bool {
		if l := k.pending.tail; l != nil && l.Write.Timestamp > ts {
			key = k.key
			return false
		}
		return true
	})
	return key
}
