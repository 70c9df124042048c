package sim

import "github.com/kvd-db/kvd/kv"

// clock is one machine's idea of time: a monotonic clock that runs at its own rate from its
// own zero, and a wall clock that may be anything.
type clock struct {
	sched *scheduler
	rate  float64 // of the monotonic clock against virtual time
	zero  ns      // its reading at virtual time 0
	wall  ns      // error of the wall clock
}

// epoch is the wall time at virtual time 0, in milliseconds since 1970.
const epochMillis = 1_790_000_000_000

func newClock(c *scheduler, ratePPM int64) *clock {
	rate := 1.0
	switch c.rng.IntN(3) { // the extremes are where it hurts
	case 0:
		rate += float64(ratePPM) / 1e6
	case 1:
		rate -= float64(ratePPM) / 1e6
	default:
		rate += float64(ratePPM) / 1e6 * (2*c.rng.Float64() - 1)
	}
	return &clock{sched: c, rate: rate, zero: c.upTo(1 << 40), wall: c.between(-200*ms, 200*ms)}
}

// now is the monotonic clock.
func (c *clock) now() kv.Instant {
	return kv.Instant(c.zero + ns(float64(c.sched.now)*c.rate))
}

// span is how much virtual time passes while the monotonic clock moves by d.
func (c *clock) span(d ns) ns { return ns(float64(d) / c.rate) }

func (c *clock) wallMillis() int64 { return epochMillis + (c.sched.now+c.wall)/ms }
