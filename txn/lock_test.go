package txn

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// lock acquires guards that nothing blocks and locks them.
func lock(t *testing.T, tb *Table, gs ...*Guard) {
	t.Helper()
	for _, g := range gs {
		acquire(t, tb, g)
		if got := tb.NextGranted(); got != g {
			t.Fatalf("guard %v is not granted", g.Owner)
		}
		tb.Lock(g)
	}
}

func wantBlocker(t *testing.T, tb *Table, g, want *Guard) {
	t.Helper()
	if got := tb.Blocker(g); got != want {
		t.Fatalf("guard %v is blocked by %+v, want %+v", g.Owner, got, want)
	}
}

func waiters(tb *Table, holder *Guard) (names []string) {
	tb.Waiters(holder, func(g *Guard) bool {
		names = append(names, g.Owner.(string))
		return true
	})
	return names
}

func wantWaiters(t *testing.T, tb *Table, holder *Guard, want ...string) {
	t.Helper()
	if got := waiters(tb, holder); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("for %v wait %v, want %v", holder.Owner, got, want)
	}
}

func TestBlocker(t *testing.T) {
	tb := NewTable(10)
	lock(t, tb, guard("write", key(Exclusive, "k")), guard("read", key(Shared, "m")), guard("scan", span(Shared, "p", "t")))
	for _, c := range []struct {
		latch Latch
		want  any
	}{
		{key(Exclusive, "j"), nil},
		{key(Exclusive, "k"), "write"},
		{key(Blind, "k"), "write"},
		{key(Shared, "k"), "write"},
		{span(Shared, "k", "l"), "write"},
		{span(Shared, "a", "k"), nil},
		{span(Shared, "l", ""), nil},
		{span(Exclusive, "l", "n"), "read"},
		{key(Shared, "m"), nil},
		{key(Exclusive, "m"), "read"},
		{key(Exclusive, "p"), "scan"},
		{key(Exclusive, "s"), "scan"},
		{key(Exclusive, "t"), nil},
		{key(Shared, "s"), nil},
		{span(Exclusive, "s", ""), "scan"},
		{span(Exclusive, "", "k"), nil},
		{span(Exclusive, "", ""), "write"}, // the oldest
		{span(Exclusive, "n", "p"), nil},
	} {
		g := guard("g", c.latch)
		acquire(t, tb, g)
		wantGranted(t, tb, "g")
		var got any
		if b := tb.Blocker(g); b != nil {
			got = b.Owner
		}
		if got != c.want {
			t.Errorf("%+v is blocked by %v, want %v", c.latch, got, c.want)
		}
		tb.Drop(g)
	}
}

func TestWaitersComeAgainInOrderOfArrival(t *testing.T) {
	tb := NewTable(10)
	h1, h2 := guard("h1", key(Exclusive, "k")), guard("h2", key(Exclusive, "l"))
	lock(t, tb, h1, h2)
	both, b, c, d := guard("both", key(Exclusive, "k"), key(Exclusive, "l")), guard("b", key(Exclusive, "l")), guard("c", key(Exclusive, "l")), guard("d", key(Shared, "k"))
	for _, g := range []*Guard{both, b, c, d} {
		acquire(t, tb, g)
		wantGranted(t, tb, g.Owner.(string))
		tb.Wait(g, tb.Blocker(g))
	}
	if both.Held() || tb.Waiting() != 0 || tb.Locks() != 2 {
		t.Fatalf("who waits for locks holds latches, or %d wait for latches", tb.Waiting())
	}
	wantWaiters(t, tb, h1, "both", "d")
	wantWaiters(t, tb, h2, "b", "c")
	tb.Drop(d)
	tb.Unlock(h1)
	wantGranted(t, tb, "both")
	wantBlocker(t, tb, both, h2)
	tb.Wait(both, h2)
	wantWaiters(t, tb, h2, "both", "b", "c") // it came first
	tb.Drop(b)
	acquire(t, tb, b) // a new arrival
	wantGranted(t, tb, "b")
	tb.Wait(b, h2)
	wantWaiters(t, tb, h2, "both", "c", "b")
	tb.Unlock(h2)
	wantGranted(t, tb, "both")
	tb.Drop(both)
	tb.Drop(c) // waits for latches now
	wantGranted(t, tb, "b")
	tb.Drop(b)
	if tb.Len() != 0 || tb.Locks() != 0 || tb.Waiting() != 0 {
		t.Fatalf("left: %d keys, %d locks, %d waiting", tb.Len(), tb.Locks(), tb.Waiting())
	}
	wantWaiters(t, tb, h2)
}

func TestWaitersComeAgainWithoutTheBound(t *testing.T) {
	tb := NewTable(1)
	h := guard("h", key(Exclusive, "k"))
	lock(t, tb, h)
	for _, name := range []string{"a", "b", "c"} {
		g := guard(name, key(Exclusive, "k"))
		acquire(t, tb, g)
		wantGranted(t, tb, name)
		tb.Wait(g, h)
	}
	tb.Unlock(h)
	wantGranted(t, tb, "a")
	if tb.Waiting() != 2 {
		t.Fatalf("%d guards wait for latches, want 2", tb.Waiting())
	}
	if tb.Acquire(guard("d", key(Exclusive, "k"))) {
		t.Fatal("a new one is taken beyond the bound")
	}
}

func TestRestoredLocks(t *testing.T) {
	tb := NewTable(10)
	a, b := guard("a", key(Exclusive, "b"), key(Exclusive, "d"), key(Shared, "e")), guard("b", key(Exclusive, "c"), key(Shared, "e"))
	tb.Restore(a)
	tb.Restore(b)
	if !a.Locked() || a.Held() || a.Asked() || tb.LockOn(kv.Key("d")) != a || tb.LockOn(kv.Key("e")) != nil || tb.LockOn(kv.Key("x")) != nil {
		t.Fatal("the locks are not what was restored")
	}
	in := func(s kv.Span, most int) (got string) {
		tb.LocksIn(s, func(k kv.Key, g *Guard) bool {
			got += fmt.Sprintf("%s:%s ", k, g.Owner)
			most--
			return most > 0
		})
		return got
	}
	if got := in(kv.Span{}, 9); got != "b:a c:b d:a " {
		t.Fatalf("the locks are %q", got)
	}
	if got := in(kv.Span{Start: kv.Key("c"), End: kv.Key("d")}, 9); got != "c:b " {
		t.Fatalf("the locks in [c, d) are %q", got)
	}
	if got := in(kv.Span{}, 1); got != "b:a " {
		t.Fatalf("the first lock is %q", got)
	}
	w := guard("w", key(Exclusive, "e"))
	acquire(t, tb, w)
	wantGranted(t, tb, "w")
	wantBlocker(t, tb, w, a)
	tb.Unlock(a)
	wantBlocker(t, tb, w, b)
	tb.Unlock(b)
	wantBlocker(t, tb, w, nil)
	if a.Locked() || in(kv.Span{}, 9) != "" {
		t.Fatal("locks are left")
	}
}

// TestReadsAtLocks is rule D3: what is locked is ignored, what draws or is proposed is awaited.
//
// Shows D3.
func TestReadsAtLocks(t *testing.T) {
	keys := []kv.Key{kv.Key("k")}
	tb := NewTable(10)
	old, h := guard("old", key(Blind, "k")), guard("h", key(Exclusive, "k"), key(Shared, "s"))
	acquire(t, tb, old)
	wantGranted(t, tb, "old")
	tb.Asked(old)
	tb.Propose(old, 10)
	lock(t, tb, h) // above a pending version
	if !tb.AwaitKeys(&Await{At: 9}, keys) {
		t.Fatal("a read at 9 awaits a write at 10, or one that is only locked")
	}
	tb.Asked(h)
	if !h.Asked() || h.Held() {
		t.Fatal("asked under locks is not held under latches")
	}
	if !tb.AwaitKeys(&Await{At: Strong}, []kv.Key{kv.Key("s")}) {
		t.Fatal("a shared lock is awaited (rule D7)")
	}
	for _, a := range []*Await{{Owner: "r9", At: 9}, {Owner: "r15", At: 15}} {
		if tb.AwaitKeys(a, keys) {
			t.Fatalf("%v does not await what draws", a.Owner)
		}
	}
	tb.Propose(h, 20)
	wantReady(t, tb, "r9") // r15 goes to the write at 10
	strong := &Await{Owner: "strong", At: Strong}
	if tb.AwaitSpan(strong, kv.Span{}) || !tb.AwaitSpan(&Await{At: 9}, kv.Span{}) {
		t.Fatal("a proposed write under locks is not awaited by its timestamp")
	}
	if k := tb.NewerIn(kv.Span{}, 19); string(k) != "k" {
		t.Fatalf("the newer key is %q", k)
	}
	tb.Applied(old)
	wantReady(t, tb, "r15")
	if tb.LockOn(keys[0]) != h {
		t.Fatal("the lock is gone before its write is applied (rule H5)")
	}
	tb.Applied(h)
	wantReady(t, tb, "strong")
	if tb.Len() != 0 || h.Locked() {
		t.Fatal("something is left")
	}
}

func TestReadOfALockThatIsGivenUp(t *testing.T) {
	tb := NewTable(10)
	old, h := guard("old", key(Blind, "k")), guard("h", key(Exclusive, "k"))
	acquire(t, tb, old)
	wantGranted(t, tb, "old")
	tb.Asked(old)
	tb.Propose(old, 10)
	lock(t, tb, h)
	tb.Asked(h)
	for _, a := range []*Await{{Owner: "r9", At: 9}, {Owner: "strong", At: Strong}} {
		if tb.AwaitKeys(a, []kv.Key{kv.Key("k")}) {
			t.Fatalf("%v does not await what draws", a.Owner)
		}
	}
	tb.Unlock(h)
	wantReady(t, tb, "r9")
	tb.Applied(old)
	wantReady(t, tb, "strong")
}

// TestWithdrawnLock: what is staged may end after later proposals, or never be applied at all.
func TestWithdrawnLock(t *testing.T) {
	tb := NewTable(10)
	old, h, later := guard("old", key(Blind, "k")), guard("h", key(Exclusive, "k"), key(Shared, "s")), guard("later", key(Blind, "m"))
	acquire(t, tb, old)
	wantGranted(t, tb, "old")
	tb.Asked(old)
	tb.Propose(old, 10)
	lock(t, tb, h)
	tb.Asked(h)
	tb.Propose(h, 20)
	acquire(t, tb, later)
	wantGranted(t, tb, "later")
	tb.Asked(later)
	tb.Propose(later, 21)
	both := &Await{Owner: "both", At: 30}
	if tb.AwaitKeys(both, []kv.Key{kv.Key("k"), kv.Key("m")}) {
		t.Fatal("proposed writes are not awaited")
	}
	tb.Applied(old)
	tb.Applied(later)
	wantReady(t, tb)
	if p, ok := tb.Newest(kv.Key("k")); !ok || p.Timestamp != 20 {
		t.Fatalf("what is staged is at %d", p.Timestamp)
	}
	tb.Withdraw(h)
	wantReady(t, tb, "both")
	if tb.Len() != 0 || h.Locked() || tb.Locks() != 0 {
		t.Fatal("something is left")
	}
}

func TestLockChecks(t *testing.T) {
	broken := func(name string, f func(tb *Table, h, g *Guard)) {
		t.Run(name, func(t *testing.T) {
			tb := NewTable(10)
			h, g := guard("h", key(Exclusive, "k")), guard("g", key(Exclusive, "k"))
			lock(t, tb, h)
			acquire(t, tb, g)
			wantGranted(t, tb, "g")
			defer func() {
				if why, _ := recover().(string); !strings.Contains(why, "invariant violated") {
					t.Fatalf("no invariant was named: %q", why)
				}
			}()
			f(tb, h, g)
		})
	}
	broken("a lock on what is locked", func(tb *Table, _, g *Guard) { tb.Lock(g) })
	broken("a draw past a lock", func(tb *Table, _, g *Guard) { tb.Asked(g) })
	broken("a lock without latches", func(tb *Table, _, _ *Guard) { tb.Lock(guard("x", key(Exclusive, "x"))) })
	broken("a restore of what is declared", func(tb *Table, _, g *Guard) { tb.Restore(g) })
	broken("a restored lock on what is locked", func(tb *Table, _, _ *Guard) { tb.Restore(guard("x", key(Shared, "k"))) })
	broken("a lock inside a locked span", func(tb *Table, _, _ *Guard) {
		tb.Restore(guard("x", span(Shared, "x", "z")))
		tb.Restore(guard("y", key(Exclusive, "y")))
	})
	broken("a drop of locks", func(tb *Table, h, _ *Guard) { tb.Drop(h) })
	broken("an unlock without locks", func(tb *Table, _, g *Guard) { tb.Unlock(g) })
	broken("a wait for what has no locks", func(tb *Table, h, g *Guard) {
		tb.Unlock(h)
		tb.Wait(g, h)
	})
	broken("a wait without latches", func(tb *Table, h, g *Guard) {
		tb.Drop(g)
		tb.Wait(g, h)
	})
	broken("an unlock of what is proposed", func(tb *Table, h, _ *Guard) {
		tb.Asked(h)
		tb.Propose(h, 10)
		tb.Unlock(h)
	})
	broken("a withdrawal of what is not proposed", func(tb *Table, h, _ *Guard) { tb.Withdraw(h) })
	broken("a key locked twice", func(tb *Table, _, _ *Guard) {
		tb.Restore(guard("x", key(Shared, "x"), key(Exclusive, "x")))
	})
	broken("a span locked twice", func(tb *Table, _, _ *Guard) {
		tb.Restore(guard("x", span(Shared, "x", "y"), span(Shared, "x", "z")))
	})
	broken("a blind lock", func(tb *Table, _, _ *Guard) { tb.Restore(guard("x", key(Blind, "x"))) })
}

// BenchmarkBlocker is what a put asks of the locks, of which there are so many on other keys.
func BenchmarkBlocker(b *testing.B) {
	for _, locks := range []int{0, 1, 10_000} {
		b.Run(fmt.Sprintf("locks=%d", locks), func(b *testing.B) {
			tb := NewTable(10)
			for i := range locks {
				tb.Restore(guard("", key(Exclusive, fmt.Sprintf("key%08d", i))))
			}
			g := guard("", key(Blind, "key00005000x"))
			tb.Acquire(g)
			b.ReportAllocs()
			for b.Loop() {
				if tb.Blocker(g) != nil {
					b.Fatal("nothing is in the way")
				}
			}
		})
	}
}
