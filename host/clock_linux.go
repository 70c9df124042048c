package host

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kvd-db/kvd/kv"
)

// systemClock is MONOTONIC_RAW plus the time spent asleep. Two system calls a reading, about
// a microsecond: it is read once a turn of the loop and once a batch of reads.
func systemClock() (func() kv.Instant, bool) {
	var s sleepClock
	if _, err := clockGet(unix.CLOCK_MONOTONIC_RAW); err != nil {
		return nil, false
	}
	if _, err := clockGet(unix.CLOCK_BOOTTIME); err != nil {
		return nil, false
	}
	s.start = time.Now()
	s.bootStart, _ = clockGet(unix.CLOCK_BOOTTIME)
	return s.now, true
}

type sleepClock struct {
	start     time.Time // carries MONOTONIC, which is read without a system call
	bootStart int64     // BOOTTIME at start, ns

	mu     sync.Mutex
	asleep int64 // ns since start; never falls
}

// now brackets BOOTTIME by two readings of MONOTONIC: if the goroutine was not put aside in
// between, the difference is the time asleep to within tolerance.
func (s *sleepClock) now() kv.Instant {
	const (
		tolerance = int64(50 * time.Microsecond)
		triesMax  = 5
	)
	s.mu.Lock()
	defer s.mu.Unlock()
	for range triesMax {
		before := int64(time.Since(s.start))
		boot, err := clockGet(unix.CLOCK_BOOTTIME)
		if err != nil {
			break
		}
		after := int64(time.Since(s.start))
		// Less than the tolerance is noise of the readings; sleep is never that short.
		if d := boot - s.bootStart - after; d > s.asleep+tolerance {
			s.asleep = d
		}
		if after-before < tolerance {
			break
		}
	}
	raw, err := clockGet(unix.CLOCK_MONOTONIC_RAW)
	if err != nil {
		raw = int64(time.Since(s.start))
	}
	return kv.Instant(raw + s.asleep)
}

func clockGet(id int32) (int64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0, err
	}
	return t.Nano(), nil
}
