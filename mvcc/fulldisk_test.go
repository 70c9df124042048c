package mvcc

import (
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kvd-db/kvd/kv"
)

// TestFullDiskIsSteppedWhenDeterministic: whether a flush is tried again is the caller's to say, and nothing that was
// committed before is lost or done twice.
func TestFullDiskIsSteppedWhenDeterministic(t *testing.T) {
	mem, disk := NewMemFS(), &Faults{}
	e := openTest(t, Options{FS: disk.Filesystem(mem), Deterministic: true, MemTableBytes: 1 << 20})
	put(t, e, "a", 1, []byte("value"))
	disk.Full.Store(true)
	for range 3 {
		if err := e.Flush(); kv.KindOf(err) != kv.DiskFull {
			t.Fatalf("flush on a full disk: %v", err)
		}
	}
	b := e.NewBatch()
	must(t, b.Put(kv.Key("b"), 2, kv.TxID{1}, nil))
	if err := b.Commit(); kv.KindOf(err) != kv.DiskFull {
		t.Fatalf("commit on a full disk: %v", err)
	}
	disk.Full.Store(false)
	if err := b.Commit(); kv.KindOf(err) != kv.DiskFull {
		t.Fatalf("commit before a flush was tried again: %v", err)
	}
	must(t, e.Flush())
	must(t, e.Health())
	must(t, b.Commit())
	must(t, e.Flush())
	crashed := CrashClone(mem)
	disk.Full.Store(true)
	put(t, e, "c", 3, nil)
	if err := e.Flush(); kv.KindOf(err) != kv.DiskFull {
		t.Fatalf("flush on a full disk: %v", err)
	}
	must(t, e.Abandon()) // with a flush that waits
	e = openTest(t, Options{FS: crashed, Deterministic: true})
	for _, k := range []string{"a", "b"} {
		if _, ok := get(t, e, k, MaxTimestamp); !ok {
			t.Errorf("key %s is gone", k)
		}
	}
	must(t, e.Close())
}

// TestCommitThatFillsTheMemtable of a deterministic store is done, though the flush after it is not.
func TestCommitThatFillsTheMemtable(t *testing.T) {
	disk := &Faults{}
	e := openTest(t, Options{FS: disk.Filesystem(NewMemFS()), Deterministic: true, MemTableBytes: 256 << 10})
	disk.Full.Store(true)
	put(t, e, "a", 1, make([]byte, 64<<10))
	if _, ok := get(t, e, "a", MaxTimestamp); !ok {
		t.Error("the committed key is gone")
	}
	disk.Full.Store(false)
	must(t, e.Flush())
	must(t, e.Close())
}

// TestIngestOnAFullDiskCanBeRepeated: an attempt that fails leaves the old replica and the copy as they were.
func TestIngestOnAFullDiskCanBeRepeated(t *testing.T) {
	for _, deterministic := range []bool{true, false} {
		from := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
		put(t, from, "k", 1, []byte("new"))
		s := ReplicaState{Replica: 1, Applied: 9, AppliedTerm: 2, Descriptor: kv.Descriptor{Partition: 4, Span: kv.Span{Start: kv.Key("a"), End: kv.Key("z")}}}
		b := from.NewBatch()
		must(t, b.SetReplicaState(4, &s))
		must(t, b.Commit())
		args := SnapshotArgs{Partition: 4, Span: s.Descriptor.Span}
		disk := &Faults{}
		e := openTest(t, Options{FS: disk.Filesystem(NewMemFS()), Deterministic: deterministic})
		put(t, e, "k", 1, []byte("old"))
		must(t, e.Flush())
		sink, err := e.NewSnapshotSink(args)
		must(t, err)
		_, err = from.ExportSnapshot(args, func(c []byte) error {
			_, err := sink.Add(c)
			return err
		})
		must(t, err)
		disk.Full.Store(true)
		for range 3 {
			if err := sink.Ingest(&s); kv.KindOf(err) != kv.DiskFull {
				t.Fatalf("a copy taken in on a full disk: %v", err)
			}
			if v, ok := get(t, e, "k", MaxTimestamp); !ok || string(v.Value) != "old" {
				t.Fatalf("the old replica has changed: %q", v.Value)
			}
		}
		disk.Full.Store(false)
		must(t, sink.Ingest(&s))
		sink.Close()
		if v, ok := get(t, e, "k", MaxTimestamp); !ok || string(v.Value) != "new" {
			t.Fatalf("the copy has %q", v.Value)
		}
		must(t, e.Close())
		must(t, from.Close())
	}
}

// TestAFullDiskRefusesTheCopyAtItsLastChunk, before anybody is told that it has come.
func TestAFullDiskRefusesTheCopyAtItsLastChunk(t *testing.T) {
	from := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	put(t, from, "k", 1, []byte("new"))
	b := from.NewBatch()
	s := ReplicaState{Replica: 1, Applied: 9, AppliedTerm: 2, Descriptor: kv.Descriptor{Partition: 4, Span: kv.Span{Start: kv.Key("a"), End: kv.Key("z")}}}
	must(t, b.SetReplicaState(4, &s))
	must(t, b.Commit())
	args := SnapshotArgs{Partition: 4, Span: s.Descriptor.Span}
	disk := &Faults{}
	e := openTest(t, Options{FS: disk.Filesystem(NewMemFS()), Deterministic: true})
	sink, err := e.NewSnapshotSink(args)
	must(t, err)
	n := 0
	_, err = from.ExportSnapshot(args, func(c []byte) error {
		disk.Full.Store(n == 2) // header, entries, end
		n++
		done, err := sink.Add(c)
		if done {
			t.Error("a copy has come that has no room")
		}
		return err
	})
	if kv.KindOf(err) != kv.DiskFull {
		t.Errorf("the last chunk on a full disk: %v", err)
	}
	sink.Close()
	disk.Full.Store(false)
	must(t, e.Close())
	must(t, from.Close())
}

// stingyFS has no room for a manifest for some writes.
type stingyFS struct {
	vfs.FS
	left *int
}

func (fs stingyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return stingyFile{f, fs.left}, err
}

type stingyFile struct {
	vfs.File
	left *int
}

func (f stingyFile) Write(p []byte) (int, error) {
	if *f.left > 0 {
		*f.left--
		n, err := f.File.Write(p[:len(p)/2])
		if err == nil {
			err = syscall.ENOSPC
		}
		return n, err
	}
	return f.File.Write(p)
}

// TestManifestWaitsForSpace: Pebble ends the process if it cannot write one.
func TestManifestWaitsForSpace(t *testing.T) {
	left := 2
	mem := NewMemFS()
	fs := patientFS{stingyFS{mem, &left}, newHealth(), newPace(&Options{})}
	f, err := fs.Create("MANIFEST-000001", vfs.WriteCategoryUnspecified)
	must(t, err)
	begun := time.Now()
	n, err := f.Write([]byte("0123456789"))
	must(t, err)
	must(t, f.Close())
	if n != 10 || left != 0 || time.Since(begun) < fullRetryPause {
		t.Errorf("%d bytes were written", n)
	}
	r, err := mem.Open("MANIFEST-000001")
	must(t, err)
	b := make([]byte, 10)
	if _, err := r.ReadAt(b, 0); err != nil || string(b) != "0123456789" {
		t.Errorf("the file holds %q: %v", b, err)
	}
	must(t, r.Close())
}

// TestDamageIsNeverServed: whatever bit of a table flips, the value is read as it was, or not at all.
func TestDamageIsNeverServed(t *testing.T) {
	mem := NewMemFS()
	e := openTest(t, Options{FS: mem, Deterministic: true})
	put(t, e, "k", 1, []byte("value"))
	must(t, e.Flush())
	tables, err := e.Tables()
	must(t, err)
	must(t, e.Close())
	if len(tables) != 1 || tables[0].Bytes == 0 {
		t.Fatalf("the tables are %v", tables)
	}
	refused := 0
	for bit := int64(3); bit < 8*tables[0].Bytes; bit += 59 {
		damaged := CrashClone(mem)
		must(t, FlipBit(damaged, tables[0].Path, bit))
		e, err := Open(Options{Dir: testDir, FS: damaged, Deterministic: true})
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.NewReader()
		var v Version
		ok := false
		if err == nil {
			v, ok, err = r.Get(kv.Key("k"), MaxTimestamp)
			r.Close()
		}
		switch {
		case err != nil && kv.KindOf(err) != kv.Corruption:
			t.Fatalf("bit %d: %v", bit, err)
		case err != nil:
			refused++
		case !ok || string(v.Value) != "value":
			t.Fatalf("bit %d: %v %q was served", bit, ok, v.Value)
		}
		must(t, e.Abandon())
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}
