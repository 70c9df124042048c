package mvcc

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

func TestSharesOfBackgroundWork(t *testing.T) {
	for _, x := range []struct{ queued, least float64 }{
		{0, flushShare}, {1, flushShare}, {2, flushShare}, {flushBehindTables, 1}, {3, 1}, {memTablesQueuedMax, 1},
	} {
		if s := flushShareFor(uint64(x.queued*1000), 1000); s != x.least {
			t.Errorf("memtables for %v: a flush has a share of %v, want %v", x.queued, s, x.least)
		}
	}
	if l0SublevelsWell < l0SublevelsCompacted || l0SublevelsBehind >= l0SublevelsMax {
		t.Errorf("L0 is compacted from %d on, well to %d and behind from %d on, and writes stop at %d", l0SublevelsCompacted, l0SublevelsWell, l0SublevelsBehind, l0SublevelsMax)
	}
	const middle = compactionShare + (1-compactionShare)/2
	for _, x := range []struct {
		sublevels    int64
		debt, tables uint64
		share        float64
	}{
		{0, 0, 0, compactionShare},
		{l0SublevelsWell, debtBytesWell, 0, compactionShare},
		{(l0SublevelsWell + l0SublevelsBehind) / 2, 0, 0, middle},
		{0, debtBytesWell * 5 / 2, 0, middle},
		{0, debtBytesWell * 5, debtSizePart * debtBytesWell, middle},
		{0, 10 << 30, 100 << 30, compactionShare},
		{l0SublevelsBehind, 0, 100 << 30, 1},
		{0, 4 * debtBytesWell, 0, 1},
		{10 * l0SublevelsBehind, 100 * debtBytesWell, debtBytesWell, 1},
	} {
		if s := compactionShareFor(x.sublevels, x.debt, x.tables); math.Abs(s-x.share) > 1e-9 {
			t.Errorf("%d sublevels, a debt of %d in a store of %d: a compaction has a share of %v, want %v", x.sublevels, x.debt, x.tables, s, x.share)
		}
	}
	last := 0.0
	for n := range int64(l0SublevelsBehind + 2) {
		s := compactionShareFor(n, 0, 0)
		if s < last {
			t.Errorf("at %d sublevels the share is %v, below that at one less, %v", n, s, last)
		}
		last = s
	}
}

// smallStore has many flushes and compactions.
func smallStore(o *Options) {
	o.FS, o.MemTableBytes, o.BlockBytes, o.BlobValueBytes = NewMemFS(), 256<<10, 1<<10, 4<<10
	o.tune = func(p *pebble.Options) { p.L0CompactionThreshold = 2 }
}

func fill(t *testing.T, e *Engine, keys int, ts kv.Timestamp) {
	t.Helper()
	for i := 0; i < keys; {
		b := e.NewBatch()
		for end := i + 100; i < end; i++ {
			must(t, b.Put(kv.Key(fmt.Sprintf("%06d", i)), ts, kv.TxID{1}, fmt.Appendf(nil, "%0100d", i)))
		}
		must(t, b.Commit())
	}
}

// A store whose flushes and compactions rest goes through both, and nothing is lost.
func TestPacedStoreGoesOn(t *testing.T) {
	var clock atomic.Int64
	var flushes, compactions atomic.Int64
	o := Options{Pace: func(w Background) func() {
		n := &compactions
		if w.Flush {
			n = &flushes
		}
		return func() {
			n.Add(1)
			share := w.Share(kv.Instant(clock.Add(int64(shareLookEvery / 3))))
			if share <= 0 || share > 1 {
				t.Errorf("a share of %v", share)
			}
			if share < 1 {
				time.Sleep(10 * time.Microsecond)
			}
		}
	}}
	smallStore(&o)
	e := openTest(t, o)
	const keys, rounds = 3000, 4
	for ts := range kv.Timestamp(rounds) {
		fill(t, e, keys, ts+1)
		must(t, e.FlushAsync())
	}
	must(t, e.Flush())
	must(t, e.Compact())
	if flushes.Load() == 0 || compactions.Load() == 0 {
		t.Errorf("%d breaths of flushes, %d of compactions", flushes.Load(), compactions.Load())
	}
	if m := e.Metrics(); m.L0Sublevels != 0 {
		t.Errorf("after a compaction of everything L0 has %d sublevels", m.L0Sublevels)
	}
	for i := 0; i < keys; i += 97 {
		for ts := range kv.Timestamp(rounds) {
			if v, ok := get(t, e, fmt.Sprintf("%06d", i), ts+1); !ok || string(v.Value) != fmt.Sprintf("%0100d", i) {
				t.Errorf("key %d at %d: %q, %v", i, ts+1, v.Value, ok)
			}
		}
	}
	must(t, e.Close())
}

// restless is a breather whose rests end with the store only, as if it slept for hours.
type restless struct {
	flush   bool // flushes rest, else compactions
	resting chan struct{}
}

func (r *restless) pace(w Background) func() {
	return func() {
		if w.Flush != r.flush {
			return
		}
		select {
		case r.resting <- struct{}{}:
		default:
		}
		<-w.Ended
	}
}

// A store that closes waits for no rest. What it was told is durable then.
func TestCloseEndsRestsOfBackgroundWork(t *testing.T) {
	for _, flush := range []bool{true, false} {
		r := &restless{flush: flush, resting: make(chan struct{}, 1)}
		o := Options{Pace: r.pace}
		smallStore(&o)
		fs := o.FS.(*MemFS)
		e := openTest(t, o)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for ts := kv.Timestamp(1); ts <= 5; ts++ { // with more a flush that rests would be in the way
			fill(t, e, 500, ts)
			if !flush {
				must(t, e.Flush())
			}
		}
		must(t, e.FlushAsync())
		select {
		case <-r.resting:
		case <-ctx.Done():
			t.Fatalf("flush %v: nothing rests", flush)
		}
		// Nothing else waits for the rest.
		if _, ok := get(t, e, "000100", 1); !ok {
			t.Errorf("flush %v: a key is gone", flush)
		}
		e.Metrics()
		closed := make(chan error, 1)
		go func() { closed <- e.Close() }()
		select {
		case err := <-closed:
			must(t, err)
		case <-ctx.Done():
			t.Fatalf("flush %v: the store does not close", flush)
		}
		e = openTest(t, Options{FS: CrashClone(fs)})
		if _, ok := get(t, e, "000499", 1); !ok {
			t.Errorf("flush %v: a key is gone", flush)
		}
		must(t, e.Close())
	}
}

// Somebody waits for Flush and Compact, so they do not rest; what runs in the background may.
func TestWhatIsWaitedForDoesNotRest(t *testing.T) {
	var least atomic.Uint64 // the smallest share, its bits
	var clock atomic.Int64
	o := Options{Pace: func(w Background) func() {
		return func() {
			s := w.Share(kv.Instant(clock.Add(1)))
			for old := least.Load(); s < math.Float64frombits(old) && !least.CompareAndSwap(old, math.Float64bits(s)); old = least.Load() {
			}
		}
	}}
	smallStore(&o)
	o.tune = func(p *pebble.Options) { p.DisableAutomaticCompactions = true }
	o.MemTableBytes = 4 << 20
	e := openTest(t, o)
	least.Store(math.Float64bits(2))
	fill(t, e, 1000, 1)
	must(t, e.Flush())
	must(t, e.Compact())
	if s := math.Float64frombits(least.Load()); s != 1 {
		t.Errorf("what somebody waits for has a least share of %v", s)
	}
	least.Store(math.Float64bits(2))
	fill(t, e, 1000, 2)
	done, err := e.db.AsyncFlush()
	must(t, err)
	<-done
	if s := math.Float64frombits(least.Load()); s != flushShare {
		t.Errorf("a flush that nobody waits for has a share of %v, want %v", s, flushShare)
	}
	must(t, e.Close())
}

// Nothing of a deterministic store may depend on time.
func TestDeterministicStoreIsNotPaced(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true, Pace: func(Background) func() {
		t.Error("a file of a deterministic store is paced")
		return func() {}
	}})
	put(t, e, "k", 1, nil)
	must(t, e.Flush())
	must(t, e.Compact())
	must(t, e.Close())
}
