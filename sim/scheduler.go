package sim

import (
	"math/rand/v2"
	"time"
)

// ns is virtual time or a span of it, in nanoseconds.
type ns = int64

// Units of virtual time.
const (
	us = ns(time.Microsecond)
	ms = ns(time.Millisecond)
	s  = ns(time.Second)
)

// event is something that will happen. Events at one time happen in the order in which they
// were made.
type event struct {
	at  ns
	seq uint64
	do  func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// scheduler is virtual time: a heap of events and the one source of randomness.
type scheduler struct {
	now    ns
	seq    uint64
	events []event
	rng    *rand.Rand
	ran    uint64 // events so far
}

func newScheduler(seed uint64) *scheduler {
	return &scheduler{rng: rand.New(rand.NewPCG(seed, 0x6b7664))}
}

// after makes do happen d from now.
func (c *scheduler) after(d ns, do func()) {
	c.seq++
	c.push(event{c.now + max(d, 0), c.seq, do})
}

// step lets the next event happen; false if there is none up to the time until.
func (c *scheduler) step(until ns) bool {
	if len(c.events) == 0 || c.events[0].at > until {
		c.now = max(c.now, until)
		return false
	}
	e := c.pop()
	c.now = e.at
	c.ran++
	e.do()
	return true
}

func (c *scheduler) push(e event) {
	h := append(c.events, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	c.events = h
}

func (c *scheduler) pop() event {
	h := c.events
	top := h[0]
	n := len(h) - 1
	h[0] = h[n]
	h[n] = event{}
	h = h[:n]
	for i := 0; ; {
		l := 2*i + 1
		if l >= n {
			break
		}
		if r := l + 1; r < n && h[r].before(&h[l]) {
			l = r
		}
		if !h[l].before(&h[i]) {
			break
		}
		h[i], h[l] = h[l], h[i]
		i = l
	}
	c.events = h
	return top
}

// between is uniform in [lo, hi].
func (c *scheduler) between(lo, hi ns) ns {
	if hi <= lo {
		return lo
	}
	return lo + c.rng.Int64N(hi-lo+1)
}

// upTo is uniform in [0, d).
func (c *scheduler) upTo(d ns) ns {
	if d <= 0 {
		return 0
	}
	return c.rng.Int64N(d)
}

// chance is true with probability p.
func (c *scheduler) chance(p float64) bool { return p > 0 && c.rng.Float64() < p }

// every lets do happen again and again, at intervals of mean on average, until the time end.
func (c *scheduler) every(mean time.Duration, end ns, do func()) {
	if mean <= 0 {
		return
	}
	c.after(ns(c.rng.ExpFloat64()*float64(mean)), func() {
		if c.now > end {
			return
		}
		do()
		c.every(mean, end, do)
	})
}

// regularly is every with intervals that are never far from the mean.
func (c *scheduler) regularly(mean time.Duration, end ns, do func()) {
	c.after(ns(mean)/2+c.upTo(ns(mean)), func() {
		if c.now > end {
			return
		}
		do()
		c.regularly(mean, end, do)
	})
}
