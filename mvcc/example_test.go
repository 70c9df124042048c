package mvcc_test

import (
	"fmt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// An apply writes its data and its index in one batch. After a crash the store is at the last
// flush, and the log is replayed from there.
func Example() {
	fs := mvcc.NewMemFS()
	e, err := mvcc.Open(mvcc.Options{Dir: "state", FS: fs})
	if err != nil {
		panic(err)
	}
	users := kv.Keyspace{ID: 7, Scheme: kv.SchemeRange}
	apply := func(index kv.LogIndex, ts kv.Timestamp, name string) {
		b := e.NewBatch()
		if err := b.Put(users.FullKey([]byte("alice")), ts, kv.TxID{1}, []byte(name)); err != nil {
			panic(err)
		}
		if err := b.SetApplied(2, index, 1); err != nil {
			panic(err)
		}
		if err := b.Commit(); err != nil {
			panic(err)
		}
	}
	apply(11, 100, "Alice")
	if err := e.Flush(); err != nil {
		panic(err)
	}
	apply(12, 200, "Alice B.")

	r, _ := e.NewReader()
	for _, ts := range []kv.Timestamp{50, 150, mvcc.MaxTimestamp} {
		v, ok, _ := r.Get(users.FullKey([]byte("alice")), ts)
		fmt.Printf("%v %q\n", ok, v.Value)
	}
	r.Close()
	flushed, _ := e.FlushedApplied(2)
	fmt.Println("the log may be cut up to", flushed)

	after := mvcc.CrashClone(fs)
	_ = e.Abandon()
	e, err = mvcc.Open(mvcc.Options{Dir: "state", FS: after})
	if err != nil {
		panic(err)
	}
	r, _ = e.NewReader()
	v, _, _ := r.Get(users.FullKey([]byte("alice")), mvcc.MaxTimestamp)
	fmt.Println("after a crash:", string(v.Value))
	r.Close()
	_ = e.Close()
	// Output:
	// false ""
	// true "Alice"
	// true "Alice B."
	// the log may be cut up to 11
	// after a crash: Alice
}
