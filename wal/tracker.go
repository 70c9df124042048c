package wal

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// tracker is what the log's writer knows of one group: enough to refuse a write that
// would not make sense after a restart.
type tracker struct {
	sequence uint64 // of the last record; 0 = none
	state    state
	last     point // the newest entry, or the entry before the first
	// stateSegment holds the newest record with the state: it must not be released.
	stateSegment uint64
	// damaged: recovery found records missing. Nothing but a new life (MarkCreate,
	// MarkTombstone) is accepted (rule 56).
	damaged bool
}

// apply brings the tracker to what it is after a, which check has accepted, and reports
// whether the record has to carry the state.
func (t *tracker) apply(a *Append) bool {
	t.sequence++
	changed := t.state.apply(a)
	if restarts(a.Mark.Kind, &t.state) {
		t.last, t.damaged = t.restartPoint(a), false
	}
	if n := len(a.Entries); n > 0 {
		t.last = point{a.Entries[n-1].Index, a.Entries[n-1].Term}
	}
	return changed
}

// restartPoint is the entry before the first one after a mark that restarts the log.
// It is not state.low, which a LowWater in the same write may have moved on.
func (t *tracker) restartPoint(a *Append) point {
	switch a.Mark.Kind {
	case MarkCreate, MarkReset, MarkCheckpoint:
		return point{a.Mark.Index, a.Mark.Term}
	}
	return point{}
}

// check refuses a write that contradicts what the log holds of the group.
func (t *tracker) check(a *Append) error {
	if a.Group == 0 {
		return kv.Errorf(kv.Invalid, "a log write names no group")
	}
	if t.damaged && !invariant.Mutated(invariant.FaultyRejoins) && a.Mark.Kind != MarkCreate && (a.Mark.Kind != MarkTombstone || a.Mark.Replica < t.state.replica) {
		return kv.Errorf(kv.Corruption, "group %d: replica %d has lost log records and takes no more writes: bury it and create a replica with a new id", a.Group, t.state.replica)
	}
	if err := t.checkMark(a); err != nil {
		return err
	}
	st := t.state
	st.apply(&Append{Group: a.Group, Mark: a.Mark})
	if st.replica == 0 && (a.HardState != nil || len(a.Entries) > 0 || a.LowWater > 0) {
		return kv.Errorf(kv.Invalid, "group %d has no living replica in the log: write a MarkCreate first", a.Group)
	}
	last := t.last
	if restarts(a.Mark.Kind, &st) {
		last = t.restartPoint(a)
	}
	if err := checkHardState(a, &st); err != nil {
		return err
	}
	return checkEntries(a, &st, last)
}

func (t *tracker) checkMark(a *Append) error {
	m := &a.Mark
	switch m.Kind {
	case MarkNone:
	case MarkCreate:
		if gone := max(t.state.replica, t.state.tombstone); m.Replica <= gone {
			return kv.Errorf(kv.Invalid, "group %d: replica id %d was used already (up to %d): ids never come back", a.Group, m.Replica, gone)
		}
	case MarkInstall, MarkReset:
		if t.state.replica == 0 || m.Index == 0 {
			return kv.Errorf(kv.Invalid, "group %d: a %v mark at index %d needs a living replica (it is %d) and an index", a.Group, m.Kind, m.Index, t.state.replica)
		}
		if m.Kind == MarkInstall && len(a.Entries) > 0 {
			return kv.Errorf(kv.Invalid, "group %d: entries come after the reset of a snapshot, not with its install mark", a.Group)
		}
	case MarkTombstone:
		if m.Replica == 0 {
			return kv.Errorf(kv.Invalid, "group %d: a tombstone needs a replica id", a.Group)
		}
	case MarkCheckpoint:
		return t.checkCheckpoint(a)
	case MarkForget:
		if t.sequence == 0 || t.state.replica != 0 {
			return kv.Errorf(kv.Invalid, "group %d: only a group without a living replica can be forgotten (it is %d)", a.Group, t.state.replica)
		}
	default:
		return kv.Errorf(kv.Invalid, "group %d: unknown mark %d", a.Group, m.Kind)
	}
	return nil
}

// checkCheckpoint refuses a checkpoint that does not say the same as the log: it was
// made from a View that had not processed everything, and would undo what is newer.
func (t *tracker) checkCheckpoint(a *Append) error {
	end := point{a.Mark.Index, a.Mark.Term}
	if n := len(a.Entries); n > 0 {
		end = point{a.Entries[n-1].Index, a.Entries[n-1].Term}
	}
	same := a.HardState != nil && *a.HardState == t.state.hard && a.Mark.Replica == t.state.replica && t.state.replica != 0
	if !same || end.Index != t.last.Index || (end.Term != t.last.Term && end.Term != 0 && t.last.Term != 0) || a.Mark.Index < t.state.low.Index {
		return kv.Errorf(kv.Invalid, "group %d: the checkpoint (replica %d, entries %d to %d) is not the state of the log (replica %d, needed from %d, last %d): another write was under way",
			a.Group, a.Mark.Replica, a.Mark.Index, end.Index, t.state.replica, t.state.low.Index, t.last.Index)
	}
	return nil
}

func checkHardState(a *Append, st *state) error {
	h := a.HardState
	if h == nil {
		return nil
	}
	if h.Term < st.hard.Term {
		return kv.Errorf(kv.Invalid, "group %d: the term goes back from %d to %d", a.Group, st.hard.Term, h.Term)
	}
	if h.Term == st.hard.Term && st.hard.Vote != 0 && h.Vote != st.hard.Vote {
		return kv.Errorf(kv.Invalid, "group %d: the vote of term %d changes from %d to %d", a.Group, h.Term, st.hard.Vote, h.Vote)
	}
	return nil
}

func checkEntries(a *Append, st *state, last point) error {
	if n := len(a.Entries); n > 0 {
		first := a.Entries[0].Index
		if first > last.Index+1 || first <= st.low.Index {
			return kv.Errorf(kv.Invalid, "group %d: entries from %d do not join on to a log that is needed from %d and ends at %d", a.Group, first, st.low.Index+1, last.Index)
		}
		for i := range a.Entries {
			if a.Entries[i].Index != first+kv.LogIndex(i) {
				return kv.Errorf(kv.Invalid, "group %d: entry %d follows entry %d", a.Group, a.Entries[i].Index, first+kv.LogIndex(i)-1)
			}
		}
		last.Index = a.Entries[n-1].Index
	}
	if a.LowWater > last.Index {
		return kv.Errorf(kv.Invalid, "group %d: low-water mark %d is above the last entry %d", a.Group, a.LowWater, last.Index)
	}
	return nil
}
