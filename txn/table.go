package txn

import (
	"bytes"

	"github.com/google/btree"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// treeDegree of the btrees: small enough that an insertion moves little.
const treeDegree = 16

// keyStatesKeptMax bounds the finished keyStates that are kept for reuse.
const keyStatesKeptMax = 1024

// Table is the latches, the locks, the pending versions and the awaits of one partition in one term.
// Calls put what they set free into two queues; the owner empties them with NextGranted and
// NextReady after each call.
type Table struct {
	waitersMax int // per key

	keys        *btree.BTreeG[*keyState]
	spans       *btree.BTreeG[*Latch] // wide latches by start, held and waiting
	lockedSpans *btree.BTreeG[*Latch] // wide locks by start
	probe       keyState              // for searches
	free        []*keyState

	granted FIFO[granted]
	ready   FIFO[*Await]

	waiting  int    // guards
	locks    int    // guards with locks
	sequence uint64 // of declarations, lockings and proposals
}

// granted is a guard that got all its latches in one of its declarations.
type granted struct {
	guard *Guard
	order uint64
}

// NewTable makes an empty table. At most waitersPerKeyMax latches of one key may be held or
// waiting at a time.
func NewTable(waitersPerKeyMax int) *Table {
	return &Table{
		waitersMax:  waitersPerKeyMax,
		keys:        btree.NewG(treeDegree, func(a, b *keyState) bool { return bytes.Compare(a.key, b.key) < 0 }),
		spans:       btree.NewG(treeDegree, lessWide),
		lockedSpans: btree.NewG(treeDegree, lessLocked),
	}
}

func lessWide(a, b *Latch) bool {
	if c := bytes.Compare(a.Span.Start, b.Span.Start); c != 0 {
		return c < 0
	}
	return a.guard != b.guard && a.guard.order < b.guard.order
}

// Waiting is the number of guards that wait for latches; those that wait for locks do not count.
func (t *Table) Waiting() int { return t.waiting }

// Len is the number of keys with latches, locks or pending versions.
func (t *Table) Len() int { return t.keys.Len() }

// NextGranted is the next guard that has all its latches, in order of the grants; nil if
// there is none.
func (t *Table) NextGranted() *Guard {
	for {
		x, ok := t.granted.Pop()
		if !ok || x.guard.state == held && x.guard.order == x.order { // otherwise it was dropped meanwhile
			return x.guard
		}
	}
}

// Acquire declares the guard. It comes out of NextGranted once it has all its latches,
// which may be at once. It returns false, and has done nothing, if the queue of a key is full.
func (t *Table) Acquire(g *Guard) bool {
	invariant.Check(g.state == idle, "a guard is declared once at a time")
	g.arrival = t.sequence + 1
	return t.declare(g, t.waitersMax)
}

// declare puts the latches into the queues; it takes them back if one of the queues has
// waitersMax latches already.
func (t *Table) declare(g *Guard, waitersMax int) bool {
	t.sequence++
	g.state, g.waits, g.order = waiting, int32(len(g.Latches)), t.sequence
	t.waiting++
	for i := range g.Latches {
		l := &g.Latches[i]
		l.guard = g
		if l.Wide {
			t.insertWide(l)
		} else if !t.insertKey(l, waitersMax) {
			t.dropFirst(g, i)
			return false
		}
	}
	if len(g.Latches) == 0 {
		t.grant(g)
	}
	return true
}

// dropFirst takes back the first n latches of a guard that could not be declared whole.
func (t *Table) dropFirst(g *Guard, n int) {
	if g.state == waiting {
		t.waiting--
	}
	g.state = idle
	for i := range n {
		t.leave(&g.Latches[i])
	}
}

func (t *Table) insertKey(l *Latch, waitersMax int) bool {
	k := t.state(l.Span.Start)
	if k.length >= waitersMax {
		l.place.key = nil
		t.tidy(k)
		return false
	}
	last := k.queue.tail
	if last != nil && last.guard == l.guard {
		violated("a guard names each key once: %x", k.key)
	}
	free := last == nil || l.Mode == Shared && k.writers == 0 || passed(last)
	l.place.key = k
	k.queue.push(l)
	k.count(l, 1)
	t.blockBySpans(l)
	if free && l.blocks == 0 {
		t.hold(l)
	}
	return true
}

// blockBySpans makes a key latch wait for the spans around it that were declared before.
func (t *Table) blockBySpans(l *Latch) {
	if t.spans.Len() == 0 {
		return
	}
	t.spans.Ascend(func(w *Latch) bool {
		if bytes.Compare(w.Span.Start, l.Span.Start) > 0 {
			return false
		}
		if w.guard != l.guard && conflicts(w.Mode, l.Mode) && w.Span.Contains(l.Span.Start) {
			l.after(w)
		}
		return true
	})
}

// insertWide declares a span: it waits for everything in it that was declared before.
func (t *Table) insertWide(l *Latch) {
	t.eachKey(l.Span, func(k *keyState) bool {
		for o := k.queue.head; o != nil; o = o.place.next {
			if o.guard != l.guard && conflicts(o.Mode, l.Mode) && !passed(o) {
				l.after(o)
			}
		}
		return true
	})
	t.spans.Ascend(func(w *Latch) bool {
		if len(l.Span.End) > 0 && bytes.Compare(w.Span.Start, l.Span.End) >= 0 {
			return false
		}
		if w.guard != l.guard && conflicts(w.Mode, l.Mode) && w.Span.Overlaps(l.Span) {
			l.after(w)
		}
		return true
	})
	_, clash := t.spans.ReplaceOrInsert(l)
	invariant.Check(!clash, "a guard names each span once: %x", l.Span.Start)
	if l.blocks == 0 {
		t.hold(l)
	}
}

// violated is invariant.Check for hot paths, where even the arguments of a check that holds
// cost an allocation.
func violated(sentence string, args ...any) { invariant.Check(false, sentence, args...) }

// after makes l wait until o is gone.
func (l *Latch) after(o *Latch) {
	l.blocks++
	o.dependents = append(o.dependents, dependent{l, l.guard.order})
}

func (t *Table) hold(l *Latch) {
	l.held = true
	l.guard.waits--
	if l.guard.waits == 0 && l.guard.state == waiting {
		t.grant(l.guard)
	}
}

func (t *Table) grant(g *Guard) {
	t.waiting--
	g.state = held
	t.granted.Push(granted{g, g.order})
}

// Drop gives up a guard that is not proposed and has no locks; those behind it go on. Reads that
// awaited it look at what was under way before it. One that waits for locks waits no more. A guard
// that is idle stays so.
func (t *Table) Drop(g *Guard) {
	invariant.Check(g.state != pending, "what is proposed is decided by the log alone")
	invariant.Check(g.locks == nil, "locks go by Unlock, once the fate of their transaction is known (rule F4)")
	switch g.state {
	case idle:
	case parked:
		t.unpark(g)
	default:
		t.dropFirst(g, len(g.Latches))
	}
}

// leave takes a latch out of its queue and lets those behind it go on.
func (t *Table) leave(l *Latch) {
	l.blocks = 0
	if l.Wide {
		if _, was := t.spans.Delete(l); !was {
			violated("a span is in the tree until it leaves: %x", l.Span.Start)
		}
		l.held = false
		t.release(l)
		return
	}
	k := l.place.key
	t.handBack(l)
	t.unqueue(l)
	l.place.key = nil
	t.release(l)
	t.advance(k)
	t.tidy(k)
}

// unqueue takes a key latch out of its queue.
func (t *Table) unqueue(l *Latch) {
	k := l.place.key
	if k.asked == l {
		k.asked = nil
		if p := l.place.prev; p != nil && p.guard.state == asked {
			k.asked = p
		}
	}
	k.queue.remove(l)
	k.count(l, -1)
	l.held = false
}

// release lets those go on that counted l.
func (t *Table) release(l *Latch) {
	ds := l.dependents
	l.dependents = nil
	for _, x := range ds {
		d := x.latch
		if d.guard.state != waiting || d.guard.order != x.order {
			continue
		}
		if d.blocks--; d.blocks > 0 {
			continue
		}
		if d.Wide {
			t.hold(d)
		} else {
			t.advance(d.place.key)
		}
	}
}

// passed is false but for a planted bug: a latch that holds up no other any more.
func passed(l *Latch) bool {
	return invariant.Mutated(invariant.PipeEarly) && l != nil && l.guard.state == asked && l.Mode != Shared
}

// advance lets the head of a key's queue go on: one Exclusive, or all Shared in a row, or
// all Blind in a row. Blind ones join only in the same step, never one that is held: they
// must draw in the same turn.
func (t *Table) advance(k *keyState) {
	l := k.queue.head
	for passed(l) {
		l = l.place.next
	}
	if l == nil || l.held && l.Mode != Shared {
		return
	}
	for mode := l.Mode; l != nil && l.Mode == mode; l = l.place.next {
		if l.blocks > 0 && mode != Shared {
			return
		}
		if l.blocks == 0 && !l.held {
			t.hold(l)
		}
		if mode == Exclusive {
			return
		}
	}
}

// state is the keyState of a key, made if it is not there.
func (t *Table) state(key kv.Key) *keyState {
	t.probe.key = key
	if k, ok := t.keys.Get(&t.probe); ok {
		return k
	}
	var k *keyState
	if n := len(t.free); n > 0 {
		k, t.free = t.free[n-1], t.free[:n-1]
	} else {
		k = &keyState{}
	}
	k.key = key
	t.keys.ReplaceOrInsert(k)
	return k
}

func (t *Table) find(key kv.Key) *keyState {
	t.probe.key = key
	k, _ := t.keys.Get(&t.probe)
	return k
}

// tidy removes the keyState if nothing is going on.
func (t *Table) tidy(k *keyState) {
	if !k.empty() {
		return
	}
	t.keys.Delete(k)
	*k = keyState{}
	if len(t.free) < keyStatesKeptMax {
		t.free = append(t.free, k)
	}
}

// eachKey calls f for the keyStates in a span, in key order, until f returns false.
func (t *Table) eachKey(s kv.Span, f func(*keyState) bool) {
	from := &keyState{key: s.Start}
	if len(s.End) == 0 {
		t.keys.AscendGreaterOrEqual(from, f)
		return
	}
	t.keys.AscendRange(from, &keyState{key: s.End}, f)
}
