package mvcc

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

func attempt(id byte) kv.Attempt {
	return kv.Attempt{ID: kv.TxID{id}, Term: kv.Term(id), AsOf: 5, Age: kv.Age{7: id}, Partition: 9, Anchor: kv.MakeKey(2, []byte("anchor"))}
}

func exclusive(k kv.Key, id byte) *Lock {
	return &Lock{Key: k, Strength: Exclusive, Attempt: attempt(id), Write: kv.WritePut, Value: []byte{'v', id}}
}

// putSampleLocks writes locks and records of all kinds into partition 2.
func putSampleLocks(t testing.TB, b *Batch) {
	must(t, b.PutLock(exclusive(kv.MakeKey(2, nil), 1)))
	for id := range byte(3) {
		must(t, b.PutLock(&Lock{Key: kv.MakeKey(2, []byte("4")), Strength: Shared, Attempt: attempt(id), End: kv.MakeKey(2, []byte("7"))}))
	}
	must(t, b.PutLock(&Lock{Key: kv.MakeKey(2, []byte("8")), Strength: Exclusive, Attempt: attempt(3), Write: kv.WriteDelete}))
	for id := range byte(2) {
		must(t, b.PutRecord(&Record{Attempt: attempt(id), State: RecordCommitted, Timestamp: 77, Participants: []Participant{{Partition: 4, Span: span(4)}}}))
	}
}

// putOldLocks writes locks and a record that a copy of partition 2 must replace, and some of partition 3, which stay.
func putOldLocks(t testing.TB, e *Engine) {
	b := e.NewBatch()
	for p := kv.PartitionID(2); p < 4; p++ {
		must(t, b.PutLock(exclusive(kv.MakeKey(kv.KeyspaceID(p), []byte("old")), 44)))
		must(t, b.PutLock(&Lock{Key: kv.MakeKey(kv.KeyspaceID(p), []byte("5")), Strength: Shared, Attempt: attempt(44)}))
		a := attempt(44)
		a.Anchor = kv.MakeKey(kv.KeyspaceID(p), []byte("old"))
		must(t, b.PutRecord(&Record{Attempt: a, State: RecordCommitted}))
	}
	must(t, b.Commit())
}

func locksOf(t testing.TB, e *Engine, p kv.PartitionID) (locks []Lock, records []Record) {
	t.Helper()
	r, err := e.NewReader()
	must(t, err)
	defer r.Close()
	must(t, r.Locks(span(p), func(l *Lock) error {
		locks = append(locks, *l)
		return nil
	}))
	must(t, r.Records(span(p), func(rec *Record) error {
		records = append(records, *rec)
		return nil
	}))
	return locks, records
}

// sameLocks compares the locks and records of partition 2 after a copy.
func sameLocks(t testing.TB, from, to *Engine) {
	t.Helper()
	wantLocks, wantRecords := locksOf(t, from, 2)
	locks, records := locksOf(t, to, 2)
	if len(locks) != 5 || len(records) != 2 || !reflect.DeepEqual(locks, wantLocks) || !reflect.DeepEqual(records, wantRecords) {
		t.Errorf("after a copy: locks %+v, want %+v; records %+v, want %+v", locks, wantLocks, records, wantRecords)
	}
	if locks, records := locksOf(t, to, 3); len(locks) != 2 || len(records) != 1 {
		t.Errorf("of another partition %d locks and %d records are left, want 2 and 1", len(locks), len(records))
	}
}

func TestDeletedReplicaLeavesNoLocks(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		e, _ := snapshotStore(t)
		putOldLocks(t, e)
		if flushed {
			must(t, e.Flush())
		}
		b := e.NewBatch()
		must(t, b.DeleteReplica(2, span(2)))
		if _, ok, err := b.TakeLock(kv.MakeKey(2, nil), Exclusive, kv.TxID{1}); ok || err != nil {
			t.Errorf("a lock of a deleted replica: %v %v", ok, err)
		}
		must(t, b.PutLock(exclusive(kv.MakeKey(2, nil), 9))) // another life of the partition
		must(t, b.Commit())
		if locks, records := locksOf(t, e, 2); len(locks) != 1 || locks[0].ID != (kv.TxID{9}) || len(records) != 0 {
			t.Errorf("a deleted replica leaves %+v and %+v", locks, records)
		}
		if locks, records := locksOf(t, e, 3); len(locks) != 2 || len(records) != 1 {
			t.Error("the locks of another replica were touched")
		}
		must(t, e.Close())
	}
}

func TestTakeLock(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS()})
	k := kv.MakeKey(2, []byte("k"))
	take := func(b *Batch, s Strength, id byte, want *Lock) {
		t.Helper()
		l, ok, err := b.TakeLock(k, s, kv.TxID{id})
		must(t, err)
		if ok != (want != nil) || ok && !reflect.DeepEqual(l, want) {
			t.Errorf("took %+v %v, want %+v", l, ok, want)
		}
	}
	first, shared := exclusive(k, 1), &Lock{Key: k, Strength: Shared, Attempt: attempt(2), End: k.Next()}
	b := e.NewBatch()
	must(t, b.PutLock(first))
	must(t, b.PutLock(shared))
	must(t, b.Commit())

	b = e.NewBatch()
	take(b, Exclusive, 2, nil) // of another holder (rule F5)
	take(b, Shared, 1, nil)
	if !b.Empty() {
		t.Error("taking no lock wrote something")
	}
	take(b, Exclusive, 1, first)
	take(b, Exclusive, 1, nil) // gone in this batch
	second := exclusive(k, 3)
	value := second.Value
	must(t, b.PutLock(second))
	second.Value = []byte("changed by its owner")
	second = exclusive(k, 3)
	take(b, Exclusive, 3, second)
	must(t, b.PutLock(second))
	value[0] = 'x'
	must(t, b.DeleteLock(k, Exclusive, kv.TxID{3}))
	take(b, Exclusive, 3, nil)
	b.Discard()

	b = e.NewBatch() // what was discarded never was
	take(b, Exclusive, 1, first)
	must(t, b.PutLock(exclusive(k, 4)))
	must(t, b.Commit())
	b = e.NewBatch()
	take(b, Exclusive, 1, nil)
	take(b, Exclusive, 4, exclusive(k, 4))
	take(b, Shared, 2, shared)
	must(t, b.Commit())
	if locks, _ := locksOf(t, e, 2); len(locks) != 0 {
		t.Errorf("left: %+v", locks)
	}
	must(t, e.Close())
}

func TestLockOnAndRecordOf(t *testing.T) {
	e, _ := snapshotStore(t)
	for _, flushed := range []bool{false, true} {
		r, err := e.NewReader()
		must(t, err)
		for k, id := range map[string]byte{"": 1, "4": 0, "8": 3, "80": 0, "anchor": 0} {
			l, ok, err := r.LockOn(kv.MakeKey(2, []byte(k)))
			must(t, err)
			if ok != (id != 0) || ok && (l.ID != kv.TxID{id} || l.Term != kv.Term(id) || string(l.Key) != string(kv.MakeKey(2, []byte(k)))) {
				t.Errorf("flushed %v: the lock on %q is %+v %v, want that of %d", flushed, k, l, ok, id)
			}
		}
		for id := range byte(3) {
			rec, ok, err := r.RecordOf(attempt(id).Anchor, kv.TxID{id})
			must(t, err)
			if ok != (id < 2) || ok && (!reflect.DeepEqual(rec.Attempt, attempt(id)) || rec.Timestamp != 77 || len(rec.Participants) != 1) {
				t.Errorf("the record of %d is %+v %v", id, rec, ok)
			}
		}
		r.Close()
		must(t, e.Flush())
	}
	must(t, e.Close())
}

func TestExclusiveLocksAreListedInOrder(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS()})
	b := e.NewBatch()
	for i := range byte(10) {
		k := kv.MakeKey(2, []byte{i})
		for id := range i {
			must(t, b.PutLock(&Lock{Key: k, Strength: Shared, Attempt: attempt(id)}))
		}
		if i%2 == 0 {
			must(t, b.PutLock(exclusive(k, 100+i)))
		}
	}
	must(t, b.Commit())
	r, err := e.NewReader()
	must(t, err)
	defer func() { r.Close(); must(t, e.Close()) }()
	list := func(s kv.Span, limit int) (ids []byte) {
		must(t, r.ExclusiveLocks(s, limit, func(l *Lock) error {
			ids = append(ids, l.ID[0]-100)
			return nil
		}))
		return ids
	}
	for _, c := range []struct {
		s     kv.Span
		limit int
		want  []byte
	}{
		{span(2), 0, []byte{0, 2, 4, 6, 8}},
		{span(2), 2, []byte{0, 2}},
		{kv.Span{Start: kv.MakeKey(2, []byte{3}), End: kv.MakeKey(2, []byte{6})}, 9, []byte{4}},
		{span(3), 1, nil},
		{kv.Span{Start: kv.Key("b"), End: kv.Key("a")}, 1, nil},
	} {
		if got := list(c.s, c.limit); !bytes.Equal(got, c.want) {
			t.Errorf("%x, at most %d: %d, want %d", c.s, c.limit, got, c.want)
		}
	}
	if err := r.ExclusiveLocks(span(2), 0, func(*Lock) error { return errStop }); err != errStop {
		t.Errorf("the error of the caller came back as %v", err)
	}
}

var errStop = kv.Errorf(kv.Internal, "stop")

func TestUnknownLocksAreRefused(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS()})
	b := e.NewBatch()
	for _, l := range []Lock{{Strength: 0}, {Strength: 3}, {Strength: Exclusive, Write: kv.WriteAdd}} {
		if err := b.PutLock(&l); kv.KindOf(err) != kv.Internal {
			t.Errorf("%+v: %v", l, err)
		}
	}
	k := kv.MakeKey(2, nil)
	ek := appendLockKey(nil, k, Exclusive, kv.TxID{1})
	must(t, b.set(ek, []byte{99}))
	must(t, b.set(appendRecordKey(nil, k, kv.TxID{1}), []byte{99}))
	must(t, b.Commit())
	r, err := e.NewReader()
	must(t, err)
	defer r.Close()
	b = e.NewBatch()
	defer b.Discard()
	errs := map[string]error{}
	_, _, errs["take"] = b.TakeLock(k, Exclusive, kv.TxID{1})
	_, _, errs["lock"] = r.LockOn(k)
	_, _, errs["record"] = r.RecordOf(k, kv.TxID{1})
	errs["exclusive locks"] = r.ExclusiveLocks(span(2), 0, func(*Lock) error { return nil })
	_, errs["digest"] = r.Digest(span(2), 0, MaxTimestamp)
	for name, err := range errs {
		if kv.KindOf(err) != kv.Corruption {
			t.Errorf("%s of what does not decode: %v", name, err)
		}
	}
}

// relock puts a lock in the place of one that is there.
func relock(b *Batch, change func(*Lock)) error {
	l := exclusive(kv.MakeKey(2, nil), 1)
	if err := b.DeleteLock(l.Key, Exclusive, l.ID); err != nil {
		return err
	}
	change(l)
	return b.PutLock(l)
}

// TestDigestCoversLocksAndRecords changes each part of them alone.
func TestDigestCoversLocksAndRecords(t *testing.T) {
	seen := map[uint64]string{}
	for name, change := range map[string]func(b *Batch) error{
		"nothing":         func(*Batch) error { return nil },
		"no lock":         func(b *Batch) error { return b.DeleteLock(kv.MakeKey(2, nil), Exclusive, kv.TxID{1}) },
		"no shared lock":  func(b *Batch) error { return b.DeleteLock(kv.MakeKey(2, []byte("4")), Shared, kv.TxID{1}) },
		"no record":       func(b *Batch) error { return b.DeleteRecord(attempt(1).Anchor, kv.TxID{1}) },
		"one lock more":   func(b *Batch) error { return b.PutLock(exclusive(kv.MakeKey(2, []byte("zz")), 7)) },
		"another value":   func(b *Batch) error { return relock(b, func(l *Lock) { l.Value = nil }) },
		"another term":    func(b *Batch) error { return relock(b, func(l *Lock) { l.Term++ }) },
		"one record more": func(b *Batch) error { return b.PutRecord(&Record{Attempt: attempt(7), State: RecordCommitted}) },
		"another record": func(b *Batch) error {
			return b.ReplaceRecord(&Record{Attempt: attempt(1), State: RecordCommitted, Timestamp: 78})
		},
	} {
		e, _ := snapshotStore(t)
		b := e.NewBatch()
		must(t, change(b))
		must(t, b.PutLock(exclusive(kv.MakeKey(3, nil), 1))) // of another partition
		must(t, b.Commit())
		r, err := e.NewReader()
		must(t, err)
		d, err := r.Digest(span(2), 0, MaxTimestamp)
		must(t, err)
		if name == "nothing" && (d.Locks != 5 || d.Records != 2) {
			t.Errorf("%+v: want 5 locks, 2 records", d)
		}
		if other, ok := seen[d.Hash]; ok {
			t.Errorf("%s and %s have the same fingerprint", name, other)
		}
		seen[d.Hash] = name
		r.Close()
		must(t, e.Close())
	}
}

func TestPutResolved(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
		k := kv.Key("k")
		step := func(write func(b *Batch)) {
			b := e.NewBatch()
			write(b)
			must(t, b.Commit())
			if flushed {
				must(t, e.Flush())
			}
		}
		step(func(b *Batch) { must(t, b.Put(k, 10, kv.TxID{1}, []byte("ten"))) })
		step(func(b *Batch) {
			must(t, b.Put(k, 30, kv.TxID{3}, []byte("thirty")))
			must(t, b.PutResolved(k, 20, kv.TxID{2}, []byte("ignored"), true)) // below one in the batch
		})
		for range 2 {
			step(func(b *Batch) { must(t, b.PutResolved(k, 15, kv.TxID{4}, []byte{}, false)) })
		}
		step(func(b *Batch) {
			must(t, b.PutResolved(k, 40, kv.TxID{5}, []byte("forty"), false)) // the newest
			must(t, b.PutResolved(k, 30, kv.TxID{3}, []byte("thirty"), false))
			must(t, b.Put(k, 50, kv.TxID{6}, nil))
		})
		for ts, want := range map[kv.Timestamp]Version{
			12: {Timestamp: 10, ID: kv.TxID{1}, Value: []byte("ten")}, 19: {Timestamp: 15, ID: kv.TxID{4}}, 29: {Timestamp: 20, ID: kv.TxID{2}, Tombstone: true},
			39: {Timestamp: 30, ID: kv.TxID{3}, Value: []byte("thirty")}, 49: {Timestamp: 40, ID: kv.TxID{5}, Value: []byte("forty")}, MaxTimestamp: {Timestamp: 50, ID: kv.TxID{6}},
		} {
			if v, ok := get(t, e, "k", ts); !ok || !sameVersion(v, want) {
				t.Errorf("at %d: %+v %v, want %+v", ts, v, ok, want)
			}
		}
		if m, err := e.Measure(kv.Span{}, 0); err != nil || m.Keys != 1 || m.Bytes != int64(len(k))+1+16 {
			t.Errorf("measured %+v %v: what is live is the newest version", m, err)
		}
		res, err := e.CollectGarbage(GCArgs{Threshold: 35, Full: true})
		must(t, err)
		if res.Versions != 3 || res.Keys != 0 {
			t.Errorf("collected %+v, want 3 versions", res)
		}
		for what, write := range map[string]func(b *Batch) error{
			"zero": func(b *Batch) error { return b.PutResolved(k, 0, kv.TxID{1}, nil, false) },
			"max":  func(b *Batch) error { return b.PutResolved(k, MaxTimestamp, kv.TxID{1}, nil, false) },
			"long": func(b *Batch) error {
				return b.PutResolved(make(kv.Key, fullKeyBytesMax+1), 60, kv.TxID{1}, nil, false)
			},
			"big": func(b *Batch) error { return b.PutResolved(k, 60, kv.TxID{1}, make([]byte, kv.ValueBytesMax+1), false) },
		} {
			b := e.NewBatch()
			if err := write(b); err == nil || !b.Empty() {
				t.Errorf("%s: %v", what, err)
			}
			b.Discard()
		}
		must(t, e.Close())
	}
}

// TestResolvedVersionsStay: a version that was resolved before is not written again, whatever a late copy of its
// prepare comes to, in the same batch or another one.
func TestResolvedVersionsStay(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
		k := kv.Key("k")
		for _, values := range [][]string{{"1", "2"}, {"3"}, {""}} {
			b := e.NewBatch()
			for _, v := range values {
				must(t, b.PutResolved(k, 10, kv.TxID{}, []byte(v), v == ""))
			}
			must(t, b.Commit())
			if flushed {
				must(t, e.Flush())
			}
		}
		if v, ok := get(t, e, "k", 10); !ok || v.Tombstone || string(v.Value) != "1" {
			t.Errorf("flushed %v: %+v %v, want what was resolved first", flushed, v, ok)
		}
		must(t, e.Close())
	}
}

// TestCheckOfResolvedVersions is what rule B4 still says of them.
//
// Shows B4.
func TestCheckOfResolvedVersions(t *testing.T) {
	if !invariant.Expensive {
		t.Skip("needs the build tag invariants")
	}
	e := openTest(t, Options{FS: NewMemFS()})
	k := kv.Key("k")
	put(t, e, "k", 5, []byte("a"))
	b := e.NewBatch()
	must(t, b.PutResolved(k, 8, kv.TxID{2}, nil, false))
	for name, write := range map[string]func() error{
		"by another":           func() error { return b.PutResolved(k, 5, kv.TxID{2}, []byte("a"), false) },
		"by another, in batch": func() error { return b.PutResolved(k, 8, kv.TxID{3}, nil, false) },
		"put below":            func() error { return b.Put(k, 7, kv.TxID{3}, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			must(t, write())
		}()
	}
	b.Discard()
	must(t, e.Close())
}

// What is known of recent locks is what the store has: after batches, removals of spans, snapshots and a restart, and
// however many there are.
func TestRecentLocks(t *testing.T) {
	fs := NewMemFS()
	e := openTest(t, Options{FS: fs, Deterministic: true})
	lock := func(i int, bytes int) *Lock {
		return &Lock{Key: kv.MakeKey(7, fmt.Appendf(nil, "%06d", i)), Strength: Exclusive, Attempt: kv.Attempt{ID: kv.TxID{byte(i), byte(i >> 8)}, Anchor: kv.MakeKey(7, nil)}, Write: kv.WritePut, Value: make([]byte, bytes)}
	}
	commit := func(do func(b *Batch)) {
		b := e.NewBatch()
		do(b)
		must(t, b.Commit())
	}
	take := func(i int) (found bool) {
		b := e.NewBatch()
		defer b.Discard()
		l := lock(i, 0)
		got, found, err := b.TakeLock(l.Key, Exclusive, l.ID)
		must(t, err)
		if found && (got.ID != l.ID || got.Write != kv.WritePut) {
			t.Errorf("lock %d is %+v", i, got)
		}
		return found
	}
	const many = recentLocksMax + 100
	for _, x := range []struct{ from, to, bytes, want int }{
		{0, 100, recentLockBytesMax, 0},                   // large ones
		{0, recentLocksMax, 10, recentLocksMax},           // as many as there may be
		{recentLocksMax, many, 10, many - recentLocksMax}, // the older ones have to go
		{0, many, 10, 0},                                  // too many at once
		{0, 10, 10, 10},
	} {
		commit(func(b *Batch) {
			for i := x.from; i < x.to; i++ {
				must(t, b.DeleteLock(lock(i, 0).Key, Exclusive, lock(i, 0).ID)) // of the step before
				must(t, b.PutLock(lock(i, x.bytes)))
			}
		})
		if n := len(e.recent.at); n != x.want {
			t.Errorf("after locks %d to %d there are %d at hand, want %d", x.from, x.to, n, x.want)
		}
	}
	for i := range many {
		if !take(i) {
			t.Fatalf("lock %d of %d is not there", i, many)
		}
	}
	commit(func(b *Batch) { must(t, b.DeleteLock(lock(3, 0).Key, Exclusive, lock(3, 0).ID)) })
	if take(3) || !take(4) {
		t.Error("lock 3 was removed, lock 4 was not")
	}
	b := e.NewBatch()
	must(t, b.DeleteLock(lock(4, 0).Key, Exclusive, lock(4, 0).ID))
	b.Discard()
	if !take(4) {
		t.Error("a batch that was not committed took lock 4")
	}
	commit(func(b *Batch) { must(t, b.DeleteReplica(1, kv.Keyspace{ID: 7}.Span())) })
	if take(4) || take(many-1) {
		t.Error("locks of a replica that is gone are found")
	}
	commit(func(b *Batch) { must(t, b.PutLock(lock(5, 10))) })
	must(t, e.Close())
	e = openTest(t, Options{FS: fs, Deterministic: true})
	if !take(5) {
		t.Error("lock 5 is gone after a restart")
	}
}
