package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/cmd/kvcli/store/storetest"
	"github.com/kvd-db/kvd/kv"
)

// transactionsOf fills the fake: a coordinator with a lock, a participant with three, and more.
func transactionsOf(t *testing.T, f *storetest.Fake) {
	t.Helper()
	if err := f.CreateKeyspace(t.Context(), kv.CreateKeyspace{Name: "users"}); err != nil {
		t.Fatal(err)
	}
	key := func(keyspace kv.KeyspaceID, k string) kv.Key { return kv.MakeKey(keyspace, []byte(k)) }
	older, younger := kv.Age{0: 6, 1: 0x88, 15: 1}, kv.Age{0: 6, 1: 0x89, 15: 2}
	f.SetTransactions(&kv.TransactionsAnswer{Partition: 10, Node: 1, More: 4, Transactions: []kv.TransactionStatus{
		{
			Role: "coordinator", State: "preparing", ID: kv.TxID{0: 1}, Age: older, Anchor: 10, AnchorKey: key(1, "a"), Since: 3 * time.Second,
			Waiters: 2, Missing: []kv.PartitionID{11, 12}, Locks: []kv.LockStatus{{Span: kv.Span{Start: key(1, "a")}, Exclusive: true, Waiters: 2}},
		},
		{
			Role: "participant", State: "locked", ID: kv.TxID{0: 2}, Age: younger, Anchor: 11, AnchorKey: key(2, "ada"), Since: time.Millisecond, MoreLocks: 7,
			Locks: []kv.LockStatus{
				{Span: kv.Span{Start: key(1, "b c")}},
				{Span: kv.Span{Start: key(1, "d"), End: key(1, "f")}, Waiters: 1},
				{Span: kv.Span{Start: key(1, "x"), End: kv.PrefixEnd(key(1, ""))}},
			},
		},
	}})
}

func TestTxs(t *testing.T) {
	a := newTestApp("")
	transactionsOf(t, a.fake)
	out, talk, code := a.run("txs")
	want := `{"partition":10,"leader":1,"role":"coordinator","state":"preparing","id":"01000000000000000000000000000000","age":"470626161060216832","since_ms":3000,"locks":1,"waiters":2,"anchor":10,"keyspace":"default","anchor_key":"a","missing":["11","12"]}
{"partition":10,"leader":1,"role":"participant","state":"locked","id":"02000000000000000000000000000000","age":"470907636036927488","since_ms":1,"locks":10,"waiters":0,"anchor":11,"keyspace":"users","anchor_key":"ada","missing":[]}
`
	if out != want || talk != "partition 10 has more: 4 transactions and 7 locks are not listed\n" || code != 0 {
		t.Errorf("exit code %d, said %q, printed\n%swant\n%s", code, talk, out, want)
	}
	if out := a.must(t, "txs", "-o", "table"); strings.Count(out, "\n") != 3 || !strings.Contains(out, "11; 12") {
		t.Errorf("a table:\n%s", out)
	}
	if out := a.must(t, "txs", "--keyspace", "users"); out != "" {
		t.Errorf("those of another keyspace: %q", out)
	}
	if _, _, code := a.run("txs", "--keyspace", "none"); code != exitNotFound {
		t.Errorf("an unknown keyspace: exit code %d", code)
	}
}

func TestLocks(t *testing.T) {
	a := newTestApp("")
	transactionsOf(t, a.fake)
	want := `keyspace,key,end,mode,id,since_ms,waiters,partition,leader
default,a,,exclusive,01000000000000000000000000000000,3000,2,10,1
default,"""b c""",,shared,02000000000000000000000000000000,1,0,10,1
default,d,f,shared,02000000000000000000000000000000,1,1,10,1
default,x,"""""",shared,02000000000000000000000000000000,1,0,10,1
`
	if out := a.must(t, "locks", "-o", "csv"); out != want {
		t.Errorf("printed\n%swant\n%s", out, want)
	}
	for prefix, keys := range map[string]string{"a": "a", "b": "b c", "e": "d", "f": "", "d": "d", "y": "x", "c": "", "": "a b c d x", "ee": "d"} {
		out := a.must(t, "locks", `"`+prefix+`"`, "-o", "raw")
		var got []string
		for line := range strings.Lines(out) {
			got = append(got, strings.Split(line, "\t")[1])
		}
		if strings.Join(got, " ") != keys {
			t.Errorf("locks on %q: %q, want %q", prefix, got, keys)
		}
	}
}

// A partition that does not answer hides nothing of the others.
func TestTxsOfAHalf(t *testing.T) {
	a := newTestApp("")
	transactionsOf(t, a.fake)
	a.fake.FailWith(func(op string, key []byte) error {
		if op == "transactions" && bytes.Equal(key, []byte("11")) {
			return kv.Errorf(kv.Unavailable, "no leader")
		}
		return nil
	})
	for _, command := range []string{"txs", "locks"} {
		if out, talk, code := a.run(command); code != exitUnavailable || strings.Count(out, "\n") < 2 || !strings.Contains(talk, "1 partition did not answer: no leader") {
			t.Errorf("%s: exit code %d, printed %q, said %q", command, code, out, talk)
		}
	}
	a.fake.FailWith(func(string, []byte) error { return errors.New("broken") })
	if _, _, code := a.run("txs"); code != exitError {
		t.Errorf("no map: exit code %d", code)
	}
}
