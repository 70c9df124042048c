package router

import (
	"strings"
	"time"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// near knows which nodes are near. It is guarded by the router's mu.
type near struct {
	tiers []string // of this process's locality, the coarsest first
	nodes map[kv.NodeID]*latency
}

// latency is how long reads at a node take.
type latency struct {
	smooth time.Duration
	at     time.Time // of the newest
}

const (
	// latencyAge is after how long a node is measured anew, by a read that might have gone to another one.
	latencyAge = 30 * time.Second
	// latencyLost is what a node is given that has not answered.
	latencyLost = time.Second
	// closedLag is how far the replicas that do not lead are behind, as a rule: what is newer is asked of the
	// leader at once.
	closedLag = 400 * time.Millisecond
)

func newNear(locality string) near {
	return near{tiers: tiersOf(locality), nodes: map[kv.NodeID]*latency{}}
}

func tiersOf(locality string) (all []string) {
	for part := range strings.SplitSeq(locality, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// nearest is the replica that a read goes to which any may answer: of those with the most tiers of the
// locality in common, if they have any, else of all, the one whose reads take the least time. One that was not
// measured for a while is. 0: whoever leads. It runs under mu.
func (r *Router) nearest(p *session.Place) kv.NodeID {
	if local := r.config.Local; local != nil {
		if id := local.Info().ID; holds(p, id) {
			return id
		}
	}
	var best []kv.NodeID
	most := 0
	for _, x := range p.Descriptor.Replicas {
		info, ok := r.session.Map.Node(x.Node)
		if !ok {
			continue
		}
		n := r.near.common(info.Locality)
		if n > most {
			best, most = best[:0], n
		}
		if n == most {
			best = append(best, x.Node)
		}
	}
	return r.near.fastest(best, time.Now())
}

func holds(p *session.Place, node kv.NodeID) bool {
	_, ok := p.Descriptor.ReplicaOn(node)
	return ok
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

func (n *near) fastest(nodes []kv.NodeID, now time.Time) (best kv.NodeID) {
	if len(nodes) == 1 {
		return nodes[0]
	}
	var least time.Duration
	for _, id := range nodes {
		l := n.nodes[id]
		if l == nil {
			l = &latency{}
			n.nodes[id] = l
		}
		if now.Sub(l.at) > latencyAge {
			l.at = now // one read finds out
			return id
		}
		if best == 0 || l.smooth < least {
			best, least = id, l.smooth
		}
	}
	return best
}

// measured notes how long a read at a node took.
func (r *Router) measured(node kv.NodeID, took time.Duration) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.near.nodes[node]
	if l == nil {
		l = &latency{}
		r.near.nodes[node] = l
	}
	if l.smooth == 0 || took >= latencyLost {
		l.smooth = took
	} else {
		l.smooth += (took - l.smooth) / 8
	}
	l.at = now
}

// Anywhere reports whether a read at or above a timestamp should be tried at a near replica first.
func (r *Router) Anywhere(t kv.Timestamp) bool {
	heard, when := r.Heard()
	now := heard.UnixMillis() + time.Since(when).Milliseconds()
	return t != 0 && t.UnixMillis()+closedLag.Milliseconds() <= now
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
