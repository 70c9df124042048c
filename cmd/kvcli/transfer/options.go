package transfer

import (
	"sync"
	"time"
)

// Options say how keys are moved. The zero value of a field is its default.
type Options struct {
	Workers       int           // operations at a time; default 32
	BytesInFlight int64         // of values held in memory, besides one a worker; default 64 MiB
	RetryFor      time.Duration // how long one key is tried; default 60 s
	OpTimeout     time.Duration // of one attempt; default 10 s
	Skipped       func(key []byte, why string)
	Progress      func(Progress) // called twice a second; nil: never
}

// Limits of the options.
const (
	WorkersMax = 4096

	workersDefault       = 32
	bytesInFlightDefault = 64 << 20
	retryForDefault      = time.Minute
	opTimeoutDefault     = 10 * time.Second
	progressInterval     = 500 * time.Millisecond
)

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = workersDefault
	}
	o.Workers = min(o.Workers, WorkersMax)
	if o.BytesInFlight <= 0 {
		o.BytesInFlight = bytesInFlightDefault
	}
	if o.RetryFor <= 0 {
		o.RetryFor = retryForDefault
	}
	if o.OpTimeout <= 0 {
		o.OpTimeout = opTimeoutDefault
	}
	if o.Skipped == nil {
		o.Skipped = func([]byte, string) {}
	}
	return o
}

// Progress is how far a transfer has come.
type Progress struct {
	Keys, Bytes int64
	Elapsed     time.Duration
	SinceLast   time.Duration // since the last success
}

// Summary is what a transfer has done; it is right also when the transfer failed.
type Summary struct {
	Keys       int64 // written, or read and found equal
	Bytes      int64 // of their values
	Skipped    int64
	Retries    int64 // further attempts
	Elapsed    time.Duration
	LongestGap time.Duration // the longest time without a success, from the first attempt to the end
}

// meter counts successes and measures the gaps between them.
type meter struct {
	mu      sync.Mutex
	began   time.Time
	last    time.Time // of the last success; began before the first
	summary Summary
}

// start begins the measured time with the first attempt.
func (m *meter) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.began.IsZero() {
		m.began = time.Now()
		m.last = m.began
	}
}

func (m *meter) success(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.summary.Keys++
	m.summary.Bytes += int64(n)
	m.gapUntil(time.Now())
}

func (m *meter) gapUntil(now time.Time) {
	m.summary.LongestGap = max(m.summary.LongestGap, now.Sub(m.last))
	m.last = now
}

func (m *meter) retry() {
	m.mu.Lock()
	m.summary.Retries++
	m.mu.Unlock()
}

func (m *meter) skip() {
	m.mu.Lock()
	m.summary.Skipped++
	m.mu.Unlock()
}

// finish closes the books. Where the transfer failed, the time from the last success on
// is a gap too.
func (m *meter) finish(failed bool) Summary {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.began.IsZero() {
		return m.summary
	}
	if failed {
		m.gapUntil(time.Now())
	}
	m.summary.Elapsed = m.last.Sub(m.began)
	return m.summary
}

func (m *meter) progress() Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.began.IsZero() {
		return Progress{}
	}
	now := time.Now()
	return Progress{Keys: m.summary.Keys, Bytes: m.summary.Bytes, Elapsed: now.Sub(m.began), SinceLast: now.Sub(m.last)}
}

// budget bounds the bytes in memory. What is larger than all of it may go alone.
type budget struct {
	mu   sync.Mutex
	cond *sync.Cond
	max  int64
	used int64
}

func newBudget(bytesMax int64) *budget {
	b := &budget{max: bytesMax}
	b.cond = sync.NewCond(&b.mu)
	return b
}

// take waits until n bytes are free.
func (b *budget) take(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.used > 0 && b.used+n > b.max {
		b.cond.Wait()
	}
	b.used += n
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	b.used -= n
	b.mu.Unlock()
	b.cond.Broadcast()
}
