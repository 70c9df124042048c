package core

import (
	"time"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// oracle hands out timestamps while its machine leads the core. It proposes to raise the
// bound and learns when that is applied; it grants only below the limit, which is the bound
// as applied in its own term.
//
//	start                       last                    limit
//	──┼────────── granted ───────┼────── may be granted ──┼──── never in this term yet
//	  older bounds are below                              extended 3 s ahead, when less than 1.5 s is left
//
// Clock. Its idea of the time is the wall clock's, with two guards. Back: it stands still; timestamps
// go on by counting. Forward: it follows as a token bucket lets it, ClockJumpMax (10 s) at once and
// then ten times the speed of the monotonic clock. For the distances between timestamps have meaning: outcomes
// are kept for 10 minutes and versions for an hour of oracle time, and a clock that is set to next year must not
// end them all in one step. At ten times the speed 10 minutes still are one. A cluster that was down for
// a weekend needs five hours to be on time again; whoever minds, and trusts his clocks, raises
// ClockJumpMax for that start. A cluster that never granted anything takes its first wall clock as it is.
type oracle struct {
	last  kv.Timestamp // Invariant: nothing above it was granted, by this leader or any before
	limit kv.Timestamp // Invariant: <= the applied bound; 0 until this term's first extension is applied

	clock      int64 // ms since the epoch, guarded
	clockKnown bool  // a wall clock was seen, or a bound to start from
	wall       int64 // ms, as last told
	tickAt     kv.Instant
	ticked     bool
	jump       time.Duration // what the bucket holds
	jumpMax    time.Duration

	asked   kv.Timestamp // bound of the extension under way, 0 = none
	askedAt kv.Instant

	waiting []waitingDraw // FIFO
}

type waitingDraw struct {
	from kv.NodeID
	draw Draw
}

const (
	extendBy       = 3000                        // ms that an extension reaches ahead
	extendBelow    = 1500                        // ms left at which the next one is proposed
	extendRetry    = kv.Instant(2 * time.Second) // an extension not applied by then is proposed again
	clockRate      = 10                          // the speed at which a clock is followed
	clockLagReport = 10_000                      // ms behind the wall at which Status says so
)

// newOracle starts above a bound: whatever was granted before is below it.
func newOracle(bound kv.Timestamp, jumpMax time.Duration) *oracle {
	o := &oracle{jump: jumpMax, jumpMax: jumpMax}
	if bound > 0 {
		o.last = bound - 1
		o.clock = bound.UnixMillis()
		o.clockKnown = true
	}
	return o
}

// tick moves the clock.
func (o *oracle) tick(now kv.Instant, wallMillis int64) {
	if o.ticked {
		elapsed := time.Duration(max(now-o.tickAt, 0))
		// An hour fills any bucket; the cap keeps the product from overflowing.
		o.jump = min(o.jumpMax, o.jump+clockRate*min(elapsed, time.Hour))
	}
	if !o.ticked {
		o.askedAt = now // what was proposed before the first tick
	}
	o.tickAt, o.ticked, o.wall = now, true, wallMillis
	if !o.clockKnown {
		o.clock, o.clockKnown = wallMillis, true
		return
	}
	step := min(wallMillis-o.clock, o.jump.Milliseconds())
	if step > 0 {
		o.clock += step
		o.jump -= time.Duration(step) * time.Millisecond
	}
}

// lagMillis is how far the guarded clock is behind the wall.
func (o *oracle) lagMillis() int64 { return o.wall - o.clock }

// extension is the bound that should be proposed now, false if none. Only one is under way
// at a time, unless its fate is unknown for long.
func (o *oracle) extension(now kv.Instant) (kv.Timestamp, bool) {
	if !o.clockKnown || o.asked != 0 && now-o.askedAt < extendRetry {
		return 0, false
	}
	reached := max(o.clock, o.last.UnixMillis())
	if len(o.waiting) == 0 && o.limit.UnixMillis()-reached >= extendBelow {
		return 0, false
	}
	bound := kv.MakeTimestamp(reached+extendBy, 0)
	if bound <= o.limit {
		return 0, false
	}
	o.asked, o.askedAt = bound, now
	return bound, true
}

// extended learns the bound applied in this term.
func (o *oracle) extended(bound kv.Timestamp) {
	invariant.Check(bound >= o.limit, "the oracle's bound never goes back: %v after %v", bound, o.limit)
	o.limit = bound
	if o.asked <= bound {
		o.asked = 0
	}
}

// draw takes count timestamps: near the clock if the limit allows it, else directly after
// the last ones, else none.
func (o *oracle) draw(count uint32) (first kv.Timestamp, ok bool) {
	n := kv.Timestamp(count)
	first = o.last + 1
	if c := kv.MakeTimestamp(o.clock, 0); c > first && c+n <= o.limit {
		first = c
	}
	if first+n > o.limit {
		return 0, false
	}
	invariant.Check(first > o.last, "no timestamp is granted twice")
	o.last = first + n - 1
	return first, true
}

// queue keeps a draw until the bound is extended. If there are too many the oldest goes: its node has asked
// again, or given up.
func (o *oracle) queue(from kv.NodeID, d Draw) {
	if len(o.waiting) >= DrawsWaitingMax {
		o.waiting = o.waiting[1:]
	}
	o.waiting = append(o.waiting, waitingDraw{from, d})
}

// Draw asks for timestamps. It is answered by a Grant at once, or when the bound is
// extended; not at all if this machine does not lead.
func (m *Machine) Draw(from kv.NodeID, d Draw) {
	if m.lead == nil || d.Count == 0 {
		return
	}
	d.Count = min(d.Count, DrawCountMax)
	o := m.lead.oracle
	if len(o.waiting) == 0 {
		if first, ok := o.draw(d.Count); ok {
			m.sink.Grant(from, Grant{Seq: d.Seq, First: first, Count: d.Count, Loop: d.Loop})
			return
		}
	}
	o.queue(from, d)
	m.extend()
}

// extend proposes a higher bound if it is time to.
func (m *Machine) extend() {
	if m.state.cluster == nil {
		return
	}
	if bound, ok := m.lead.oracle.extension(m.lead.now); ok {
		m.propose(&extendBound{Bound: bound})
	}
}

// boundApplied answers the draws that waited for it.
func (m *Machine) boundApplied() {
	o := m.lead.oracle
	o.extended(m.state.bound)
	m.answerHolds()
	for len(o.waiting) > 0 {
		w := o.waiting[0]
		first, ok := o.draw(w.draw.Count)
		if !ok {
			m.extend()
			return
		}
		o.waiting = o.waiting[1:]
		m.sink.Grant(w.from, Grant{Seq: w.draw.Seq, First: first, Count: w.draw.Count, Loop: w.draw.Loop})
	}
	o.waiting = nil
}
