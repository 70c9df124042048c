package partition

import (
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// apply applies one entry to a fresh batch and commits it.
func (w *world) apply(cs ...Command) (ApplyResult, error) {
	w.t.Helper()
	b := w.engine.NewBatch()
	data := encodeEntry(cs)
	if len(cs) == 0 {
		data = nil
	}
	res, err := w.machine.Apply(w.machine.State().Applied+1, 2, data, b)
	if err != nil {
		b.Discard()
		return res, err
	}
	w.must(w.machine.Finish(b))
	w.must(b.Commit())
	return res, nil
}

func (w *world) stored() mvcc.ReplicaState {
	st, ok, err := w.engine.ReplicaState(testPartition)
	w.must(err)
	if !ok {
		w.t.Fatal("the state is gone")
	}
	return st
}

func TestMachineStoresHowFarItIs(t *testing.T) {
	w := newWorld(t, Options{})
	if _, err := w.apply(); err != nil { // a leader's first entry is empty
		t.Fatal(err)
	}
	if st := w.stored(); st.Applied != 2 || st.AppliedTerm != 2 {
		t.Fatalf("applied is %d of term %d", st.Applied, st.AppliedTerm)
	}
}

func TestMachineRetention(t *testing.T) {
	w := newWorld(t, Options{})
	for _, step := range []struct {
		c           Command
		gc, horizon kv.Timestamp
	}{
		{Command{kind: commandGC, Timestamp: 50}, 0, 0}, // G never passes H
		{Command{kind: commandHorizon, Timestamp: 100}, 0, 100},
		{Command{kind: commandGC, Timestamp: 50}, 50, 100},
		{Command{kind: commandGC, Timestamp: 40}, 50, 100}, // nor does it go back
		{Command{kind: commandHorizon, Timestamp: 90}, 50, 100},
		{Command{kind: commandGC, Timestamp: 150}, 100, 100},
	} {
		res, err := w.apply(step.c)
		if err != nil {
			t.Fatal(err)
		}
		if st := w.stored(); res.GC != step.gc || res.Horizon != step.horizon || st.GC != step.gc || st.Horizon != step.horizon {
			t.Fatalf("after %+v: %+v, stored G %d, H %d", step.c, res, st.GC, st.Horizon)
		}
	}
}

func TestMachineTakesADescriptorOfTheNextGeneration(t *testing.T) {
	w := newWorld(t, Options{})
	d := w.desc.Clone()
	d.Generation = 2
	d.Replicas = append(d.Replicas, kv.Replica{ID: 2, Node: 2, Role: kv.RoleLearner})
	for i, step := range []struct {
		replaces kv.Generation
		taken    bool
	}{{9, false}, {1, true}, {1, false}} {
		res, err := w.apply(Command{kind: commandDescriptor, Descriptor: d, Generation: step.replaces})
		if err != nil {
			t.Fatal(err)
		}
		if (res.Descriptor != nil) != step.taken {
			t.Fatalf("step %d: taken: %v", i, res.Descriptor)
		}
	}
	if st := w.stored(); st.Descriptor.Generation != 2 || len(st.Descriptor.Replicas) != 2 {
		t.Fatalf("stored is %+v", st.Descriptor)
	}
}

func TestMachineConfiguration(t *testing.T) {
	w := newWorld(t, Options{})
	b := w.engine.NewBatch()
	_, err := w.machine.Apply(2, 2, nil, b)
	w.must(err)
	d := w.desc.Clone()
	d.Generation = 5
	w.machine.SetConfState([]byte("conf"))
	w.machine.SetDescriptor(d)
	w.must(w.machine.Finish(b))
	w.must(b.Commit())
	if st := w.stored(); string(st.ConfState) != "conf" || st.Descriptor.Generation != 5 || st.Applied != 2 {
		t.Fatalf("stored is %+v", st)
	}
}

// TestMachineOnlyTheAnchorCarriesTheID: the version of the first written key is the outcome.
//
// Shows I9.
func TestMachineOnlyTheAnchorCarriesTheID(t *testing.T) {
	w := newWorld(t, Options{})
	if _, err := w.apply(testCommandsInSpan()); err != nil {
		t.Fatal(err)
	}
	r, err := w.engine.NewReader()
	w.must(err)
	defer r.Close()
	for k, want := range map[string]kv.TxID{"k": testID(1), "gone": {}, "empty": {}} {
		v, ok, err := r.Get(kv.Key(k), 10)
		w.must(err)
		if !ok || v.ID != want || v.Timestamp != 10 {
			t.Errorf("%s has %+v", k, v)
		}
	}
	if c, ok, err := r.FindOutcome(kv.Key("k"), testID(1), 5); err != nil || !ok || c != 10 {
		t.Fatalf("the outcome is %d, %v, %v", c, ok, err)
	}
}

func testCommandsInSpan() Command { return testCommands()[0] }

func TestMachineStopsAtDamage(t *testing.T) {
	w := newWorld(t, Options{})
	b := w.engine.NewBatch()
	defer b.Discard()
	if _, err := w.machine.Apply(2, 2, []byte{entryFormat, 1, 77}, b); kv.KindOf(err) != kv.Corruption {
		t.Fatalf("the error is %v", err)
	}
}

// TestMachineCommitsOnce: an id that has an outcome is not committed at another timestamp, whatever way.
//
// Shows C7.
func TestMachineCommitsOnce(t *testing.T) {
	if !invariant.Expensive {
		t.Skip("needs the build tag invariants")
	}
	put := func(kind commandKind, id int, ts kv.Timestamp) Command {
		return Command{
			kind: kind, Attempt: kv.Attempt{ID: testID(id), Term: 1, AsOf: 5, Partition: testPartition, Anchor: kv.Key("k")}, Timestamp: ts,
			Versions:     []Version{{Key: kv.Key("k"), Value: []byte("v")}, {Key: kv.Key("l"), Value: []byte("v")}},
			Participants: []mvcc.Participant{{Partition: testPartition + 1, Span: kv.Span{Start: kv.Key("x"), End: kv.Key("y")}}},
		}
	}
	decide := put(commandDecide, 1, 14)
	decide.Versions = nil
	for name, x := range map[string]struct {
		cs     []Command
		entry  bool // all in one
		broken bool
	}{
		"twice":                   {[]Command{put(commandWrite, 1, 10), put(commandWrite, 2, 11), put(commandWrite, 1, 12)}, false, true},
		"twice in an entry":       {[]Command{put(commandWrite, 1, 10), put(commandWrite, 2, 11), put(commandWrite, 1, 12)}, true, true},
		"over several partitions": {[]Command{put(commandWrite, 1, 10), put(commandRecord, 1, 12)}, false, true},
		"in parallel":             {[]Command{put(commandRecord, 1, 10), decide}, false, true},
		"each once":               {[]Command{put(commandWrite, 1, 10), put(commandRecord, 2, 11), put(commandWrite, 3, 12)}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			defer func() {
				if r := recover(); (r != nil) != x.broken {
					t.Errorf("%v", r)
				}
			}()
			if x.entry {
				_, err := w.apply(x.cs...)
				w.must(err)
				return
			}
			for i := range x.cs {
				_, err := w.apply(x.cs[i])
				w.must(err)
			}
		})
	}
}

func TestMachineChecks(t *testing.T) {
	broken := func(name string, f func(w *world)) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			defer func() {
				if recover() == nil {
					t.Fatal("nothing was noticed")
				}
			}()
			f(w)
		})
	}
	broken("an entry is left out", func(w *world) { _, _ = w.machine.Apply(3, 2, nil, nil) })
	broken("an entry comes again", func(w *world) { _, _ = w.machine.Apply(1, 2, nil, nil) })
	broken("a write at G", func(w *world) {
		_, _ = w.apply(Command{kind: commandHorizon, Timestamp: 10}, Command{kind: commandGC, Timestamp: 10}, testCommands()[0])
	})
	broken("a key of another partition", func(w *world) {
		_, _ = w.apply(Command{kind: commandWrite, Attempt: kv.Attempt{ID: testID(1)}, Timestamp: 3, Versions: []Version{{Key: kv.Key("zz"), Tombstone: true}}})
	})
}
