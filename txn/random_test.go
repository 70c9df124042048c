package txn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// naive is a table as rule C2 states it, without any index: what is granted, which lock blocks,
// and which reads are ready, follows from looking at everything.
type naive struct {
	t        *testing.T
	table    *Table
	rng      *rand.Rand
	active   []*item // declared and not finished, in order of declaration
	locked   []*item // with locks, in the order of locking
	log      []*item // proposed, not applied
	reads    []*waitingRead
	ts       kv.Timestamp
	step     int
	arrivals int
	met      met
}

// met counts what the histories came by, so that none of it is missed by all of them.
type met struct{ restored, again, askedUnlocked, lockedReads, spanBlocked, withdrawn int }

type item struct {
	guard   *Guard
	state   state
	c       kv.Timestamp
	granted int // the step in which it was
	arrival int
	waited  int     // how often it waited for locks
	waiters []*item // parked, by arrival
	holder  *item
}

type waitingRead struct {
	await *Await
	set   []*item
	ready bool
}

func overlap(a, b *Latch) bool {
	if a.Wide || b.Wide {
		return wide(a).Overlaps(wide(b))
	}
	return string(a.Span.Start) == string(b.Span.Start)
}

func wide(l *Latch) kv.Span {
	if l.Wide {
		return l.Span
	}
	return kv.Span{Start: l.Span.Start, End: l.Span.Start.Next()}
}

func clash(a, b *item) bool {
	for i := range a.guard.Latches {
		for j := range b.guard.Latches {
			x, y := &a.guard.Latches[i], &b.guard.Latches[j]
			if overlap(x, y) && conflicts(x.Mode, y.Mode) {
				return true
			}
		}
	}
	return false
}

func bothBlind(a, b *item) bool {
	return a.guard.Latches[0].Mode == Blind && b.guard.Latches[0].Mode == Blind
}

func writesKey(x *item, ks []kv.Key) bool {
	for i := range x.guard.Latches {
		l := &x.guard.Latches[i]
		for _, k := range ks {
			if !l.Wide && l.Mode != Shared && string(l.Span.Start) == string(k) {
				return true
			}
		}
	}
	return false
}

func (n *naive) randomKey() string { return string(rune('a' + n.rng.IntN(6))) }

func (n *naive) randomGuard() *Guard {
	g := &Guard{}
	switch n.rng.IntN(4) {
	case 0, 1:
		g.Latches = []Latch{key(Blind, n.randomKey())}
		return g
	}
	for k := 'a'; k < 'g'; k++ {
		switch n.rng.IntN(6) {
		case 0:
			g.Latches = append(g.Latches, key(Exclusive, string(k)))
		case 1:
			g.Latches = append(g.Latches, key(Shared, string(k)))
		}
	}
	if a := n.rng.IntN(6); n.rng.IntN(3) == 0 {
		end := ""
		if b := a + 1 + n.rng.IntN(4); b < 6 {
			end = string(rune('a' + b))
		}
		mode := Shared
		if n.rng.IntN(4) == 0 {
			mode = Exclusive
		}
		g.Latches = append(g.Latches, span(mode, string(rune('a'+a)), end))
	}
	return g
}

func (n *naive) pick(want state) *item {
	var of []*item
	for _, x := range n.active {
		if x.state == want {
			of = append(of, x)
		}
	}
	if len(of) == 0 {
		return nil
	}
	return of[n.rng.IntN(len(of))]
}

func (n *naive) finish(x *item) {
	for i, y := range n.active {
		if x == y {
			n.active = append(n.active[:i:i], n.active[i+1:]...)
		}
	}
}

func (n *naive) act() {
	n.step++
	switch n.rng.IntN(11) {
	case 0, 1:
		n.arrivals++
		x := &item{guard: n.randomGuard(), state: waiting, arrival: n.arrivals}
		x.guard.Owner = x
		n.active = append(n.active, x)
		if !n.table.Acquire(x.guard) {
			n.t.Fatal("refused")
		}
	case 2, 3:
		n.proposeNext()
	case 4:
		n.applyNext()
	case 5:
		n.drop()
	case 6:
		n.lockHeld()
	case 7, 8:
		if len(n.locked) > 0 {
			n.goOn(n.locked[n.rng.IntN(len(n.locked))])
		}
	default:
		n.read()
	}
}

// proposeNext proposes the first asked guard: those asked in one step are answered in order.
func (n *naive) proposeNext() bool {
	for _, x := range n.active {
		if x.state == asked {
			n.propose(x)
			n.finish(x)
			return true
		}
	}
	return false
}

func (n *naive) propose(x *item) {
	n.ts += kv.Timestamp(1 + n.rng.IntN(3))
	n.table.Propose(x.guard, n.ts)
	x.state, x.c = pending, n.ts
	n.log = append(n.log, x)
}

func (n *naive) applyNext() bool {
	if len(n.log) == 0 {
		return false
	}
	x := n.log[0]
	for _, y := range n.log {
		if !y.guard.Locked() {
			x = y
			break
		}
	}
	switch locks := n.inLogWithLocks(); {
	case len(locks) == 0 || !x.guard.Locked() && n.rng.IntN(2) == 0:
		n.table.Applied(x.guard)
	default:
		x = locks[n.rng.IntN(len(locks))]
		if n.rng.IntN(3) == 0 {
			n.met.withdrawn++
			n.table.Withdraw(x.guard)
		} else {
			n.table.Applied(x.guard)
		}
	}
	n.log = slices.DeleteFunc(n.log, func(y *item) bool { return y == x })
	x.state = idle
	n.unlocked(x)
	return true
}

// inLogWithLocks are those with locks whose entries may be followed by one that decides: all before them
// on their keys is applied.
func (n *naive) inLogWithLocks() (of []*item) {
	for i, x := range n.log {
		if x.guard.Locked() && !slices.ContainsFunc(n.log[:i], func(y *item) bool { return clash(x, y) }) {
			of = append(of, x)
		}
	}
	return of
}

func (n *naive) drop() {
	x := n.pick([]state{waiting, held, asked}[n.rng.IntN(3)])
	if n.rng.IntN(3) == 0 {
		x = n.randomParked()
	}
	if x == nil {
		return
	}
	n.table.Drop(x.guard)
	if x.state == parked {
		x.holder.waiters = slices.DeleteFunc(x.holder.waiters, func(y *item) bool { return y == x })
	}
	x.state = idle
	n.finish(x)
}

func (n *naive) read() {
	r := &waitingRead{await: &Await{At: Strong}}
	if n.rng.IntN(2) == 0 {
		r.await.At = n.ts + kv.Timestamp(n.rng.IntN(8)) - min(4, n.ts)
	}
	r.await.Owner = r
	ks := []kv.Key{kv.Key(n.randomKey()), kv.Key(n.randomKey())}
	all := n.rng.IntN(3) == 0
	for _, x := range slices.Concat(n.active, n.locked, n.log) {
		if (x.state == asked || x.state == pending && x.c <= r.await.At) && (writesKey(x, ks) || all && writesKey(x, everyKey)) {
			r.set = append(r.set, x)
			if x.guard.Locked() {
				n.met.lockedReads++
			}
		}
	}
	if all {
		r.ready = n.table.AwaitSpan(r.await, kv.Span{Start: kv.Key("a"), End: kv.Key("z")})
	} else {
		r.ready = n.table.AwaitKeys(r.await, ks)
	}
	if want := len(r.set) == 0; r.ready != want {
		n.t.Fatalf("step %d: a read that awaits %d writes is ready: %v", n.step, len(r.set), r.ready)
	}
	if !r.ready {
		n.reads = append(n.reads, r)
	}
}

var everyKey = []kv.Key{kv.Key("a"), kv.Key("b"), kv.Key("c"), kv.Key("d"), kv.Key("e"), kv.Key("f")}

// settle takes what came free and compares it with what must have.
func (n *naive) settle() {
	for g := n.table.NextGranted(); g != nil; g = n.table.NextGranted() {
		x := g.Owner.(*item)
		if x.state != waiting {
			n.t.Fatalf("step %d: granted in state %d", n.step, x.state)
		}
		x.state, x.granted = held, n.step
		for _, y := range n.active {
			if y == x {
				break
			}
			if clash(x, y) && !(bothBlind(x, y) && y.state >= held && y.granted == n.step) {
				n.t.Fatalf("step %d: a guard overtakes another one", n.step)
			}
		}
		n.granted(x)
	}
	for i, x := range n.active {
		if x.state != waiting {
			continue
		}
		blocked := false
		for _, y := range n.active[:i] {
			blocked = blocked || clash(x, y)
		}
		if !blocked {
			n.t.Fatalf("step %d: a guard waits for nothing", n.step)
		}
	}
	n.settleReads()
	n.compareLocks()
}

func (n *naive) settleReads() {
	for a := n.table.NextReady(); a != nil; a = n.table.NextReady() {
		a.Owner.(*waitingRead).ready = true
	}
	var left []*waitingRead
	for _, r := range n.reads {
		decided := true
		for _, x := range r.set {
			decided = decided && (x.state == idle || x.state == pending && x.c > r.await.At)
		}
		if decided != r.ready {
			n.t.Fatalf("step %d: a read at %d is ready: %v, its writes are decided: %v", n.step, r.await.At, r.ready, decided)
		}
		if !decided {
			left = append(left, r)
		}
	}
	n.reads = left
}

func TestTableAgainstTheRule(t *testing.T) {
	var seen met
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			n := &naive{t: t, table: NewTable(1000), rng: rand.New(rand.NewPCG(seed, 1))}
			n.restore()
			for range 300 {
				n.act()
				n.settle()
			}
			for len(n.active)+len(n.locked)+len(n.log) > 0 { // all finish once nothing new comes
				n.step++
				if !n.proposeNext() && !n.lockHeld() && !n.applyNext() && !n.goOn(firstOf(n.locked)) {
					t.Fatal("deadlock")
				}
				n.settle()
			}
			if n.table.Len() != 0 || n.table.Waiting() != 0 || n.table.Locks() != 0 || len(n.reads) != 0 {
				t.Fatalf("left: %d keys, %d guards, %d locks, %d reads", n.table.Len(), n.table.Waiting(), n.table.Locks(), len(n.reads))
			}
			seen.add(n.met)
		})
	}
	if seen.restored == 0 || seen.again == 0 || seen.askedUnlocked == 0 || seen.lockedReads == 0 || seen.spanBlocked == 0 || seen.withdrawn == 0 {
		t.Errorf("the histories miss something: %+v", seen)
	}
}
