package wal

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Damage is one place where the log is not what was written. Groups are those that lost
// something which they need, sorted; there may be none.
type Damage struct {
	Segment uint64
	Offset  uint32
	Length  uint32 // bytes; 0 = not known
	Groups  []kv.PartitionID
	Reason  string
}

func (d Damage) String() string {
	return fmt.Sprintf("log segment %d, offset %d, %d bytes: %s; groups damaged: %v", d.Segment, d.Offset, d.Length, d.Reason, d.Groups)
}

// replay reads the segments in order and decides what is a torn tail, what is damage,
// and who is hurt by it. See "Recovery" in the package documentation.
type replay struct {
	lastSegment uint64 // the last segment that holds a valid frame
	synced      uint64 // all records below were durable: the largest number that any frame says
	chains      map[kv.PartitionID]*chain
	pos         replayPos
	loss        loss
	damage      []Damage
	// baseKnown: the chains hold every group that the log knew at this point.
	baseKnown bool
}

// replayPos is how far replay has come.
type replayPos struct {
	next      uint64 // number of the next record
	nextKnown bool
	prev      uint32 // crc of the last frame
	prevKnown bool
	off       uint32 // where the log ends in lastSegment
	torn      bool   // something unsynced was cut there
	sealed    bool   // lastSegment has its closing directory
	fresh     bool   // lastSegment has nothing that counts
}

// loss is the account of missing records since the last directory.
type loss struct {
	count     int    // places so far, never reset
	damage    int    // index of the last place in replay.damage
	lost      uint64 // records that the frames' numbers say are missing
	explained uint64 // records that the groups' sequences say are missing
	uncounted bool   // how many are missing cannot be told
}

func newReplay() *replay {
	return &replay{chains: map[kv.PartitionID]*chain{}}
}

// segment reads one segment, from its start to its closing directory or its end.
func (r *replay) segment(m *image) {
	start := r.pos
	r.pos.off, r.pos.sealed, r.pos.torn = headerBytes, false, false
	if m.headerBad {
		r.damaged(m.segment, 0, headerBytes, "the segment header fails its checksum")
	}
	opened := false
	for !r.pos.sealed {
		f, ok := m.frameAt(r.pos.off)
		if ok = ok && r.follows(&f); !ok {
			if f, ok = r.resume(m); !ok {
				break
			}
		}
		if !r.frame(m, &f) {
			break
		}
		r.pos.off = f.end()
		opened = opened || f.typ == frameBatch || f.typ == frameOpening && m.intact(&f)
		r.pos.sealed = f.typ == frameClosing
	}
	if m.segment == r.lastSegment && !opened && !m.doubt {
		// Only the first mark came through: the segment is opened once more.
		r.pos.off, r.pos.fresh, r.pos.prev, r.pos.prevKnown = headerBytes, true, start.prev, start.prevKnown
	}
	if m.doubt && m.segment == r.lastSegment {
		d := r.damaged(m.segment, r.pos.off, 0, "the file is shorter than it was made, or cannot be read")
		r.lose(d, 0, true)
	}
}

// follows reports whether a valid frame can be the next one. One that was overwritten
// and has come back does not have the right predecessor.
func (r *replay) follows(f *frame) bool {
	return (!r.pos.prevKnown || f.prev == r.pos.prev) && (!r.pos.nextKnown || f.first >= r.pos.next)
}

// provable reports whether what follows record number `first` in the segment was durable
// once, so that it cannot be a torn tail.
func (r *replay) provable(m *image, first uint64) bool {
	if m.segment < r.lastSegment {
		return true
	}
	return r.synced > first && !invariant.Mutated(invariant.TornMiddleCut)
}

// resume looks for the next frame after a bad one. If what lies between was durable it is
// damage: what can be read of it is taken over. If not, the log ends here.
func (r *replay) resume(m *image) (frame, bool) {
	p := &r.pos
	from := p.off
	for f, ok := m.scan(from + alignBytes); ok; f, ok = m.scan(f.off + alignBytes) {
		if p.nextKnown && f.first < p.next {
			continue
		}
		missing := p.nextKnown && f.first > p.next || !p.nextKnown && f.off-from > frameHeaderBytes
		provable := r.provable(m, p.next)
		if missing && !provable {
			p.torn = true
			return frame{}, false
		}
		if provable || missing {
			r.region(m, from, f.off, missing)
		}
		p.prevKnown = false
		return f, true
	}
	if m.segment < r.lastSegment {
		r.region(m, from, uint32(len(m.data)), true)
		p.prevKnown = false
		return frame{}, false
	}
	p.torn = m.remains(from) > from
	return frame{}, false
}

// region reports [from, to) as damaged and takes over the records in it that are whole.
func (r *replay) region(m *image, from, to uint32, records bool) {
	d := r.damaged(m.segment, from, to-from, "no valid frame")
	if !records {
		return
	}
	if !r.pos.nextKnown {
		r.lose(d, 0, true)
	}
	r.loss.damage = d
	r.pos.next += r.records(m, from, to, true)
}

// frame takes over a frame with a valid header; false: the log ends before it.
func (r *replay) frame(m *image, f *frame) bool {
	intact := m.intact(f)
	if !intact && !r.provable(m, f.first) && (f.typ == frameBatch || f.typ == frameClosing) {
		r.pos.torn = true
		return false
	}
	r.skipTo(m, f)
	switch {
	case f.typ == frameBatch:
		r.batch(m, f, intact)
	case f.isDirectory():
		ds, ok := decodeDirectory(m.body(f), f.count)
		if intact && ok {
			r.directory(m, f, ds)
		} else if r.provable(m, f.first) {
			r.damaged(m.segment, f.off, f.end()-f.off, "the directory fails its checksum")
		}
	}
	r.pos.next, r.pos.nextKnown = f.next(), true
	r.pos.prev, r.pos.prevKnown = f.crc, true
	r.pos.fresh = false
	return true
}

// skipTo accounts for the records between the last frame and f.
func (r *replay) skipTo(m *image, f *frame) {
	if !r.pos.nextKnown || f.first <= r.pos.next {
		return
	}
	d := r.loss.damage
	if len(r.damage) == 0 {
		d = r.damaged(m.segment, f.off, 0, "records are missing before this frame")
	}
	r.lose(d, f.first-r.pos.next, false)
	r.pos.next = f.first
}

func (r *replay) batch(m *image, f *frame, intact bool) {
	d := -1
	if !intact {
		d = r.damaged(m.segment, f.off, f.end()-f.off, "the batch fails its checksum")
		r.loss.damage = d
	}
	n := r.records(m, f.off+frameHeaderBytes, f.off+frameHeaderBytes+f.bodyBytes, !intact)
	if n < uint64(f.count) {
		if d < 0 {
			d = r.damaged(m.segment, f.off, f.end()-f.off, "the batch holds fewer records than it says")
		}
		r.lose(d, uint64(f.count)-n, false)
	}
}

// records takes over the records in [from, to) and counts them. With salvage they are
// looked for at every place and verified entry by entry.
func (r *replay) records(m *image, from, to uint32, salvage bool) (n uint64) {
	for off := from; off < to; {
		rec, ok := decodeRecord(m.data[off:to], seedAt(m.seed, off))
		if !ok {
			if !salvage {
				return n
			}
			off += alignBytes
			continue
		}
		r.record(m, off, &rec, salvage)
		off += rec.totalLen
		n++
	}
	return n
}

func (r *replay) record(m *image, off uint32, rec *record, verify bool) {
	c := r.chains[rec.group]
	if c == nil {
		c = r.newChain(rec.group, rec.sequence-1)
	}
	if rec.sequence != c.sequence+1 {
		r.gap(m, off, c, rec.sequence-1)
	}
	c.sequence, c.seen = rec.sequence, r.loss.count
	if rec.mark == MarkForget {
		delete(r.chains, rec.group)
		return
	}
	if !c.apply(m, off, rec, verify) {
		c.lose(r.someDamage(m, off, "an entry fails its checksum"))
	}
}

// gap notes that the group's records up to `to` should have been seen, and were not.
func (r *replay) gap(m *image, off uint32, c *chain, to uint64) {
	if to > c.sequence {
		r.loss.explained += to - c.sequence
	} else {
		r.loss.uncounted = true // numbers that go back: a removal of the group is missing
	}
	c.sequence = to
	c.lose(r.someDamage(m, off, "records of the group are missing before this one"))
}

// newChain begins the chain of a group that nothing is known of, and of which `before`
// records were written before this point.
func (r *replay) newChain(g kv.PartitionID, before uint64) *chain {
	c := &chain{view: NewView(g, nil), damage: -1, seen: r.loss.count}
	r.chains[g] = c
	if r.baseKnown {
		return c // whatever is before this is missing: the caller finds the gap
	}
	c.sequence = before
	if r.loss.count > 0 && before > 0 {
		c.lose(r.loss.damage)
	}
	return c
}

// directory compares the chains with what the writer knew at this point. From here on
// every group is known, and how many records it had.
func (r *replay) directory(m *image, f *frame, ds []directoryEntry) {
	listed := make(map[kv.PartitionID]bool, len(ds))
	flagged := -1
	for i := range ds {
		d := &ds[i]
		listed[d.group] = true
		c := r.chains[d.group]
		if c == nil {
			c = r.newChain(d.group, d.sequence)
			c.view.base = d.low
		}
		if d.sequence != c.sequence {
			r.gap(m, f.off, c, d.sequence)
		}
		c.flagged = d.damaged
		if d.damaged && c.damage < 0 {
			if flagged < 0 {
				flagged = r.damaged(m.segment, f.off, 0, "an earlier recovery found groups damaged")
			}
			c.lose(flagged)
		}
		c.seen, c.replica, c.tombstone = r.loss.count, d.replica, d.tombstone
	}
	maps.DeleteFunc(r.chains, func(g kv.PartitionID, _ *chain) bool { return !listed[g] })
	r.baseKnown = true
	r.loss.lost, r.loss.explained, r.loss.uncounted = 0, 0, false
}

// missing notes that the file of a segment is not there.
func (r *replay) missing(segment uint64) {
	d := r.damaged(segment, 0, 0, "the segment's file is missing")
	r.loss.damage = d
	if !r.pos.nextKnown {
		r.lose(d, 0, true)
	}
	r.pos.prevKnown = false
}

func (r *replay) damaged(segment uint64, off, length uint32, reason string) int {
	r.damage = append(r.damage, Damage{Segment: segment, Offset: off, Length: length, Reason: reason})
	return len(r.damage) - 1
}

// someDamage is the last damaged place, or a new one if nothing was found so far.
func (r *replay) someDamage(m *image, off uint32, reason string) int {
	if len(r.damage) == 0 {
		r.loss.damage = r.damaged(m.segment, off, 0, reason)
	}
	return r.loss.damage
}

func (r *replay) lose(damage int, records uint64, uncounted bool) {
	r.loss.count++
	r.loss.damage = damage
	r.loss.lost += records
	r.loss.uncounted = r.loss.uncounted || uncounted
}

// finish judges the groups. Records that are missing and that no group's sequence
// accounts for may be of any group that nothing was heard of since.
func (r *replay) finish() (groups []*GroupState, unaccounted bool) {
	unaccounted = r.loss.uncounted || r.loss.lost != r.loss.explained
	for _, g := range slices.Sorted(maps.Keys(r.chains)) {
		c := r.chains[g]
		if unaccounted && c.seen < r.loss.count {
			c.lose(r.loss.damage)
		}
		gs := &GroupState{Group: g, View: c.view}
		if !c.healthy() {
			st := &c.view.state
			st.replica, st.tombstone = max(st.replica, c.ownReplica()), max(st.tombstone, c.tombstone)
			gs.Fault = r.fault(g, c)
		}
		groups = append(groups, gs)
	}
	return groups, unaccounted
}

// ownReplica is the replica that the last directory names, unless it was buried since.
func (c *chain) ownReplica() kv.ReplicaID {
	if c.replica <= c.view.state.tombstone {
		return 0
	}
	return c.replica
}

// fault is the error that the group's replica is refused with.
func (r *replay) fault(g kv.PartitionID, c *chain) error {
	if c.damage < 0 {
		c.damage = r.damaged(0, 0, 0, "the log begins with the group incomplete")
	}
	d := &r.damage[c.damage]
	if i, found := slices.BinarySearchFunc(d.Groups, g, cmp.Compare); !found {
		d.Groups = slices.Insert(d.Groups, i, g)
	}
	return kv.Errorf(kv.Corruption, "group %d, replica %d: log records that it needs are lost or damaged (segment %d, offset %d: %s); its last good index is %d: the replica must be replaced under a new id",
		g, c.view.state.replica, d.Segment, d.Offset, d.Reason, c.lastGood)
}
