package router

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// near knows which nodes are near, and which of them answer. It is guarded by the router's mu.
type near struct {
	tiers []string // of this process's locality, the coarsest first
	nodes map[kv.NodeID]*latency
	lags  map[lagging]*lag // of replicas that refused a read for being behind
}

// latency is how long reads at a node take.
type latency struct {
	smooth time.Duration
	at     time.Time // of the newest
	lost   time.Time // when a read got no answer; zero: the newest one did
}

// lagging is a replica that is behind.
type lagging struct {
	partition kv.PartitionID
	node      kv.NodeID
}

// lag is what a replica had closed when it refused a read. As a rule it goes on as fast as time does, unless it was
// found to stand still; when it catches up nobody tells, so it is asked anew after a while.
type lag struct {
	closed kv.Timestamp
	at     time.Time // when that was first heard
	stands bool
	again  time.Duration
	until  time.Time // when it is asked anew
}

const (
	// latencyAge is after how long a node is measured anew, by a read that might have gone to another one.
	latencyAge = 30 * time.Second
	// lostAge is after how long one read is tried at a node that has not answered.
	lostAge = 5 * time.Second
	// A replica that is behind is asked anew, by one read, after as long as it was behind, within these bounds.
	lagAgainMin = 200 * time.Millisecond
	lagAgainMax = 5 * time.Second
	// standsAfter is how long a replica has closed nothing more before it counts as one that stands still: timestamps
	// are closed five times a second, and may wait for locks that long.
	standsAfter = 600 * time.Millisecond
	// lagFresh is for how long what a replica has closed is not doubted by an older refusal that comes late.
	lagFresh = time.Second
	// lagsMax is how many such replicas are known: if there are more, all are found out again.
	lagsMax = 1 << 12
	// closedLag is how far the replicas that do not lead are behind, as a rule: what is newer is asked of the
	// leader at once.
	closedLag = 400 * time.Millisecond
)

func newNear(locality string) near {
	return near{tiers: tiersOf(locality), nodes: map[kv.NodeID]*latency{}, lags: map[lagging]*lag{}}
}

func tiersOf(locality string) (all []string) {
	for part := range strings.SplitSeq(locality, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// nearest is the replica that a read goes to next which any may answer that has all up to a bound: of those that were
// not tried, are not known to be behind it and have not lately failed to answer, the one with the most tiers of the
// locality in common, and of these the one whose reads take the least time. One that was not measured for a while is. The leader
// is one among them, though never behind. 0: none is left. It runs under mu.
func (r *Router) nearest(p *session.Place, bound kv.Timestamp, tried []kv.NodeID) kv.NodeID {
	q := search{place: p, bound: bound, tried: tried, now: time.Now(), node: r.session.Map.Node}
	if local := r.config.Local; local != nil {
		q.local = local.Info().ID
	}
	return r.near.next(&q)
}

// search is for the nearest replica.
type search struct {
	place *session.Place
	bound kv.Timestamp
	tried []kv.NodeID
	now   time.Time
	node  func(kv.NodeID) (kv.NodeInfo, bool)
	local kv.NodeID // the node that this process is; 0 = none
}

// choice is a replica that may be the nearest.
type choice struct {
	node   kv.NodeID
	common int  // tiers
	due    bool // to be measured
	smooth time.Duration
}

func (c choice) nearer(than choice) bool {
	switch {
	case c.common != than.common:
		return c.common > than.common
	case c.due != than.due:
		return c.due
	}
	return c.smooth < than.smooth
}

func (n *near) next(q *search) kv.NodeID {
	var best choice
	for _, x := range q.place.Descriptor.Replicas {
		info, ok := q.node(x.Node)
		if !ok || slices.Contains(q.tried, x.Node) || n.avoids(q, x.Node) {
			continue
		}
		l := n.of(x.Node)
		c := choice{node: x.Node, common: n.common(info.Locality), due: q.now.Sub(l.at) > latencyAge, smooth: l.smooth}
		if x.Node == q.local {
			c.common = math.MaxInt
		}
		if best.node == 0 || c.nearer(best) {
			best = c
		}
	}
	if best.node != 0 {
		n.chosen(q, best)
	}
	return best.node
}

func (n *near) of(node kv.NodeID) *latency {
	l := n.nodes[node]
	if l == nil {
		l = &latency{}
		n.nodes[node] = l
	}
	return l
}

// avoids reports whether a replica is likely to be of no help.
func (n *near) avoids(q *search, node kv.NodeID) bool {
	if l := n.nodes[node]; l != nil && !l.lost.IsZero() && q.now.Sub(l.lost) < lostAge {
		return true
	}
	x := n.lags[lagging{q.place.Descriptor.Partition, node}]
	return x != nil && node != q.place.Leader && q.now.Before(x.until) && q.bound > x.reached(q.now)
}

// reached is what a replica has closed by now, if it goes on as it did.
func (x *lag) reached(now time.Time) kv.Timestamp {
	if x.stands {
		return x.closed
	}
	return kv.MakeTimestamp(x.closed.UnixMillis()+now.Sub(x.at).Milliseconds(), x.closed.Counter())
}

// chosen: one read finds out about a replica, and the others that come meanwhile go elsewhere.
func (n *near) chosen(q *search, c choice) {
	l := n.of(c.node)
	if c.due {
		l.at = q.now
	}
	if !l.lost.IsZero() {
		l.lost = q.now
	}
	if x := n.lags[lagging{q.place.Descriptor.Partition, c.node}]; x != nil && !q.now.Before(x.until) {
		x.until = q.now.Add(x.again)
	}
}

// behind notes that a replica refused a read since it has closed too little. heard is the oracle's time.
func (n *near) behind(at lagging, closed, heard kv.Timestamp, now time.Time) {
	if len(n.lags) >= lagsMax && n.lags[at] == nil {
		clear(n.lags)
	}
	again := time.Duration(heard.UnixMillis()-closed.UnixMillis()) * time.Millisecond
	again = min(max(again, lagAgainMin), lagAgainMax)
	x := &lag{closed: closed, at: now, again: again, until: now.Add(again)}
	switch old := n.lags[at]; {
	case old == nil:
	case old.closed == closed:
		x.at, x.stands = old.at, now.Sub(old.at) >= standsAfter
	case closed < old.closed && now.Sub(old.at) < lagFresh:
		return
	}
	n.lags[at] = x
}

// ahead notes up to where a replica has answered: one that does better than was known is behind no more.
func (n *near) ahead(at lagging, read kv.Timestamp, now time.Time) {
	if x := n.lags[at]; x != nil && read > x.reached(now) {
		delete(n.lags, at)
	}
}

// common is how many tiers a locality shares with that of this process.
func (n *near) common(locality string) int {
	theirs := tiersOf(locality)
	i := 0
	for i < min(len(n.tiers), len(theirs)) && n.tiers[i] == theirs[i] {
		i++
	}
	return i
}

// noteNear notes how a node did with a read that another might have answered; how is 0 if the call ended first.
func (r *Router) noteNear(node kv.NodeID, h how, took time.Duration, err *kv.Error) {
	switch {
	case h == responded && err == nil:
		r.measured(node, took)
	case h == errored: // it lives
		r.mu.Lock()
		defer r.mu.Unlock()
		r.near.of(node).lost = time.Time{}
	case h == lost, h == 0 && took >= nearPatience:
		r.missed(node)
	}
}

// measured notes how long a read at a node took.
func (r *Router) measured(node kv.NodeID, took time.Duration) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.near.of(node)
	if l.smooth == 0 {
		l.smooth = took
	} else {
		l.smooth += (took - l.smooth) / 8
	}
	l.at, l.lost = now, time.Time{}
}

// missed notes that a node did not answer a read.
func (r *Router) missed(node kv.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.near.of(node).lost = time.Now()
}

// noteAnswer learns from an answer how far its replica is. It runs under mu.
func (r *Router) noteAnswer(q *kv.Request, node kv.NodeID, at kv.Timestamp) {
	if len(r.near.lags) > 0 {
		r.near.ahead(lagging{q.Partition, node}, at, time.Now())
	}
}

// noteRefusal learns from a refusal how far behind its replica is; one that cannot serve at all has closed nothing.
// It runs under mu.
func (r *Router) noteRefusal(q *kv.Request, bound kv.Timestamp, node kv.NodeID, e *kv.Error) {
	switch {
	case e.Kind == kv.NotLeader && e.Closed < bound, e.Kind == kv.Unavailable, e.Kind == kv.WrongPartition:
		now := time.Now()
		r.near.behind(lagging{q.Partition, node}, e.Closed, r.present(now), now)
	}
}

// present is the oracle's time, by the newest timestamp heard of. It runs under mu.
func (r *Router) present(now time.Time) kv.Timestamp {
	heard := r.session.Heard()
	return kv.MakeTimestamp(heard.UnixMillis()+now.Sub(r.heardAt).Milliseconds(), heard.Counter())
}

// Anywhere reports whether a read at or above a timestamp should be tried at a near replica first.
func (r *Router) Anywhere(t kv.Timestamp) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t != 0 && t.UnixMillis()+closedLag.Milliseconds() <= r.present(time.Now()).UnixMillis()
}

// From says at which timestamp a read is, and who may answer it.
type From struct {
	At    kv.Timestamp // 0: drawn, or chosen by who answers if Stale has a bound
	Stale kv.Stale
	Claim kv.Age // of keys that are read by name: the transaction that is about to write them; zero: none
}

// Known is From once the timestamp is known.
func (f From) Known(at kv.Timestamp) From {
	if at == 0 {
		return f
	}
	return From{At: at, Stale: kv.Stale{Follower: f.Stale != kv.Stale{}}, Claim: f.Claim}
}

// bound is the oldest state that will do.
func (f From) bound() kv.Timestamp { return max(f.At, f.Stale.NotBefore) }

// read makes the parts of a call that read keys.
func (f From) read(c *Call, keys []kv.Key, stamped bool) {
	c.Read = kv.Read{Keys: keys, Timestamp: f.At, Stamped: stamped, Stale: f.Stale, Claim: f.Claim}
	c.Op = session.Op{Key: keys[0], Request: kv.Request{Read: &c.Read}, Anywhere: f.anywhere(c.router)}
}

func (f From) anywhere(r *Router) bool {
	return f.Stale != kv.Stale{} && r.Anywhere(f.bound())
}

// ReadOne makes the call read the key that is in it.
func (c *Call) ReadOne(f From, stamped bool) { f.read(c, c.Keys[:], stamped) }
