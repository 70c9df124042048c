package wal

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"

	"github.com/kvd-db/kvd/kv"
)

// modelGroup is what a group's log must hold: the simplest thing that could be right,
// written without a look at the code under test.
type modelGroup struct {
	replica, tombstone kv.ReplicaID
	hard               HardState
	low                kv.LogIndex
	installIndex       kv.LogIndex
	installTerm        kv.Term
	entries            []Entry // from low+1
	baseTerm           kv.Term // 0: unknown
	// faulty: the log says so, and must go on saying so until a new life begins
	faulty bool
}

func (g *modelGroup) last() kv.LogIndex { return g.low + kv.LogIndex(len(g.entries)) }

func (g modelGroup) clone() modelGroup {
	g.entries = slices.Clone(g.entries)
	return g
}

func (g *modelGroup) apply(a *Append) {
	switch a.Mark.Kind {
	case MarkCreate:
		*g = modelGroup{replica: a.Mark.Replica, tombstone: max(g.tombstone, g.replica), low: a.Mark.Index, baseTerm: a.Mark.Term}
	case MarkInstall:
		g.installIndex, g.installTerm = a.Mark.Index, a.Mark.Term
	case MarkReset:
		g.low, g.baseTerm, g.entries = a.Mark.Index, a.Mark.Term, nil
		g.installIndex, g.installTerm = 0, 0
	case MarkTombstone:
		if a.Mark.Replica >= g.replica {
			*g = modelGroup{tombstone: max(g.tombstone, a.Mark.Replica)}
		} else {
			g.tombstone = max(g.tombstone, a.Mark.Replica)
		}
	case MarkCheckpoint: // changes nothing, but may compact
		g.compact(a.Mark.Index)
	case MarkForget: // the caller removes the group
	}
	if a.HardState != nil {
		g.hard = *a.HardState
	}
	if len(a.Entries) > 0 && a.Mark.Kind != MarkCheckpoint {
		g.entries = append(g.entries[:a.Entries[0].Index-g.low-1:a.Entries[0].Index-g.low-1], a.Entries...)
		g.installIndex, g.installTerm = 0, 0
	}
	g.compact(a.LowWater)
}

func (g *modelGroup) compact(to kv.LogIndex) {
	if to > g.low {
		n := to - g.low
		g.baseTerm = g.entries[n-1].Term
		g.entries, g.low = g.entries[n:], to
	}
}

type model map[kv.PartitionID]modelGroup

func (m model) apply(batch []Append) model {
	m = maps.Clone(m)
	for i := range batch {
		g := m[batch[i].Group].clone()
		g.apply(&batch[i])
		m[batch[i].Group] = g
		if batch[i].Mark.Kind == MarkForget {
			delete(m, batch[i].Group)
		}
	}
	return m
}

// diffView says in what a view differs from the model; "" if in nothing.
func diffView(v *View, g *modelGroup, read func(Position, *Entry) error) string {
	ii, it, _ := v.Install()
	got := fmt.Sprintf("replica %d tombstone %d hard %v install %d/%d low %d last %d", v.ReplicaID(), v.Tombstone(), v.HardState(), ii, it, v.LowWater(), v.LastIndex())
	want := fmt.Sprintf("replica %d tombstone %d hard %v install %d/%d low %d last %d", g.replica, g.tombstone, g.hard, g.installIndex, g.installTerm, g.low, g.last())
	if got != want {
		return fmt.Sprintf("got %s, want %s", got, want)
	}
	if v.FirstIndex() < g.low+1 || v.FirstIndex() > g.last()+1 {
		return fmt.Sprintf("first index %d, want %d or, if compacted, more", v.FirstIndex(), g.low+1)
	}
	if t, err := v.Term(g.low); err == nil && g.baseTerm != 0 && t != g.baseTerm {
		return fmt.Sprintf("term before the first entry is %d, want %d", t, g.baseTerm)
	}
	es, err := v.Entries(v.FirstIndex(), g.last()+1, math.MaxUint64, read)
	if err != nil {
		return fmt.Sprintf("entries: %v", err)
	}
	for i, e := range g.entries[v.FirstIndex()-1-g.low:] {
		t, err := v.Term(e.Index)
		x := es[i]
		if err != nil || t != e.Term || x.Index != e.Index || x.Term != e.Term || x.Type != e.Type || !bytes.Equal(x.Data, e.Data) {
			return fmt.Sprintf("entry %d: got term %d (%v), %v, want %v", e.Index, t, err, x, e)
		}
	}
	return ""
}

// diff says in what recovered groups differ from the model. Faulty ones are left out;
// with strict they must be those that the model says.
func (m model) diff(rec *Recovered, strict bool, read func(Position, *Entry) error) string {
	for _, g := range slices.Sorted(maps.Keys(m)) {
		s := rec.Find(g)
		if s == nil {
			return fmt.Sprintf("group %d is not there", g)
		}
		mg := m[g]
		if strict && mg.faulty != (s.Fault != nil) {
			return fmt.Sprintf("group %d: faulty %v before, %v now", g, mg.faulty, s.Fault)
		}
		if s.Fault != nil {
			continue
		}
		if d := diffView(s.View, &mg, read); d != "" {
			return fmt.Sprintf("group %d: %s", g, d)
		}
	}
	for _, s := range rec.Groups {
		if _, ok := m[s.Group]; !ok && s.Fault == nil {
			return fmt.Sprintf("group %d was never there", s.Group)
		}
	}
	return ""
}

// world drives a log with random writes and keeps what it must hold after each.
type world struct {
	habits
	states
	rng   *rand.Rand
	fs    *MemFS
	opt   Options
	log   *Log
	views map[kv.PartitionID]*View
	cache *Cache
	// the log's end at the last sync; what a later durable frame says was durable
	synced, protected Position
}

// habits say what a world does, and what it has to live with.
type habits struct {
	groups   int
	release  bool // old segments go
	unsynced bool // some batches are not synced
	failing  bool // some writes of the disk fail
	damaged  bool // the log is known to be damaged
}

// states are those that the log may be in after a crash.
type states struct {
	history []model // history[j]: after j batches
	acked   int     // so many batches are durable
	started int     // so many may be in the log: a crash leaves something between acked and started
	// ghosts are states that a crash may leave because the write of a batch that was
	// refused arrived all the same. A later durable batch excludes them.
	ghosts []model
}

func newWorld(seed uint64, groups int) *world {
	w := &world{
		habits: habits{groups: groups, release: true, unsynced: true},
		states: states{history: []model{{}}},
		rng:    rand.New(rand.NewPCG(seed, 7)), fs: NewMemFS(), views: map[kv.PartitionID]*View{}, cache: NewCache(2000),
	}
	w.opt = Options{FS: w.fs, Dir: "/data/log", StoreID: 0x1122334455667788, SegmentBytes: SegmentBytesMin, RecycleMax: 2}
	return w
}

func (w *world) now() model { return w.history[len(w.history)-1] }

func (w *world) create() (err error) {
	w.log, _, err = Create(w.opt)
	return err
}

// open opens what is there and checks that it is one of the states that may be there.
func (w *world) open() error {
	var rec *Recovered
	var err error
	if w.log, rec, err = Open(w.opt); err != nil {
		return err
	}
	if (len(rec.Damage) > 0 || rec.Unaccounted) && !w.damaged {
		return fmt.Errorf("damage after a crash: %v", rec.Damage)
	}
	why := ""
	may := slices.Concat(w.history[w.acked:w.started+1], w.ghosts)
	for i := len(may) - 1; i >= 0; i-- {
		if why = may[i].diff(rec, true, w.log.Read); why == "" {
			w.history, w.ghosts = []model{may[i]}, nil
			w.started, w.acked = 0, 0
			if why := w.remnants(); why != "" {
				return fmt.Errorf("after recovery %s", why)
			}
			w.views = map[kv.PartitionID]*View{}
			for _, s := range rec.Groups {
				s.View.UseCache(w.cache)
				w.views[s.Group] = s.View
			}
			return nil
		}
	}
	return fmt.Errorf("the log is in none of the states %d to %d: %s", w.acked, w.started, why)
}

// step writes one random batch.
func (w *world) step() error {
	var batch []Append
	m := w.now()
	for range 1 + w.rng.IntN(4) {
		a := w.random(m)
		batch = append(batch, a)
		m = m.apply([]Append{a})
	}
	sync := !w.unsynced || w.rng.IntN(3) > 0
	if w.failing && w.rng.IntN(5) == 0 {
		w.fs.FailWrite(1+w.rng.IntN(3), w.rng.IntN(3)*w.rng.IntN(2000), syscall.ENOSPC)
	}
	err := w.write(batch, sync)
	if err == nil {
		err = w.maintain()
	}
	w.fs.FailWrite(0, 0, nil)
	if why := w.remnants(); w.failing && why != "" {
		return fmt.Errorf("after a step %s", why)
	}
	if w.failing && kv.KindOf(err) == kv.DiskFull {
		return nil
	}
	return err
}

// maintain does, now and then, what a host does beside the writes.
func (w *world) maintain() error {
	switch w.rng.IntN(40) {
	case 0:
		return w.log.PrepareNext()
	case 1:
		return w.checkpointOldest()
	case 2, 3:
		return w.releaseOld()
	case 4, 5, 6:
		g := kv.PartitionID(1 + w.rng.IntN(w.groups))
		if v := w.views[g]; v != nil && !w.now()[g].faulty && v.LastIndex() >= v.FirstIndex() {
			v.Compact(v.FirstIndex() + kv.LogIndex(w.rng.Uint64N(uint64(v.LastIndex()-v.FirstIndex()+1))))
		}
	}
	return nil
}

func (w *world) write(batch []Append, sync bool) error {
	w.history = append(w.history, w.now().apply(batch))
	w.started++
	pos, err := w.log.Write(batch, sync)
	if kv.KindOf(err) == kv.DiskFull {
		w.ghosts = append(w.ghosts, w.now())
		w.started--
		w.history = w.history[:w.started+1]
	}
	if err != nil {
		return err
	}
	if sync {
		w.acked, w.ghosts = w.started, nil
		w.protected = w.synced
		w.synced = Position{Segment: w.log.end.segment.number, Offset: w.log.end.off}
	}
	for i := range batch {
		g := batch[i].Group
		if w.views[g] == nil {
			w.views[g] = NewView(g, w.cache)
		}
		w.views[g].Stored(&batch[i], pos[i])
		if batch[i].Mark.Kind == MarkForget {
			w.views[g].UseCache(nil)
			delete(w.views, g)
		}
	}
	return nil
}

func (w *world) checkpointOldest() error {
	var oldest *View
	for _, g := range slices.Sorted(maps.Keys(w.views)) {
		if v := w.views[g]; !w.now()[g].faulty && (oldest == nil || v.OldestSegment() < oldest.OldestSegment()) {
			oldest = v
		}
	}
	if oldest == nil {
		return nil
	}
	a, err := oldest.Checkpoint(w.log.Read)
	if err != nil {
		return err
	}
	return w.write([]Append{*a}, w.rng.IntN(2) == 0)
}

func (w *world) releaseOld() error {
	if !w.release {
		return nil
	}
	base := w.log.Stats().Segment
	for g, v := range w.views {
		if !w.now()[g].faulty {
			base = min(base, v.OldestSegment())
		}
	}
	before := w.log.Stats().OldestSegment
	if err := w.log.ReleaseBefore(base); err != nil {
		return err
	}
	if base > before {
		w.acked, w.ghosts = w.started, nil // a release makes everything before it durable
	}
	return nil
}

// random is a write that makes sense in m.
func (w *world) random(m model) Append {
	r := w.rng
	g := kv.PartitionID(1 + r.IntN(w.groups))
	for range 30 { // the faulty ones are seldom born again
		if m[g].faulty && r.IntN(20) > 0 {
			g = kv.PartitionID(1 + r.IntN(w.groups))
		}
	}
	s := m[g]
	a := Append{Group: g}
	if s.faulty {
		a.Mark = Mark{Kind: MarkCreate, Replica: max(s.replica, s.tombstone) + 1}
		return a
	}
	if s.replica == 0 {
		if _, known := m[g]; known && r.IntN(4) == 0 {
			a.Mark = Mark{Kind: MarkForget}
			return a
		}
		a.Mark = Mark{Kind: MarkCreate, Replica: s.tombstone + 1 + kv.ReplicaID(r.IntN(2)), Index: kv.LogIndex(r.IntN(2) * 10), Term: 1}
		if a.Mark.Index == 0 {
			a.Mark.Term = 0
		}
		return a
	}
	switch r.IntN(60) {
	case 0:
		a.Mark = Mark{Kind: MarkTombstone, Replica: s.replica}
		return a
	case 1:
		a.Mark = Mark{Kind: MarkInstall, Index: s.last() + 10, Term: s.hard.Term + 1}
		return a
	case 2:
		a.Mark = Mark{Kind: MarkReset, Index: s.last() + 10, Term: s.hard.Term + 1}
		s.low, s.entries = a.Mark.Index, nil
	}
	w.randomHardState(&a, &s)
	w.randomEntries(&a, &s)
	if len(s.entries) > 3 && r.IntN(3) == 0 && a.Mark.Kind == MarkNone {
		keep := r.IntN(3)
		if len(a.Entries) > 0 {
			keep = max(keep, int(s.last()-a.Entries[0].Index)+1)
		}
		a.LowWater = max(s.low, s.last()) - kv.LogIndex(min(keep, len(s.entries)))
		if r.IntN(2) == 0 && a.LowWater > s.low {
			a.LowWaterTerm = s.entries[a.LowWater-s.low-1].Term
		}
	}
	return a
}

func (w *world) randomHardState(a *Append, s *modelGroup) {
	if w.rng.IntN(3) == 0 {
		return
	}
	h := s.hard
	h.Term = max(h.Term, 1)
	if w.rng.IntN(5) == 0 {
		h.Term++
		h.Vote = kv.ReplicaID(w.rng.IntN(4))
	}
	h.Commit = max(h.Commit, s.low)
	a.HardState = &h
}

func (w *world) randomEntries(a *Append, s *modelGroup) {
	r := w.rng
	n := r.IntN(4)
	first := s.last() + 1
	if len(s.entries) > 0 && r.IntN(6) == 0 {
		first -= kv.LogIndex(1 + r.IntN(min(3, len(s.entries))))
		if v := w.views[a.Group]; v != nil { // what is compacted was committed, and stays
			first = max(first, min(v.FirstIndex(), s.last()+1))
		}
	}
	for i := range n {
		data := make([]byte, r.IntN(120))
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		if r.IntN(100) == 0 {
			data = bytes.Repeat(data, 1+r.IntN(200))
		}
		a.Entries = append(a.Entries, Entry{Index: first + kv.LogIndex(i), Term: s.hard.Term + 1, Type: uint8(r.IntN(3)), Data: data})
	}
}

// fork is a world on a copy of the disk, as a crash now would leave it.
func (w *world) fork(seed uint64, mode CrashMode) *world {
	f := *w
	f.rng = rand.New(rand.NewPCG(seed, uint64(mode)))
	f.fs = w.fs.Clone()
	f.fs.FailWrite(0, 0, nil)
	f.fs.Crash(f.rng, mode)
	f.opt.FS = f.fs
	f.history, f.ghosts = slices.Clone(w.history), slices.Clone(w.ghosts)
	f.log, f.views, f.cache = nil, nil, NewCache(1000)
	return &f
}

// diffViews compares the live views with the model.
func (w *world) diffViews() string {
	m := w.now()
	for _, g := range slices.Sorted(maps.Keys(m)) {
		mg := m[g]
		if mg.faulty {
			continue
		}
		if d := diffView(w.views[g], &mg, w.log.Read); d != "" {
			return fmt.Sprintf("group %d: %s", g, d)
		}
	}
	return ""
}
