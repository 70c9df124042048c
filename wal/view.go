package wal

import (
	"math"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// What View.Entries and View.Term answer for indexes that they do not have.
var (
	// ErrCompacted: the entry is at or below the first index, and gone.
	ErrCompacted error = kv.Errorf(kv.NotFound, "the log entry is compacted: the group needs a snapshot instead")
	// ErrUnavailable: the entry is above the last index.
	ErrUnavailable error = kv.Errorf(kv.NotFound, "the log entry is not there yet")
)

// SegmentNone is View.OldestSegment of a group that has nothing in the log.
const SegmentNone = math.MaxUint64

// View is one group's index of the log: where its live entries lie, and its newest
// state. It shows only what Stored was told of, that is what the owner has processed
// (rule 47), and may lag behind the log. It belongs to one event loop: no method may run
// concurrently with another one.
type View struct {
	group        kv.PartitionID
	state        state
	stateSegment uint64 // segment of the newest record with a state; 0 = none
	base         point  // the entry before the first. Invariant: base.Index >= state.low.Index once the state is stored
	slots        []slot // slots[i] is the entry base.Index+1+i
	slotBytes    int64  // sum of slots' Len
	// pinned is the segment of the first entry above state.low when Compact ran ahead of
	// the low-water mark; 0 = did not. A restart needs the entries from there on.
	pinned uint64
	tail   tail
}

type slot struct {
	pos  Position
	term kv.Term
}

// stateBytes is what LiveBytes counts for the record with the newest state.
const stateBytes = recordFixedBytes + 30

// NewView is the view of a group that the log knows nothing of. cache may be nil.
func NewView(group kv.PartitionID, cache *Cache) *View {
	return &View{group: group, tail: tail{cache: cache}}
}

// UseCache hands the view the cache of its owner: recovered views have none. With nil
// the view leaves its cache, as it must when its owner drops it.
func (v *View) UseCache(c *Cache) {
	v.tail.leave(v)
	v.tail.cache = c
}

// Group is the group that the view is of.
func (v *View) Group() kv.PartitionID { return v.group }

// ReplicaID is the living replica, 0 if there is none.
func (v *View) ReplicaID() kv.ReplicaID { return v.state.replica }

// Tombstone is the largest buried replica id: it and every smaller one must never come back.
func (v *View) Tombstone() kv.ReplicaID { return v.state.tombstone }

// HardState is the newest one.
func (v *View) HardState() HardState { return v.state.hard }

// LowWater is the newest low-water mark that was stored.
func (v *View) LowWater() kv.LogIndex { return v.state.low.Index }

// Install is the snapshot that was being taken in (MarkInstall without MarkReset).
func (v *View) Install() (kv.LogIndex, kv.Term, bool) {
	return v.state.install.Index, v.state.install.Term, v.state.install.Index != 0
}

// FirstIndex is the index after the last compacted one; it is LastIndex+1 if the view
// holds no entry.
func (v *View) FirstIndex() kv.LogIndex { return v.base.Index + 1 }

// LastIndex is the newest entry's index, or that of the entry before the first.
func (v *View) LastIndex() kv.LogIndex { return v.base.Index + kv.LogIndex(len(v.slots)) }

// Term is the term of the entry at i, from FirstIndex-1 to LastIndex. ErrCompacted also
// if i is FirstIndex-1 and its term is not known since a restart (see Rebase).
func (v *View) Term(i kv.LogIndex) (kv.Term, error) {
	switch {
	case i < v.base.Index:
		return 0, ErrCompacted
	case i > v.LastIndex():
		return 0, ErrUnavailable
	case i > v.base.Index:
		return v.slots[i-v.base.Index-1].term, nil
	case v.base.Term == 0 && i != 0:
		return 0, ErrCompacted
	}
	return v.base.Term, nil
}

// LiveBytes is about how many bytes of the log the group needs: what a checkpoint would write.
func (v *View) LiveBytes() int64 {
	if v.stateSegment == 0 {
		return 0
	}
	return v.slotBytes + stateBytes
}

// OldestSegment is the lowest segment that holds something which the group would need
// after a restart, its state included; SegmentNone if there is nothing.
func (v *View) OldestSegment() uint64 {
	oldest := uint64(SegmentNone)
	if v.stateSegment != 0 {
		oldest = v.stateSegment
	}
	if v.pinned != 0 {
		return min(oldest, v.pinned)
	}
	if len(v.slots) > 0 {
		oldest = min(oldest, v.slots[0].pos.Segment)
	}
	return oldest
}

// Stored takes over a write that the log has done and the owner has processed. pos is
// what Log.Write returned for a. The calls come in the order of the writes.
func (v *View) Stored(a *Append, pos []Position) {
	invariant.Check(a.Group == v.group, "group %d is shown a write of group %d", v.group, a.Group)
	invariant.Check(len(pos) == len(a.Entries)+1, "a write of %d entries has %d positions, not one more", len(a.Entries), len(pos))
	st := v.state
	changed := st.apply(a)
	first := kv.LogIndex(0)
	if len(a.Entries) > 0 {
		first = a.Entries[0].Index
	}
	v.begin(a.Mark.Kind, &st, first)
	for i := range a.Entries {
		v.push(pos[i], a.Entries[i].Term)
		v.tail.push(v, &a.Entries[i])
	}
	if changed {
		v.setState(st, pos[len(a.Entries)].Segment)
	}
}

// begin makes room for a record's entries: st is the group's state after the record,
// first the index of its first entry, 0 if it has none.
func (v *View) begin(k MarkKind, st *state, first kv.LogIndex) {
	if restarts(k, st) {
		v.truncate(0)
		v.base, v.pinned = st.low, 0
	}
	if first == 0 {
		return
	}
	if first > v.LastIndex()+1 || first <= v.base.Index {
		// A restart begins in the middle of a log whose older segments are gone, or the
		// record restarts the log below its own low-water mark.
		v.truncate(0)
		v.base = point{Index: first - 1}
		return
	}
	v.truncate(int(first - v.base.Index - 1))
}

// truncate keeps the first n entries.
func (v *View) truncate(n int) {
	for _, s := range v.slots[n:] {
		v.slotBytes -= int64(s.pos.Len)
	}
	v.tail.truncate(len(v.slots) - n)
	v.slots = v.slots[:n]
}

func (v *View) push(p Position, t kv.Term) {
	v.slots = append(v.slots, slot{p, t})
	v.slotBytes += int64(p.Len)
}

func (v *View) setState(st state, segment uint64) {
	v.state, v.stateSegment = st, segment
	if st == (state{}) { // MarkForget
		v.stateSegment = 0
	}
	if st.low.Index >= v.base.Index {
		v.pinned = 0
		v.rebase(st.low)
	}
}

// Compact forgets the entries at or below index to, and remembers to with its term. The
// log still has to be told, by Append.LowWater: until then OldestSegment stays.
func (v *View) Compact(to kv.LogIndex) {
	invariant.Check(to <= v.LastIndex(), "group %d is compacted to %d, its last index is %d", v.group, to, v.LastIndex())
	if to <= v.base.Index {
		return
	}
	if v.pinned == 0 {
		v.pinned = v.slots[0].pos.Segment
	}
	v.rebase(point{Index: to})
}

// Rebase says what is known of the entry at index from elsewhere (the applied index and
// term): everything at or below it is forgotten. Terms that contradict the log are corruption.
func (v *View) Rebase(index kv.LogIndex, term kv.Term) error {
	if index < v.base.Index || index > v.LastIndex() {
		return kv.Errorf(kv.Corruption, "group %d was applied to %d, its log begins after %d and ends at %d: synced log records are gone", v.group, index, v.base.Index, v.LastIndex())
	}
	if have, err := v.Term(index); err == nil && have != term {
		return kv.Errorf(kv.Corruption, "group %d: entry %d has term %d in the log and was applied with term %d", v.group, index, have, term)
	}
	v.Compact(index)
	v.base.Term = term
	return nil
}

// rebase moves the base up to p; the term comes from the log if it is there.
func (v *View) rebase(p point) {
	if p.Index <= v.base.Index {
		if p.Index == v.base.Index && v.base.Term == 0 {
			v.base.Term = p.Term
		}
		return
	}
	n := int(min(p.Index-v.base.Index, kv.LogIndex(len(v.slots))))
	if p.Index <= v.LastIndex() {
		p.Term = v.slots[n-1].term
	}
	for _, s := range v.slots[:n] {
		v.slotBytes -= int64(s.pos.Len)
	}
	v.base = p
	v.slots = v.slots[n:]
	v.tail.keep(len(v.slots))
	v.shrink()
}

// shrink gives back what an idle group does not need.
func (v *View) shrink() {
	const keep = 16
	if len(v.slots) == 0 {
		v.slots = nil
	} else if cap(v.slots) > keep && len(v.slots) <= cap(v.slots)/4 {
		v.slots = append(make([]slot, 0, 2*len(v.slots)), v.slots...)
	}
}

// Entries returns the entries [lo, hi), fewer if they exceed maxBytes, but at least one.
// Those that are not cached are fetched with read, usually Log.Read.
func (v *View) Entries(lo, hi kv.LogIndex, maxBytes uint64, read func(Position, *Entry) error) ([]Entry, error) {
	if lo <= v.base.Index {
		return nil, ErrCompacted
	}
	if hi > v.LastIndex()+1 {
		return nil, ErrUnavailable
	}
	if lo >= hi {
		return nil, nil
	}
	slots := v.slots[lo-v.base.Index-1 : hi-v.base.Index-1]
	n, total := 0, uint64(0)
	for n < len(slots) {
		total += uint64(slots[n].pos.Len)
		if n > 0 && total > maxBytes {
			break
		}
		n++
	}
	es := make([]Entry, n)
	cachedFrom := v.LastIndex() + 1 - kv.LogIndex(len(v.tail.entries))
	for i := range es {
		index := lo + kv.LogIndex(i)
		if index >= cachedFrom {
			copy(es[i:], v.tail.entries[index-cachedFrom:])
			break
		}
		if err := v.fetch(index, slots[i], &es[i], read); err != nil {
			return nil, err
		}
	}
	return es, nil
}

func (v *View) fetch(index kv.LogIndex, s slot, e *Entry, read func(Position, *Entry) error) error {
	if err := read(s.pos, e); err != nil {
		return err
	}
	if e.Index != index || e.Term != s.term {
		return kv.Errorf(kv.Corruption, "group %d: segment %d holds entry (%d, term %d) at offset %d, not (%d, term %d)", v.group, s.pos.Segment, e.Index, e.Term, s.pos.Offset, index, s.term)
	}
	return nil
}

// Checkpoint is a write that repeats everything that the group needs, so that its older
// records can go: for idle groups that hold back the log (rule 51). No other write of
// the group may be under way between the call and Stored: Log.Write refuses a stale one.
func (v *View) Checkpoint(read func(Position, *Entry) error) (*Append, error) {
	if v.state.replica == 0 {
		return &Append{Group: v.group, Mark: Mark{Kind: MarkTombstone, Replica: v.state.tombstone}}, nil
	}
	es, err := v.Entries(v.FirstIndex(), v.LastIndex()+1, math.MaxUint64, read)
	if err != nil {
		return nil, err
	}
	hard := v.state.hard
	return &Append{
		Group:     v.group,
		Mark:      Mark{Kind: MarkCheckpoint, Replica: v.state.replica, Index: v.base.Index, Term: v.base.Term},
		HardState: &hard, Entries: es,
	}, nil
}
