package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// testLog is a log on a MemFS with the views of its groups.
type testLog struct {
	*testing.T
	fs    *MemFS
	opt   Options
	log   *Log
	rec   *Recovered
	views map[kv.PartitionID]*View
}

func newTestLog(t *testing.T) *testLog {
	fs := NewMemFS()
	l := &testLog{T: t, fs: fs, opt: Options{FS: fs, Dir: "/log", StoreID: 9, SegmentBytes: SegmentBytesMin}}
	l.views = map[kv.PartitionID]*View{}
	var err error
	if l.log, l.rec, err = Create(l.opt); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *testLog) write(sync bool, batch ...Append) [][]Position {
	l.Helper()
	pos, err := l.log.Write(batch, sync)
	if err != nil {
		l.Fatal(err)
	}
	for i := range batch {
		g := batch[i].Group
		if l.views[g] == nil {
			l.views[g] = NewView(g, nil)
		}
		l.views[g].Stored(&batch[i], pos[i])
	}
	return pos
}

// reopen opens what is on the disk; the log that was open is left as it is.
func (l *testLog) reopen() *Recovered {
	l.Helper()
	var err error
	if l.log, l.rec, err = Open(l.opt); err != nil {
		l.Fatal(err)
	}
	l.views = map[kv.PartitionID]*View{}
	for _, s := range l.rec.Groups {
		l.views[s.Group] = s.View
	}
	return l.rec
}

func (l *testLog) close() {
	l.Helper()
	if err := l.log.Close(); err != nil {
		l.Fatal(err)
	}
}

func (l *testLog) segment(n uint64) string { return filepath.Join(l.opt.Dir, segmentName(n)) }

// data is what the view has at an index, read from the log.
func (l *testLog) data(g kv.PartitionID, i kv.LogIndex) string {
	l.Helper()
	es, err := l.views[g].Entries(i, i+1, 0, l.log.Read)
	if err != nil {
		l.Fatalf("group %d, entry %d: %v", g, i, err)
	}
	return string(es[0].Data)
}

func (l *testLog) wantKind(err error, k kv.Kind, what string) {
	l.Helper()
	if kv.KindOf(err) != k {
		l.Fatalf("%s: got %v, want kind %v", what, err, k)
	}
}

func birth(g kv.PartitionID) Append {
	return Append{Group: g, Mark: Mark{Kind: MarkCreate, Replica: 1}}
}

func entry(g kv.PartitionID, i kv.LogIndex, t kv.Term, data string) Append {
	return Append{Group: g, Entries: []Entry{{Index: i, Term: t, Data: []byte(data)}}}
}

func TestWriteReadReopen(t *testing.T) {
	l := newTestLog(t)
	a := birth(7)
	a.HardState = &HardState{Term: 3, Vote: 1, Commit: 1}
	a.Entries = []Entry{{Index: 1, Term: 3, Type: 2, Data: []byte("one")}, {Index: 2, Term: 3}}
	pos := l.write(true, a, birth(8))
	if len(pos) != 2 || len(pos[0]) != 3 || len(pos[1]) != 1 {
		t.Fatalf("positions %v", pos)
	}
	for range 2 {
		var e Entry
		if err := l.log.Read(pos[0][0], &e); err != nil || e.Index != 1 || e.Term != 3 || e.Type != 2 || string(e.Data) != "one" {
			t.Fatalf("read %v, %v", e, err)
		}
		v := l.views[7]
		if v.HardState() != *a.HardState || v.ReplicaID() != 1 || v.LastIndex() != 2 || l.data(7, 2) != "" {
			t.Fatalf("view %+v", v)
		}
		l.close()
		l.wantKind(second(l.log.Write([]Append{birth(9)}, true)), kv.Closed, "a write to a closed log")
		l.wantKind(l.log.PrepareNext(), kv.Closed, "preparing in a closed log")
		if rec := l.reopen(); len(rec.Groups) != 2 || len(rec.Damage) != 0 || rec.Find(8) == nil || rec.Find(9) != nil {
			t.Fatalf("recovered %+v", rec)
		}
	}
}

func second(_ [][]Position, err error) error { return err }

// A write of several groups is one WriteAt and one Sync.
func TestOneWriteOneSync(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), birth(2))
	var ops []string
	l.fs.OnOp = func(op Op) { ops = append(ops, op.Kind) }
	l.write(true, entry(1, 1, 1, "a"), entry(2, 1, 1, "b"), entry(1, 2, 1, "c"))
	l.write(false, entry(1, 3, 1, "a"))
	if got := strings.Join(ops, " "); got != "write sync write" {
		t.Fatalf("operations: %s", got)
	}
}

// The race of append_aba: an entry is replaced and comes back; the last write counts,
// in the log as in the view, also when the view lags behind (rule 47).
func TestAppendABA(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), entry(1, 1, 1, "base"))
	batch := []Append{entry(1, 2, 1, "A"), entry(1, 2, 2, "B"), entry(1, 2, 1, "A again")}
	batch[0].Entries = append(batch[0].Entries, Entry{Index: 3, Term: 1, Data: []byte("A3")})
	pos, err := l.log.Write(batch, true)
	if err != nil {
		t.Fatal(err)
	}
	v := l.views[1]
	if v.LastIndex() != 1 {
		t.Fatal("the view shows a write that was not processed")
	}
	for i, want := range []string{"A", "B", "A again"} {
		v.Stored(&batch[i], pos[i])
		if got := l.data(1, 2); got != want {
			t.Fatalf("after write %d: %q", i, got)
		}
		if wantLast := []kv.LogIndex{3, 2, 2}[i]; v.LastIndex() != wantLast {
			t.Fatalf("after write %d: last index %d, want %d", i, v.LastIndex(), wantLast)
		}
	}
	l.reopen()
	if l.views[1].LastIndex() != 2 || l.data(1, 2) != "A again" {
		t.Fatal("the last append does not count after a restart")
	}
}

// Writes that would not make sense after a restart are refused, and change nothing.
func TestRefusedWrites(t *testing.T) {
	l := newTestLog(t)
	hs := func(term kv.Term, vote kv.ReplicaID) *HardState { return &HardState{Term: term, Vote: vote} }
	start := birth(1)
	start.HardState = hs(5, 2)
	l.write(true, start, entry(1, 1, 5, "x"), entry(1, 2, 5, "y"), Append{Group: 1, LowWater: 1})
	for name, a := range map[string]Append{
		"no group":                    {},
		"no replica":                  entry(2, 1, 1, "x"),
		"a gap":                       entry(1, 4, 5, "x"),
		"below the low-water mark":    entry(1, 1, 5, "x"),
		"entries not in order":        {Group: 1, Entries: []Entry{{Index: 3}, {Index: 5}}},
		"term goes back":              {Group: 1, HardState: hs(4, 0)},
		"vote changes":                {Group: 1, HardState: hs(5, 3)},
		"low water above the end":     {Group: 1, LowWater: 3},
		"replica id used":             birth(1),
		"install with entries":        {Group: 1, Mark: Mark{Kind: MarkInstall, Index: 9, Term: 5}, Entries: []Entry{{Index: 3}}},
		"reset without index":         {Group: 1, Mark: Mark{Kind: MarkReset}},
		"tombstone without id":        {Group: 1, Mark: Mark{Kind: MarkTombstone}},
		"forget a living one":         {Group: 1, Mark: Mark{Kind: MarkForget}},
		"forget an unknown one":       {Group: 2, Mark: Mark{Kind: MarkForget}},
		"unknown mark":                {Group: 1, Mark: Mark{Kind: 77}},
		"stale checkpoint, entries":   {Group: 1, Mark: Mark{Kind: MarkCheckpoint, Replica: 1, Index: 1, Term: 5}, HardState: hs(5, 2)},
		"stale checkpoint, state":     {Group: 1, Mark: Mark{Kind: MarkCheckpoint, Replica: 1, Index: 1, Term: 5}, HardState: hs(5, 0), Entries: []Entry{{Index: 2, Term: 5}}},
		"checkpoint below low water":  {Group: 1, Mark: Mark{Kind: MarkCheckpoint, Replica: 1}, HardState: hs(5, 2), Entries: []Entry{{Index: 1, Term: 5}, {Index: 2, Term: 5}}},
		"state with a tombstone":      {Group: 1, Mark: Mark{Kind: MarkTombstone, Replica: 1}, HardState: hs(6, 0)},
		"checkpoint without hs":       {Group: 1, Mark: Mark{Kind: MarkCheckpoint, Replica: 1, Index: 1, Term: 5}, Entries: []Entry{{Index: 2, Term: 5}}},
		"checkpoint of other replica": {Group: 1, Mark: Mark{Kind: MarkCheckpoint, Replica: 2, Index: 1, Term: 5}, HardState: hs(5, 2), Entries: []Entry{{Index: 2, Term: 5}}},
	} {
		before := l.log.end
		// What stands in front of it in the batch is undone.
		_, err := l.log.Write([]Append{birth(3), {Group: 1, LowWater: 2}, a}, true)
		l.wantKind(err, kv.Invalid, name+", after other writes")
		_, err = l.log.Write([]Append{a}, true)
		l.wantKind(err, kv.Invalid, name)
		if l.log.end != before || len(l.log.groups) != 1 {
			t.Fatalf("%s: the log has changed", name)
		}
	}
	bury := Append{Group: 1, Mark: Mark{Kind: MarkTombstone, Replica: 1}}
	forget := Append{Group: 1, Mark: Mark{Kind: MarkForget}}
	l.wantKind(second(l.log.Write([]Append{bury, forget, birth(1), {}}, true)), kv.Invalid, "a whole life undone")
	l.write(true, entry(1, 3, 5, "z"))
	l.reopen()
	if l.views[1].LastIndex() != 3 || l.data(1, 2) != "y" {
		t.Fatal("a refused write has left something")
	}
}

func TestLimits(t *testing.T) {
	l := newTestLog(t)
	huge := make([]byte, 64<<20)
	a := birth(1)
	for i := range 17 {
		a.Entries = append(a.Entries, Entry{Index: kv.LogIndex(i + 1), Data: huge})
	}
	l.wantKind(second(l.log.Write([]Append{a}, true)), kv.Limit, "a batch of more than 1 GiB")
	_, _, err := Create(Options{FS: l.fs, Dir: "/x"})
	l.wantKind(err, kv.Invalid, "no store id")
	_, _, err = Create(Options{FS: l.fs, Dir: "/x", StoreID: 1, SegmentBytes: 5000})
	l.wantKind(err, kv.Invalid, "an odd segment size")
	l.wantKind(l.log.ReleaseBefore(2), kv.Invalid, "releasing the current segment")
}

// release has a group need nothing up to an index, and lets go of all segments but the last.
func (l *testLog) release(g kv.PartitionID, to kv.LogIndex) {
	l.Helper()
	l.write(true, Append{Group: g, LowWater: to})
	a, err := l.views[g].Checkpoint(l.log.Read)
	if err != nil {
		l.Fatal(err)
	}
	l.write(true, *a)
	if err := l.log.ReleaseBefore(l.log.Stats().Segment); err != nil {
		l.Fatal(err)
	}
}

// A batch that is larger than a segment gets one of its own, which is not kept for reuse.
func TestBatchLargerThanSegment(t *testing.T) {
	l := newTestLog(t)
	if err := l.log.PrepareNext(); err != nil { // too small, has to make way
		t.Fatal(err)
	}
	big := strings.Repeat("big", 30000)
	l.write(true, birth(1), entry(1, 1, 1, big))
	for i := range 3 {
		l.write(true, entry(1, kv.LogIndex(i+2), 1, big))
	}
	l.reopen()
	for i := range 4 {
		if l.data(1, kv.LogIndex(i+1)) != big {
			t.Fatalf("entry %d differs", i+1)
		}
	}
	l.release(1, 4)
	if s := l.log.Stats(); s.Segments != 1 || s.FileBytes > 200_000 {
		t.Fatalf("after the release: %+v", s)
	}
	l.reopen()
	if v := l.views[1]; v.FirstIndex() != 5 || v.ReplicaID() != 1 {
		t.Fatalf("first index %d", v.FirstIndex())
	}
}

// Segments are reused with their stale content, which is never taken for new.
func TestRecycledSegments(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1))
	created := 0
	l.fs.OnOp = func(op Op) {
		if op.Kind == "create" {
			created++
		}
	}
	payload := strings.Repeat("p", 100)
	for i := kv.LogIndex(1); i <= 3000; i++ {
		a := entry(1, i, 1, payload) // all frames have the same size: stale ones lie where new ones end
		a.LowWater = i - 1
		l.write(true, a)
		if err := l.log.ReleaseBefore(l.views[1].OldestSegment()); err != nil {
			t.Fatal(err)
		}
		if i%500 == 0 {
			l.reopen()
			if l.views[1].LastIndex() != i || len(l.rec.Damage) > 0 || l.data(1, i) != payload {
				t.Fatalf("last index %d, want %d; damage %v", l.views[1].LastIndex(), i, l.rec.Damage)
			}
		}
	}
	if s := l.log.Stats(); s.Segment < 30 || created > 3 || s.Segments > 2 {
		t.Fatalf("%d files were created for %d segments: %+v", created, s.Segment, s)
	}
}

// The live records of an idle group are written forward, so that old segments can go.
func TestCheckpointForward(t *testing.T) {
	l := newTestLog(t)
	idle := birth(1)
	idle.HardState = &HardState{Term: 2, Vote: 3, Commit: 2}
	l.write(true, idle, entry(1, 1, 1, "one"), entry(1, 2, 2, "two"), birth(2),
		Append{Group: 3, Mark: Mark{Kind: MarkTombstone, Replica: 4}}, Append{Group: 1, LowWater: 1, LowWaterTerm: 1})
	fill := func(from kv.LogIndex) {
		for i := range kv.LogIndex(200) {
			a := entry(2, from+i, 1, strings.Repeat("x", 150))
			a.LowWater = from + i - 1
			l.write(false, a)
		}
	}
	fill(1)
	if l.views[1].OldestSegment() != 1 || l.views[3].OldestSegment() != 1 || l.views[2].OldestSegment() < 2 {
		t.Fatalf("oldest segments %d %d %d", l.views[1].OldestSegment(), l.views[2].OldestSegment(), l.views[3].OldestSegment())
	}
	for _, g := range []kv.PartitionID{1, 3} {
		a, err := l.views[g].Checkpoint(l.log.Read)
		if err != nil {
			t.Fatal(err)
		}
		l.write(true, *a)
	}
	oldest := min(l.views[1].OldestSegment(), l.views[2].OldestSegment(), l.views[3].OldestSegment())
	if oldest < 2 {
		t.Fatalf("oldest segment %d after the checkpoints", oldest)
	}
	if err := l.log.ReleaseBefore(oldest); err != nil {
		t.Fatal(err)
	}
	fill(201)
	rec := l.reopen()
	v := l.views[1]
	if len(rec.Damage) > 0 || v.HardState() != *idle.HardState || v.FirstIndex() != 2 || l.data(1, 2) != "two" {
		t.Fatalf("damage %v, view %+v", rec.Damage, v)
	}
	if term, err := v.Term(1); err != nil || term != 1 {
		t.Fatalf("term before the first entry: %d, %v", term, err)
	}
	if l.views[3].Tombstone() != 4 || l.views[3].ReplicaID() != 0 {
		t.Fatal("the tombstone is lost")
	}
	l.wantKind(second(l.log.Write([]Append{{Group: 3, Mark: Mark{Kind: MarkCreate, Replica: 4}}}, true)), kv.Invalid, "a buried id")
}

// INSTALL without RESET is seen after a restart; RESET, or entries, end it (rules 50, 54).
func TestInstallReset(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), entry(1, 1, 1, "one"), Append{Group: 1, Mark: Mark{Kind: MarkInstall, Index: 50, Term: 4}})
	l.reopen()
	if i, term, ok := l.views[1].Install(); !ok || i != 50 || term != 4 || l.data(1, 1) != "one" {
		t.Fatalf("install %d %d %v", i, term, ok)
	}
	a, err := l.views[1].Checkpoint(l.log.Read)
	if err != nil {
		t.Fatal(err)
	}
	l.write(true, *a)
	if _, _, ok := l.views[1].Install(); !ok {
		t.Fatal("a checkpoint has ended the install")
	}
	l.write(true, entry(1, 2, 1, "two"))
	l.reopen()
	if _, _, ok := l.views[1].Install(); ok {
		t.Fatal("the install was given up, and is still shown")
	}
	l.write(true, Append{Group: 1, Mark: Mark{Kind: MarkInstall, Index: 50, Term: 4}})
	reset := Append{Group: 1, Mark: Mark{Kind: MarkReset, Index: 50, Term: 4}, HardState: &HardState{Term: 4, Commit: 50}}
	l.write(true, reset, entry(1, 51, 4, "new"))
	for range 2 {
		v := l.views[1]
		term, err := v.Term(50)
		if _, _, ok := v.Install(); ok || err != nil || term != 4 || v.FirstIndex() != 51 || l.data(1, 51) != "new" {
			t.Fatalf("after the reset: %+v", v)
		}
		l.reopen()
	}
}

// Reading goes on beside writing, rolling and releasing.
func TestConcurrentRead(t *testing.T) {
	l := newTestLog(t)
	pos := l.write(true, birth(1), entry(1, 1, 1, "first"))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	errs := make([]error, 3)
	for i := range errs {
		wg.Go(func() {
			for errs[i] == nil {
				var e Entry
				err := l.log.Read(pos[1][0], &e)
				if err == nil && string(e.Data) != "first" || err != nil && kv.KindOf(err) != kv.NotFound {
					errs[i] = fmt.Errorf("read %q: %w", e.Data, err)
				}
				if i == 0 {
					if err := l.log.PrepareNext(); err != nil {
						errs[i] = err
					}
				}
				l.log.Stats()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := kv.LogIndex(2); i < 400; i++ {
		a := entry(1, i, 1, strings.Repeat("x", 300))
		a.LowWater = i - 1
		a.HardState = &HardState{Term: 1}
		l.write(i%3 == 0, a)
		if i%50 == 0 {
			if err := l.log.ReleaseBefore(l.views[1].OldestSegment()); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestReadRefuses(t *testing.T) {
	l := newTestLog(t)
	pos := l.write(true, birth(1), entry(1, 1, 1, "some data"))
	p := pos[1][0]
	var e Entry
	for _, bad := range []Position{{}, {Segment: 1, Offset: p.Offset, Len: p.Len - 1}, {Segment: 1, Offset: p.Offset + 1, Len: p.Len}, {Segment: 1, Offset: SegmentBytesMin, Len: 100}, {Segment: 1, Offset: 1 << 31, Len: 1 << 31}} {
		l.wantKind(l.log.Read(bad, &e), kv.Corruption, fmt.Sprint(bad))
	}
	l.wantKind(l.log.Read(Position{Segment: 2, Offset: p.Offset, Len: p.Len}, &e), kv.NotFound, "a segment that is not there")
	for bit := int64(p.Offset) * 8; bit < int64(p.Offset+p.Len)*8; bit++ {
		if err := l.fs.FlipBit(l.segment(1), bit); err != nil {
			t.Fatal(err)
		}
		l.wantKind(l.log.Read(p, &e), kv.Corruption, "a flipped bit")
		_, err := l.views[1].Entries(1, 2, 0, l.log.Read)
		l.wantKind(err, kv.Corruption, "a flipped bit behind the view")
		_ = l.fs.FlipBit(l.segment(1), bit)
	}
	if err := l.log.Read(p, &e); err != nil {
		t.Fatal(err)
	}
}

// TestSegmentBesideTheSpareThatItBecame: a crash after a segment was renamed to a spare, and before the directory was
// synced, can leave both names. The segment becomes a spare again, of the name that is there: that is one file.
func TestSegmentBesideTheSpareThatItBecame(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1))
	value := strings.Repeat("x", SegmentBytesMin/3)
	for i := range 6 {
		l.write(true, entry(1, kv.LogIndex(i+1), 1, value))
	}
	l.release(1, 6)
	l.write(true, entry(1, 7, 1, "y")) // tells which segments are needed
	s := l.log.files
	if len(s.spares.names) == 0 {
		t.Fatal("nothing was kept: the test tests nothing")
	}
	was := strings.TrimPrefix(s.spares.names[0], sparePrefix)
	f, err := s.zeroFile(was, s.size)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), s.fs.SyncDir(s.dir)); err != nil {
		t.Fatal(err)
	}
	l.reopen()
	for range len(l.log.files.spares.names) + 1 {
		if err := l.log.PrepareNext(); err != nil {
			t.Fatalf("with the spares %q: %v", l.log.files.spares.names, err)
		}
		l.log.files.take()
	}
}
