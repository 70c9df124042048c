package replication

import (
	"errors"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/wal"
)

// Append is one log write of one group (rules 43-48). The world writes those of a turn in
// order, in one batch, and hands them back by Set.Stored in the same order.
type Append struct {
	Log  wal.Append
	Sync bool // must be durable before Stored

	group     *Group
	responses Responses
	install   *raftpb.Snapshot // this write is step 1 of installing a snapshot (rule 50)
	finish    bool             // this write is step 3: the snapshot is in place
}

// MarkAppend is a write that belongs to no running group: the creation or the tombstone of a replica.
func MarkAppend(p kv.PartitionID, m wal.Mark, h *wal.HardState) *Append {
	return &Append{Sync: true, Log: wal.Append{Group: p, Mark: m, HardState: h}}
}

// IsMark reports whether the write was made by MarkAppend.
func (a *Append) IsMark() bool { return a.group == nil }

// Partition is the partition whose write it is.
func (a *Append) Partition() kv.PartitionID { return a.Log.Group }

// logStore is one group's log: raft's Storage over the processed part of it, and the queue
// of writes that are under way.
//
// Invariant: view shows processed writes only (rule 47).
type logStore struct {
	group *Group
	view  *wal.View
	hard  wal.HardState // as last handed to the log
	low   wal.Entry     // index and term of a low-water mark that the log has not heard of
	queue []*Append     // handed out and not processed, in order

	snapshot *raftpb.Snapshot  // being installed (rule 50)
	held     []*raftpb.Message // writes that wait for it
	finish   *raftpb.Message   // what belongs to the write that carried the snapshot
}

func newLogStore(g *Group, o OpenGroup) *logStore {
	return &logStore{group: g, view: o.View, hard: o.HardState}
}

// append takes one MsgStorageAppend from raft.
func (l *logStore) append(m *raftpb.Message) {
	if l.snapshot != nil { // snapshot first, then what came later
		l.held = append(l.held, m)
		return
	}
	if s := m.GetSnapshot(); !raft.IsEmptySnap(s) {
		l.beginInstall(m, s)
		return
	}
	l.write(m)
}

func (l *logStore) write(m *raftpb.Message) {
	a := &Append{group: l.group, responses: m.GetResponses(), Log: wal.Append{Group: l.group.id}}
	l.setHardState(a, m)
	for _, e := range m.GetEntries() {
		a.Log.Entries = append(a.Log.Entries, wal.Entry{Index: kv.LogIndex(e.GetIndex()), Term: kv.Term(e.GetTerm()), Type: uint8(e.GetType()), Data: e.GetData()})
	}
	a.Sync = a.Sync || len(a.Log.Entries) > 0
	early := invariant.Mutated(invariant.AnswersOutOfOrder) // an answer may confirm what an earlier write holds
	if !a.Sync && a.Log.HardState == nil && (len(l.queue) == 0 || early) {
		l.answer(a) // nothing to write and nothing to wait for
		return
	}
	l.push(a)
}

// setHardState puts term and vote into the write if they changed. A change of the commit
// index alone is not worth a write: it rides with the next one (rule 45).
func (l *logStore) setHardState(a *Append, m *raftpb.Message) {
	if m.Term == nil || m.GetType() != raftpb.MsgStorageAppend {
		return
	}
	h := wal.HardState{Term: kv.Term(m.GetTerm()), Vote: kv.ReplicaID(m.GetVote()), Commit: kv.LogIndex(m.GetCommit())}
	voted := h.Term != l.hard.Term || h.Vote != l.hard.Vote
	if voted || len(m.GetEntries()) > 0 || !raft.IsEmptySnap(m.GetSnapshot()) {
		l.hard = h
		a.Log.HardState = &h
		a.Sync = a.Sync || voted
	}
}

func (l *logStore) push(a *Append) {
	if l.low.Index != 0 {
		a.Log.LowWater, a.Log.LowWaterTerm = l.low.Index, l.low.Term
		l.low = wal.Entry{}
	}
	l.queue = append(l.queue, a)
	l.group.set.env.Append(a)
}

// stored processes the completion of the oldest write.
func (l *logStore) stored(a *Append, pos []wal.Position) {
	invariant.Check(len(l.queue) > 0 && l.queue[0] == a, "log writes of partition %d complete in order", l.group.id)
	l.queue = l.queue[1:]
	l.view.Stored(&a.Log, pos)
	if a.install != nil {
		l.group.set.env.Install(l.group, a.install)
		return
	}
	if a.finish {
		l.finished()
	}
	l.answer(a)
}

// answer delivers the responses of a write: to this replica first, as raft orders them.
func (l *logStore) answer(a *Append) {
	g := l.group
	for _, m := range a.responses {
		if m.GetTo() == uint64(g.replica) {
			_ = g.rn.Step(m)
			continue
		}
		g.refresh()
		g.send(m)
	}
	g.touch()
}

// Installing reports whether a snapshot is being installed.
func (g *Group) Installing() bool { return g.log.snapshot != nil }

// beginInstall is step 1 of rule 50: the intent, synced, with the old log kept.
func (l *logStore) beginInstall(m *raftpb.Message, s *raftpb.Snapshot) {
	md := s.GetMetadata()
	l.snapshot, l.finish = s, m
	a := &Append{group: l.group, install: s, Sync: true, Log: wal.Append{
		Group: l.group.id,
		Mark:  wal.Mark{Kind: wal.MarkInstall, Index: kv.LogIndex(md.GetIndex()), Term: kv.Term(md.GetTerm())},
	}}
	l.setHardState(a, m)
	if h := a.Log.HardState; h != nil { // what the snapshot commits is not here yet
		a.Log.HardState = &wal.HardState{Term: h.Term, Vote: h.Vote, Commit: min(h.Commit, l.view.LastIndex())}
	}
	l.push(a)
}

// Installed is called when the engine has taken the snapshot in, atomically and durably
// (step 2): step 3 restarts the log after it, and then raft hears of it.
func (s *Set) Installed(g *Group, conf *raftpb.ConfState, desc *kv.Descriptor) {
	if g.state.gone {
		return
	}
	l := g.log
	md := l.snapshot.GetMetadata()
	g.state.applied, g.state.appliedTerm = kv.LogIndex(md.GetIndex()), kv.Term(md.GetTerm())
	g.conf, g.desc = conf, desc
	h := l.hard
	a := &Append{group: g, finish: true, Sync: true, responses: l.finish.GetResponses(), Log: wal.Append{
		Group: g.id, HardState: &h,
		Mark: wal.Mark{Kind: wal.MarkReset, Index: kv.LogIndex(md.GetIndex()), Term: kv.Term(md.GetTerm())},
	}}
	for _, e := range l.finish.GetEntries() {
		a.Log.Entries = append(a.Log.Entries, wal.Entry{Index: kv.LogIndex(e.GetIndex()), Term: kv.Term(e.GetTerm()), Type: uint8(e.GetType()), Data: e.GetData()})
	}
	l.push(a)
}

// finished lets the writes go on that waited for the snapshot.
func (l *logStore) finished() {
	held := l.held
	l.snapshot, l.finish, l.held = nil, nil, nil
	for _, m := range held {
		l.append(m)
	}
}

// Checkpoint writes the group's few live records forward, so that an old segment can go
// (rule S5). It is refused while a write of the group is under way.
func (g *Group) Checkpoint() bool {
	if !g.Idle() || g.state.gone {
		return false
	}
	a, err := g.log.view.Checkpoint(g.set.env.ReadEntry)
	if err != nil {
		g.fail(err)
		return false
	}
	g.log.low = wal.Entry{}
	g.log.push(&Append{group: g, Log: *a})
	return true
}

// Compact forgets the entries at or below to, which must be applied and durable in the
// engine (rule 51). The log hears of it with the group's next write, or by Checkpoint.
func (g *Group) Compact(to kv.LogIndex) {
	v := g.log.view
	if to < v.FirstIndex() || to > v.LastIndex() || g.Installing() {
		return
	}
	t, err := v.Term(to)
	if err != nil {
		return
	}
	v.Compact(to)
	g.log.low = wal.Entry{Index: to, Term: t}
}

// InitialState is part of raft.Storage.
func (l *logStore) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	conf := l.group.conf
	if l.hard == (wal.HardState{}) {
		return nil, conf, nil
	}
	return &raftpb.HardState{
		Term: new(uint64(l.hard.Term)), Vote: new(uint64(l.hard.Vote)), Commit: new(uint64(l.hard.Commit)),
	}, conf, nil
}

// Entries is part of raft.Storage.
func (l *logStore) Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	if kv.LogIndex(lo) < l.view.FirstIndex() {
		return nil, raft.ErrCompacted
	}
	if kv.LogIndex(hi) > l.view.LastIndex()+1 {
		return nil, raft.ErrUnavailable
	}
	es, err := l.view.Entries(kv.LogIndex(lo), kv.LogIndex(hi), maxBytes, l.group.set.env.ReadEntry)
	if err != nil {
		l.group.set.broken(l.group, err)
		return nil, errors.Join(raft.ErrUnavailable, err)
	}
	out := make([]*raftpb.Entry, len(es))
	buf := make([]raftpb.Entry, len(es))
	nums := make([]uint64, 2*len(es))
	for i := range es {
		nums[2*i], nums[2*i+1] = uint64(es[i].Index), uint64(es[i].Term)
		buf[i].Index, buf[i].Term, buf[i].Data = &nums[2*i], &nums[2*i+1], es[i].Data
		buf[i].Type = raftpb.EntryType(es[i].Type).Enum()
		out[i] = &buf[i]
	}
	return out, nil
}

// Term is part of raft.Storage.
func (l *logStore) Term(i uint64) (uint64, error) {
	switch {
	case kv.LogIndex(i) < l.view.FirstIndex()-1:
		return 0, raft.ErrCompacted
	case kv.LogIndex(i) > l.view.LastIndex():
		return 0, raft.ErrUnavailable
	}
	t, err := l.view.Term(kv.LogIndex(i))
	return uint64(t), err
}

// LastIndex is part of raft.Storage.
func (l *logStore) LastIndex() (uint64, error) { return uint64(l.view.LastIndex()), nil }

// FirstIndex is part of raft.Storage.
func (l *logStore) FirstIndex() (uint64, error) { return uint64(l.view.FirstIndex()), nil }

// Snapshot is part of raft.Storage: only its place in the log; the data are streamed by the
// world, from an engine snapshot that may be newer.
func (l *logStore) Snapshot() (*raftpb.Snapshot, error) {
	g := l.group
	if g.state.applied == 0 {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		ConfState: g.conf, Index: new(uint64(g.state.applied)), Term: new(uint64(g.state.appliedTerm)),
	}}, nil
}
