package wal

import (
	"sync"

	"github.com/kvd-db/kvd/kv"
)

// Limits and defaults.
const (
	SegmentBytesDefault = 64 << 20
	SegmentBytesMin     = 16 << 10
	SegmentBytesMax     = 1 << 30
	RecycleDefault      = 4       // released segments kept for reuse
	BatchBytesMax       = 1 << 30 // one Write, headers included
	GroupsMax           = 1 << 18 // groups that one log knows, buried ones included
)

// Options says where a log lives. FS, Dir and StoreID are required.
type Options struct {
	FS      FS
	Dir     string // exists, and holds nothing but the log
	StoreID uint64 // a log of another store is refused
	// SegmentBytes is the size of a segment, a multiple of 4096; 0 = SegmentBytesDefault.
	SegmentBytes int
	// RecycleMax is how many released segments are kept for reuse; 0 = RecycleDefault, negative = none.
	RecycleMax int
	// SpareBytes is the size of the reserve file that ReleaseReserve gives up when the disk
	// is full; 0 = none.
	SpareBytes int64
}

func (o Options) withDefaults() (Options, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = SegmentBytesDefault
	}
	switch {
	case o.RecycleMax == 0:
		o.RecycleMax = RecycleDefault
	case o.RecycleMax < 0:
		o.RecycleMax = 0
	}
	if o.FS == nil || o.Dir == "" || o.StoreID == 0 {
		return o, kv.Errorf(kv.Invalid, "the log needs a filesystem, a directory and a store id")
	}
	if o.SegmentBytes < SegmentBytesMin || o.SegmentBytes > SegmentBytesMax || o.SegmentBytes%headerBytes != 0 {
		return o, kv.Errorf(kv.Invalid, "a log segment of %d bytes: choose a multiple of %d from %d to %d", o.SegmentBytes, headerBytes, SegmentBytesMin, SegmentBytesMax)
	}
	return o, nil
}

// Log is the one log of a node. Write, ReleaseBefore and Close have a single caller at a
// time; Read, PrepareNext, Stats and the reserve's methods may run beside it.
type Log struct {
	files  *segments
	fault  fault
	groups map[kv.PartitionID]*tracker
	end    end
	enc    encoder
	undo   []undo
	base   uint64 // the lowest segment that is needed
	// verdict: recovery has found damaged groups, and no directory says so yet. The
	// evidence must not go before one does.
	verdict bool
	reserve reserve
	stats   counters
}

// end is where the next frame goes, and what its header says.
type end struct {
	segment *segment
	off     uint32
	fresh   bool   // nothing is in the segment yet: its mark and its opening directory come first
	sealed  bool   // the closing directory is written: the next frame goes to a new segment
	prev    uint32 // crc of the last frame
	next    uint64 // number of the next record
	synced  uint64 // all records below are durable
	// wipe: a failed write may have left something up to this offset, which must not stay
	// behind the next frame.
	wipe uint32
}

// Stats is a snapshot of the log's counters.
type Stats struct {
	OldestSegment uint64
	Segment       uint64 // the current one
	Segments      int    // in use, the current one included
	Spares        int    // kept for reuse
	FileBytes     int64  // of the segments in use
	Groups        int
	Writes        uint64 // since Open
	Syncs         uint64
	Records       uint64
	Entries       uint64
	WrittenBytes  uint64
}

// counters is the part of Stats that the writer keeps.
type counters struct {
	mu sync.Mutex
	s  Stats
}

func (c *counters) add(f func(*Stats)) {
	c.mu.Lock()
	f(&c.s)
	c.mu.Unlock()
}

// Stats returns the log's counters. It may be called concurrently with everything.
func (l *Log) Stats() Stats {
	l.stats.mu.Lock()
	s := l.stats.s
	l.stats.mu.Unlock()
	l.files.mu.RLock()
	defer l.files.mu.RUnlock()
	s.OldestSegment, s.Segments, s.Spares = s.Segment, len(l.files.files), len(l.files.spares.names)
	for n, f := range l.files.files {
		s.OldestSegment = min(s.OldestSegment, n)
		s.FileBytes += f.size
	}
	return s
}

// PrepareNext makes the next segment ready, so that no Write has to. Call it now and
// then, away from the writer: it zero-fills a file when there is none to reuse.
func (l *Log) PrepareNext() error {
	if err := l.fault.get(); err != nil {
		return err
	}
	return l.files.prepare(0)
}

// ReleaseBefore says that no group needs anything in a segment below this one: the
// smallest OldestSegment of all Views, and not above the segment of any write that is
// still to be processed. What is given up is made durable knowledge first: a segment that
// is missing for any other reason is corruption at the next Open. It is refused if a
// group's newest state is there.
func (l *Log) ReleaseBefore(segment uint64) error {
	if err := l.fault.get(); err != nil {
		return err
	}
	if segment > l.end.segment.number {
		return kv.Errorf(kv.Invalid, "segment %d cannot be released: the current one is %d", segment-1, l.end.segment.number)
	}
	if segment <= l.base {
		return nil
	}
	if err := l.checkRelease(segment); err != nil {
		return err
	}
	if l.verdict {
		if err := l.roll(2 * l.directoryBytes(0)); err != nil {
			return err
		}
	}
	was := l.base
	l.base = segment
	if err := l.mark(); err != nil {
		l.base = was
		return err
	}
	return l.files.release(l.base)
}

// checkRelease refuses a release that would lose a HardState or a tombstone: that of a
// group whose view is not there yet, say.
func (l *Log) checkRelease(segment uint64) error {
	holder := kv.PartitionID(0)
	for g, t := range l.groups {
		if t.stateSegment < segment && !t.damaged && (holder == 0 || g < holder) {
			holder = g
		}
	}
	if holder == 0 {
		return nil
	}
	return kv.Errorf(kv.Invalid, "segment %d cannot be released: it holds the newest state of group %d; write a checkpoint of the group first", l.groups[holder].stateSegment, holder)
}

// Close makes everything durable and closes the files. A log that was closed shows
// damage even in its very last batch; one that was not may cut that as torn.
func (l *Log) Close() error {
	err := l.fault.get()
	if err == nil {
		err = l.mark()
	}
	l.fault.close()
	if cerr := l.files.close(); err == nil && cerr != nil {
		err = kv.Errorf(kv.Internal, "closing the log: %v", cerr)
	}
	return err
}
