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

// A transaction over two partitions locks its own part here, waits for the other partition, and
// draws. Another writer waits, holding nothing; a read waits only once the draw is asked for.
func ExampleTable_Lock() {
	t := txn.NewTable(100)
	k := kv.Key("k")
	write := func(name string) *txn.Guard {
		g := &txn.Guard{Owner: name, Latches: []txn.Latch{{Span: kv.Span{Start: k}, Mode: txn.Exclusive}}}
		t.Acquire(g)
		return t.NextGranted()
	}
	transfer := write("transfer")
	t.Lock(transfer)
	others := txn.NewRoll(1)

	put := write("put") // granted past the lock
	t.Wait(put, t.Blocker(put))
	fmt.Println(put.Held(), "nothing to await:", t.AwaitKeys(&txn.Await{Owner: "early", At: txn.Strong}, []kv.Key{k}))

	if others.Answered(0) {
		t.Asked(transfer)
	}
	late := &txn.Await{Owner: "late", At: txn.Strong}
	fmt.Println("nothing to await:", t.AwaitKeys(late, []kv.Key{k}))

	t.Propose(transfer, 10)
	fmt.Println(t.LockOn(k).Owner, t.NextGranted(), t.NextReady())
	t.Applied(transfer)
	fmt.Println(t.LockOn(k), t.NextGranted().Owner, t.NextReady().Owner)
	// Output:
	// false nothing to await: true
	// nothing to await: false
	// transfer <nil> <nil>
	// <nil> put late
}
