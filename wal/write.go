package wal

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// bufferKeepMax: a larger encoding buffer is not kept for the next Write.
const bufferKeepMax = 8 << 20

// zeroPad is what wipes the remains of failed writes.
var zeroPad [4096]byte

// undo restores one group to what it was before a Write that failed.
type undo struct {
	group kv.PartitionID
	t     *tracker // nil: the group was not there
	was   tracker
}

// Write writes the batch in one piece, and makes it and everything before it durable if
// sync is set. It returns, for each Append, the positions of its entries and then, as
// the last one, that of the record itself: hand them to View.Stored.
//
// An error of kind DiskFull, Invalid or Limit means that nothing was written: all or part
// of the batch may be written again. After a failed sync the log refuses everything.
func (l *Log) Write(batch []Append, sync bool) ([][]Position, error) {
	if err := l.fault.get(); err != nil {
		return nil, err
	}
	var out [][]Position
	if len(batch) > 0 {
		if err := checkBatchBytes(batch); err != nil {
			return nil, err
		}
		var err error
		if out, err = l.write(batch); err != nil {
			return nil, err
		}
	}
	if sync {
		if err := l.sync(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func checkBatchBytes(batch []Append) error {
	total := int64(0)
	for i := range batch {
		total += recordHeadMax + alignBytes + int64(len(batch[i].Entries))*entryHeaderBytes
		for j := range batch[i].Entries {
			total += int64(len(batch[i].Entries[j].Data))
		}
	}
	if total > BatchBytesMax {
		return kv.LimitError("BatchBytesMax", BatchBytesMax, total, "write fewer entries at a time")
	}
	return nil
}

func (l *Log) write(batch []Append) ([][]Position, error) {
	out, entries := newPositions(batch)
	last, err := l.encode(batch, out)
	if err == nil && !l.fits() {
		l.rollback()
		if err = l.roll(len(l.enc.buf) + 2*l.directoryBytes(len(batch))); err == nil {
			last, err = l.encode(batch, out)
			invariant.Check(err != nil || l.fits(), "a batch of %d bytes does not fit in a new segment of %d", len(l.enc.buf), l.end.segment.size)
		}
	}
	if err == nil {
		err = l.writeBuffer(&last)
	}
	if err != nil {
		l.rollback()
		return nil, err
	}
	l.undo = l.undo[:0]
	l.stats.add(func(s *Stats) {
		s.Records += uint64(len(batch))
		s.Entries += uint64(entries)
		s.Groups = len(l.groups)
	})
	return out, nil
}

// newPositions makes the result of a Write: one allocation for all positions.
func newPositions(batch []Append) ([][]Position, int) {
	entries := 0
	for i := range batch {
		entries += len(batch[i].Entries)
	}
	flat := make([]Position, entries+len(batch))
	out := make([][]Position, len(batch))
	for i := range batch {
		n := len(batch[i].Entries) + 1
		out[i], flat = flat[:n:n], flat[n:]
	}
	return out, entries
}

// encode fills the buffer with the batch's frame, after those that open a new segment,
// and brings the trackers up to it; rollback takes that back.
func (l *Log) encode(batch []Append, out [][]Position) (frame, error) {
	f := l.beginBuffer()
	at := l.enc.beginFrame()
	for i := range batch {
		a := &batch[i]
		t, err := l.stage(a)
		if err != nil {
			return f, err
		}
		hasState := t.apply(a)
		if hasState {
			t.stateSegment = l.end.segment.number
		}
		l.enc.record(a, t.sequence, &t.state, hasState, out[i])
		for j := range out[i] {
			out[i][j].Segment = l.end.segment.number
		}
	}
	f = l.frame(frameBatch, f.crc)
	f.count = uint32(len(batch))
	l.enc.endFrame(at, &f)
	return f, nil
}

// stage returns the tracker of a's group after it has accepted a, and remembers what it was.
func (l *Log) stage(a *Append) (*tracker, error) {
	t := l.groups[a.Group]
	if t == nil {
		if len(l.groups) >= GroupsMax {
			return nil, kv.LimitError("GroupsMax", GroupsMax, int64(len(l.groups))+1, "forget buried groups (MarkForget)")
		}
		t = new(tracker)
		if err := t.check(a); err != nil {
			return nil, err
		}
		l.undo = append(l.undo, undo{group: a.Group})
		l.groups[a.Group] = t
	} else {
		if err := t.check(a); err != nil {
			return nil, err
		}
		l.undo = append(l.undo, undo{group: a.Group, t: t, was: *t})
	}
	if a.Mark.Kind == MarkForget {
		delete(l.groups, a.Group)
	}
	return t, nil
}

// rollback restores the trackers, newest change first.
func (l *Log) rollback() {
	for i := len(l.undo) - 1; i >= 0; i-- {
		u := &l.undo[i]
		if u.t == nil {
			delete(l.groups, u.group)
			continue
		}
		*u.t = u.was
		l.groups[u.group] = u.t
	}
	l.undo = l.undo[:0]
}

// frame is the header of a frame that follows one with checksum prev.
func (l *Log) frame(t frameType, prev uint32) frame {
	return frame{typ: t, first: l.end.next, synced: l.end.synced, base: l.base, prev: prev}
}

// beginBuffer empties the buffer; in a new segment with its mark and its opening directory. The
// mark repeats the numbers, so that they survive damage of the directory's header.
func (l *Log) beginBuffer() frame {
	l.enc.reset(l.end.off, l.end.segment.seed)
	f := frame{crc: l.end.prev}
	if !l.end.fresh {
		return f
	}
	f = l.frame(frameMark, f.crc)
	l.enc.endFrame(l.enc.beginFrame(), &f)
	return l.directory(frameOpening, f.crc)
}

// directory appends a directory of all groups.
func (l *Log) directory(t frameType, prev uint32) frame {
	at := l.enc.beginFrame()
	for _, g := range slices.Sorted(maps.Keys(l.groups)) {
		t := l.groups[g]
		d := directoryEntry{
			group: g, sequence: t.sequence, low: t.state.low,
			replica: t.state.replica, tombstone: t.state.tombstone, damaged: t.damaged,
		}
		l.enc.buf = d.append(l.enc.buf)
	}
	f := l.frame(t, prev)
	f.count = uint32(len(l.groups))
	l.enc.endFrame(at, &f)
	return f
}

// directoryBytes is the room that a directory takes when `more` groups are added.
func (l *Log) directoryBytes(more int) int {
	return frameHeaderBytes + (len(l.groups)+more)*directoryEntryBytes
}

// fits reports whether the buffer can be written to the current segment, with room for a
// closing directory behind it.
func (l *Log) fits() bool {
	return !l.end.sealed && int64(l.end.off)+int64(len(l.enc.buf))+int64(l.directoryBytes(0)) <= l.end.segment.size
}

// roll closes the current segment and goes on in the next one, which has room for n
// bytes of frames at least.
func (l *Log) roll(n int) error {
	size := int64(headerBytes+frameHeaderBytes+n+headerBytes-1) &^ (headerBytes - 1)
	if size > segmentMax {
		return kv.LimitError("BatchBytesMax", BatchBytesMax, int64(n), "write fewer entries at a time")
	}
	if err := l.files.prepare(size); err != nil {
		return err
	}
	if !l.end.sealed {
		l.enc.reset(l.end.off, l.end.segment.seed)
		f := l.directory(frameClosing, l.end.prev)
		if err := l.writeBuffer(&f); err != nil {
			return err
		}
		l.end.sealed = true
	}
	if err := l.sync(); err != nil {
		return err
	}
	s := l.files.take()
	l.end.segment, l.end.off, l.end.wipe = s, headerBytes, 0
	l.end.fresh, l.end.sealed, l.verdict = true, false, false
	l.stats.add(func(st *Stats) { st.Segment = s.number })
	return nil
}

// mark writes a frame without records, durably: it carries the newest numbers.
func (l *Log) mark() error {
	if err := l.sync(); err != nil { // so that the mark says of everything before it that it is durable
		return err
	}
	if !l.end.fresh {
		l.enc.reset(l.end.off, l.end.segment.seed)
		f := l.frame(frameMark, l.end.prev)
		l.enc.endFrame(l.enc.beginFrame(), &f)
		if l.fits() {
			return l.writeSync(&f)
		}
		if err := l.roll(2 * l.directoryBytes(0)); err != nil {
			return err
		}
	}
	f := l.beginBuffer() // a mark and the opening directory
	return l.writeSync(&f)
}

func (l *Log) writeSync(f *frame) error {
	if err := l.writeBuffer(f); err != nil {
		return err
	}
	return l.sync()
}

// writeBuffer writes the buffer, whose last frame is f. If it fails the log is where it was.
func (l *Log) writeBuffer(f *frame) error {
	e := &l.end
	n := uint32(len(l.enc.buf))
	for end := e.off + uint32(len(l.enc.buf)); end < e.wipe; end = e.off + uint32(len(l.enc.buf)) {
		l.enc.buf = append(l.enc.buf, zeroPad[:min(e.wipe-end, uint32(len(zeroPad)))]...)
	}
	if _, err := e.segment.file.WriteAt(l.enc.buf, int64(e.off)); err != nil {
		e.wipe = max(e.wipe, e.off+uint32(len(l.enc.buf)))
		return writeError(fmt.Sprintf("writing %d bytes to log segment %d", len(l.enc.buf), e.segment.number), err)
	}
	e.off += n
	e.prev, e.next = f.crc, f.next()
	e.fresh, e.wipe = false, 0
	l.stats.add(func(s *Stats) {
		s.Writes++
		s.WrittenBytes += uint64(n)
	})
	if cap(l.enc.buf) > bufferKeepMax {
		l.enc.buf = nil
	}
	return nil
}

// sync makes everything written durable.
func (l *Log) sync() error {
	if invariant.Mutated(invariant.NoSyncBeforeAnswer) {
		l.end.synced = l.end.next
		return nil
	}
	if err := l.end.segment.file.Sync(); err != nil {
		return l.fault.set(fmt.Sprintf("log segment %d", l.end.segment.number), err)
	}
	l.end.synced = l.end.next
	l.stats.add(func(s *Stats) { s.Syncs++ })
	return nil
}
