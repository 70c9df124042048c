package txn

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Blocker is the guard of a lock that conflicts with the latches of a guard that holds them: the
// one that was locked first, if there are several; nil if there is none. It is to be asked as
// soon as the guard comes out of NextGranted; nothing that conflicts with a held latch is locked
// later.
func (t *Table) Blocker(g *Guard) *Guard {
	if t.locks == 0 {
		return nil
	}
	var b *Guard
	for i := range g.Latches {
		l := &g.Latches[i]
		if l.Wide {
			b = t.blockerInside(l, b)
		} else {
			b = l.place.key.blocker(l, b)
		}
		if t.lockedSpans.Len() > 0 {
			b = t.blockerAround(l, b)
		}
	}
	return b
}

// older is the guard of lock o if that stands in the way of l and was locked before b; else b.
func older(b *Guard, l, o *Latch) *Guard {
	if o == nil || o.guard == l.guard || !conflicts(l.Mode, o.Mode) || b != nil && b.locks.order < o.guard.locks.order {
		return b
	}
	return o.guard
}

// blockerInside looks at the locks on the keys of a wide latch.
func (t *Table) blockerInside(l *Latch, b *Guard) *Guard {
	t.eachKey(l.Span, func(k *keyState) bool {
		b = k.blocker(l, b)
		return true
	})
	return b
}

// blockerAround looks at the wide locks around a key, or over a part of a wide latch.
func (t *Table) blockerAround(l *Latch, b *Guard) *Guard {
	t.lockedSpans.Ascend(func(w *Latch) bool {
		if l.endsBefore(w.Span.Start) {
			return false
		}
		if w.Span.Contains(l.Span.Start) || l.Wide && w.Span.Overlaps(l.Span) {
			b = older(b, l, w)
		}
		return true
	})
	return b
}

// endsBefore reports whether the latch covers neither key nor anything after it.
func (l *Latch) endsBefore(key kv.Key) bool {
	if l.Wide {
		return len(l.Span.End) > 0 && bytes.Compare(l.Span.End, key) <= 0
	}
	return bytes.Compare(l.Span.Start, key) < 0
}

// blocker looks at the locks on one key, of which the shared ones are in order.
func (k *keyState) blocker(l *Latch, b *Guard) *Guard {
	b = older(b, l, k.lock)
	first := k.shared.head
	if first != nil && first.guard == l.guard {
		first = first.place.next
	}
	return older(b, l, first)
}

// Wait gives up the latches of a guard that holds them and makes it wait for the locks of
// another one, holding nothing (rules C2, F2). It comes out of NextGranted again when those locks
// are gone and it has its latches. Drop takes it out. First come, first served: it keeps the
// arrival of its Acquire, however often it waits.
func (t *Table) Wait(g, holder *Guard) {
	invariant.Check(g.state == held, "who waits for a lock has met it under latches")
	invariant.Check(holder.locks != nil, "what is waited for is locked")
	t.dropFirst(g, len(g.Latches))
	g.state, g.holder = parked, holder
	i, _ := holder.findWaiter(g)
	holder.locks.waiters = slices.Insert(holder.locks.waiters, i, g)
}

// unpark ends a wait for locks.
func (t *Table) unpark(g *Guard) {
	i, ok := g.holder.findWaiter(g)
	invariant.Check(ok, "who is parked waits for its holder")
	h := g.holder.locks
	h.waiters = slices.Delete(h.waiters, i, i+1)
	g.state, g.holder = idle, nil
}

func (g *Guard) findWaiter(w *Guard) (int, bool) {
	return slices.BinarySearchFunc(g.locks.waiters, w.arrival, func(x *Guard, arrival uint64) int {
		return cmp.Compare(x.arrival, arrival)
	})
}

func (t *Table) declareAgain(waiters []*Guard) {
	for _, w := range waiters {
		w.state, w.holder = idle, nil
		t.declare(w, math.MaxInt)
	}
}

// Waiters calls f for the guards that wait for a holder's locks, in order of their arrival,
// until f returns false. f must not change the table.
func (t *Table) Waiters(holder *Guard, f func(*Guard) bool) {
	if holder.locks == nil {
		return
	}
	for _, w := range holder.locks.waiters {
		if !f(w) {
			return
		}
	}
}
