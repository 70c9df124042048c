package wal

import (
	"fmt"
	"testing"
)

// crashEverywhere runs a world and crashes a copy of it after each single change of the
// disk, in every mode; some copies go on, crash again and are opened again. The first
// thing that is wrong is returned.
func crashEverywhere(seed uint64, steps int, failing bool) error {
	w := newWorld(seed, 5)
	w.failing = failing
	ops := uint64(0)
	var wrong error
	created := false
	w.fs.OnOp = func(op Op) {
		ops++
		if wrong != nil || !created {
			return
		}
		for i, mode := range []CrashMode{CrashLose, CrashKeep, CrashPrefix, CrashTorn, CrashTorn, CrashTorn} {
			f := w.fork(seed<<32|ops<<3|uint64(i), mode)
			f.fs.OnOp = nil
			if err := f.survive(ops%7 == 0); err != nil {
				wrong = fmt.Errorf("seed %d, operation %d (%s %s), crash mode %v: %w", seed, ops, op.Kind, op.Path, mode, err)
				return
			}
		}
	}
	if err := w.create(); err != nil {
		return err
	}
	created = true
	for range steps {
		if err := w.step(); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		if wrong != nil {
			return wrong
		}
	}
	if d := w.diffViews(); d != "" {
		return fmt.Errorf("seed %d: views: %s", seed, d)
	}
	return wrong
}

// survive opens what a crash has left; with more it goes on, crashes while it does, and
// opens again.
func (w *world) survive(more bool) error {
	if err := w.open(); err != nil {
		return err
	}
	if !more {
		return nil
	}
	for round := range 3 {
		for range 1 + w.rng.IntN(6) {
			if err := w.step(); err != nil {
				return fmt.Errorf("after recovery %d: %w", round+1, err)
			}
		}
		if d := w.diffViews(); d != "" {
			return fmt.Errorf("views after recovery %d: %s", round+1, d)
		}
		if w.rng.IntN(3) == 0 {
			if err := w.log.Close(); err != nil {
				return err
			}
			w.acked = w.started
		} else {
			w.fs.Crash(w.rng, CrashModes[w.rng.IntN(len(CrashModes))])
		}
		if err := w.open(); err != nil {
			return fmt.Errorf("recovery %d: %w", round+2, err)
		}
	}
	return nil
}

func TestCrashAtEveryBoundary(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		if err := crashEverywhere(seed+1, 100, seed%3 == 2); err != nil {
			t.Fatal(err)
		}
	}
}

// A crash while Create runs leaves a directory in which Create, or Open, works.
func TestCrashDuringCreate(t *testing.T) {
	w := newWorld(1, 3)
	n := uint64(0)
	w.fs.OnOp = func(op Op) {
		n++
		for _, mode := range CrashModes {
			f := w.fork(n, mode)
			l, _, err := Create(f.opt)
			if err != nil {
				l, _, err = Open(f.opt)
			}
			if err != nil {
				t.Fatalf("after %s %s, crash mode %v: %v", op.Kind, op.Path, mode, err)
			}
			f.log, f.views = l, newWorld(1, 1).views
			f.started, f.acked = 0, 0
			for range 5 {
				if err := f.step(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := w.create(); err != nil {
		t.Fatal(err)
	}
	if n < 4 {
		t.Fatalf("Create did %d operations", n)
	}
}

// Views, log and model agree over thousands of writes with restarts of every kind.
func TestRandomAgainstModel(t *testing.T) {
	for seed := uint64(100); seed < 108; seed++ {
		w := newWorld(seed, 8)
		w.failing = seed%2 == 1
		if err := w.create(); err != nil {
			t.Fatal(err)
		}
		for round := range 15 {
			for range 80 {
				if err := w.step(); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			if d := w.diffViews(); d != "" {
				t.Fatalf("seed %d, round %d: %s", seed, round, d)
			}
			if why := w.remnants(); why != "" {
				t.Fatalf("seed %d, round %d: %s", seed, round, why)
			}
			if w.cache.Bytes() > 2000 {
				t.Fatalf("the cache holds %d bytes", w.cache.Bytes())
			}
			if w.rng.IntN(2) == 0 {
				if err := w.log.Close(); err != nil {
					t.Fatal(err)
				}
				w.acked = w.started
			}
			w.fs.Crash(w.rng, CrashModes[w.rng.IntN(len(CrashModes))])
			if err := w.open(); err != nil {
				t.Fatalf("seed %d, round %d: %v", seed, round, err)
			}
		}
		if s := w.log.Stats(); s.Segment < 20 {
			t.Fatalf("seed %d: only %d segments were written", seed, s.Segment)
		}
	}
}

// image is a segment as the disk shows it.
func (w *world) image(n uint64) *image {
	return &image{segment: n, seed: segmentSeed(w.opt.StoreID, n), data: w.fs.names[w.log.files.path(segmentName(n))].view}
}

// remnants says what valid thing lies where the log has not come yet.
func (w *world) remnants() string {
	e := &w.log.end
	if m := w.image(e.segment.number); !e.sealed && e.wipe == 0 && m.remains(e.off) != e.off {
		return fmt.Sprintf("something valid lies behind the log's end, segment %d offset %d", e.segment.number, e.off)
	}
	if next := w.log.files.next; next != nil && w.image(next.number).remains(headerBytes) != headerBytes {
		return fmt.Sprintf("something valid lies in the next segment %d", next.number)
	}
	if names, err := w.fs.List(w.opt.Dir); err != nil || len(names) > len(w.log.files.files)+w.opt.RecycleMax+2 {
		return fmt.Sprintf("too many files: %v, %v", names, err)
	}
	return ""
}
