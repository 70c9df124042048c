//go:build mutants

package txn

import (
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// TestStrongNoAwaitCoord shows that the planted bug does what its name says and no more: strong
// reads pass by what is written under locks, and stop at what is written under latches.
func TestStrongNoAwaitCoord(t *testing.T) {
	invariant.Plant(invariant.StrongNoAwaitCoord)
	defer invariant.Plant("")
	keys := []kv.Key{kv.Key("k")}
	tb := NewTable(10)
	old, h := guard("old", key(Blind, "k")), guard("h", key(Exclusive, "k"))
	acquire(t, tb, old)
	wantGranted(t, tb, "old")
	tb.Asked(old)
	tb.Propose(old, 10)
	lock(t, tb, h)
	tb.Asked(h)
	strong := func(name string) {
		a := &Await{Owner: name, At: Strong}
		if tb.AwaitKeys(a, keys) {
			t.Fatalf("%s does not await the write under latches", name)
		}
	}
	strong("asked")
	tb.Propose(h, 20)
	strong("proposed")
	tb.Applied(old)
	wantReady(t, tb, "asked", "proposed")
	if !tb.AwaitKeys(&Await{At: Strong}, keys) || tb.AwaitKeys(&Await{At: 20}, keys) {
		t.Fatal("a strong read awaits what is proposed under locks, or a read at 20 does not")
	}
}
