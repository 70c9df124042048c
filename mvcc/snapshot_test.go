package mvcc

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// snapshotStore holds a replica of partition 2 with some of everything.
func snapshotStore(t testing.TB) (*Engine, SnapshotArgs) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	a := SnapshotArgs{Partition: 2, Span: span(2), SystemPrefix: "core/", ChunkBytes: 100}
	s := ReplicaState{Replica: 5, Applied: 33, AppliedTerm: 4, GC: 1, ConfState: []byte("conf"), Descriptor: kv.Descriptor{Partition: 2, Span: a.Span}}
	b := e.NewBatch()
	must(t, b.SetReplicaState(2, &s))
	for i := range 20 {
		must(t, b.Put(kv.MakeKey(2, fmt.Append(nil, i)), kv.Timestamp(i+1), kv.TxID{byte(i)}, make([]byte, i)))
	}
	must(t, b.Put(kv.MakeKey(3, nil), 1, kv.TxID{}, []byte("of another partition")))
	putSampleLocks(t, b)
	must(t, b.PutSystem("core/1", []byte("one")))
	must(t, b.PutSystem("other", nil))
	must(t, b.Commit())
	return e, a
}

func export(t testing.TB, e *Engine, a SnapshotArgs) (chunks [][]byte, s ReplicaState) {
	t.Helper()
	s, err := e.ExportSnapshot(a, func(c []byte) error {
		chunks = append(chunks, c)
		return nil
	})
	must(t, err)
	return chunks, s
}

func TestCopyToAnotherStore(t *testing.T) {
	e, a := snapshotStore(t)
	defer e.Close()
	chunks, s := export(t, e, a)
	if s.Replica != 0 || s.Applied != 33 {
		t.Errorf("exported state %+v", s)
	}
	fs := NewMemFS()
	to := openTest(t, Options{FS: fs, Deterministic: true})
	put(t, to, string(kv.MakeKey(2, []byte("old"))), 1, nil)
	put(t, to, string(kv.MakeKey(3, nil)), 7, []byte("stays"))
	putOldLocks(t, to)
	s.Replica = 6
	must(t, to.IngestSnapshot(a, chunks, &s))
	to2 := openTest(t, Options{FS: CrashClone(fs), Deterministic: true}) // durable at once
	must(t, to.Abandon())
	defer to2.Close()
	got, ok, err := to2.ReplicaState(2)
	must(t, err)
	if !ok || got.Replica != 6 || got.Applied != 33 || got.AppliedTerm != 4 || string(got.ConfState) != "conf" {
		t.Errorf("state %+v %v", got, ok)
	}
	again, s2 := export(t, to2, a)
	s2.Replica = 0
	if len(again) != len(chunks) || !bytes.Equal(bytes.Join(again, nil), bytes.Join(chunks, nil)) {
		t.Error("the copy of the copy differs")
	}
	if v, ok := get(t, to2, string(kv.MakeKey(3, nil)), MaxTimestamp); !ok || string(v.Value) != "stays" {
		t.Error("another partition was touched")
	}
	sameLocks(t, e, to2)
	names, err := fs.List(fs.PathJoin(testDir, stagingDirName))
	if err != nil || len(names) != 0 {
		t.Errorf("left in the staging directory: %v %v", names, err)
	}
}

// TestBadSnapshotsAreRefused damages, drops, repeats and swaps chunks.
func TestBadSnapshotsAreRefused(t *testing.T) {
	e, a := snapshotStore(t)
	defer e.Close()
	good, s := export(t, e, a)
	if len(good) < 6 {
		t.Fatalf("only %d chunks", len(good))
	}
	bad := map[string][][]byte{
		"cut short":   good[:len(good)-1],
		"nothing":     nil,
		"dropped":     slices.Delete(slices.Clone(good), 2, 3),
		"repeated":    slices.Insert(slices.Clone(good), 2, good[2]),
		"swapped":     {good[0], good[2], good[1]},
		"no header":   good[1:],
		"two headers": {good[0], good[0]},
		"empty chunk": {good[0], nil},
	}
	for i := range good {
		c := slices.Clone(good)
		c[i] = slices.Clone(c[i])
		c[i][len(c[i])/2] ^= 1
		bad[fmt.Sprint("damaged ", i)] = c
	}
	for name, chunks := range bad {
		if err := e.IngestSnapshot(a, chunks, &s); err == nil {
			t.Errorf("%s: taken in", name)
		}
	}
	other := a
	other.Span = span(3)
	if err := e.IngestSnapshot(other, good, &s); kv.KindOf(err) != kv.Invalid {
		t.Errorf("another span: %v", err)
	}
	other = a
	other.Partition = 9
	if err := e.IngestSnapshot(other, good, &s); kv.KindOf(err) != kv.Invalid {
		t.Errorf("another partition: %v", err)
	}
	if _, err := e.NewSnapshotSource(other); kv.KindOf(err) != kv.NotFound {
		t.Errorf("a copy of a partition that is not here: %v", err)
	}
	if again, _ := export(t, e, a); !bytes.Equal(bytes.Join(again, nil), bytes.Join(good, nil)) {
		t.Error("a refused snapshot changed the store")
	}
}

// TestSnapshotWithForeignEntriesIsRefused seals chunks that a broken sender might send.
func TestSnapshotWithForeignEntriesIsRefused(t *testing.T) {
	e, a := snapshotStore(t)
	defer e.Close()
	good, _ := export(t, e, a)
	value := stored(kv.TxID{}, nil, false)
	for name, entry := range map[string][2][]byte{
		"outside of the span": {appendDataKey(nil, kv.MakeKey(3, nil), 1), value},
		"state of a replica":  {appendStateKey(nil, 2, stateApplied), appendApplied(nil, 1, 1)},
		"no key":              {nil, nil},
		"no version":          {appendPrefix(nil, kindData, a.Span.Start), value},
		"bad value":           {appendDataKey(nil, a.Span.Start, 1), []byte{0xff}},
		"bad lock":            {appendLockKey(nil, a.Span.Start, Shared, kv.TxID{}), nil},
		"bad record":          {appendRecordKey(nil, a.Span.Start, kv.TxID{}), nil},
		"no engine key":       {[]byte{kindData, 1, 1}, nil},
	} {
		c := beginChunk(nil, chunkEntries, 2, 1)
		c = appendBytes(appendBytes(c, entry[0]), entry[1])
		c, _ = sealChunk(c)
		sink, err := e.NewSnapshotSink(a)
		must(t, err)
		_, err = sink.Add(good[0])
		must(t, err)
		if _, err := sink.Add(c); kv.KindOf(err) != kv.Corruption {
			t.Errorf("%s: %v", name, err)
		}
		sink.Close()
	}
}

// TestCopyReplacesAnOldWiderReplica: the old replica has missed a split.
func TestCopyReplacesAnOldWiderReplica(t *testing.T) {
	e, wide := snapshotStore(t)
	defer e.Close()
	from, a := snapshotStore(t)
	defer from.Close()
	a.Span.End = kv.MakeKey(2, []byte("15"))
	chunks, s := export(t, from, a)
	b := e.NewBatch()
	must(t, b.PutLock(&Lock{Key: kv.MakeKey(2, []byte("7")), Strength: Shared}))
	must(t, b.Commit())
	sink, err := e.NewSnapshotSink(a)
	must(t, err)
	defer sink.Close()
	sink.Replaces(wide.Span)
	for _, c := range chunks {
		_, err := sink.Add(c)
		must(t, err)
	}
	must(t, sink.Ingest(&s))
	got, _ := export(t, e, wide)
	want, _ := export(t, e, a)
	if g, w := bytes.Join(got[1:], nil), bytes.Join(want[1:], nil); !bytes.Equal(g[:len(g)-40], w[:len(w)-40]) {
		t.Error("something is left of the old replica")
	}
	if v, ok := get(t, e, string(kv.MakeKey(3, nil)), MaxTimestamp); !ok || string(v.Value) != "of another partition" {
		t.Error("another partition was touched")
	}
}

// TestCopyReplacesWhatCameWhileItArrived: the replica that a copy replaces goes on applying entries until
// the copy is all there. A lock of that time must go, although there was none to be replaced when
// the copy's chunks passed over the locks.
func TestCopyReplacesWhatCameWhileItArrived(t *testing.T) {
	from, a := snapshotStore(t)
	defer from.Close()
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	defer e.Close()
	dropLocks(t, from)
	chunks, s := export(t, from, a)
	sink, err := e.NewSnapshotSink(a)
	must(t, err)
	defer sink.Close()
	for _, c := range chunks {
		_, err := sink.Add(c)
		must(t, err)
	}
	putOldLocks(t, e)
	must(t, sink.Ingest(&s))
	if locks, records := locksOf(t, e, 2); len(locks) != 0 || len(records) != 2 {
		t.Errorf("%d locks and %d records are there after a copy with 2 records alone", len(locks), len(records))
	}
	if locks, _ := locksOf(t, e, 3); len(locks) == 0 {
		t.Error("the locks of another partition are gone")
	}
}

// dropLocks removes the locks of partition 2.
func dropLocks(t testing.TB, e *Engine) {
	t.Helper()
	b := e.NewBatch()
	locks, _ := locksOf(t, e, 2)
	for i := range locks {
		must(t, b.DeleteLock(locks[i].Key, locks[i].Strength, locks[i].ID))
	}
	must(t, b.Commit())
}

// TestCrashWhileACopyArrives leaves tables in the staging directory: they are not the store's.
func TestCrashWhileACopyArrives(t *testing.T) {
	e, a := snapshotStore(t)
	chunks, _ := export(t, e, a)
	must(t, e.Flush())
	sink, err := e.NewSnapshotSink(a)
	must(t, err)
	sink.tables.bytesMax = 1
	for _, c := range chunks {
		_, err := sink.Add(c)
		must(t, err)
	}
	fs := e.opts.FS.(*MemFS)
	must(t, syncDir(fs, e.staging))
	clone := CrashClone(fs)
	if names, err := clone.List(e.staging); err != nil || len(names) == 0 {
		t.Fatalf("nothing staged: %v", err)
	}
	sink.Close()
	must(t, e.Abandon())
	e = openTest(t, Options{FS: clone, Deterministic: true})
	if names, err := clone.List(e.staging); err != nil || len(names) != 0 {
		t.Errorf("staged files outlived a restart: %v %v", names, err)
	}
	if again, _ := export(t, e, a); !bytes.Equal(bytes.Join(again, nil), bytes.Join(chunks, nil)) {
		t.Error("a copy that never was taken in changed the store")
	}
	must(t, e.Close())
}

func FuzzSnapshotSink(f *testing.F) {
	e, a := snapshotStore(f)
	chunks, _ := export(f, e, a)
	for _, c := range chunks {
		f.Add(c[:len(c)-chunkTrailerBytes], false)
		f.Add(c, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if !sealed {
			b, _ = sealChunk(slices.Clone(b)) // past the checksum
		}
		sink, err := e.NewSnapshotSink(a)
		must(t, err)
		defer sink.Close()
		if _, err := sink.Add(b); err != nil {
			return
		}
		if _, err := sink.Add(b); err == nil {
			t.Fatal("a chunk was taken twice")
		}
		if len(b) > chunkHeaderBytes && b[1] == chunkHeader {
			next := slices.Clone(b[:len(b)-chunkTrailerBytes])
			next[1], next[13] = chunkEntries, 1
			next, _ = sealChunk(next)
			_, _ = sink.Add(next)
		}
	})
}
