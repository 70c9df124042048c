package router

import (
	"context"
	"sync"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// When and how often the cluster is told what is open here (docs/adr/0015). Most timestamps are not read for so
// long, and cost nothing but their place in a table.
const (
	// A timestamp is held once it was open for HoldAfter, or is as old as HoldAge by what the cluster says: its
	// clock may run faster than that of this process.
	HoldAfter = 10 * time.Second
	HoldAge   = time.Minute
	HoldEvery = 5 * time.Second
	holdLook  = time.Second
	// holdAskMax is how long one renewal may take: then another node is asked.
	holdAskMax = 5 * time.Second
)

// Hold is a timestamp that something is read at, again and again. Release ends it.
type Hold struct {
	router *Router
	at     kv.Timestamp
	since  time.Time
	lost   bool // the cluster holds nothing as old as that
}

// openHolds are the timestamps that are open.
type openHolds struct {
	mu    sync.Mutex
	open  map[*Hold]struct{}
	timer *time.Timer
	armed bool
	asked renewal
}

// renewal is the last one.
type renewal struct {
	underWay bool
	at       kv.Timestamp
	when     time.Time
	heard    kv.Timestamp // then
}

// Hold keeps the versions that reads at a timestamp need from being collected, for as long as the
// cluster does that at all, once it is open for long. It does not wait.
func (r *Router) Hold(at kv.Timestamp) *Hold {
	h := &Hold{router: r, at: at, since: time.Now()}
	x := &r.holds
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.open == nil {
		x.open = map[*Hold]struct{}{}
	}
	x.open[h] = struct{}{}
	r.armHolds()
	return h
}

// Release ends a hold; nil and one that has ended are fine.
func (h *Hold) Release() {
	if h == nil {
		return
	}
	x := &h.router.holds
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.open, h)
}

// Holds is how many timestamps are open.
func (r *Router) Holds() int {
	r.holds.mu.Lock()
	defer r.holds.mu.Unlock()
	return len(r.holds.open)
}

// armHolds makes the router look again in a while. It runs under holds.mu.
func (r *Router) armHolds() {
	x := &r.holds
	switch {
	case x.armed || len(x.open) == 0 || r.stop.Err() != nil:
		return
	case x.timer == nil:
		x.timer = time.AfterFunc(holdLook, r.lookAtHolds)
	default:
		x.timer.Reset(holdLook)
	}
	x.armed = true
}

// lookAtHolds has the oldest timestamp held, if it is time to.
func (r *Router) lookAtHolds() {
	heard, _ := r.Heard()
	now := time.Now()
	x := &r.holds
	x.mu.Lock()
	x.armed = false
	at := x.lowest(now, heard)
	due := at != 0 && x.due(at, now, heard)
	if due {
		x.asked = renewal{underWay: true, at: at, when: now, heard: heard}
	}
	r.armHolds()
	x.mu.Unlock()
	if !due {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.running.Go(func() { r.renewHold(at) })
	}
}

// lowest is the lowest timestamp that has to be held; 0: there is none. It runs under mu.
func (x *openHolds) lowest(now time.Time, heard kv.Timestamp) (at kv.Timestamp) {
	for h := range x.open {
		old := now.Sub(h.since) >= HoldAfter || heard.UnixMillis()-h.at.UnixMillis() >= HoldAge.Milliseconds()
		if old && !h.lost && (at == 0 || h.at < at) {
			at = h.at
		}
	}
	return at
}

// due reports whether the cluster has to be told. It runs under mu.
func (x *openHolds) due(at kv.Timestamp, now time.Time, heard kv.Timestamp) bool {
	a := &x.asked
	return !a.underWay &&
		(at < a.at || now.Sub(a.when) >= HoldEvery || heard.UnixMillis()-a.heard.UnixMillis() >= HoldAge.Milliseconds())
}

// renewHold tells the core. What is not answered is tried again at the next look.
func (r *Router) renewHold(at kv.Timestamp) {
	ctx, cancel := context.WithTimeout(r.stop, holdAskMax)
	defer cancel()
	a, err := r.Admin(ctx, "", &kv.AdminRequest{Hold: &kv.Hold{Timestamp: at}})
	x := &r.holds
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked.underWay = false
	switch {
	case err != nil && err.Kind == kv.Future: // nobody can read there
		for h := range x.open {
			h.lost = h.lost || h.at == at
		}
	case err != nil || a.Hold == nil:
		x.asked.when = time.Time{}
	default:
		for h := range x.open {
			h.lost = h.lost || h.at < a.Hold.Oldest
		}
	}
}

// closeHolds ends the looking.
func (r *Router) closeHolds() {
	x := &r.holds
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer != nil {
		x.timer.Stop()
	}
}
