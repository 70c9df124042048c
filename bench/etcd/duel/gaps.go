package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kvd-db/kvd/bench"
)

// probeEvery is the pause of a prober after an acknowledged write, and probeAgain after a
// failed one.
const (
	probeEvery = 100 * time.Millisecond
	probeAgain = 5 * time.Millisecond
)

// prober writes one key for ever, one write after the other, and remembers when the writes
// were acknowledged.
type prober struct {
	target bench.Target
	key    []byte
	opMax  time.Duration // after it a write is given up, and the next one begins

	mu     sync.Mutex
	acks   []time.Time // since mark, ascending
	begun  time.Time   // of the last acknowledged write
	failed map[string]int64
}

func (p *prober) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		begun := time.Now()
		opCtx, cancel := context.WithTimeout(ctx, p.opMax)
		err := p.target.Put(opCtx, p.key, fmt.Appendf(nil, "%d", n))
		cancel()
		if ctx.Err() != nil {
			return
		}
		p.note(begun, time.Now(), err)
		if err != nil {
			pause(ctx, probeAgain)
			continue
		}
		pause(ctx, probeEvery)
	}
}

func (p *prober) note(begun, done time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.failed == nil {
			p.failed = map[string]int64{}
		}
		p.failed[errorKind(p.target, err)]++
		return
	}
	p.acks, p.begun = append(p.acks, done), begun
}

// mark forgets what was before.
func (p *prober) mark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acks = p.acks[:0]
}

// servedSince says whether a write that began after t was acknowledged.
func (p *prober) servedSince(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begun.After(t)
}

// gap is the longest time without an acknowledged write from the kill on.
func (p *prober) gap(kill time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return longestGap(kill, p.acks)
}

// longestGap is the longest time between two neighbours of from and the ascending moments
// after it. What follows the last one is not known to be a gap.
func longestGap(from time.Time, moments []time.Time) (longest time.Duration) {
	last := from
	for _, m := range moments {
		if m.After(last) {
			longest = max(longest, m.Sub(last))
			last = m
		}
	}
	return longest
}

// gapSummary is quantiles of gaps, in seconds.
type gapSummary struct {
	count         int
	p50, p99, max float64
}

func summarizeGaps(gaps []time.Duration) gapSummary {
	xs := make([]float64, len(gaps))
	for i, g := range gaps {
		xs[i] = g.Seconds()
	}
	slices.Sort(xs)
	return gapSummary{count: len(xs), p50: quantile(xs, 0.5), p99: quantile(xs, 0.99), max: quantile(xs, 1)}
}

func (s gapSummary) String() string {
	return fmt.Sprintf("p50 %s s, p99 %s s, max %s s", format(s.p50), format(s.p99), format(s.max))
}
