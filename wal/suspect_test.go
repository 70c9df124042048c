package wal

import (
	"slices"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// These tests lose one known frame and say exactly who must be called damaged.

// zero removes [from, to) of a segment.
func (l *testLog) zero(segment uint64, from, to uint32) {
	l.Helper()
	if err := l.fs.Overwrite(l.segment(segment), int64(from), make([]byte, to-from)); err != nil {
		l.Fatal(err)
	}
}

// invert turns all bits of [from, to) of a segment.
func (l *testLog) invert(segment uint64, from, to uint32) {
	l.Helper()
	for bit := int64(from) * 8; bit < int64(to)*8; bit++ {
		if err := l.fs.FlipBit(l.segment(segment), bit); err != nil {
			l.Fatal(err)
		}
	}
}

// frame writes a batch and returns where its frame lies, of which the first write of a
// segment has the opening frames in front.
func (l *testLog) frame(batch ...Append) (from, to uint32) {
	l.Helper()
	from = l.log.end.off
	l.write(true, batch...)
	return from, l.log.end.off
}

func (l *testLog) wantFaulty(what string, want ...kv.PartitionID) {
	l.Helper()
	if got := faulty(l.rec); !slices.Equal(got, want) {
		l.Fatalf("%s: groups %v are damaged, want %v (unaccounted %v): %v", what, got, want, l.rec.Unaccounted, l.rec.Damage)
	}
}

// A record that is lost in the last segment: who was heard of later, without a gap, is
// fine; all the others may have been in it, unless the gaps account for all of it.
func TestLostInTheLastSegment(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), birth(2), birth(3))
	from, to := l.frame(entry(1, 1, 1, "lost"))
	l.write(true, entry(2, 1, 1, "later"))
	l.close()
	l.zero(1, from, to)
	l.reopen()
	l.wantFaulty("nothing heard of groups 1 and 3 since", 1, 3)
	if !l.rec.Unaccounted {
		t.Fatal("the lost record is accounted for")
	}
	l.wantKind(second(l.log.Write([]Append{entry(3, 1, 1, "x")}, true)), kv.Corruption, "a write to a damaged group")
	l.wantKind(second(l.log.Write([]Append{{Group: 3, Mark: Mark{Kind: MarkReset, Index: 5, Term: 1}}}, true)), kv.Corruption, "a reset of a damaged group")

	// The verdict outlives the evidence: the segment goes, the directories remember.
	for i := kv.LogIndex(2); l.log.Stats().Segment < 4; i++ {
		a := entry(2, i, 1, strings.Repeat("x", 300))
		a.HardState, a.LowWater = &HardState{Term: 1}, i-1
		l.write(true, a)
	}
	l.reopen()
	l.wantFaulty("after directories were written", 1, 3)
	for range 2 {
		if err := l.log.ReleaseBefore(3); err != nil {
			t.Fatal(err)
		}
		l.reopen()
		l.wantFaulty("after the damaged segment was released", 1, 3)
	}
	f := l.rec.Find(1)
	if f.View.ReplicaID() != 1 || kv.KindOf(f.Fault) != kv.Corruption {
		t.Fatalf("replica %d, fault %v", f.View.ReplicaID(), f.Fault)
	}
	// A new life mends it.
	l.write(true, Append{Group: 1, Mark: Mark{Kind: MarkTombstone, Replica: 1}}, Append{Group: 3, Mark: Mark{Kind: MarkCreate, Replica: 2}}, entry(3, 1, 1, "born again"))
	l.reopen()
	l.wantFaulty("after a new life")
	if l.data(3, 1) != "born again" || l.views[1].Tombstone() != 1 || l.views[3].Tombstone() != 1 {
		t.Fatal("the new lives are not what was written")
	}
}

func TestLostAndAccountedFor(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), birth(2), birth(3))
	from, to := l.frame(entry(1, 1, 1, "lost"))
	l.write(true, entry(2, 1, 1, "later"), entry(1, 2, 1, "shows the gap"))
	l.close()
	l.zero(1, from, to)
	l.reopen()
	l.wantFaulty("the gap of group 1 is all that is missing", 1)
	d := l.rec.Damage
	if l.rec.Unaccounted || len(d) != 1 || d[0].Segment != 1 || d[0].Offset != from || d[0].Length != to-from || !slices.Equal(d[0].Groups, []kv.PartitionID{1}) {
		t.Fatalf("damage %v", d)
	}
	if fault := l.rec.Find(1).Fault.Error(); !strings.Contains(fault, "last good index is 0") || !strings.Contains(fault, "segment 1") {
		t.Fatalf("the fault does not say where: %s", fault)
	}
}

// What is lost does not matter once it is replaced: by a checkpoint, or by a state and a
// low-water mark beyond it.
func TestLostAndReplaced(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), birth(2))
	from, to := l.frame(entry(1, 1, 1, "lost"), entry(2, 1, 1, "lost"))
	a, err := l.views[1].Checkpoint(l.log.Read)
	if err != nil {
		t.Fatal(err)
	}
	l.write(true, *a, entry(2, 2, 1, "kept"))
	l.close()
	l.zero(1, from, to)
	l.reopen()
	l.wantFaulty("a checkpoint of 1, not of 2", 2)
	if l.data(1, 1) != "lost" {
		t.Fatal("the checkpoint is not what was written")
	}

	l = newTestLog(t)
	l.write(true, birth(1))
	from, to = l.frame(entry(1, 1, 1, "lost"))
	b := entry(1, 2, 1, "kept")
	b.HardState, b.LowWater = &HardState{Term: 1, Commit: 1}, 1
	l.write(true, b)
	l.close()
	l.zero(1, from, to)
	l.reopen()
	l.wantFaulty("a low-water mark beyond the loss")
	if l.data(1, 2) != "kept" || l.views[1].FirstIndex() != 2 {
		t.Fatal("what is needed is not there")
	}
}

// roll goes on in a new segment: a write of group g that does not fit.
func (l *testLog) roll(g kv.PartitionID, i kv.LogIndex) (from, to uint32) {
	l.Helper()
	n := int(l.log.end.segment.size) - int(l.log.end.off) - l.log.directoryBytes(0) - 10
	l.write(true, entry(g, i, 1, strings.Repeat("x", min(n, 8000))))
	if s := l.log.end.segment; s.number == 1 {
		return l.roll(g, i+1)
	}
	return headerBytes, l.log.end.off
}

// The frames between two segments hold no record: that they are damaged costs nobody
// anything, least of all the acknowledged batch behind them.
func TestDamagedDirectories(t *testing.T) {
	for _, c := range []struct {
		what    string
		segment uint64
		pick    func(fs []frame) (from, to uint32)
	}{
		{"closing directory, header", 1, func(fs []frame) (uint32, uint32) { f := fs[len(fs)-1]; return f.off + 8, f.off + 9 }},
		{"closing directory, body", 1, func(fs []frame) (uint32, uint32) { f := fs[len(fs)-1]; return f.off + 56, f.off + 57 }},
		{"closing directory, all", 1, func(fs []frame) (uint32, uint32) { f := fs[len(fs)-1]; return f.off, f.end() }},
		{"first mark", 2, func(fs []frame) (uint32, uint32) { return fs[0].off, fs[0].end() }},
		{"opening directory, header", 2, func(fs []frame) (uint32, uint32) { return fs[1].off, fs[1].off + 48 }},
		{"opening directory, body", 2, func(fs []frame) (uint32, uint32) { return fs[1].off + 50, fs[1].end() }},
		{"mark and opening directory", 2, func(fs []frame) (uint32, uint32) { return fs[0].off, fs[1].end() }},
	} {
		l := newTestLog(t)
		l.write(true, birth(1), birth(2), birth(3))
		l.roll(1, 1)
		last := l.views[1].LastIndex()
		// Not closed: the last batch has nothing behind it.
		from, to := c.pick(l.frames(c.segment))
		l.invert(c.segment, from, to)
		l.reopen()
		l.wantFaulty(c.what)
		if c.segment == 1 && (len(l.rec.Damage) != 1 || l.rec.Damage[0].Segment != 1) {
			t.Fatalf("%s: damage %v", c.what, l.rec.Damage)
		}
		if l.views[1].LastIndex() != last || l.log.Stats().Segment != 2 {
			t.Fatalf("%s: last index %d, want %d", c.what, l.views[1].LastIndex(), last)
		}
		l.write(true, entry(2, 1, 1, "goes on"))
		l.reopen()
		l.wantFaulty(c.what + ", after another write")
		if l.data(2, 1) != "goes on" {
			t.Fatalf("%s: the log does not go on", c.what)
		}
	}
}

// frames are those of a segment.
func (l *testLog) frames(n uint64) (fs []frame) {
	l.Helper()
	w := &world{fs: l.fs, opt: l.opt, log: l.log}
	m := w.image(n)
	for off := uint32(headerBytes); ; {
		f, ok := m.frameAt(off)
		if !ok {
			return fs
		}
		fs = append(fs, f)
		off = f.end()
	}
}

// With the oldest segment the base of all chains is in its opening directory; when that
// is gone as well the other records still prove who is whole.
func TestDamagedFirstDirectory(t *testing.T) {
	l := newTestLog(t)
	hs := func(g kv.PartitionID) Append { return Append{Group: g, HardState: &HardState{Term: 1}} }
	l.write(true, birth(1), birth(2), birth(3))
	l.roll(1, 1)
	last := l.views[1].LastIndex()
	l.write(true, Append{Group: 1, LowWater: last}, hs(2), hs(3), hs(1), entry(1, last+1, 1, "kept"))
	if err := l.log.ReleaseBefore(2); err != nil {
		t.Fatal(err)
	}
	l.close()
	fs := l.frames(2)
	l.zero(2, fs[1].off, fs[1].end())
	l.reopen()
	l.wantFaulty("the opening directory alone")
	l.close()
	l.zero(2, fs[0].off, fs[2].end()) // and the first batch
	l.reopen()                        // group 1 has moved its low-water mark beyond it
	l.wantFaulty("the start of the oldest segment", 2, 3)
	if l.data(1, last+1) != "kept" || l.views[1].FirstIndex() != last+1 {
		t.Fatal("group 1 is not what was written")
	}
}

// Whole files: missing, cut short, unreadable.
func TestMissingFiles(t *testing.T) {
	build := func() *testLog {
		l := newTestLog(t)
		l.write(true, birth(1), birth(2), birth(3))
		for i := kv.LogIndex(1); l.log.Stats().Segment < 4; i++ {
			l.write(true, entry(2, i, 1, strings.Repeat("x", 300)))
		}
		last := l.views[2].LastIndex()
		l.write(true, entry(1, 1, 1, "one"), Append{Group: 2, LowWater: last, HardState: &HardState{Term: 1}})
		return l
	}
	l := build()
	if err := l.fs.Remove(l.segment(2)); err != nil {
		t.Fatal(err)
	}
	l.reopen() // segment 2 held only dead entries of group 2
	l.wantFaulty("a dead segment is missing")
	if len(l.rec.Damage) != 1 || l.rec.Damage[0].Segment != 2 {
		t.Fatalf("damage %v", l.rec.Damage)
	}
	l = build()
	if err := l.fs.Remove(l.segment(1)); err != nil {
		t.Fatal(err)
	}
	l.reopen() // it held the births of 1 and 3
	l.wantFaulty("the first segment is missing", 1, 3)

	l = build()
	if err := l.fs.Truncate(l.segment(4), int64(l.log.end.off)); err != nil {
		t.Fatal(err)
	}
	l.reopen() // what may have been behind the cut is not known
	l.wantFaulty("the last segment is cut short", 1, 2, 3)

	l = build()
	if err := l.fs.Truncate(l.segment(3), SegmentBytesMin/2); err != nil {
		t.Fatal(err)
	}
	l.reopen()
	l.wantFaulty("another segment is cut short, dead entries in it")

	l = build()
	for n := range uint64(4) {
		l.zero(n+1, headerBytes, SegmentBytesMin)
	}
	l.reopen() // nothing at all: cannot be told from a new log
	if len(l.rec.Groups) != 0 {
		t.Fatal("groups out of nothing")
	}
	l = build()
	l.wantKind(l.log.ReleaseBefore(2), kv.Invalid, "releasing the states of groups")
	for g := range kv.PartitionID(3) {
		l.write(true, Append{Group: g + 1, HardState: &HardState{Term: 1}})
	}
	if err := l.log.ReleaseBefore(2); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(3) {
		l.zero(n+2, headerBytes, SegmentBytesMin)
	}
	_, _, err := Open(l.opt)
	l.wantKind(err, kv.Corruption, "a log that had a past, with nothing readable")
}

// A damaged segment header costs nothing: the frames speak for themselves.
func TestDamagedSegmentHeader(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), entry(1, 1, 1, "one"))
	l.close()
	l.zero(1, 0, headerBytes)
	for range 2 {
		l.reopen()
		l.wantFaulty("a damaged segment header")
		if len(l.rec.Damage) != 1 || l.data(1, 1) != "one" {
			t.Fatalf("damage %v", l.rec.Damage)
		}
		l.write(true, entry(1, 2, 1, "two"))
	}
}

// A clean stop vouches for everything, also for what was never synced on its own.
func TestCloseVouches(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1))
	from := l.log.end.off
	l.write(false, entry(1, 1, 1, "one"))
	to := l.log.end.off
	l.close()
	l.zero(1, from, to)
	l.reopen()
	l.wantFaulty("the last batch before a clean stop", 1)
}

// A removal that was lost: the next directory says that the group is gone.
func TestLostForget(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), birth(2))
	from, to := l.frame(Append{Group: 2, Mark: Mark{Kind: MarkTombstone, Replica: 1}}, Append{Group: 2, Mark: Mark{Kind: MarkForget}})
	l.roll(1, 1)
	l.close()
	l.zero(1, from, to)
	l.reopen()
	l.wantFaulty("a lost removal")
	if l.rec.Find(2) != nil {
		t.Fatal("a removed group has come back")
	}
}

// A segment that was released while entries in it were needed: nobody is served a log
// that begins too late.
func TestReleasedTooEarly(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1))
	l.roll(1, 1)
	last := l.views[1].LastIndex()
	l.write(true, Append{Group: 1, HardState: &HardState{Term: 1}}, entry(1, last+1, 1, "one"))
	if err := l.log.ReleaseBefore(2); err != nil {
		t.Fatal(err)
	}
	l.reopen()
	l.wantFaulty("entries below the first one are needed, and gone", 1)
}

// What is cut is told: where, and how much of the write was there.
func TestTornTailIsTold(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), entry(1, 1, 1, "whole"))
	l.write(true, entry(1, 2, 1, "torn"))
	fs := l.frames(1)
	last := fs[len(fs)-1]
	l.invert(1, last.end()-alignBytes, last.end())
	l.reopen()
	if torn := l.rec.Torn; torn.Segment != 1 || torn.Offset != last.off || torn.Len < frameHeaderBytes || torn.Len > last.end()-last.off {
		t.Fatalf("cut at %+v; the write is [%d, %d)", torn, last.off, last.end())
	}
	l.reopen()
	if l.rec.Torn != (Position{}) {
		t.Fatalf("cut again at %+v", l.rec.Torn)
	}
}

// What a torn first write leaves of a new segment, or a torn closing of the old one, is
// written again in full.
func TestTornRoll(t *testing.T) {
	types := func(l *testLog, n uint64) (ts []frameType) {
		for _, f := range l.frames(n) {
			ts = append(ts, f.typ)
		}
		return ts
	}
	l := newTestLog(t)
	l.write(true, birth(1))
	from, to := l.roll(1, 1)
	lost := l.views[1].LastIndex()
	l.zero(2, from+frameHeaderBytes, to) // only the mark came through
	l.reopen()
	l.wantFaulty("a torn first write")
	l.write(true, entry(1, lost, 1, "again"))
	if got := types(l, 2); !slices.Equal(got, []frameType{frameMark, frameOpening, frameBatch}) {
		t.Fatalf("segment 2 holds frames %v", got)
	}
	l.reopen()
	if l.data(1, lost) != "again" {
		t.Fatal("the log does not go on")
	}

	l = newTestLog(t)
	l.write(true, birth(1))
	l.roll(1, 1)
	lost = l.views[1].LastIndex()
	l.zero(2, headerBytes, SegmentBytesMin)
	fs := l.frames(1)
	l.invert(1, fs[len(fs)-1].end()-1, fs[len(fs)-1].end())
	l.reopen()
	l.write(true, entry(1, lost, 1, strings.Repeat("again", 1600)))
	if got := types(l, 1); got[len(got)-1] != frameClosing {
		t.Fatalf("segment 1 holds frames %v", got)
	}
	l.close()
	l.zero(2, headerBytes, headerBytes+2*frameHeaderBytes) // only the closing is left to tell
	l.reopen()
	l.wantFaulty("a closing that was written twice")
	if len(l.rec.Damage) != 1 || l.rec.Damage[0].Segment != 2 {
		t.Fatalf("damage %v", l.rec.Damage)
	}
}
