package partition

import (
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// TestReadsLeaveLocksThatAreNotApplied: a read that nobody waits for any more holds no memory until they are.
func TestReadsLeaveLocksThatAreNotApplied(t *testing.T) {
	w := ledWorld(t, Options{})
	w.p.Request(1, &kv.Request{Prepare: &kv.Prepare{
		Attempt: kv.Attempt{ID: testID(1), Term: 1, AsOf: 1, Partition: testPartition + 1, Anchor: kv.Key("a")},
		Writes:  []kv.Write{{Kind: kv.WritePut, Key: kv.Key("k")}},
	}})
	w.takeAll()
	w.commit()
	w.p.Request(2, &kv.Request{Resolve: &kv.Resolve{ID: testID(1), Commit: w.heard + 1}})
	for id := RequestID(3); id <= 4; id++ {
		w.p.Request(id, &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}})
	}
	p := w.p.lead.transactions.byID[testID(1)]
	if len(p.readers) != 2 {
		t.Fatalf("%d reads wait for the lock", len(p.readers))
	}
	w.p.Cancel(3)
	if len(p.readers) != 1 || p.readers[0].ticket.id != 4 {
		t.Errorf("after one was canceled %d wait", len(p.readers))
	}
	w.applyTo(len(w.log))
	if len(p.readers) != 0 {
		t.Errorf("when it is applied %d wait", len(p.readers))
	}
}
