package host

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// background is the pace of the engine's flushes and compactions.
type background struct {
	now         func() kv.Instant
	flushes     rests
	compactions rests
}

// rests is what the pacers of one kind of work have in common.
type rests struct {
	share atomic.Uint64 // the bits of the share that the last slice left: the next file begins with it
	total atomic.Int64  // of rest, a time.Duration
}

func newBackground(now func() kv.Instant) *background {
	b := &background{now: now}
	for _, r := range []*rests{&b.flushes, &b.compactions} {
		r.share.Store(math.Float64bits(1))
	}
	return b
}

// pace makes the breather of one file (mvcc.Options.Pace).
func (b *background) pace(w mvcc.Background) func() {
	r := &b.compactions
	if w.Flush {
		r = &b.flushes
	}
	p := newPacer(b.now, sleeper(w.Ended))
	p.least, p.share = w.Share, math.Float64frombits(r.share.Load())
	p.begin(b.now())
	return func() {
		slept := p.slept
		p.breathe()
		r.share.Store(math.Float64bits(p.share))
		r.total.Add(int64(p.slept - slept))
	}
}

// seconds is how long the work has rested altogether.
func (r *rests) seconds() float64 { return time.Duration(r.total.Load()).Seconds() }
