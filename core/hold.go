package core

import (
	"slices"
	"time"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// holds is which timestamps open snapshots want to read (docs/adr/0015).
//
// Its only clock is the oracle's limit, which moves by entries that this leader has committed in its own term: one
// that was deposed and does not know it stands still, lets no hold lapse, and answers nobody. So
// what it has promised stays true, whatever clocks do, and whoever renews a hold and gets no answer goes to its successor.
//
// Invariants:
//   - A ceiling is never above a hold that has not lapsed, unless that is older than HoldMax.
//   - A hold is taken only at or above the ceilings told before, so they are promises for ever.
//   - A new leader tells no ceiling before everybody had the time to renew with it what others have taken.
type holds struct {
	since   kv.Timestamp // the bound when this leadership began
	open    []hold       // rising in both fields: one that came later and is lower hides those before
	told    kv.Timestamp // the highest ceiling
	waiting []waitingHold
}

// hold keeps a timestamp until the limit has gone on by holdLapse.
type hold struct {
	from kv.Timestamp // the limit when it was asked for
	at   kv.Timestamp
}

// waitingHold is answered when an extension is applied that was proposed after it came: this leader
// still led when it came.
type waitingHold struct {
	request *waiting
	above   kv.Timestamp // the newest bound asked for before
}

const (
	// holdLapse is in the oracle's time, which may run at clockRate times the speed of clients' clocks: they renew
	// every five seconds, and have some twenty to find the core's leader.
	holdLapse = 5 * time.Minute
	// holdSlack is how young a snapshot may be and need no hold. Nothing is collected sooner anyway.
	holdSlack = kv.RetentionMin
)

func newHolds(bound kv.Timestamp) holds { return holds{since: bound} }

// later is d after t in the oracle's time, never before 0.
func later(t kv.Timestamp, d time.Duration) kv.Timestamp {
	return kv.MakeTimestamp(max(t.UnixMillis()+d.Milliseconds(), 0), 0)
}

func (h *holds) add(from, at kv.Timestamp) {
	n := len(h.open)
	if n > 0 && h.open[n-1].from == from && h.open[n-1].at <= at {
		return // it lapses together with a lower one
	}
	for n > 0 && h.open[n-1].at >= at {
		n--
	}
	h.open = append(h.open[:n], hold{from, at})
}

// lowest is the lowest timestamp held, 0 if there is none.
func (h *holds) lowest(limit kv.Timestamp) kv.Timestamp {
	n := 0
	for n < len(h.open) && later(h.open[n].from, holdLapse) < limit {
		n++
	}
	h.open = append(h.open[:0], h.open[n:]...)
	if len(h.open) == 0 {
		return 0
	}
	return h.open[0].at
}

// until is when the lowest timestamp held is let go if nobody renews it; what has lapsed at the limit is forgotten.
func (h *holds) until(limit kv.Timestamp) kv.Timestamp {
	if h.lowest(limit) == 0 {
		return 0
	}
	return later(h.open[0].from, holdLapse)
}

// ceiling is up to where partitions may collect.
func (m *Machine) ceiling() kv.Timestamp {
	h, limit := &m.lead.holds, m.lead.oracle.limit
	if limit == 0 || limit < later(h.since, holdLapse) && !invariant.Mutated(invariant.HoldForgotten) {
		return 0
	}
	c := later(limit, -holdSlack)
	if at := h.lowest(limit); at != 0 {
		c = min(c, max(at, later(limit, -m.opts.HoldMax)))
	}
	h.told = max(h.told, c)
	return h.told
}

// hold takes a hold, which counts at once. Its answer is proof that whoever leads next hears of the next one.
func (m *Machine) hold(id RequestID, r *kv.Hold) {
	h, o := &m.lead.holds, m.lead.oracle
	switch {
	case r.Timestamp == 0:
		m.sink.Reply(id, nil, kv.Errorf(kv.Invalid, "a hold must name the timestamp that is to stay readable"))
		return
	case r.Timestamp > m.state.bound:
		m.sink.Reply(id, nil, kv.Errorf(kv.Future, "timestamp %v was never granted: nothing is held for it", r.Timestamp))
		return
	}
	if len(h.waiting) >= AdminWaitingMax { // there are fewer requests than that: some were given up
		h.waiting = slices.DeleteFunc(h.waiting, func(x waitingHold) bool { return m.lead.waiting[x.request.id] != x.request })
	}
	w := m.await(&waiting{id: id, what: "hold of " + r.Timestamp.String(), holds: true})
	h.waiting = append(h.waiting, waitingHold{request: w, above: max(o.limit, o.asked)})
	h.add(max(o.limit, h.since), max(r.Timestamp, h.told))
}

// answerHolds follows an extension of the bound that this leader has proposed in its term.
func (m *Machine) answerHolds() {
	h, limit := &m.lead.holds, m.lead.oracle.limit
	kept := h.waiting[:0]
	for _, w := range h.waiting {
		switch {
		case m.lead.waiting[w.request.id] != w.request: // it was given up
		case limit <= w.above:
			kept = append(kept, w)
		default:
			m.answer(w.request, &kv.AdminResponse{Hold: &kv.HoldAnswer{Oldest: h.told}}, nil)
		}
	}
	clear(h.waiting[len(kept):])
	h.waiting = kept
}
