package host

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// Work in the background never falls below the share that the store needs, however long it lasts.
func TestPaceKeepsTheLeastShare(t *testing.T) {
	for _, least := range []float64{0.1, 0.5, 1} {
		w := pacedWorld{wait: paceLate + 1}
		p := w.pacer()
		p.least = func(kv.Instant) float64 { return least }
		w.work(p, time.Second) // until it has learnt that others wait
		w.slept = 0
		w.work(p, 10*time.Second)
		want := time.Duration(float64(10*time.Second) * (1/least - 1))
		if low, high := want*9/10, want*11/10; w.slept < low || w.slept > high {
			t.Errorf("at a least share of %v it rested %v in 10 s of work, want %v to %v", least, w.slept, low, high)
		}
	}
}

// A file begins with the share that the one before it had left, each kind of work with its own, and rests are counted.
func TestBackgroundRemembersItsShare(t *testing.T) {
	var now kv.Instant
	b := newBackground(func() kv.Instant {
		now = now.Add(time.Millisecond) // each look is late
		return now
	})
	ended := make(chan struct{})
	close(ended)
	w := mvcc.Background{Flush: true, Ended: ended, Share: func(kv.Instant) float64 { return 0.1 }}
	breathe := b.pace(w)
	for range 20 {
		breathe()
	}
	share, rested := b.flushes.share.Load(), b.flushes.seconds()
	if rested == 0 || b.compactions.seconds() != 0 || b.compactions.share.Load() == share {
		t.Errorf("a flush made flushes rest %v s, compactions %v s", rested, b.compactions.seconds())
	}
	b.pace(w)()
	if b.flushes.share.Load() > share {
		t.Error("the second file began anew")
	}
}
