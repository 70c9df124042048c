package wal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// recorded is a log on disk, and what it must hold.
type recorded struct {
	*world
	closed  bool
	scratch *MemFS // a copy to damage; nil: make a new one
}

// recordLog makes a log of some segments; closed ones end with a mark.
func recordLog(seed uint64, groups, steps int, closed bool) (*recorded, error) {
	w := newWorld(seed, groups)
	w.release, w.unsynced = false, false
	if err := w.create(); err != nil {
		return nil, err
	}
	for range steps {
		if err := w.step(); err != nil {
			return nil, err
		}
	}
	if closed {
		if err := w.log.Close(); err != nil {
			return nil, err
		}
	} else if _, err := w.log.Write(nil, true); err != nil {
		return nil, err
	}
	w.acked = w.started
	return &recorded{world: w, closed: closed}, nil
}

func (r *recorded) segment(n uint64) string { return filepath.Join(r.opt.Dir, segmentName(n)) }

// reopen opens a copy of the log after damage was done to a segment of it. What it shows of
// groups that it calls healthy must be all that was written, or without the last batch
// if the log was not closed.
func (r *recorded) reopen(segment uint64, damage func(fs *MemFS, path string) error) (*Recovered, error) {
	fs := r.scratch
	if fs == nil {
		fs = r.fs.Clone()
		r.scratch = fs
	}
	fs.OnOp = func(op Op) {
		if op.Kind != "sync" { // Open has changed something: the copy is used up
			r.scratch = nil
		}
	}
	path := r.segment(segment)
	node := fs.names[path]
	was := bytes.Clone(node.disk)
	defer func() { copy(node.disk, was); copy(node.view, was) }()
	if err := damage(fs, path); err != nil {
		return nil, err
	}
	opt := r.opt
	opt.FS = fs
	l, rec, err := Open(opt)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	want := r.now()
	why := withoutUnknown(want, rec).diff(rec, false, l.Read)
	if why != "" && !r.closed {
		want = r.history[len(r.history)-2]
		if withoutUnknown(want, rec).diff(rec, false, l.Read) == "" {
			why = ""
		}
	}
	if why != "" {
		return rec, fmt.Errorf("the log serves what was not written: %s", why)
	}
	for _, s := range rec.Groups {
		if s.Fault != nil && kv.KindOf(s.Fault) != kv.Corruption {
			return rec, fmt.Errorf("the fault of group %d is of kind %v", s.Group, kv.KindOf(s.Fault))
		}
	}
	return rec, nil
}

// withoutUnknown leaves out the groups that may be missing because the log says so.
func withoutUnknown(m model, rec *Recovered) model {
	if !rec.Unaccounted {
		return m
	}
	known := model{}
	for g, s := range m {
		if rec.Find(g) != nil {
			known[g] = s
		}
	}
	return known
}

func faulty(rec *Recovered) (gs []kv.PartitionID) {
	for _, s := range rec.Groups {
		if s.Fault != nil {
			gs = append(gs, s.Group)
		}
	}
	return gs
}

// flipEverywhere flips every stride-th bit of a small log, one at a time.
func flipEverywhere(closed bool, stride int64) error {
	r, err := recordLog(2, 4, 9, closed)
	if err != nil {
		return err
	}
	if n := r.log.end.segment.number; n != 1 {
		return fmt.Errorf("the log has %d segments", n)
	}
	used := int64(r.log.end.off) + 64
	found := 0
	for bit := int64(0); bit < used*8; bit += stride {
		if bit > 8*headerUsed+64 && bit < 8*headerBytes-64 {
			bit += 61 // padding
			continue
		}
		rec, err := r.reopen(1, func(fs *MemFS, path string) error { return fs.FlipBit(path, bit) })
		if err != nil {
			return fmt.Errorf("bit %d (offset %d, closed %v): %w", bit, bit/8, closed, err)
		}
		if len(faulty(rec)) > 0 {
			found++
		}
	}
	if found*10 < int(used-headerBytes)*8/int(stride) {
		return fmt.Errorf("only %d of %d flips hurt anybody", found, (used-headerBytes)*8/stride)
	}
	return nil
}

func TestFlipEveryBit(t *testing.T) {
	if err := flipEverywhere(true, 1); err != nil {
		t.Fatal(err)
	}
	if err := flipEverywhere(false, 3); err != nil {
		t.Fatal(err)
	}
}

// In a sealed segment one flipped bit hurts one group at most: the next directory tells
// that nobody else lost anything.
func TestFlipIsConfined(t *testing.T) {
	r, err := recordLog(5, 6, 100, true)
	if err != nil {
		t.Fatal(err)
	}
	last := r.log.end.segment.number
	if last < 3 {
		t.Fatalf("only %d segments", last)
	}
	hurt, flips := 0, 0
	for n := uint64(1); n < last; n++ {
		for bit := int64(n); bit < SegmentBytesMin*8; bit += 197 {
			rec, err := r.reopen(n, func(fs *MemFS, path string) error { return fs.FlipBit(path, bit) })
			if err != nil {
				t.Fatalf("segment %d, bit %d: %v", n, bit, err)
			}
			if f := faulty(rec); len(f) > 1 || rec.Unaccounted {
				t.Fatalf("segment %d, bit %d (offset %d): groups %v hurt, unaccounted %v: %v", n, bit, bit/8, f, rec.Unaccounted, rec.Damage)
			} else if len(f) == 1 {
				hurt++
			}
			flips++
		}
	}
	if hurt == 0 || hurt == flips {
		t.Fatalf("%d of %d flips hurt a group", hurt, flips)
	}
	t.Logf("%d of %d flips hurt one group, the others none", hurt, flips)
}

// staleEverywhere puts blocks of other segments, and of other places in the same
// segment, where a lost or misplaced write would leave them.
func staleEverywhere() error {
	r, err := recordLog(5, 6, 100, true)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	last := r.log.end.segment.number
	content := map[uint64][]byte{}
	for n := uint64(1); n <= last; n++ {
		content[n] = r.fs.names[r.segment(n)].view
	}
	found := 0
	for range 2000 {
		from, to := 1+rng.Uint64N(last), 1+rng.Uint64N(last)
		size := []int{512, 1024, 4096, SegmentBytesMin - headerBytes}[rng.IntN(4)]
		off := headerBytes + rng.IntN((SegmentBytesMin-headerBytes-size)/512+1)*512
		at := off
		if rng.IntN(3) == 0 || from == to {
			at = headerBytes + rng.IntN((SegmentBytesMin-headerBytes-size)/512+1)*512
		}
		block := bytes.Clone(content[from][off : off+size])
		rec, err := r.reopen(to, func(fs *MemFS, path string) error { return fs.Overwrite(path, int64(at), block) })
		if err != nil && to == last {
			// Overwriting the end of the last segment is a torn tail: only what is older must be right.
			continue
		}
		if err != nil {
			return fmt.Errorf("%d bytes from segment %d offset %d to segment %d offset %d: %w", size, from, off, to, at, err)
		}
		if len(faulty(rec)) > 0 {
			found++
		}
	}
	if found == 0 {
		return fmt.Errorf("no misplaced block hurt anybody")
	}
	return nil
}

func TestStaleAndMisplacedBlocks(t *testing.T) {
	if err := staleEverywhere(); err != nil {
		t.Fatal(err)
	}
}

// adopt takes what Open says of a damaged log as the new truth: healthy groups must be
// in a state that they may be in, faulty ones stay so until they are born again.
func (w *world) adopt() (rec *Recovered, err error) {
	w.damaged = true
	if w.log, rec, err = Open(w.opt); err != nil {
		return nil, err
	}
	why := ""
	for j := w.started; j >= w.acked; j-- {
		m := model{}
		for g, s := range w.history[j] {
			if gs := rec.Find(g); gs == nil && rec.Unaccounted {
				continue
			} else if gs != nil && gs.Fault != nil {
				s = modelGroup{replica: gs.View.ReplicaID(), tombstone: gs.View.Tombstone(), faulty: true}
			}
			m[g] = s
		}
		for _, gs := range rec.Groups { // what was forgotten since may be seen again, as faulty
			if _, ok := m[gs.Group]; !ok && gs.Fault != nil {
				m[gs.Group] = modelGroup{replica: gs.View.ReplicaID(), tombstone: gs.View.Tombstone(), faulty: true}
			}
		}
		if why = m.diff(rec, false, w.log.Read); why == "" {
			w.history, w.started, w.acked = []model{m}, 0, 0
			w.views = map[kv.PartitionID]*View{}
			for _, s := range rec.Groups {
				w.views[s.Group] = s.View
			}
			return rec, nil
		}
	}
	return rec, fmt.Errorf("states %d to %d: %s", w.acked, w.started, why)
}

// harm damages the part of the log that a later frame protects; "" if there is none.
func (w *world) harm(fs *MemFS) string {
	oldest := w.log.Stats().OldestSegment
	n := oldest + w.rng.Uint64N(w.protected.Segment-oldest+1)
	size := int64(SegmentBytesMin)
	if n == w.protected.Segment {
		size = int64(w.protected.Offset)
	}
	path := filepath.Join(w.opt.Dir, segmentName(n))
	if size = min(size, fs.FileSize(path)); size <= headerBytes {
		return ""
	}
	off := headerBytes + w.rng.Int64N(size-headerBytes)
	switch w.rng.IntN(5) {
	case 0, 1:
		if fs.FlipBit(path, off*8) != nil {
			return ""
		}
		return fmt.Sprintf("a bit flipped in segment %d at %d", n, off)
	case 2, 3:
		zeros := make([]byte, min([]int64{16, 512, 4096}[w.rng.IntN(3)], size-off))
		if fs.Overwrite(path, off, zeros) != nil {
			return ""
		}
		return fmt.Sprintf("%d zeros in segment %d at %d", len(zeros), n, off)
	}
	if n == w.protected.Segment || fs.Remove(path) != nil || fs.SyncDir(w.opt.Dir) != nil {
		return ""
	}
	return fmt.Sprintf("segment %d removed", n)
}

// Random damage of what was durable, beneath a torn tail: nothing wrong is served as
// healthy; and what recovery says of a group stays so over further writes, segments,
// releases, crashes and recoveries, until the group is born again.
func TestDamageIsRemembered(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() {
		seeds = 60
	}
	hurt, all := 0, 0
	for seed := range seeds {
		w := newWorld(seed+1000, 6)
		if err := w.create(); err != nil {
			t.Fatal(err)
		}
		for range 30 + w.rng.IntN(150) {
			if err := w.step(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if w.protected.Segment == 0 {
			continue
		}
		w.fs.Crash(w.rng, CrashModes[w.rng.IntN(len(CrashModes))])
		story := w.harm(w.fs)
		if w.rng.IntN(3) == 0 {
			story += ", " + w.harm(w.fs)
		}
		rec, err := w.adopt()
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, story, err)
		}
		all++
		if len(faulty(rec)) > 0 {
			hurt++
		}
		for round := range 4 {
			for range w.rng.IntN(60) {
				if err := w.step(); err != nil {
					t.Fatalf("seed %d: %s: %v", seed, story, err)
				}
			}
			w.fs.Crash(w.rng, CrashModes[w.rng.IntN(len(CrashModes))])
			if err := w.open(); err != nil {
				t.Fatalf("seed %d: %s: restart %d: %v", seed, story, round, err)
			}
		}
	}
	if hurt*5 < all || hurt == all {
		t.Fatalf("%d of %d damaged logs hurt a group", hurt, all)
	}
	t.Logf("%d of %d damaged logs hurt a group", hurt, all)
}
