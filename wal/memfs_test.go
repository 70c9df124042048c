package wal

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// both runs a test over the two filesystems.
func both(t *testing.T, f func(t *testing.T, fsys FS, dir string)) {
	t.Run("OSFS", func(t *testing.T) { f(t, OSFS{}, t.TempDir()) })
	t.Run("MemFS", func(t *testing.T) { f(t, NewMemFS(), "/dir") })
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestFilesystems(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		p := func(name string) string { return filepath.Join(dir, name) }
		f := must[File](t)(fsys.Create(p("b")))
		must[int](t)(f.WriteAt([]byte("hello"), 3))
		if err := errors.Join(f.Sync(), f.Evict(), fsys.SyncDir(dir)); err != nil {
			t.Fatal(err)
		}
		if size := must[int64](t)(f.Size()); size != 8 {
			t.Fatalf("size %d", size)
		}
		got := make([]byte, 8)
		must[int](t)(f.ReadAt(got, 0))
		if !bytes.Equal(got, []byte("\x00\x00\x00hello")) {
			t.Fatalf("read %q", got)
		}
		if n, err := f.ReadAt(got, 4); n != 4 || err == nil {
			t.Fatalf("a read past the end: %d bytes, %v", n, err)
		}
		must[File](t)(fsys.Create(p("a")))
		if err := fsys.Rename(p("b"), p("c")); err != nil {
			t.Fatal(err)
		}
		if names := must[[]string](t)(fsys.List(dir)); !slices.Equal(names, []string{"a", "c"}) {
			t.Fatalf("names %v", names)
		}
		g := must[File](t)(fsys.Open(p("c")))
		must[int](t)(g.WriteAt([]byte("J"), 3))
		must[int](t)(f.ReadAt(got, 0)) // an open file follows its renamed name
		if got[3] != 'J' {
			t.Fatalf("read %q", got)
		}
		if err := errors.Join(fsys.Remove(p("a")), f.Close(), g.Close()); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{fsys.Remove(p("a")), fsys.Rename(p("a"), p("x")), second2(fsys.Open(p("a")))} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("a file that is not there: %v", err)
			}
		}
	})
}

func second2(_ File, err error) error { return err }

// A log works the same on the operating system's files.
func TestLogOnOSFS(t *testing.T) {
	l := &testLog{T: t, opt: Options{FS: OSFS{}, Dir: t.TempDir(), StoreID: 1, SegmentBytes: SegmentBytesMin, SpareBytes: 10_000}}
	var err error
	if l.log, _, err = Create(l.opt); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		if round == 0 {
			l.views = map[kv.PartitionID]*View{}
			l.write(true, birth(1))
		}
		from := l.views[1].LastIndex()
		for i := from + 1; i <= from+200; i++ {
			a := entry(1, i, 1, strings.Repeat("x", 200))
			a.LowWater = i - 1
			l.write(i%3 == 0, a)
			if err := l.log.ReleaseBefore(l.views[1].OldestSegment()); err != nil {
				t.Fatal(err)
			}
		}
		l.close()
		if rec := l.reopen(); len(rec.Damage) > 0 || l.views[1].LastIndex() != from+200 || len(l.data(1, from+200)) != 200 {
			t.Fatalf("round %d: %+v", round, rec)
		}
	}
	if s := l.log.Stats(); s.Segment < 5 || s.Segments > 2 || s.Spares == 0 {
		t.Fatalf("%+v", s)
	}
}

func TestMemFSCrash(t *testing.T) {
	fsys := NewMemFS()
	f := must[File](t)(fsys.Create("/a"))
	must[int](t)(f.WriteAt(bytes.Repeat([]byte{1}, 4*sectorBytes), 0))
	if err := errors.Join(f.Sync(), fsys.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	must[int](t)(f.WriteAt(bytes.Repeat([]byte{2}, 4*sectorBytes), 100))
	must[File](t)(fsys.Create("/b"))
	states := map[string]bool{}
	for seed := range uint64(200) {
		for _, mode := range CrashModes {
			c := fsys.Clone()
			c.Crash(rand.New(rand.NewPCG(seed, 1)), mode)
			d := fsys.Clone()
			d.Crash(rand.New(rand.NewPCG(seed, 1)), mode)
			if !bytes.Equal(c.names["/a"].disk, d.names["/a"].disk) || len(c.names) != len(d.names) {
				t.Fatal("the same seed leaves something else")
			}
			story := shape(c.names["/a"].disk)
			if mode == CrashLose && (story != "1111" || c.names["/b"] != nil) || mode == CrashKeep && (story != "x222x" || c.names["/b"] == nil) {
				t.Fatalf("%v leaves %s", mode, story)
			}
			states[story] = true
		}
	}
	if !states["1211"] && !states["1212"] || !states["x211"] || len(states) < 12 {
		t.Fatalf("the crashes leave %v", states)
	}
}

// shape names each sector by its content: 1, 2, or x for both.
func shape(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		sector := b[:min(sectorBytes, len(b))]
		b = b[len(sector):]
		switch {
		case bytes.Count(sector, []byte{1}) == sectorBytes:
			s.WriteByte('1')
		case bytes.Count(sector, []byte{2}) == sectorBytes:
			s.WriteByte('2')
		default:
			s.WriteByte('x')
		}
	}
	return s.String()
}

func TestMemFSFaults(t *testing.T) {
	fsys := NewMemFS()
	f := must[File](t)(fsys.Create("/a"))
	fsys.SetCapacity(10)
	if n, err := f.WriteAt(make([]byte, 12), 0); n != 10 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(n, err)
	}
	must[int](t)(f.WriteAt(make([]byte, 8), 1)) // what is allocated can be written
	fsys.FailWrite(2, 1, syscall.EIO)
	must[int](t)(f.WriteAt([]byte{1}, 0))
	if n, err := f.WriteAt([]byte{2, 2}, 0); n != 1 || !errors.Is(err, syscall.EIO) {
		t.Fatal(n, err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	must[int](t)(f.WriteAt([]byte{3}, 0))
	fsys.FailSync(1)
	if f.Sync() == nil || f.Sync() != nil {
		t.Fatal("the first sync fails, the second is a lie")
	}
	b := make([]byte, 1)
	if must[int](t)(f.ReadAt(b, 0)); b[0] != 3 {
		t.Fatal("the page cache shows", b)
	}
	if err := f.Evict(); err != nil {
		t.Fatal(err)
	}
	if must[int](t)(f.ReadAt(b, 0)); b[0] != 2 {
		t.Fatal("the device shows", b)
	}
	fsys.Crash(nil, CrashLose)
	if _, err := f.ReadAt(b, 0); err == nil {
		t.Fatal("a file of a dead process is read")
	}
	if fsys.FlipBit("/a", 0) == nil || fsys.Truncate("/a", 0) == nil || fsys.FileSize("/a") != -1 {
		t.Fatal("the name was never durable")
	}
}
