package txn

import (
	"math"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Strong is the timestamp of a read that sees whatever is newest (rule D1, r = infinity).
const Strong kv.Timestamp = math.MaxUint64

// Await is a read that waits for the writes under way which it may have to see (rule D2).
// The set is fixed by AwaitKeys and AwaitSpan; what begins to draw later is not in it.
type Await struct {
	Owner any
	At    kv.Timestamp // r, or Strong

	left int // writes not yet decided
	done bool
}

// awaiting is a list of reads at a latch.
type awaiting struct {
	read *Await
	next *awaiting
}

// AwaitKeys makes the read wait for the writes under way on the keys. It returns true if
// there is nothing to wait for; otherwise the read comes out of NextReady.
func (t *Table) AwaitKeys(a *Await, keys []kv.Key) bool {
	var last *Latch
	for _, key := range keys {
		if k := t.find(key); k != nil {
			last = t.awaitKey(a, k, last)
		}
	}
	return t.awaitLast(a, last)
}

// AwaitSpan is AwaitKeys for all keys of a span.
func (t *Table) AwaitSpan(a *Await, s kv.Span) bool {
	var last *Latch
	t.eachKey(s, func(k *keyState) bool {
		last = t.awaitKey(a, k, last)
		return true
	})
	return t.awaitLast(a, last)
}

// Forget ends an await: it never comes out of NextReady.
func (t *Table) Forget(a *Await) { a.done = true }

// Awaited reports whether a read waits for what the guard writes.
func (g *Guard) Awaited() bool {
	for i := range g.Latches {
		if g.Latches[i].awaits != nil {
			return true
		}
	}
	return false
}

// NextReady is the next read whose writes are all decided; nil if there is none.
func (t *Table) NextReady() *Await {
	for {
		a, ok := t.ready.Pop()
		if !ok {
			return nil
		}
		if !a.done { // otherwise it was forgotten meanwhile
			a.done = true
			return a
		}
	}
}

// awaitKey waits for what has drawn no timestamp yet. Of the proposed writes only the last
// one of all keys need be waited for, since they are applied in the order of proposal: it is
// handed from key to key. What is proposed under locks may be staged, and end later than that: each
// is waited for.
func (t *Table) awaitKey(a *Await, k *keyState, last *Latch) *Latch {
	if a.At == Strong && invariant.Mutated(invariant.StrongNoAwait) || a.At != Strong && invariant.Mutated(invariant.ReadNoAwait) {
		return nil
	}
	l := k.undecided()
	if l != nil && !(a.At != Strong && invariant.Mutated(invariant.UndecidedNoWait)) && !ignoresLock(a, l) {
		attach(a, l) // and with it those before: if it is given up, the read goes to them
		return last
	}
	l = k.pendingAt(a.At)
	if l != nil && ignoresLock(a, l) {
		l = l.place.prev
	}
	if l != nil && l.guard.locks != nil {
		attach(a, l)
		return last
	}
	if l != nil && (last == nil || last.guard.order < l.guard.order) {
		return l
	}
	return last
}

// ignoresLock is false but for a planted bug: a strong read does not await what is written
// under locks.
func ignoresLock(a *Await, l *Latch) bool {
	return a.At == Strong && invariant.Mutated(invariant.StrongNoAwaitCoord) && l.guard.locks != nil
}

func (t *Table) awaitLast(a *Await, last *Latch) bool {
	if last != nil {
		attach(a, last)
	}
	if a.left == 0 {
		a.done = true
	}
	return a.left == 0
}

func attach(a *Await, l *Latch) {
	a.left++
	l.awaits = &awaiting{read: a, next: l.awaits}
}

// handBack gives the reads at l that l does not concern any more, because it turned out to be
// above what they read or was given up, to the write under way before it.
func (t *Table) handBack(l *Latch) {
	var stay, done *awaiting
	for n := l.awaits; n != nil; {
		next := n.next
		if l.guard.state == pending && n.read.At >= l.Write.Timestamp {
			n.next, stay = stay, n
		} else if to := l.before(n.read.At); to != nil {
			n.next, to.awaits = to.awaits, n
		} else {
			n.next, done = done, n
		}
		n = next
	}
	l.awaits = stay
	t.settle(done)
}

// before is the write under way on the key that precedes l, for a read at r that l does not
// concern.
func (l *Latch) before(r kv.Timestamp) *Latch {
	if p := l.place.prev; l.guard.state != pending && p != nil && p.guard.state == asked {
		return p
	}
	return l.place.key.pendingAt(r)
}

// finish lets the reads go on that waited for l.
func (t *Table) finish(l *Latch) {
	var done *awaiting
	for n := l.awaits; n != nil; {
		next := n.next
		n.next, done = done, n
		n = next
	}
	l.awaits = nil
	t.settle(done)
}

func (t *Table) settle(n *awaiting) {
	for ; n != nil; n = n.next {
		n.read.left--
		if n.read.left == 0 && !n.read.done {
			t.ready.Push(n.read)
		}
	}
}
