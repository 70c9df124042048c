package txn_test

import (
	"fmt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// Two blind writers of one key: the second goes on when the first is proposed, not when it
// is applied; a read waits for both.
func ExampleTable() {
	t := txn.NewTable(100)
	write := func(name string) *txn.Guard {
		g := &txn.Guard{Owner: name, Latches: []txn.Latch{{Span: kv.Span{Start: kv.Key("k")}, Mode: txn.Blind}}}
		t.Acquire(g)
		return g
	}
	first, second := write("first"), write("second")
	fmt.Println(t.NextGranted().Owner, t.NextGranted())

	t.Asked(first)
	t.Propose(first, 10)
	fmt.Println(t.NextGranted().Owner)
	t.Asked(second)

	read := &txn.Await{Owner: "read", At: txn.Strong}
	fmt.Println("nothing to await:", t.AwaitKeys(read, []kv.Key{kv.Key("k")}))
	t.Propose(second, 11)
	t.Applied(first)
	fmt.Println(t.NextReady())
	t.Applied(second)
	fmt.Println(t.NextReady().Owner)
	// Output:
	// first <nil>
	// second
	// nothing to await: false
	// <nil>
	// read
}
