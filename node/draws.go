package node

import (
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
)

// draws merges the timestamps that the partitions of this loop wait for.
//
// Invariants: a draw is served by a grant that was requested after the draw was asked for
// (B1); draws are served in the order in which they were asked for, so that the commands of
// a partition get ascending timestamps in the order of its decisions.
type draws struct {
	waiting []draw     // not in a request yet
	asked   []asked    // requests under way, oldest first
	seq     uint64     // begins with the incarnation; a grant also names the loop
	idleAt  kv.Instant // when the node last asked, or heard of, anything
	// patience is how long a request stays without an answer before everything is asked for again: twice as long as
	// the newest answer took. 0 = drawTimeout.
	patience kv.Instant
	granted  bool // there was an answer
}

type draw struct {
	rep    *replica
	term   kv.Term
	token  uint64
	closes bool // a round of closed timestamps, instead of a partition
}

type asked struct {
	seq   uint64
	at    kv.Instant
	draws []draw
	grant *core.Grant // came before that of an older request
}

const (
	drawRequestsMax = 8                                  // under way at once
	drawTimeout     = kv.Instant(150 * time.Millisecond) // then everything is asked for again, at least
	drawTimeoutMax  = kv.Instant(2 * time.Second)        // and at most: an oracle may be far away, or its answers lost
	drawCountMax    = 1 << 16                            // timestamps in one request
	drawIdle        = kv.Instant(time.Second)            // a loop 0 that asked for nothing asks for one, to know the time
	rideSurplus     = 64                                 // of the planted bug DrawRide
)

func (d *draws) add(n *Node, r *replica, token uint64) {
	d.waiting = append(d.waiting, draw{rep: r, term: r.term, token: token})
}

// forget drops what a replica waited for; a term that ended wants no timestamps.
func (d *draws) forget(r *replica) {
	for i := range d.waiting {
		if d.waiting[i].rep == r {
			d.waiting[i].rep = nil
		}
	}
	for _, a := range d.asked {
		for i := range a.draws {
			if a.draws[i].rep == r {
				a.draws[i].rep = nil
			}
		}
	}
}

// oracle is the node that leads the core, 0 if it is not known.
func (n *Node) oracle() kv.NodeID {
	if r := n.replicas[kv.SystemPartition]; r != nil {
		if r.group.Leads() {
			return n.id.Node
		}
		return r.group.LeaderNode()
	}
	return n.system.outsider.leader
}

// ask sends one request for all that waits; it is called once a turn.
func (d *draws) ask(n *Node) {
	for len(d.waiting) > 0 && len(d.asked) < drawRequestsMax {
		to := n.oracle()
		if to == 0 {
			return
		}
		batch := d.waiting
		if len(batch) > drawCountMax {
			batch = batch[:drawCountMax:drawCountMax]
		}
		d.waiting = d.waiting[len(batch):]
		d.seq++
		d.idleAt = n.now
		d.asked = append(d.asked, asked{seq: d.seq, at: n.now, draws: batch})
		count := uint32(len(batch))
		if invariant.Mutated(invariant.DrawRide) {
			count += rideSurplus
		}
		n.send(to, Message{Draw: &core.Draw{Seq: d.seq, Count: count, Loop: n.id.Loop}})
	}
}

// answer hands out timestamps, in the order of the requests.
func (d *draws) answer(n *Node, from kv.NodeID, g *core.Grant) {
	if n.system.outsider.leader == from {
		n.system.outsider.heard = n.now
	}
	if g.Loop != n.id.Loop {
		return // an earlier life had more loops
	}
	for i := range d.asked {
		if d.asked[i].seq == g.Seq {
			d.asked[i].grant = g
			d.patience = min(max(2*(n.now-d.asked[i].at), drawTimeout), drawTimeoutMax)
		}
	}
	for len(d.asked) > 0 && d.asked[0].grant != nil {
		a := d.asked[0]
		d.asked = d.asked[1:]
		if int(a.grant.Count) < len(a.draws) {
			d.waiting = append(a.draws, d.waiting...) // an oracle that grants less than asked for is asked again
			continue
		}
		d.handOut(n, a)
	}
}

func (d *draws) handOut(n *Node, a asked) {
	d.granted = true
	ts := a.grant.First
	n.hear(ts + kv.Timestamp(a.grant.Count) - 1)
	for _, w := range a.draws {
		if w.rep != nil && (w.rep.leading && w.rep.term == w.term || invariant.Mutated(invariant.EvalSurvives)) {
			w.rep.part.Drawn(w.token, ts)
		}
		if w.closes {
			n.closed.drawn(n, ts)
		}
		ts++
	}
	if invariant.Mutated(invariant.DrawRide) {
		for len(d.waiting) > 0 && ts < a.grant.First+kv.Timestamp(a.grant.Count) {
			w := d.waiting[0]
			d.waiting = d.waiting[1:]
			if w.rep != nil && w.rep.leading && w.rep.term == w.term {
				w.rep.part.Drawn(w.token, ts)
			}
			if w.closes {
				n.closed.drawn(n, ts)
			}
			ts++
		}
	}
}

// again asks anew for everything under way: nothing may be served out of order.
func (d *draws) again() {
	if len(d.asked) == 0 {
		return
	}
	var all []draw
	for _, a := range d.asked {
		all = append(all, a.draws...)
	}
	d.waiting = append(all, d.waiting...)
	d.asked = nil
}

func (d *draws) oracleChanged(*Node) { d.again() }

func (d *draws) tick(n *Node) {
	if n.id.Loop == 0 && len(d.asked)+len(d.waiting) == 0 && (n.now-d.idleAt > drawIdle || n.system.heard == 0) {
		d.waiting = append(d.waiting, draw{})
	}
	if patience := max(d.patience, drawTimeout); len(d.asked) > 0 && n.now-d.asked[0].at > patience {
		d.patience = min(2*patience, drawTimeoutMax)
		d.again()
	}
}

// draw is a request of another node to this one as the oracle.
func (n *Node) draw(from kv.NodeID, d *core.Draw) {
	r := n.replicas[kv.SystemPartition]
	if r == nil || !r.leading {
		n.redirect(from)
		return
	}
	if n.cfg.QuorumReads {
		n.readIndex(r, &indexRead{draw: d, from: from})
		return
	}
	n.core.Draw(from, *d)
}

// grant sends the oracle's answer, under the lease of the system partition: it is dropped if
// the lease does not hold by a clock that is read just before it leaves.
func (n *Node) grant(to kv.NodeID, g core.Grant) {
	n.hear(g.First + kv.Timestamp(g.Count) - 1) // never granted again, whatever becomes of the message
	s := Send{To: to, Message: Message{Grant: &g}}
	if !n.cfg.QuorumReads {
		guard, ok := n.replicas[kv.SystemPartition].group.Guard()
		if !ok {
			return
		}
		s.Guard = &guard
	}
	n.out.Sends = append(n.out.Sends, s)
}

var _ replication.Env = env{}
