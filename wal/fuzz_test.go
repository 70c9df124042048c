package wal

import (
	"math"
	"testing"
)

// fuzzLog is a small log on disk, for the seeds.
func fuzzLog(tb testing.TB) *recorded {
	tb.Helper()
	r, err := recordLog(11, 3, 12, true)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// What is decoded comes out as it was encoded; nothing else makes a decoder panic.
func FuzzDecodeFrame(f *testing.F) {
	r := fuzzLog(f)
	data := r.fs.names[r.segment(1)].view
	f.Add(data[headerBytes:headerBytes+frameHeaderBytes], uint32(headerBytes))
	f.Add([]byte("kf"), uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, seed uint32) {
		fr, ok := decodeFrame(b, seed)
		if !ok {
			return
		}
		again := make([]byte, frameHeaderBytes)
		fr.encode(again, seed)
		if got, ok := decodeFrame(again, seed); !ok || got.bodyBytes != fr.bodyBytes || got.first != fr.first || got.next() < got.first {
			t.Fatalf("%+v became %+v", fr, got)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	r := fuzzLog(f)
	m := r.image(1)
	fr, _ := m.scan(headerBytes)
	for range 3 {
		fr, _ = m.scan(fr.end())
		f.Add(m.body(&fr), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix && len(b) >= recordFixedBytes { // let the fuzzer past the checksum
			if n := int(b[6])<<8 | int(b[7]); n >= 4 && n <= len(b) {
				crc := checksum(0, b[4:n])
				b[0], b[1], b[2], b[3] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
			}
		}
		rec, ok := decodeRecord(b, 0)
		if !ok {
			return
		}
		if rec.totalLen < rec.headLen || int(rec.totalLen) > len(b) || rec.sequence == 0 || rec.mark > MarkForget {
			t.Fatalf("%+v out of %d bytes", rec, len(b))
		}
		img := &image{segment: 1, data: b}
		count := uint32(0)
		img.entrySlots(0, &rec, false, func(_ *Entry, p Position) {
			count++
			if p.Offset+p.Len > rec.totalLen {
				t.Fatalf("an entry at %v in a record of %d bytes", p, rec.totalLen)
			}
		})
		if count > rec.entries {
			t.Fatalf("%d entries, not %d", count, rec.entries)
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	s := state{replica: 1, tombstone: 2, low: point{3, 4}, install: point{5, math.MaxUint64}, hard: HardState{7, 8, 9}}
	f.Add(s.encode(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := decodeState(b)
		if !ok {
			return
		}
		if got, ok := decodeState(s.encode(nil)); !ok || got != s {
			t.Fatalf("%+v became %+v", s, got)
		}
	})
}

func FuzzDecodeDirectory(f *testing.F) {
	d := directoryEntry{group: 1, sequence: 2, low: point{3, 4}, replica: 5, tombstone: 6, damaged: true}
	f.Add(d.append(nil), uint32(1))
	f.Add([]byte{}, uint32(math.MaxUint32))
	f.Fuzz(func(t *testing.T, b []byte, count uint32) {
		ds, ok := decodeDirectory(b, count)
		if ok && len(ds) != int(count) {
			t.Fatalf("%d entries, not %d", len(ds), count)
		}
		for i := range ds {
			if got, ok := decodeDirectory(ds[i].append(nil), 1); !ok || got[0] != ds[i] {
				t.Fatalf("%+v became %+v", ds[i], got)
			}
		}
	})
}

func FuzzDecodeSegmentHeader(f *testing.F) {
	f.Add(segmentHeader{version: 1, store: 2, segment: 3, size: 4}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := decodeSegmentHeader(b); ok {
			if got, ok := decodeSegmentHeader(h.encode()); !ok || got != h {
				t.Fatalf("%+v became %+v", h, got)
			}
		}
	})
}

// Any bytes in the place of a part of a segment: Open does not panic, and calls nobody
// healthy who has lost something.
func FuzzOpen(f *testing.F) {
	r := fuzzLog(f)
	f.Add(uint16(0), []byte("some bytes"))
	f.Add(uint16(headerBytes), []byte{0})
	f.Add(uint16(headerBytes+100), r.fs.names[r.segment(1)].view[headerBytes:headerBytes+200])
	end := int64(r.log.end.off) - frameHeaderBytes // the closing mark proves the rest
	f.Fuzz(func(t *testing.T, at uint16, b []byte) {
		off := int64(at) % end
		b = b[:min(int64(len(b)), end-off)]
		if _, err := r.reopen(1, func(fs *MemFS, path string) error { return fs.Overwrite(path, off, b) }); err != nil {
			t.Fatal(err)
		}
	})
}
