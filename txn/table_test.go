package txn

import (
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

func guard(name string, ls ...Latch) *Guard { return &Guard{Owner: name, Latches: ls} }

func key(mode Mode, k string) Latch { return Latch{Span: kv.Span{Start: kv.Key(k)}, Mode: mode} }

func span(mode Mode, a, b string) Latch {
	return Latch{Span: kv.Span{Start: kv.Key(a), End: kv.Key(b)}, Wide: true, Mode: mode}
}

func acquire(t *testing.T, tb *Table, gs ...*Guard) {
	t.Helper()
	for _, g := range gs {
		if !tb.Acquire(g) {
			t.Fatalf("guard %v was refused", g.Owner)
		}
	}
}

// wantGranted insists on exactly these grants, in this order.
func wantGranted(t *testing.T, tb *Table, want ...string) {
	t.Helper()
	got := []string{}
	for g := tb.NextGranted(); g != nil; g = tb.NextGranted() {
		got = append(got, g.Owner.(string))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("granted %v, want %v", got, want)
	}
}

func wantReady(t *testing.T, tb *Table, want ...string) {
	t.Helper()
	got := []string{}
	for a := tb.NextReady(); a != nil; a = tb.NextReady() {
		got = append(got, a.Owner.(string))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("ready %v, want %v", got, want)
	}
}

func TestExclusiveIsFIFO(t *testing.T) {
	tb := NewTable(10)
	a, b, c := guard("a", key(Exclusive, "k")), guard("b", key(Exclusive, "k")), guard("c", key(Exclusive, "k"))
	acquire(t, tb, a, b, c)
	wantGranted(t, tb, "a")
	tb.Drop(b) // one that waits leaves
	wantGranted(t, tb)
	tb.Drop(a)
	wantGranted(t, tb, "c")
	tb.Drop(c)
	if tb.Len() != 0 || tb.Waiting() != 0 {
		t.Fatalf("%d keys and %d waiting guards are left", tb.Len(), tb.Waiting())
	}
}

func TestSharedTogetherButNotPastAWriter(t *testing.T) {
	tb := NewTable(10)
	r1, r2, w, r3, r4 := guard("r1", key(Shared, "k")), guard("r2", key(Shared, "k")), guard("w", key(Exclusive, "k")), guard("r3", key(Shared, "k")), guard("r4", key(Shared, "k"))
	acquire(t, tb, r1, r2, w, r3, r4)
	wantGranted(t, tb, "r1", "r2")
	tb.Drop(r1)
	wantGranted(t, tb)
	tb.Drop(w) // in the middle: those behind it may join the holder
	wantGranted(t, tb, "r3", "r4")
	tb.Drop(r2)
	tb.Drop(r3)
	tb.Drop(r4)
	if tb.Len() != 0 {
		t.Fatalf("%d keys are left", tb.Len())
	}
}

func TestAllAtOnceOrNothing(t *testing.T) {
	tb := NewTable(10)
	a, ab, b := guard("a", key(Exclusive, "a")), guard("ab", key(Exclusive, "a"), key(Exclusive, "b")), guard("b", key(Exclusive, "b"))
	acquire(t, tb, a, ab, b)
	wantGranted(t, tb, "a") // b waits its turn behind ab
	tb.Drop(a)
	wantGranted(t, tb, "ab")
	tb.Drop(ab)
	wantGranted(t, tb, "b")
}

func TestBlindWritersOfOneStep(t *testing.T) {
	tb := NewTable(10)
	b1, b2, b3, e, b4 := guard("b1", key(Blind, "k")), guard("b2", key(Blind, "k")), guard("b3", key(Blind, "k")), guard("e", key(Exclusive, "k")), guard("b4", key(Blind, "k"))
	acquire(t, tb, b1, b2, b3, e, b4)
	wantGranted(t, tb, "b1") // b2 came in another turn than b1's draw
	tb.Asked(b1)
	tb.Propose(b1, 10)
	wantGranted(t, tb, "b2", "b3")
	tb.Asked(b2)
	tb.Asked(b3)
	tb.Propose(b2, 11)
	wantGranted(t, tb)
	tb.Propose(b3, 12)
	wantGranted(t, tb, "e")
	if p, ok := tb.Newest(kv.Key("k")); !ok || p.Timestamp != 12 {
		t.Fatalf("the newest pending version is %v, %v", p, ok)
	}
	tb.Drop(e)
	wantGranted(t, tb, "b4")
	for _, g := range []*Guard{b1, b2, b3} {
		tb.Applied(g)
	}
	tb.Drop(b4)
	if tb.Len() != 0 {
		t.Fatalf("%d keys are left", tb.Len())
	}
}

func TestSpans(t *testing.T) {
	tb := NewTable(10)
	w := guard("w", key(Exclusive, "m"))
	s := guard("s", span(Shared, "a", "n"))
	in, out := guard("in", key(Blind, "c")), guard("out", key(Blind, "n"))
	s2 := guard("s2", span(Shared, "b", ""))
	x := guard("x", span(Exclusive, "", "b"))
	acquire(t, tb, w, s, in, out, s2, x)
	wantGranted(t, tb, "w", "out")
	tb.Asked(w)
	tb.Propose(w, 5)
	wantGranted(t, tb, "s") // s2 waits for in and out, x for s
	if k := tb.NewerIn(kv.Span{Start: kv.Key("a"), End: kv.Key("z")}, 4); string(k) != "m" {
		t.Fatalf("the newer key is %q", k)
	}
	if k := tb.NewerIn(kv.Span{Start: kv.Key("a"), End: kv.Key("z")}, 5); k != nil {
		t.Fatalf("the newer key is %q", k)
	}
	tb.Drop(s)
	wantGranted(t, tb, "in", "x")
	tb.Drop(in)
	tb.Drop(out)
	wantGranted(t, tb, "s2")
}

func TestQueueIsBounded(t *testing.T) {
	tb := NewTable(2)
	acquire(t, tb, guard("a", key(Exclusive, "b")), guard("b", key(Exclusive, "b")))
	refused := guard("c", key(Exclusive, "a"), key(Exclusive, "b"), key(Exclusive, "c"))
	if tb.Acquire(refused) {
		t.Fatal("a third latch was taken")
	}
	if refused.Held() || tb.Len() != 1 || tb.Waiting() != 1 {
		t.Fatalf("something is left of it: %d keys, %d waiting", tb.Len(), tb.Waiting())
	}
	acquire(t, tb, guard("d", key(Exclusive, "a"), key(Exclusive, "c")))
	wantGranted(t, tb, "a", "d")
}

func TestDeclaredAgainAfterADrop(t *testing.T) {
	tb := NewTable(10)
	w1, w2 := guard("w1", key(Exclusive, "k")), guard("w2", key(Exclusive, "l"))
	s := guard("s", span(Shared, "a", "z"))
	acquire(t, tb, w1, w2, s)
	tb.Drop(s)
	acquire(t, tb, s)
	wantGranted(t, tb, "w1", "w2")
	tb.Drop(w1) // must count once, though s began to wait for it twice
	wantGranted(t, tb)
	tb.Drop(w2)
	wantGranted(t, tb, "s")
}

func TestAwaits(t *testing.T) {
	keys := []kv.Key{kv.Key("k")}
	tb := NewTable(10)
	old, b1, b2, late := guard("old", key(Blind, "k")), guard("b1", key(Blind, "k")), guard("b2", key(Blind, "k")), guard("late", key(Blind, "k"))
	acquire(t, tb, old, b1, b2)
	tb.NextGranted()
	if !tb.AwaitKeys(&Await{At: Strong}, keys) {
		t.Fatal("a latch whose draw is not asked for is awaited")
	}
	tb.Asked(old)
	tb.Propose(old, 10)
	wantGranted(t, tb, "b1", "b2")
	tb.Asked(b1)
	tb.Asked(b2)
	acquire(t, tb, late)
	reads := map[string]*Await{"strong": {At: Strong}, "r9": {At: 9}, "r10": {At: 10}, "r20": {At: 20}, "gone": {At: 20}}
	for _, name := range []string{"strong", "r9", "r10", "r20", "gone"} {
		a := reads[name]
		a.Owner = name
		if tb.AwaitKeys(a, keys) {
			t.Fatalf("%s has nothing to await", name)
		}
	}
	wantReady(t, tb)
	tb.Propose(b1, 15)
	wantReady(t, tb) // b2 may still be below 9, for all that is known
	tb.Propose(b2, 16)
	wantReady(t, tb, "r9") // nothing at or below 9 is under way
	if !b2.Awaited() || late.Awaited() {
		t.Errorf("reads wait for the last write: %v, for a latch whose draw is not asked for: %v", b2.Awaited(), late.Awaited())
	}
	tb.Forget(reads["gone"])
	wantGranted(t, tb, "late")
	tb.Asked(late)
	tb.Propose(late, 17) // began to draw later: nobody awaits it
	tb.Applied(old)
	wantReady(t, tb, "r10")
	tb.Applied(b1)
	wantReady(t, tb)
	tb.Applied(b2)
	wantReady(t, tb, "r20", "strong")
}

func TestAwaitOfAWriteThatIsGivenUp(t *testing.T) {
	tb := NewTable(10)
	first := guard("first", key(Exclusive, "k"))
	b1, b2 := guard("b1", key(Blind, "k")), guard("b2", key(Blind, "k"))
	acquire(t, tb, first, b1, b2)
	tb.Drop(first)
	wantGranted(t, tb, "b1", "b2")
	tb.Asked(b1)
	tb.Asked(b2)
	a := &Await{Owner: "read", At: Strong}
	tb.AwaitSpan(a, kv.Span{Start: kv.Key("a")})
	tb.Drop(b2) // the read still has to wait for b1
	wantReady(t, tb)
	tb.Propose(b1, 3)
	wantReady(t, tb)
	tb.Applied(b1)
	wantReady(t, tb, "read")
}

func TestChecks(t *testing.T) {
	broken := func(name string, f func(tb *Table, a, b *Guard)) {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("nothing was noticed")
				}
			}()
			tb := NewTable(10)
			a, b := guard("a", key(Blind, "k")), guard("b", key(Blind, "k"))
			acquire(t, tb, a)
			tb.Asked(a)
			acquire(t, tb, b)
			f(tb, a, b)
		})
	}
	broken("a version not above the one before", func(tb *Table, a, b *Guard) {
		tb.Propose(a, 10)
		tb.Asked(b)
		tb.Propose(b, 10)
	})
	broken("draw without latches", func(tb *Table, _, b *Guard) { tb.Asked(b) })
	broken("drop of a proposed guard", func(tb *Table, a, _ *Guard) {
		tb.Propose(a, 10)
		tb.Drop(a)
	})
	broken("applied out of order", func(tb *Table, a, b *Guard) {
		tb.Propose(a, 10)
		tb.Asked(b)
		tb.Propose(b, 11)
		tb.Applied(b)
	})
	broken("a key named twice", func(tb *Table, _, _ *Guard) {
		tb.Acquire(guard("c", key(Exclusive, "x"), key(Shared, "x")))
	})
}

func BenchmarkBlindPut(b *testing.B) {
	for _, others := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("keys=%d", others), func(b *testing.B) {
			tb := NewTable(10)
			for i := range others {
				tb.Acquire(guard("", key(Blind, fmt.Sprintf("key%08d", i*7919%others))))
			}
			for tb.NextGranted() != nil {
			}
			k := kv.Key("key00005000x")
			g := &Guard{Latches: make([]Latch, 1)}
			b.ReportAllocs()
			ts := kv.Timestamp(0)
			for b.Loop() {
				g.Latches[0] = Latch{Span: kv.Span{Start: k}, Mode: Blind}
				tb.Acquire(g)
				tb.NextGranted()
				tb.Asked(g)
				ts++
				tb.Propose(g, ts)
				tb.Applied(g)
			}
		})
	}
}
