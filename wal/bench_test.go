package wal

import (
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// BenchmarkWrite is one Write with one fdatasync of a batch of 100-byte entries, one per
// group, on the operating system's filesystem (TMPDIR should be on the disk that counts).
func BenchmarkWrite(b *testing.B) {
	for _, groups := range []int{1, 64, 1024} {
		for _, sync := range []bool{true, false} {
			b.Run(fmt.Sprintf("groups=%d/sync=%v", groups, sync), func(b *testing.B) { benchmarkWrite(b, groups, sync) })
		}
	}
}

func benchmarkWrite(b *testing.B, groups int, sync bool) {
	l, _, err := Create(Options{FS: OSFS{}, Dir: b.TempDir(), StoreID: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	batch := make([]Append, groups)
	for i := range batch {
		batch[i] = birth(kv.PartitionID(i + 1))
	}
	if _, err := l.Write(batch, true); err != nil {
		b.Fatal(err)
	}
	hard := HardState{Term: 1, Vote: 1}
	data := make([]byte, 100)
	for i := range batch {
		batch[i] = Append{Group: kv.PartitionID(i + 1), HardState: &hard, Entries: []Entry{{Term: 1, Data: data}}}
	}
	b.SetBytes(int64(groups * 100))
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		hard.Commit = kv.LogIndex(n)
		for i := range batch {
			batch[i].Entries[0].Index = kv.LogIndex(n + 1)
		}
		if _, err := l.Write(batch, sync); err != nil {
			b.Fatal(err)
		}
		if n%1000 == 999 {
			benchmarkRelease(b, l)
		}
	}
	b.ReportMetric(float64(b.N)*float64(groups)/b.Elapsed().Seconds(), "records/s")
}

// benchmarkRelease recycles old segments, as a host does.
func benchmarkRelease(b *testing.B, l *Log) {
	if err := l.ReleaseBefore(l.Stats().Segment); err != nil {
		b.Fatal(err)
	}
	if err := l.PrepareNext(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpen is the recovery of a log of 256 MiB in 100-byte entries of 100 groups.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	o := Options{FS: OSFS{}, Dir: dir, StoreID: 1}
	l, _, err := Create(o)
	if err != nil {
		b.Fatal(err)
	}
	batch := make([]Append, 100)
	for i := range batch {
		batch[i] = birth(kv.PartitionID(i + 1))
	}
	data := make([]byte, 100)
	for n := kv.LogIndex(1); l.Stats().Segment <= 4; n++ {
		if _, err := l.Write(batch, false); err != nil {
			b.Fatal(err)
		}
		for i := range batch {
			batch[i] = Append{Group: kv.PartitionID(i + 1), Entries: []Entry{{Index: n, Term: 1, Data: data}}}
		}
	}
	bytes := int64(l.Stats().WrittenBytes)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(bytes)
	b.ReportAllocs()
	for b.Loop() {
		l, rec, err := Open(o)
		if err != nil || len(rec.Groups) != 100 || len(rec.Damage) > 0 {
			b.Fatal(rec, err)
		}
		if err := l.files.close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDevice is the floor under BenchmarkWrite: the same bytes, written and synced
// at the same kind of place, and nothing else.
func BenchmarkDevice(b *testing.B) {
	for _, size := range []int{256, 12 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			s := &segments{fs: OSFS{}, dir: b.TempDir(), fault: &fault{}}
			f, err := s.zeroFile("zeros", SegmentBytesDefault)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for n := 0; b.Loop(); n++ {
				if _, err := f.WriteAt(p, int64(n*size%(SegmentBytesDefault-size))); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStored is the event loop's share of a write.
func BenchmarkStored(b *testing.B) {
	v := newView(1, NewCache(1<<20))
	a := entry(1, 0, 1, "100 bytes")
	pos := []Position{{Segment: 1, Len: 125}, {Segment: 1}}
	b.ReportAllocs()
	n := kv.LogIndex(0)
	for b.Loop() {
		n++
		a.Entries[0].Index = n
		v.Stored(&a, pos)
		if n%1000 == 0 {
			v.Compact(n - 100)
		}
	}
}

// BenchmarkRead fetches old entries from the page cache.
func BenchmarkRead(b *testing.B) {
	l, _, err := Create(Options{FS: OSFS{}, Dir: b.TempDir(), StoreID: 1})
	if err != nil {
		b.Fatal(err)
	}
	a := birth(1)
	a.Entries = []Entry{{Index: 1, Term: 1, Data: make([]byte, 100)}}
	pos, err := l.Write([]Append{a}, true)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var e Entry
		if err := l.Read(pos[0][0], &e); err != nil {
			b.Fatal(err)
		}
	}
}
