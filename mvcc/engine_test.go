package mvcc

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

func openTest(t testing.TB, o Options) *Engine {
	t.Helper()
	if o.Dir == "" {
		o.Dir = testDir
	}
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, e *Engine, k string, ts kv.Timestamp, value []byte) {
	t.Helper()
	b := e.NewBatch()
	must(t, b.Put(kv.Key(k), ts, kv.TxID{1}, value))
	must(t, b.Commit())
}

func get(t testing.TB, e *Engine, k string, ts kv.Timestamp) (Version, bool) {
	t.Helper()
	r, err := e.NewReader()
	must(t, err)
	defer r.Close()
	v, ok, err := r.Get(kv.Key(k), ts)
	must(t, err)
	return v, ok
}

func TestOtherFormatsAreRefused(t *testing.T) {
	fs := NewMemFS()
	e := openTest(t, Options{FS: fs})
	must(t, e.Close())
	must(t, writeFileSync(fs, fs.PathJoin(testDir, formatFileName), encodeFormat(FormatVersion+1)))
	_, err := Open(Options{Dir: testDir, FS: fs})
	if kv.KindOf(err) != kv.Denied || !strings.Contains(err.Error(), fmt.Sprint("version ", FormatVersion+1)) || !strings.Contains(err.Error(), fmt.Sprint("up to ", FormatVersion)) {
		t.Errorf("a newer store: %v", err)
	}
	must(t, writeFileSync(fs, fs.PathJoin(testDir, formatFileName), encodeFormat(FormatVersion-1)))
	_, err = Open(Options{Dir: testDir, FS: fs})
	if kv.KindOf(err) != kv.Invalid || !strings.Contains(err.Error(), fmt.Sprint("needs version ", FormatVersion)) || !strings.Contains(err.Error(), "export") {
		t.Errorf("an older store: %v", err)
	}
	must(t, writeFileSync(fs, fs.PathJoin(testDir, formatFileName), []byte("kvdmvcc\n damaged")))
	if _, err := Open(Options{Dir: testDir, FS: fs}); kv.KindOf(err) != kv.Corruption {
		t.Errorf("a damaged format file: %v", err)
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	fs := NewMemFS()
	must(t, fs.MkdirAll(testDir, 0o755))
	must(t, writeFileSync(fs, fs.PathJoin(testDir, "letters.txt"), []byte("dear")))
	if _, err := Open(Options{Dir: testDir, FS: fs}); kv.KindOf(err) != kv.Invalid || !strings.Contains(err.Error(), "letters.txt") {
		t.Errorf("a foreign directory: %v", err)
	}
}

// TestCrashWhileTheStoreIsMade crashes between the format file and Pebble's own files.
func TestCrashWhileTheStoreIsMade(t *testing.T) {
	fs := NewMemFS()
	must(t, checkFormat(fs, testDir))
	fs = CrashClone(fs)
	e := openTest(t, Options{FS: fs})
	must(t, e.Close())
	fs = CrashClone(fs)
	must(t, openTest(t, Options{FS: fs}).Close())
}

func TestStoreOnTheOperatingSystemsFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	e := openTest(t, Options{Dir: dir, CacheBytes: 1 << 20})
	if _, err := Open(Options{Dir: dir}); err == nil {
		t.Error("a store was opened twice")
	}
	put(t, e, "k", 5, bytes.Repeat([]byte("large"), 2000))
	must(t, e.Close())
	e = openTest(t, Options{Dir: dir})
	if v, ok := get(t, e, "k", MaxTimestamp); !ok || len(v.Value) != 10_000 || v.Timestamp != 5 {
		t.Errorf("after reopening: %v", ok)
	}
	if m := e.Metrics(); m.DiskBytes == 0 || m.BlobBytes == 0 {
		t.Errorf("metrics %+v: a large value should be in a blob file", m)
	}
	must(t, e.Close())
}

func TestAbandonLosesWhatWasNotFlushed(t *testing.T) {
	fs := NewMemFS()
	e := openTest(t, Options{FS: fs})
	put(t, e, "flushed", 1, nil)
	must(t, e.Flush())
	put(t, e, "not", 2, nil)
	must(t, e.Abandon())
	e = openTest(t, Options{FS: fs})
	if v, ok := get(t, e, "flushed", MaxTimestamp); !ok || v.Value == nil || len(v.Value) != 0 {
		t.Errorf("flushed, empty value: %+v %v", v, ok)
	}
	if _, ok := get(t, e, "not", MaxTimestamp); ok {
		t.Error("what was not flushed is there")
	}
	must(t, e.Close())
}

func TestLimits(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS()})
	defer e.Close()
	b := e.NewBatch()
	defer b.Discard()
	must(t, b.Put(make(kv.Key, fullKeyBytesMax), 1, kv.TxID{}, nil))
	if err := b.Put(make(kv.Key, fullKeyBytesMax+1), 1, kv.TxID{}, nil); kv.KindOf(err) != kv.Limit {
		t.Errorf("a long key: %v", err)
	}
	if err := b.Put(kv.Key("k"), 1, kv.TxID{}, make([]byte, kv.ValueBytesMax+1)); kv.KindOf(err) != kv.Limit {
		t.Errorf("a long value: %v", err)
	}
	for _, ts := range []kv.Timestamp{0, MaxTimestamp} {
		if err := b.Put(kv.Key("k"), ts, kv.TxID{}, nil); kv.KindOf(err) != kv.Invalid {
			t.Errorf("version %d: %v", ts, err)
		}
	}
	r, err := e.NewReader()
	must(t, err)
	defer r.Close()
	if _, _, _, err := r.Scan(ScanArgs{}); kv.KindOf(err) != kv.Internal {
		t.Errorf("a scan without timestamp: %v", err)
	}
}

// TestLargestKeyAndValue go through memtable, table, scan and copy.
func TestLargestKeyAndValue(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	k := kv.Key(bytes.Repeat([]byte{0xff}, fullKeyBytesMax))
	b := e.NewBatch()
	must(t, b.Put(k, 1, kv.TxID{1}, make([]byte, kv.ValueBytesMax)))
	must(t, b.Put(kv.Key{}, 1, kv.TxID{1}, []byte("empty key")))
	s := ReplicaState{Descriptor: kv.Descriptor{Partition: 4}}
	must(t, b.SetReplicaState(4, &s))
	must(t, b.Commit())
	must(t, e.Flush())
	r, err := e.NewReader()
	must(t, err)
	rows, resume, _, err := r.Scan(ScanArgs{Timestamp: 1, Bytes: 10})
	must(t, err)
	if len(rows) != 1 || len(rows[0].Key) != 0 || !bytes.Equal(resume, k) {
		t.Fatalf("first page: %d rows, resume %.10x", len(rows), resume)
	}
	rows, resume, _, err = r.Scan(ScanArgs{Span: kv.Span{Start: resume}, Timestamp: 1, Bytes: 10})
	must(t, err)
	if len(rows) != 1 || len(rows[0].Value) != kv.ValueBytesMax || resume != nil {
		t.Fatalf("second page: %d rows", len(rows))
	}
	r.Close()
	var chunks [][]byte
	_, err = e.ExportSnapshot(SnapshotArgs{Partition: 4}, func(c []byte) error {
		if len(c) > ChunkBytesMax {
			t.Errorf("a chunk of %d bytes", len(c))
		}
		chunks = append(chunks, c)
		return nil
	})
	must(t, err)
	must(t, e.IngestSnapshot(SnapshotArgs{Partition: 4}, chunks, &s))
	if v, ok := get(t, e, string(k), MaxTimestamp); !ok || len(v.Value) != kv.ValueBytesMax {
		t.Error("the largest value was lost in a copy")
	}
	must(t, e.Close())
}

// fullDisk refuses writes while it is full.
type fullDisk struct{ full atomic.Bool }

func (d *fullDisk) MaybeError(op errorfs.Op) error {
	if d.full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		return syscall.ENOSPC
	}
	return nil
}

func (d *fullDisk) String() string { return "full disk" }

func TestFullDiskIsATypedErrorAndPasses(t *testing.T) {
	disk := &fullDisk{}
	log := &errorLog{}
	e := openTest(t, Options{FS: errorfs.Wrap(NewMemFS(), disk), Logger: log})
	put(t, e, "a", 1, []byte("value"))
	disk.full.Store(true)
	if err := e.Flush(); kv.KindOf(err) != kv.DiskFull {
		t.Fatalf("flush on a full disk: %v", err)
	}
	if err := e.Health(); kv.KindOf(err) != kv.DiskFull {
		t.Errorf("health on a full disk: %v", err)
	}
	b := e.NewBatch()
	must(t, b.Put(kv.Key("b"), 2, kv.TxID{1}, nil))
	if err := b.Commit(); kv.KindOf(err) != kv.DiskFull {
		t.Errorf("commit on a full disk: %v", err)
	}
	if v, ok := get(t, e, "a", MaxTimestamp); !ok || string(v.Value) != "value" {
		t.Error("a full disk stopped reads")
	}
	disk.full.Store(false)
	for e.Flush() != nil { // a token of an older failure may be left
	}
	must(t, e.Health())
	put(t, e, "b", 2, nil)
	must(t, e.Close())
	if n := log.errors.Load(); n != 0 { // Health has told of it; each try is no news
		t.Errorf("a full disk gave %d lines of error", n)
	}
}

// errorLog counts errors.
type errorLog struct {
	silentLogger
	errors atomic.Int64
}

func (l *errorLog) Errorf(string, ...any) { l.errors.Add(1) }

func TestDamageIsCorruptionAndNeverServed(t *testing.T) {
	dir := t.TempDir()
	e := openTest(t, Options{Dir: dir})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		v := make([]byte, 200)
		for j := range v {
			v[j] = byte(rng.Uint32())
		}
		put(t, e, fmt.Sprintf("key%03d", i), kv.Timestamp(i+1), v)
	}
	must(t, e.Close())
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, path := range tables {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		b := make([]byte, 64)
		_, err = f.ReadAt(b, 1000)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		for i := range b {
			b[i] ^= 0xff
		}
		_, err = f.WriteAt(b, 1000)
		must(t, err)
		must(t, f.Close())
	}
	e = openTest(t, Options{Dir: dir})
	r, err := e.NewReader()
	must(t, err)
	if _, _, _, err := r.Scan(ScanArgs{Timestamp: MaxTimestamp}); kv.KindOf(err) != kv.Corruption {
		t.Errorf("a scan over damage: %v", err)
	}
	r.Close()
	if err := e.Health(); kv.KindOf(err) != kv.Corruption {
		t.Errorf("health: %v", err)
	}
	_ = e.Abandon()
}

// TestUnknownValueIsCorruption plants values that no version of the format has.
func TestUnknownValueIsCorruption(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS()})
	for i, b := range [][]byte{{}, {0x80}, {flagID, 1}, {flagTombstone, 1}} {
		k := kv.Key{byte(i)}
		batch := e.NewBatch()
		must(t, batch.set(appendDataKey(nil, k, 3), b))
		must(t, batch.Commit())
		r, err := e.NewReader()
		must(t, err)
		span := kv.Span{Start: k, End: k.Next()}
		errs := map[string]error{}
		_, _, errs["get"] = r.Get(k, MaxTimestamp)
		_, _, errs["outcome"] = r.FindOutcome(k, kv.TxID{1}, 1)
		_, _, _, errs["scan"] = r.Scan(ScanArgs{Span: span, Timestamp: 3})
		_, _, _, errs["reverse scan"] = r.Scan(ScanArgs{Span: span, Timestamp: 3, Reverse: true})
		_, _, _, errs["count"] = r.Scan(ScanArgs{Span: span, Timestamp: 3, CountOnly: true})
		_, errs["digest"] = r.Digest(span, 0, 3)
		_, errs["garbage"] = e.CollectGarbage(GCArgs{Span: span, Threshold: 3, Full: true})
		for name, err := range errs {
			if kv.KindOf(err) != kv.Corruption {
				t.Errorf("%s of the stored value %x: %v", name, b, err)
			}
		}
		r.Close()
	}
	must(t, e.Close())
}

// TestCheckOfRuleB4: the versions of a key come in the order of their timestamps, and what is at one already is by the same
// transaction.
//
// Shows B4.
func TestCheckOfRuleB4(t *testing.T) {
	if !invariant.Expensive {
		t.Skip("needs the build tag invariants")
	}
	for _, flushed := range []bool{false, true} {
		e := openTest(t, Options{FS: NewMemFS()})
		put(t, e, "k", 5, []byte("a"))
		put(t, e, "k", 9, []byte("b"))
		if flushed {
			must(t, e.Flush())
		}
		put(t, e, "k", 9, []byte("b")) // the newest again
		put(t, e, "k", 5, []byte("a")) // a late resolve of what is there
		b := e.NewBatch()
		for name, write := range map[string]func() error{
			"older":                  func() error { return b.Put(kv.Key("k"), 7, kv.TxID{1}, nil) },
			"same by another":        func() error { return b.Put(kv.Key("k"), 9, kv.TxID{2}, nil) },
			"older that was another": func() error { return b.Delete(kv.Key("k"), 5, kv.TxID{2}) },
			"older in the batch": func() error {
				must(t, b.Put(kv.Key("new"), 7, kv.TxID{1}, nil))
				return b.Put(kv.Key("new"), 6, kv.TxID{1}, nil)
			},
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
}

func TestNewestInPassesOverOldTables(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true, tune: smallTables})
	b := e.NewBatch()
	for i := range 2000 {
		must(t, b.Put(fmt.Appendf(nil, "key%04d", i), kv.Timestamp(i+1), kv.TxID{1}, []byte("v")))
	}
	must(t, b.Commit())
	must(t, e.Flush())
	must(t, e.Compact())
	loads := func(after kv.Timestamp) int64 {
		before := e.Metrics()
		r, err := e.NewReader()
		must(t, err)
		defer r.Close()
		k, ts, ok, err := r.NewestIn(kv.Span{}, after)
		must(t, err)
		if want := after < 2000; ok != want || ok && (ts != after+1 || string(k) != fmt.Sprintf("key%04d", after)) {
			t.Errorf("newest after %d: %s %d %v", after, k, ts, ok)
		}
		m := e.Metrics()
		return m.CacheHits + m.CacheMisses - before.CacheHits - before.CacheMisses
	}
	all := func() int64 {
		before := e.Metrics()
		r, err := e.NewReader()
		must(t, err)
		defer r.Close()
		_, err = r.Digest(kv.Span{}, 0, MaxTimestamp)
		must(t, err)
		m := e.Metrics()
		return m.CacheHits + m.CacheMisses - before.CacheHits - before.CacheMisses
	}()
	if none, last := loads(2000), loads(1999); none*10 > all || last*10 > all {
		t.Errorf("blocks read for nothing newer: %d, for the last key: %d, of %d", none, last, all)
	}
	must(t, e.Close())
}

func TestCollectionPassesOverBlocksWithoutGarbage(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true, tune: func(p *pebble.Options) {
		for i := range p.Levels {
			p.Levels[i].BlockSize = 256
		}
	}})
	for range 2 {
		b := e.NewBatch()
		for i := range 2000 {
			must(t, b.Put(fmt.Appendf(nil, "key%04d", i), kv.Timestamp(i+1), kv.TxID{1}, []byte("v")))
		}
		must(t, b.Commit())
	}
	put(t, e, "key1234", 5000, []byte("w"))
	must(t, e.Flush())
	must(t, e.Compact())
	res, err := e.CollectGarbage(GCArgs{Threshold: 6000, Examined: 1 << 20})
	must(t, err)
	if res.Versions != 1 || res.Examined > 1000 || res.Keys != 0 {
		t.Errorf("%+v: want one version deleted, few examined", res)
	}
	if v, ok := get(t, e, "key1234", 4999); ok {
		t.Errorf("the overwritten version is still there: %+v", v)
	}
	must(t, e.Close())
}
