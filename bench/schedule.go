package bench

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// drainMax is how long an open loop goes on after the end with operations that were
// planned before it. What is left then was never sent.
const drainMax = 5 * time.Second

// schedule hands out the planned moments of an open loop, from the start of the warm-up
// to the end of the measured part. Whichever worker is free takes the next one.
type schedule struct {
	start  time.Time
	end    time.Time
	cutoff time.Time
	rate   float64 // a second

	mu       sync.Mutex
	taken    int64
	offset   float64    // seconds from start to the next moment
	rand     *rand.Rand // nil: evenly spaced
	lateness *hdrhistogram.Histogram
	waits    int64 // moments in the measured part that a worker was there for in time
}

func newSchedule(start, end time.Time, o Options) *schedule {
	s := &schedule{start: start, end: end, cutoff: end.Add(drainMax), rate: o.Rate, lateness: newHistogram(latencyDigits)}
	if o.Poisson {
		s.rand = rand.New(rand.NewPCG(o.Seed, 0x5eed))
	}
	return s
}

// take hands out the next planned moment; false when there is none before the end.
func (s *schedule) take() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.start.Add(time.Duration(s.offset * float64(time.Second)))
	if !at.Before(s.end) {
		return time.Time{}, false
	}
	s.taken++
	if s.rand == nil {
		s.offset = float64(s.taken) / s.rate // from the count: sums of small steps drift
	} else {
		s.offset += s.rand.ExpFloat64() / s.rate
	}
	return at, true
}

// waited notes how much too late a worker woke up for a moment it had waited for: the
// fault of the harness and its machine, not of the store.
func (s *schedule) waited(late time.Duration, measured bool) {
	if !measured {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits++
	_ = s.lateness.RecordValue(clampLatency(late))
}

// leftOver counts the moments that nobody took, and how long the first of them has waited
// by the cutoff.
func (s *schedule) leftOver() (n int64, oldest time.Duration) {
	for {
		at, ok := s.take()
		if !ok {
			return n, oldest
		}
		if n == 0 {
			oldest = s.cutoff.Sub(at)
		}
		n++
	}
}
