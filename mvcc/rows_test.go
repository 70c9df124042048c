package mvcc

import (
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

func rowsOf(t testing.TB, e *Engine) (locks, records int) {
	t.Helper()
	r, err := e.NewReader()
	must(t, err)
	defer r.Close()
	must(t, r.Locks(span(2), func(*Lock) error { locks++; return nil }))
	must(t, r.Records(span(2), func(*Record) error { records++; return nil }))
	return locks, records
}

func wantRows(t testing.TB, when string, e *Engine, locks, records int) {
	t.Helper()
	if l, r := rowsOf(t, e); l != locks || r != records {
		t.Errorf("%s there are %d locks and %d records, want %d and %d", when, l, r, locks, records)
	}
}

func record(id byte) *Record {
	return &Record{Attempt: attempt(id), State: RecordStaging, Timestamp: 77}
}

func takeExclusive(t testing.TB, b *Batch, k kv.Key, id byte) {
	t.Helper()
	_, found, err := b.TakeLock(k, Exclusive, kv.TxID{id})
	must(t, err)
	if !found {
		t.Errorf("the lock of %d on %x is not there to be taken", id, k)
	}
}

// TestShortRowsAreNotWritten: what comes and goes within a batch, the store never sees.
func TestShortRowsAreNotWritten(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS()})
	k := kv.MakeKey(2, nil)
	b := e.NewBatch()
	for range 3 { // a late copy of a prepare locks again
		must(t, b.PutLock(exclusive(k, 1)))
		takeExclusive(t, b, k, 1)
	}
	must(t, b.PutRecord(record(1)))
	must(t, b.ReplaceRecord(record(1)))
	must(t, b.DeleteRecord(attempt(1).Anchor, kv.TxID{1}))
	if n := b.b.Count(); n != 0 {
		t.Errorf("%d writes of rows that are gone", n)
	}
	must(t, b.PutLock(exclusive(k, 2)))
	must(t, b.PutRecord(record(2)))
	if b.Empty() {
		t.Error("a batch with rows that stay is called empty")
	}
	must(t, b.Commit())
	wantRows(t, "after the batch", e, 1, 1)

	b = e.NewBatch()
	takeExclusive(t, b, k, 2)
	for range 2 {
		must(t, b.PutLock(exclusive(k, 2)))
		takeExclusive(t, b, k, 2)
	}
	must(t, b.Commit())
	wantRows(t, "of a lock of the store that was taken and came again", e, 0, 1)
	must(t, e.Close())
}

func TestRecordsAreReplaced(t *testing.T) { recordsReplaced(t) }

// recordsReplaced: a record of the store that a batch overwrites and removes is gone.
func recordsReplaced(t testing.TB) {
	e := openTest(t, Options{FS: NewMemFS()})
	b := e.NewBatch()
	must(t, b.PutRecord(record(1)))
	must(t, b.PutRecord(record(2)))
	must(t, b.Commit())
	b = e.NewBatch()
	for id := byte(1); id <= 2; id++ {
		r := record(id)
		r.State = RecordCommitted
		must(t, b.ReplaceRecord(r))
	}
	must(t, b.DeleteRecord(attempt(1).Anchor, kv.TxID{1}))
	must(t, b.Commit())
	wantRows(t, "of two that were replaced and one removed", e, 0, 1)
	must(t, e.Close())
}

// TestHeldRowsGoWithTheirReplica, unless they came later.
func TestHeldRowsGoWithTheirReplica(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS()})
	b := e.NewBatch()
	must(t, b.PutLock(exclusive(kv.MakeKey(2, []byte("before")), 1)))
	must(t, b.PutRecord(record(1)))
	must(t, b.DeleteReplica(2, span(2)))
	must(t, b.PutLock(exclusive(kv.MakeKey(2, []byte("after")), 2)))
	must(t, b.Commit())
	wantRows(t, "when the replica is gone", e, 1, 0)
	must(t, e.Close())
}

// TestHeldRowsOutlastAFullDisk: a batch that was refused is committed again, as it was.
func TestHeldRowsOutlastAFullDisk(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS()})
	b := e.NewBatch()
	must(t, b.PutLock(exclusive(kv.MakeKey(2, nil), 1)))
	must(t, b.PutRecord(record(1)))
	e.health.flush.Store(kv.Errorf(kv.DiskFull, "full"))
	for range 2 {
		if err := b.Commit(); kv.KindOf(err) != kv.DiskFull {
			t.Fatalf("a full disk: %v", err)
		}
	}
	e.health.flush.Store(nil)
	must(t, b.Commit())
	wantRows(t, "after the disk was full", e, 1, 1)
	must(t, e.Close())
}

func TestSecondExclusiveLockIsCaught(t *testing.T) {
	if !invariant.Expensive {
		t.Skip("needs the build tag invariants")
	}
	e := openTest(t, Options{FS: NewMemFS()})
	k := kv.MakeKey(2, nil)
	b := e.NewBatch()
	must(t, b.PutLock(exclusive(k, 1)))
	must(t, b.PutLock(exclusive(k, 1)))
	caught := func(when string, id byte) {
		defer func() {
			if recover() == nil {
				t.Errorf("%s, transaction %d: no panic", when, id)
			}
		}()
		must(t, b.PutLock(exclusive(k, id)))
	}
	caught("in the batch", 2)
	must(t, b.Commit())
	b = e.NewBatch()
	caught("in the store", 1)
	caught("in the store", 2)
	must(t, b.DeleteLock(k, Exclusive, kv.TxID{1}))
	must(t, b.PutLock(exclusive(k, 2)))
	must(t, b.Commit())
	must(t, e.Close())
}
