package host

import (
	"sync/atomic"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Clock is the node's own monotonic clock (L20). A lease is safe if the clocks of two nodes
// run at rates that differ by less than the margin allows, so this one runs at the rate of
// the hardware, which no time daemon slews, and goes on while the machine sleeps:
//
//	Instant = MONOTONIC_RAW + (BOOTTIME - MONOTONIC)
//
// The second part is exactly the time spent asleep. So one clock errs to neither side, and the
// leader and the supporter of the rule may use the same. Where the system has no such
// clocks, Go's own monotonic time serves.
//
// Readings never go back, from whatever goroutine they are taken.
type Clock struct {
	source func() kv.Instant
	last   atomic.Int64
}

// NewClock makes a clock that begins at 1, so that 0 is never a reading.
func NewClock() *Clock {
	if source, ok := systemClock(); ok {
		base := source() - 1
		return &Clock{source: func() kv.Instant { return source() - base }}
	}
	start := time.Now()
	return &Clock{source: func() kv.Instant { return kv.Instant(time.Since(start)) + 1 }}
}

// Now is the time. It must be read after the inputs that it is to judge have arrived.
func (c *Clock) Now() kv.Instant {
	now := int64(c.source())
	for {
		last := c.last.Load()
		if now <= last {
			return kv.Instant(last)
		}
		if c.last.CompareAndSwap(last, now) {
			return kv.Instant(now)
		}
	}
}
