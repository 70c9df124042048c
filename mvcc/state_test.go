package mvcc

import (
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// TestRetainedAgreesWithReplicaState: the short cut reads the same two numbers.
func TestRetainedAgreesWithReplicaState(t *testing.T) {
	e, err := Open(Options{Dir: "state", FS: NewMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	b := e.NewBatch()
	for p := range kv.PartitionID(3) {
		s := &ReplicaState{Replica: 9, Applied: 5, GC: kv.Timestamp(100 + p), Horizon: kv.Timestamp(200 + p), ConfState: []byte("conf")}
		s.Descriptor = kv.Descriptor{Partition: 2*p + 2, Span: kv.Span{Start: kv.Key{0, 0, 0, 1}, End: kv.Key{0, 0, 0, 2}}}
		if err := b.SetReplicaState(2*p+2, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	r, err := e.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for p := range kv.PartitionID(9) {
		s, found, err := r.ReplicaState(p)
		if err != nil {
			t.Fatal(err)
		}
		gc, h, ok, err := r.Retained(p)
		if err != nil || ok != found || gc != s.GC || h != s.Horizon {
			t.Errorf("partition %d: %d %d %v %v, want %d %d %v", p, gc, h, ok, err, s.GC, s.Horizon, found)
		}
	}
}
