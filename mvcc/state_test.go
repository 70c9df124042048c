package mvcc

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"

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

// TestRetainedFromIsNeverBehind: what a reader is told of G is at least the G of its state, and
// a replica that is deleted is unknown before its data are gone.
func TestRetainedFromIsNeverBehind(t *testing.T) {
	fs, p := NewMemFS(), kv.PartitionID(7)
	open := func() *Engine {
		e, err := Open(Options{Dir: "state", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := open()
	span := kv.Span{Start: kv.MakeKey(7, []byte("a")), End: kv.MakeKey(7, []byte("b"))}
	state := func(gc kv.Timestamp) *ReplicaState {
		return &ReplicaState{Replica: 1, Applied: 5, GC: gc, Descriptor: kv.Descriptor{Partition: p, Span: span}}
	}
	asked := func(e *Engine) (kv.Timestamp, bool) {
		r, err := e.NewReader()
		must(t, err)
		defer r.Close()
		return r.RetainedFrom(p)
	}
	if _, ok := asked(e); ok {
		t.Error("an empty store knows a replica")
	}
	for _, gc := range []kv.Timestamp{10, 20} {
		b := e.NewBatch()
		must(t, b.SetReplicaState(p, state(gc)))
		if got, ok := asked(e); !ok || got != gc {
			t.Errorf("before the commit G is %d, %v, want %d", got, ok, gc)
		}
		must(t, b.Commit())
	}
	chunks := [][]byte(nil)
	args := SnapshotArgs{Partition: p, Span: span}
	_, err := e.ExportSnapshot(args, func(c []byte) error { chunks = append(chunks, append([]byte{}, c...)); return nil })
	must(t, err)
	must(t, e.IngestSnapshot(args, chunks, state(30)))
	must(t, e.Close())
	e = open()
	defer e.Close()
	if got, ok := asked(e); !ok || got != 30 {
		t.Errorf("after a restart G is %d, %v, want 30", got, ok)
	}
	b := e.NewBatch()
	must(t, b.DeleteReplica(p, span))
	if _, ok := asked(e); ok {
		t.Error("a replica that is being deleted may still be read")
	}
	must(t, b.Commit())
}

// What an apply has overwritten costs a read of the state nothing, though the memtable holds it still.
func TestReplicaStateSteps(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	s := sampleState()
	p := s.Descriptor.Partition
	b := e.NewBatch()
	must(t, b.SetReplicaState(p, &s))
	must(t, b.Commit())
	const applies = 1000
	for i := range kv.LogIndex(applies) {
		b := e.NewBatch()
		must(t, b.SetApplied(p, s.Applied+i+1, s.AppliedTerm))
		must(t, b.Commit())
	}
	r, err := e.NewReader()
	must(t, err)
	defer r.Close()
	got, ok, err := r.ReplicaState(p)
	if err != nil || !ok || got.Applied != s.Applied+applies || got.Counters != s.Counters || got.Replica != s.Replica {
		t.Fatalf("%+v, %v, %v", got, ok, err)
	}
	stats := r.it.Stats()
	if n := stats.ForwardStepCount[pebble.InternalIterCall] + stats.ForwardSeekCount[pebble.InternalIterCall]; n == 0 || n > applies/10 {
		t.Errorf("%d steps and seeks after %d applies", n, applies)
	}
}
