package wal

import "github.com/kvd-db/kvd/kv"

// HardState is what a replica must not forget: its term, its vote in that term, and how
// far it knows the log to be committed.
type HardState struct {
	Term   kv.Term
	Vote   kv.ReplicaID
	Commit kv.LogIndex
}

// Entry is one Raft log entry. The log does not look into Data.
type Entry struct {
	Index kv.LogIndex
	Term  kv.Term
	Type  uint8 // raft's entry type, opaque
	Data  []byte
}

// MarkKind is the kind of a Mark.
type MarkKind uint8

// The kinds of marks. Numbers are durable.
const (
	MarkNone MarkKind = 0
	// MarkCreate begins the life of Replica: an empty log after (Index, Term) and a zero
	// HardState. Replica must be larger than any id that the group has had here; a
	// replica that is still there is buried with it.
	MarkCreate MarkKind = 1
	// MarkInstall says that a snapshot at (Index, Term) is about to be taken in; all
	// entries are kept (rule 50, step 1). Forgotten at the next MarkReset or when
	// entries are appended.
	MarkInstall MarkKind = 2
	// MarkReset restarts the log after (Index, Term): all entries go (rule 50, step 3).
	MarkReset MarkKind = 3
	// MarkTombstone buries Replica: it and every smaller id must never come back. If it
	// is the living one, its log, HardState and marks go.
	MarkTombstone MarkKind = 4
	// MarkCheckpoint repeats the whole live state of the group: Replica, the (Index,
	// Term) before the first entry, HardState, all live entries. It replaces everything
	// earlier, so that old segments can go. View.Checkpoint makes one.
	MarkCheckpoint MarkKind = 5
	// MarkForget removes a group without a living replica from the log, tombstone
	// included: for a partition that does not exist any more.
	MarkForget MarkKind = 6
)

var markNames = [...]string{"none", "create", "install", "reset", "tombstone", "checkpoint", "forget"}

func (k MarkKind) String() string {
	if int(k) < len(markNames) {
		return markNames[k]
	}
	return "unknown"
}

// Mark is a turning point in the life of a group's log. Only the fields that its kind
// names are used; the zero Mark is none.
type Mark struct {
	Kind    MarkKind
	Replica kv.ReplicaID // MarkCreate, MarkTombstone, MarkCheckpoint
	Index   kv.LogIndex  // MarkCreate, MarkInstall, MarkReset, MarkCheckpoint
	Term    kv.Term      // term of the entry at Index
}

// Append is one write of one group, applied in the order of its fields. Entries always
// mean "cut at the first index, then append" (rule 47).
type Append struct {
	Group     kv.PartitionID
	Mark      Mark
	HardState *HardState // nil = unchanged
	Entries   []Entry    // Data is kept by the View's cache: it must not change afterwards
	// LowWater: entries at or below it are no longer needed by the group; 0 = unchanged.
	LowWater kv.LogIndex
	// LowWaterTerm is the term of the entry at LowWater; 0 = not known. Without it the
	// term may be unknown after a restart, until View.Rebase.
	LowWaterTerm kv.Term
}

// Position says where one entry (or one record) lies.
type Position struct {
	Segment uint64
	Offset  uint32 // bytes from the start of the segment's file
	Len     uint32 // bytes
}

// point is a position in a Raft log.
type point struct {
	Index kv.LogIndex
	Term  kv.Term // 0 = not known
}

// state is everything durable of a group except its sequence number and its entries.
// Every record that changes any of it carries all of it, so that only the newest such
// record has to be kept.
type state struct {
	replica   kv.ReplicaID // the living replica; 0 = none
	tombstone kv.ReplicaID // this id and smaller ones never come back
	low       point        // entries at or below are not needed
	install   point        // a snapshot that is being taken in; Index 0 = none
	hard      HardState
}

// apply brings the state to what it is after a, and reports whether a changed it.
// It is the one definition of what an Append means for a state: the log's writer and
// the View both use it. Invariant: a was accepted by tracker.check.
func (s *state) apply(a *Append) bool {
	before := *s
	m := &a.Mark
	switch m.Kind {
	case MarkCreate:
		*s = state{replica: m.Replica, tombstone: max(s.tombstone, s.replica), low: point{m.Index, m.Term}}
	case MarkInstall:
		s.install = point{m.Index, m.Term}
	case MarkReset:
		s.low, s.install = point{m.Index, m.Term}, point{}
	case MarkTombstone:
		s.bury(m.Replica)
	case MarkCheckpoint:
		s.low = point{m.Index, m.Term}
	case MarkForget:
		*s = state{}
	}
	if a.HardState != nil {
		s.hard = *a.HardState
	}
	if len(a.Entries) > 0 && m.Kind != MarkCheckpoint {
		s.install = point{}
	}
	if a.LowWater > s.low.Index {
		s.low = point{a.LowWater, a.LowWaterTerm}
	}
	return m.Kind != MarkNone || *s != before
}

func (s *state) bury(id kv.ReplicaID) {
	if id >= s.replica {
		*s = state{tombstone: max(s.tombstone, id)}
		return
	}
	s.tombstone = max(s.tombstone, id)
}

// restarts reports whether a record with this mark, leaving the group in state s, makes
// everything that the group wrote before it void.
func restarts(k MarkKind, s *state) bool {
	switch k {
	case MarkCreate, MarkReset, MarkCheckpoint, MarkForget:
		return true
	case MarkTombstone:
		return s.replica == 0
	}
	return false
}
