package node

import (
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/wal"
)

// view is a group's log with replica 2 and the given entries, all of term 3, from first on.
func view(first, last kv.LogIndex, commit kv.LogIndex, marks ...wal.Mark) *wal.View {
	v := wal.NewView(9, nil)
	h := wal.HardState{Term: 3, Vote: 1, Commit: commit}
	put := func(a wal.Append) {
		a.Group = 9
		pos := make([]wal.Position, len(a.Entries)+1)
		for i := range pos {
			pos[i] = wal.Position{Segment: 1, Offset: uint32(100 * (i + 1)), Len: 50}
		}
		v.Stored(&a, pos)
	}
	put(wal.Append{Mark: wal.Mark{Kind: wal.MarkCreate, Replica: 2, Index: first - 1, Term: 3}, HardState: &h})
	a := wal.Append{HardState: &h}
	for i := first; i <= last; i++ {
		a.Entries = append(a.Entries, wal.Entry{Index: i, Term: 3})
	}
	put(a)
	for _, m := range marks {
		put(wal.Append{Mark: m})
	}
	return v
}

// TestReconcile goes through what a restart can find, and what it may trust (rules 52-56).
func TestReconcile(t *testing.T) {
	install := wal.Mark{Kind: wal.MarkInstall, Index: 20, Term: 4}
	for _, c := range []struct {
		name   string
		view   *wal.View
		fault  error
		state  mvcc.ReplicaState
		commit kv.LogIndex
		reset  bool
		faulty bool
	}{
		{"engine behind the log: normal", view(2, 10, 8), nil, mvcc.ReplicaState{Applied: 5, AppliedTerm: 3}, 8, false, false},
		{"the commit index was not logged", view(2, 10, 1), nil, mvcc.ReplicaState{Applied: 5, AppliedTerm: 3}, 5, false, false},
		{"an idle group: the log has no entry above the applied", view(6, 5, 5), nil, mvcc.ReplicaState{Applied: 5, AppliedTerm: 3}, 5, false, false},
		{"engine ahead of the log", view(2, 10, 8), nil, mvcc.ReplicaState{Applied: 12, AppliedTerm: 3}, 0, false, true},
		{"the log begins too late", view(8, 10, 8), nil, mvcc.ReplicaState{Applied: 5, AppliedTerm: 3}, 0, false, true},
		{"another term at the applied index", view(2, 10, 8), nil, mvcc.ReplicaState{Applied: 5, AppliedTerm: 2}, 0, false, true},
		{"committed entries are gone", view(2, 10, 14), nil, mvcc.ReplicaState{Applied: 5, AppliedTerm: 3}, 0, false, true},
		{"the log says that it is damaged", view(2, 10, 8), kv.Errorf(kv.Corruption, "segment 1"), mvcc.ReplicaState{Applied: 5, AppliedTerm: 3}, 0, false, true},
		{"a snapshot was announced and not taken in", view(2, 10, 8, install), nil, mvcc.ReplicaState{Applied: 5, AppliedTerm: 3}, 8, false, false},
		{"a snapshot was taken in, the log not restarted", view(2, 10, 8, install), nil, mvcc.ReplicaState{Applied: 20, AppliedTerm: 4}, 20, true, false},
		{"a snapshot at another index does not excuse the engine", view(2, 10, 8, install), nil, mvcc.ReplicaState{Applied: 19, AppliedTerm: 4}, 0, false, true},
	} {
		c.state.Replica = 2
		h, reset, err := reconcile(&wal.GroupState{Group: 9, View: c.view, Fault: c.fault}, &c.state)
		switch {
		case c.faulty && kv.KindOf(err) != kv.Corruption:
			t.Errorf("%s: taken, err %v", c.name, err)
		case !c.faulty && (err != nil || reset != c.reset || h.Commit != c.commit):
			t.Errorf("%s: commit %d reset %v err %v, want %d %v", c.name, h.Commit, reset, err, c.commit, c.reset)
		}
	}
	if invariant.MutantsBuilt {
		t.Log("this binary can plant bugs; none is planted here")
	}
}
