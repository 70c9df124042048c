package wal

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kvd-db/kvd/kv"
)

// Recovered is what Open found in the log.
type Recovered struct {
	Groups []*GroupState // sorted by Group; buried groups included
	Damage []Damage      // in the order of the log; empty if nothing is wrong
	// Unaccounted: records are missing that no group in Groups accounts for. They may be
	// of a group that is not in Groups: one that the state knows and the log does not is
	// to be treated as faulty.
	Unaccounted bool
	// Torn is where an unsynced tail was cut, and how many bytes of it were there; zero if there was
	// none. Nothing that was acknowledged was in it.
	Torn Position
}

// GroupState is one group as Open found it.
type GroupState struct {
	Group kv.PartitionID
	View  *View // Fault set: for inspection only
	// Fault, of kind Corruption, says that records which the group needs are lost: its
	// replica must not be started, and the log takes no write for it (rule 56).
	Fault error
}

// Find is the state of a group, nil if the log does not know it.
func (r *Recovered) Find(g kv.PartitionID) *GroupState {
	i, ok := slices.BinarySearchFunc(r.Groups, g, func(s *GroupState, g kv.PartitionID) int {
		return int(min(1, max(-1, int64(s.Group)-int64(g))))
	})
	if !ok {
		return nil
	}
	return r.Groups[i]
}

// Create makes a new log in a directory that has none. The Recovered is empty.
func Create(o Options) (*Log, *Recovered, error) {
	l, inv, err := prepareOpen(o)
	if err != nil {
		return nil, nil, err
	}
	if len(inv.segments) > 0 {
		return nil, nil, kv.Errorf(kv.Exists, "%s holds a log already: open it", o.Dir)
	}
	if err := l.files.prepare(0); err != nil {
		return nil, nil, err
	}
	l.base = 1
	l.end = end{segment: l.files.take(), off: headerBytes, fresh: true, next: 1, synced: 1}
	l.stats.s.Segment = 1
	return l, &Recovered{}, l.openReserve(inv.names)
}

// Open opens a log and reads it through once. That it is damaged is no error: Recovered
// says where, and who is hurt.
func Open(o Options) (*Log, *Recovered, error) {
	l, inv, err := prepareOpen(o)
	if err != nil {
		return nil, nil, err
	}
	if len(inv.segments) == 0 {
		return nil, nil, kv.Errorf(kv.NotFound, "%s holds no log segment: a lost log cannot be replaced by an empty one", o.Dir)
	}
	rec, err := l.recover(inv)
	if err == nil {
		err = l.openReserve(inv.names)
	}
	if err != nil {
		_ = l.files.close()
		return nil, nil, err
	}
	return l, rec, nil
}

// inventory is what the directory holds.
type inventory struct {
	names    []string
	segments []uint64 // sorted
}

func prepareOpen(o Options) (*Log, *inventory, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	l := &Log{groups: map[kv.PartitionID]*tracker{}, reserve: reserve{bytes: o.SpareBytes}}
	l.files = &segments{
		fs: o.FS, dir: o.Dir, store: o.StoreID, size: int64(o.SegmentBytes), spares: spares{max: o.RecycleMax},
		fault: &l.fault, files: map[uint64]*segment{},
	}
	inv := &inventory{}
	if inv.names, err = o.FS.List(o.Dir); err != nil {
		return nil, nil, kv.Errorf(kv.Internal, "listing the log's directory %s: %v", o.Dir, err)
	}
	for _, name := range inv.names {
		if n, ok := parseSegmentName(name); ok {
			inv.segments = append(inv.segments, n)
		}
		if err := l.files.adopt(name); err != nil {
			return nil, nil, kv.Errorf(kv.Internal, "%s: %v", l.files.path(name), err)
		}
	}
	slices.Sort(inv.segments)
	return l, inv, nil
}

// adopt takes over a file that is not a segment: half-made ones go, spares are kept.
func (s *segments) adopt(name string) error {
	if name == prepareName {
		return s.fs.Remove(s.path(name))
	}
	if !strings.HasPrefix(name, sparePrefix) {
		return nil
	}
	f, err := s.fs.Open(s.path(name))
	if err != nil {
		return err
	}
	size, err := f.Size()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if size != s.size || len(s.spares.names) >= s.spares.max {
		return s.fs.Remove(s.path(name))
	}
	s.spares.names = append(s.spares.names, name)
	return nil
}

// recover reads the segments, newest first until one holds a frame: that one says from
// where on segments are needed, and up to where they were durable. Then in order.
func (l *Log) recover(inv *inventory) (*Recovered, error) {
	r := newReplay()
	var last *image
	empty := []*image{} // newer than last, newest first
	for i := len(inv.segments) - 1; i >= 0; i-- {
		m, err := l.load(inv.segments[i], nil)
		if err != nil {
			return nil, err
		}
		if f, ok := m.lastFrame(); ok {
			last, r.lastSegment, r.synced, l.base = m, m.segment, f.synced, f.base
			break
		}
		empty = append(empty, m)
	}
	if last == nil {
		if inv.segments[0] != 1 {
			return nil, kv.Errorf(kv.Corruption, "no log segment in %s holds a readable frame, and the oldest is %d: the log is lost", l.files.dir, inv.segments[0])
		}
		last, empty = empty[len(empty)-1], empty[:len(empty)-1]
		r.lastSegment, l.base = 1, 1
	}
	if err := l.replay(r, inv, last); err != nil {
		return nil, err
	}
	if err := l.resumeAt(r, last, empty); err != nil {
		return nil, err
	}
	return l.recovered(r, last), nil
}

// replay reads the needed segments in order; last is in memory already.
func (l *Log) replay(r *replay, inv *inventory, last *image) error {
	if l.base == 1 {
		r.baseKnown = true
		r.pos.next, r.pos.nextKnown, r.pos.prevKnown = 1, true, true
	}
	present := make(map[uint64]bool, len(inv.segments))
	for _, n := range inv.segments {
		present[n] = true
		if n >= l.base {
			continue
		}
		if err := l.drop(n); err != nil { // its removal was decided, and not finished
			return err
		}
	}
	var buf []byte
	for n := l.base; n < r.lastSegment; n++ {
		if !present[n] {
			r.missing(n)
			continue
		}
		m, err := l.load(n, buf)
		if err != nil {
			return err
		}
		r.segment(m)
		buf = m.data
	}
	r.segment(last)
	return nil
}

// drop discards a segment that is not needed.
func (l *Log) drop(n uint64) error {
	if s := l.files.files[n]; s != nil {
		delete(l.files.files, n)
		return l.files.discard(s)
	}
	f, err := l.files.fs.Open(l.files.path(segmentName(n)))
	if err != nil {
		return kv.Errorf(kv.Internal, "opening log segment %d: %v", n, err)
	}
	size, err := f.Size()
	if err != nil {
		return kv.Errorf(kv.Internal, "log segment %d: %v", n, err)
	}
	return l.files.discard(&segment{number: n, file: f, size: size})
}

// load opens a segment and reads it from the device (rule 57): what an earlier process
// left in the page cache is made durable, or forgotten, first.
func (l *Log) load(n uint64, buf []byte) (*image, error) {
	path := l.files.path(segmentName(n))
	f, err := l.files.fs.Open(path)
	if err != nil {
		return nil, kv.Errorf(kv.Internal, "opening log segment %s: %v", path, err)
	}
	s := &segment{number: n, file: f, seed: segmentSeed(l.files.store, n)}
	l.files.files[n] = s
	if err = f.Sync(); err != nil {
		return nil, l.fault.set("log segment "+path, err)
	}
	if err = f.Evict(); err == nil {
		s.size, err = f.Size()
	}
	if err != nil {
		return nil, kv.Errorf(kv.Internal, "log segment %s: %v", path, err)
	}
	if s.size > segmentMax {
		return nil, kv.Errorf(kv.Invalid, "log segment %s has %d bytes, the limit is %d: it is no log segment", path, s.size, segmentMax)
	}
	m := &image{segment: n, seed: s.seed}
	m.data = slices.Grow(buf[:0], int(s.size))[:s.size]
	m.doubt = !readAll(f, m.data)
	return m, l.checkHeader(m, path)
}

// readAll fills p; what cannot be read is zeros, and makes it false.
func readAll(f File, p []byte) bool {
	if _, err := f.ReadAt(p, 0); err == nil || errors.Is(err, io.EOF) {
		return true
	}
	ok := true
	for off := 0; off < len(p); off += headerBytes {
		b := p[off:min(off+headerBytes, len(p))]
		if _, err := f.ReadAt(b, int64(off)); err != nil {
			clear(b)
			ok = false
		}
	}
	return ok
}

func (l *Log) checkHeader(m *image, path string) error {
	h, ok := decodeSegmentHeader(m.data)
	switch {
	case !ok || h.segment != m.segment:
		m.headerBad = true
	case h.version > formatVersion:
		return kv.Errorf(kv.Denied, "%s has log format %d, this program knows up to %d: upgrade it", path, h.version, formatVersion)
	case h.store != l.files.store:
		return kv.Errorf(kv.Invalid, "%s belongs to store %x, not to %x: this is the directory of another store", path, h.store, l.files.store)
	case uint64(len(m.data)) < h.size:
		m.doubt = true
	}
	return nil
}

// resumeAt prepares the log for writing: what was cut is wiped, the next segment taken over.
func (l *Log) resumeAt(r *replay, last *image, empty []*image) error {
	p := &r.pos
	if !p.nextKnown {
		p.next = 1
	}
	l.end = end{
		segment: l.files.files[last.segment], off: p.off, fresh: p.fresh, sealed: p.sealed,
		prev: p.prev, next: p.next, synced: p.next,
	}
	l.files.current = last.segment
	if !p.sealed {
		if err := l.wipe(last, p.off); err != nil {
			return err
		}
	}
	for i := len(empty) - 1; i >= 0; i-- {
		m := empty[i]
		s := l.files.files[m.segment]
		if m.segment != last.segment+1 || m.headerBad || m.doubt {
			if err := l.drop(m.segment); err != nil {
				return err
			}
			continue
		}
		if err := l.wipe(m, headerBytes); err != nil {
			return err
		}
		delete(l.files.files, m.segment)
		l.files.next = s
	}
	return nil
}

// wipe removes what is left behind the log's end. Invariant: nothing that has a valid
// checksum for its place ever lies there while the log is written to.
func (l *Log) wipe(m *image, from uint32) error {
	to := m.remains(from)
	if to == from {
		return nil
	}
	file := l.files.files[m.segment].file
	zeros := make([]byte, min(to-from, fillBytes))
	for off := from; off < to; off += uint32(len(zeros)) {
		if _, err := file.WriteAt(zeros[:min(to-off, uint32(len(zeros)))], int64(off)); err != nil {
			return writeError(fmt.Sprintf("wiping the torn tail of log segment %d", m.segment), err)
		}
	}
	if err := file.Sync(); err != nil {
		return l.fault.set(fmt.Sprintf("log segment %d", m.segment), err)
	}
	return nil
}

func (l *Log) recovered(r *replay, last *image) *Recovered {
	rec := &Recovered{}
	rec.Groups, rec.Unaccounted = r.finish()
	rec.Damage = r.damage
	if r.pos.torn {
		rec.Torn = Position{Segment: r.lastSegment, Offset: r.pos.off, Len: last.remains(r.pos.off) - r.pos.off}
	}
	for g, c := range r.chains {
		t := c.tracker()
		l.groups[g] = t
		l.verdict = l.verdict || t.damaged && !c.flagged
	}
	l.stats.s.Segment, l.stats.s.Groups = r.lastSegment, len(l.groups)
	return rec
}
