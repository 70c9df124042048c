package txn

import (
	"fmt"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

func (m *met) add(o met) {
	m.restored += o.restored
	m.again += o.again
	m.askedUnlocked += o.askedUnlocked
	m.lockedReads += o.lockedReads
	m.spanBlocked += o.spanBlocked
	m.withdrawn += o.withdrawn
}

func firstOf(xs []*item) *item {
	if len(xs) == 0 {
		return nil
	}
	return xs[0]
}

// restore puts locks into the empty table: those of a leader that begins.
func (n *naive) restore() {
	for range 4 {
		x := &item{guard: n.randomGuard(), state: locked}
		x.guard.Owner = x
		if x.guard.hasBlind() || n.blocker(x) != nil {
			continue
		}
		n.met.restored++
		n.table.Restore(x.guard)
		n.locked = append(n.locked, x)
	}
	n.compareLocks()
}

func (g *Guard) hasBlind() bool {
	return slices.ContainsFunc(g.Latches, func(l Latch) bool { return l.Mode == Blind })
}

// blocker is the first locked of those that conflict.
func (n *naive) blocker(x *item) *item {
	for _, y := range n.locked {
		if clash(x, y) {
			return y
		}
	}
	return nil
}

// granted goes on with a guard that has its latches: it waits for a lock, locks as a coordinator
// does, stays as a prepare does until it is applied, or draws.
func (n *naive) granted(x *item) {
	b := n.blocker(x)
	if got := n.table.Blocker(x.guard); (got == nil) != (b == nil) || b != nil && got != b.guard {
		n.t.Fatalf("step %d: a wrong guard blocks", n.step)
	}
	switch {
	case b != nil:
		n.wait(x, b)
	case x.guard.hasBlind() || n.rng.IntN(2) == 0:
		n.table.Asked(x.guard)
		x.state = asked
	case n.rng.IntN(2) == 0:
		n.lock(x)
	}
}

func (n *naive) wait(x, holder *item) {
	n.table.Wait(x.guard, holder.guard)
	n.finish(x)
	x.state, x.holder = parked, holder
	x.waited++
	if x.waited > 1 {
		n.met.again++
	}
	for _, l := range x.guard.Latches {
		if l.Wide {
			n.met.spanBlocked++
		}
	}
	holder.waiters = append(holder.waiters, x)
	slices.SortFunc(holder.waiters, func(a, b *item) int { return a.arrival - b.arrival })
}

func (n *naive) lock(x *item) {
	n.table.Lock(x.guard)
	n.finish(x)
	x.state = locked
	n.locked = append(n.locked, x)
}

// lockHeld locks the first guard that is held: its prepare is applied.
func (n *naive) lockHeld() bool {
	for _, x := range n.active {
		if x.state == held {
			n.lock(x)
			return true
		}
	}
	return false
}

// goOn takes the next step of a guard with locks: it draws, proposes or is aborted.
func (n *naive) goOn(x *item) bool {
	switch {
	case x == nil || x.state == pending:
		return false
	case n.rng.IntN(3) == 0:
		if x.state == asked {
			n.met.askedUnlocked++
		}
		n.table.Unlock(x.guard)
		x.state = idle
		n.unlocked(x)
	case x.state == locked:
		n.table.Asked(x.guard)
		x.state = asked
	default:
		n.propose(x)
	}
	return true
}

// unlocked declares those again that waited.
func (n *naive) unlocked(x *item) {
	n.locked = slices.DeleteFunc(n.locked, func(y *item) bool { return y == x })
	for _, w := range x.waiters {
		w.state, w.holder = waiting, nil
		n.active = append(n.active, w)
	}
	x.waiters = nil
}

func (n *naive) randomParked() *item {
	var of []*item
	for _, x := range n.locked {
		of = append(of, x.waiters...)
	}
	if len(of) == 0 {
		return nil
	}
	return of[n.rng.IntN(len(of))]
}

// compareLocks looks at all that the table says of locks and pending versions.
func (n *naive) compareLocks() {
	if n.table.Locks() != len(n.locked) {
		n.t.Fatalf("step %d: %d guards with locks, want %d", n.step, n.table.Locks(), len(n.locked))
	}
	for _, x := range n.active {
		if x.state >= held && n.table.Blocker(x.guard) != nil {
			n.t.Fatalf("step %d: something that conflicts with held latches was locked", n.step)
		}
	}
	for _, x := range n.locked {
		var got []*item
		n.table.Waiters(x.guard, func(g *Guard) bool {
			got = append(got, g.Owner.(*item))
			return true
		})
		if !slices.Equal(got, x.waiters) {
			n.t.Fatalf("step %d: %d guards wait, want %d, or in another order", n.step, len(got), len(x.waiters))
		}
	}
	from := n.rng.IntN(len(everyKey))
	want, got := "", ""
	for i, k := range everyKey {
		on := n.exclusiveOn(k)
		if n.table.LockOn(k) != on {
			n.t.Fatalf("step %d: a wrong guard has locked %s", n.step, k)
		}
		if on != nil && i >= from {
			want += fmt.Sprintf("%s %p ", k, on)
		}
		n.compareNewest(k)
	}
	n.table.LocksIn(kv.Span{Start: everyKey[from]}, func(k kv.Key, g *Guard) bool {
		got += fmt.Sprintf("%s %p ", k, g)
		return true
	})
	if got != want {
		n.t.Fatalf("step %d: the locks are %q, want %q", n.step, got, want)
	}
}

func (n *naive) exclusiveOn(k kv.Key) *Guard {
	for _, x := range n.locked {
		if writesKey(x, []kv.Key{k}) {
			return x.guard
		}
	}
	return nil
}

// compareNewest compares the newest pending version of a key, by its timestamp.
func (n *naive) compareNewest(k kv.Key) {
	var c kv.Timestamp
	for _, x := range n.log {
		if writesKey(x, []kv.Key{k}) {
			c = x.c
		}
	}
	if p, ok := n.table.Newest(k); ok != (c != 0) || p.Timestamp != c {
		n.t.Fatalf("step %d: the newest pending version of %s is at %d, want %d", n.step, k, p.Timestamp, c)
	}
}
