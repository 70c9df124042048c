package host

import (
	"sync"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

func TestClockRunsAndNeverGoesBack(t *testing.T) {
	c := NewClock()
	first := c.Now()
	if first <= 0 {
		t.Fatalf("a clock begins at %d", first)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			last := c.Now()
			for range 2000 {
				now := c.Now()
				if now < last {
					t.Errorf("went from %d back to %d", last, now)
				}
				last = now
			}
		})
	}
	group.Wait()
	time.Sleep(2 * time.Millisecond)
	if d := c.Now() - first; d < kv.Instant(2*time.Millisecond) {
		t.Errorf("slept for 2 ms, the clock moved by %s", time.Duration(d))
	}
}

func TestClockHoldsWhatItHasSaid(t *testing.T) {
	readings := []kv.Instant{10, 30, 20, 31}
	c := &Clock{source: func() kv.Instant { r := readings[0]; readings = readings[1:]; return r }}
	for _, want := range []kv.Instant{10, 30, 30, 31} {
		if got := c.Now(); got != want {
			t.Errorf("read %d, want %d", got, want)
		}
	}
}

func BenchmarkClock(b *testing.B) {
	c := NewClock()
	for b.Loop() {
		c.Now()
	}
}
