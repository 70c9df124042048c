package txn

import (
	"bytes"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// locks is what a guard has while its latches are locks.
type locks struct {
	order   uint64   // among all that were ever locked in the table
	waiters []*Guard // parked, by arrival
}

func lessLocked(a, b *Latch) bool {
	if c := bytes.Compare(a.Span.Start, b.Span.Start); c != 0 {
		return c < 0
	}
	return a.guard.locks.order < b.guard.locks.order
}

// Lock turns a held guard's latches into locks: they leave the latch queues. Others are granted
// their latches past them, and must ask Blocker before they go on (rule C2). No latch may be
// Blind: what is granted beside it would draw out of turn.
func (t *Table) Lock(g *Guard) {
	invariant.Check(g.state == held, "only what is latched is locked")
	t.beginLocks(g)
	for i := range g.Latches {
		l := &g.Latches[i]
		if l.Wide {
			t.spans.Delete(l)
			l.held = false
			t.lockSpan(l)
			t.release(l)
			continue
		}
		k := l.place.key
		t.unqueue(l)
		k.setLock(l)
		t.release(l)
		t.advance(k)
	}
}

// Restore is Lock for a guard that was never declared: locks that are found on the disk when
// leadership begins.
func (t *Table) Restore(g *Guard) {
	invariant.Check(g.state == idle, "a guard is declared or restored, not both")
	for i := range g.Latches {
		l := &g.Latches[i]
		l.guard = g
		if !l.Wide {
			l.place.key = t.state(l.Span.Start)
		}
	}
	t.beginLocks(g)
	for i := range g.Latches {
		if l := &g.Latches[i]; l.Wide {
			t.lockSpan(l)
		} else {
			l.place.key.setLock(l)
		}
	}
}

func (t *Table) beginLocks(g *Guard) {
	for i := range g.Latches {
		invariant.Check(g.Latches[i].Mode != Blind, "a blind latch is held together with others: declare what is to be locked as Exclusive")
	}
	invariant.Check(t.Blocker(g) == nil, "conflicting locks have one holder (rule C2)")
	t.sequence++
	t.locks++
	g.state, g.locks = locked, &locks{order: t.sequence}
}

func (t *Table) lockSpan(l *Latch) {
	_, clash := t.lockedSpans.ReplaceOrInsert(l)
	invariant.Check(!clash, "a guard names each span once: %x", l.Span.Start)
}

func (k *keyState) setLock(l *Latch) {
	last := k.shared.tail
	if k.lock != nil || last != nil && (l.Mode != Shared || last.guard == l.guard) {
		violated("a guard names each key once: %x", k.key)
	}
	if l.Mode == Shared {
		k.shared.push(l)
	} else {
		k.lock = l
	}
}

// Unlock ends the locks of a guard that is not proposed: its transaction is aborted, or its fate
// is applied. Reads that awaited it look at what was under way before it. Those that wait for it
// are declared again, in order of their arrival and without the bound of Acquire.
func (t *Table) Unlock(g *Guard) {
	invariant.Check(g.locks != nil, "only what is locked is unlocked")
	invariant.Check(g.state != pending, "what is proposed is decided by the log alone")
	g.state = idle
	for i := range g.Latches {
		if l := &g.Latches[i]; !l.Wide && l.Mode != Shared {
			t.handBack(l)
		}
	}
	t.endLocks(g)
}

// Withdraw is Unlock for a proposed guard whose transaction the log has aborted (rule P8): reads that
// await it look at what is under way before it.
func (t *Table) Withdraw(g *Guard) {
	invariant.Check(g.locks != nil && g.state == pending, "only what is proposed under locks can be withdrawn")
	g.state = idle
	for i := range g.Latches {
		l := &g.Latches[i]
		if l.Wide || l.Mode == Shared || invariant.Mutated(invariant.LatchToPropose) {
			continue
		}
		l.place.key.pending.remove(l)
		t.handBack(l)
	}
	t.endLocks(g)
}

// endLocks takes the locks of an idle guard out of the table and lets those go on that wait for it.
func (t *Table) endLocks(g *Guard) {
	for i := range g.Latches {
		l := &g.Latches[i]
		if l.Wide {
			t.lockedSpans.Delete(l)
			continue
		}
		k := l.place.key
		l.place.key = nil
		if l.Mode == Shared {
			k.shared.remove(l)
		} else {
			k.lock = nil
		}
		t.tidy(k)
	}
	waiters := g.locks.waiters
	g.locks = nil
	t.locks--
	t.declareAgain(waiters)
}

// Locks is the number of guards with locks.
func (t *Table) Locks() int { return t.locks }

// LockOn is the guard with the exclusive lock on a key; nil if there is none.
func (t *Table) LockOn(key kv.Key) *Guard {
	if t.locks == 0 {
		return nil
	}
	if k := t.find(key); k != nil && k.lock != nil {
		return k.lock.guard
	}
	return nil
}

// LocksIn calls f for each exclusive lock on a key of a span, in key order, until f returns
// false. f must not change the table.
func (t *Table) LocksIn(s kv.Span, f func(key kv.Key, g *Guard) bool) {
	if t.locks == 0 {
		return
	}
	t.eachKey(s, func(k *keyState) bool { return k.lock == nil || f(k.key, k.lock.guard) })
}
