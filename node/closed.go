package node

import (
	"slices"
	"time"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
)

// Closed tells another node up to which timestamp partitions are closed that this one leads (rule G1).
// The receiver keeps a table of partitions for each sender, a Closed says what changes in it, and then
// Timestamp holds for all of the table: so an idle partition costs nothing.
type Closed struct {
	Loop, Loops int    // of the sender; each loop has its own table
	Epoch       uint64 // of the table; a higher one begins with an empty table
	Seq         uint64 // of the messages of an epoch, from 1, without gaps
	// Timestamp is closed in every partition of the table as it is after this message: a replica
	// that has applied Index has everything that commits at or below it. 0: the same as before,
	// since the changes go on in the next message.
	Timestamp kv.Timestamp
	Removed   []kv.PartitionID  // first
	Changed   []ClosedPartition // then: one that was removed may be here again
}

// ClosedPartition is a partition in the table of a Closed.
type ClosedPartition struct {
	Partition kv.PartitionID
	Term      kv.Term     // of the leader that sends it
	Index     kv.LogIndex // of the last entry that was proposed when the timestamp was closed
}

// ClosedGap answers a Closed that does not follow on what the receiver has: all is sent again under a new epoch.
type ClosedGap struct {
	Loop  int // of the sender of the Closed
	Epoch uint64
}

const (
	closedEvery      = kv.Instant(200 * time.Millisecond)
	closedIdleEvery  = kv.Instant(time.Second) // while no partition is in use
	closedChangesMax = 1 << 13                 // and as many removals, in one message
)

// closer closes timestamps for the partitions that this loop leads, in rounds: one timestamp is drawn
// for all, each partition in use says when it is closed there, then the leases are looked at, and
// then it is published. The next round begins afterwards, so a round has everything of the one before.
//
// Invariant: what is published of a partition is the index of the last entry proposed by the time of
// the newest round, and the lease was seen to hold after the draw of that round (G1).
type closer struct {
	began   kv.Instant   // the newest round
	drawing bool         // its timestamp
	t       kv.Timestamp // of the round under way, once it is drawn; 0 = none
	left    int          // partitions that have not closed t
	newest  kv.Timestamp // published
	led     []ledPartition
	peers   []*closedPeer // by node
	epoch   uint64        // the newest of any peer; begins with the incarnation
}

// ledPartition is a partition that is led here, with what its followers know. Most are idle: what a
// round looks at is beside each other.
type ledPartition struct {
	rep   *replica
	term  kv.Term
	guard replication.Guard // held when it was last looked for
	index kv.LogIndex       // published; 0 = nothing is
	nodes []kv.NodeID       // to these
}

// closedPeer is a node that has followers of partitions led here.
type closedPeer struct {
	node       kv.NodeID
	epoch, seq uint64
	again      bool // all is sent, under a new epoch
	changed    []ClosedPartition
	removed    []kv.PartitionID
	published  int // partitions in its table
}

// tick begins a round when it is time. In quorum mode no lease counts, and nothing is closed.
func (c *closer) tick(n *Node) {
	if n.now < c.began+closedEvery || c.drawing || c.t != 0 || len(c.led) == 0 || n.cfg.QuorumReads {
		return
	}
	if n.now < c.began+closedIdleEvery && !slices.ContainsFunc(n.keep.active, closes) {
		return // a round looks at every partition, and thousands that are asleep have nothing new
	}
	c.began, c.drawing = n.now, true
	n.draws.waiting = append(n.draws.waiting, draw{closes: true})
}

// closes reports whether a replica in use has a word in a round.
func closes(r *replica) bool { return r.leading && r.part != nil }

// drawn has the partitions in use close t; in the others nothing draws.
func (c *closer) drawn(n *Node, t kv.Timestamp) {
	c.drawing, c.t = false, t
	if invariant.Mutated(invariant.ClosedNoWait) {
		c.publish(n)
		return
	}
	for _, r := range n.keep.active {
		if !closes(r) {
			continue
		}
		r.closing = true
		c.left++
		invariant.Check(r.part.Close(t), "partition %d closes one timestamp after the other", r.group.Partition())
	}
}

// closedBy is a partition's word that it has closed the timestamp of the round, or ends to lead.
func (c *closer) closedBy(r *replica) {
	if r.closing {
		r.closing = false
		c.left--
	}
}

// leads adds a partition that is led from now on.
func (c *closer) leads(r *replica) {
	r.republish = true
	c.led = append(c.led, ledPartition{rep: r, term: r.term})
}

// publish ends a round once all have closed its timestamp. What they have queued was proposed by now.
func (c *closer) publish(n *Node) {
	if c.t == 0 || c.left > 0 {
		return
	}
	if !invariant.Mutated(invariant.ClosedNoWait) {
		n.propose() // what was queued while raft was asked
		n.set.Drain()
	}
	kept := c.led[:0]
	for i := range c.led {
		if e := &c.led[i]; c.look(n, e) {
			kept = append(kept, *e)
		}
	}
	clear(c.led[len(kept):])
	c.led = kept
	for _, p := range c.peers {
		if p.again {
			c.startAgain(p)
		}
		p.send(n, c.t)
	}
	c.newest, c.t = c.t, 0
}

// here is what is closed in the partitions that are led here.
func (c *closer) here() map[kv.PartitionID]kv.Timestamp {
	all := make(map[kv.PartitionID]kv.Timestamp, len(c.led))
	for i := range c.led {
		if e := &c.led[i]; e.index != 0 && e.rep.leading && e.rep.term == e.term {
			all[e.rep.group.Partition()] = c.newest
		}
	}
	return all
}

// look brings one partition up to date; it reports whether it is still led.
func (c *closer) look(n *Node, e *ledPartition) bool {
	r := e.rep
	if !r.leading || r.term != e.term {
		c.withdraw(e)
		return false
	}
	if (r.republish || !e.guard.Holds(n.now)) && !invariant.Mutated(invariant.ClosedGhost) {
		var ok bool
		if e.guard, ok = r.group.Guard(); !ok {
			c.withdraw(e)
			return true
		}
	}
	if e.index != 0 && !r.active && !r.republish && !r.queued && r.refused == nil {
		return true // idle: nothing was proposed since
	}
	if (r.queued || r.refused != nil) && !invariant.Mutated(invariant.ClosedNoWait) {
		c.withdraw(e) // the log takes nothing at the moment
		return true
	}
	index := r.group.LastProposed()
	if invariant.Mutated(invariant.ClosedAppliedIdx) {
		index = r.group.Applied()
	}
	if index != e.index || r.republish {
		c.publishAt(n, e, index)
	}
	return true
}

// withdraw takes a partition out of the tables.
func (c *closer) withdraw(e *ledPartition) {
	if e.index == 0 {
		return
	}
	e.index = 0
	for _, id := range e.nodes {
		c.remove(id, e.rep.group.Partition())
	}
}

func (c *closer) remove(id kv.NodeID, p kv.PartitionID) {
	to := c.peer(id)
	to.removed = append(to.removed, p)
	to.published--
}

// publishAt puts a partition, as of its index, into the tables of all nodes that have a replica of it.
func (c *closer) publishAt(n *Node, e *ledPartition, index kv.LogIndex) {
	g, had := e.rep.group, e.nodes
	if e.index == 0 {
		had = nil
	}
	if e.rep.republish {
		e.rep.republish = false
		e.nodes = make([]kv.NodeID, 0, len(g.Descriptor().Replicas))
		for _, x := range g.Descriptor().Replicas {
			if x.Node != n.id.Node {
				e.nodes = append(e.nodes, x.Node)
			}
		}
	}
	for _, id := range had {
		if !slices.Contains(e.nodes, id) {
			c.remove(id, g.Partition())
		}
	}
	for _, id := range e.nodes {
		to := c.peer(id)
		to.changed = append(to.changed, ClosedPartition{Partition: g.Partition(), Term: e.term, Index: index})
		if !slices.Contains(had, id) {
			to.published++
		}
	}
	e.index = index
}

func (c *closer) peer(id kv.NodeID) *closedPeer {
	i, ok := slices.BinarySearchFunc(c.peers, id, func(p *closedPeer, id kv.NodeID) int { return int(p.node) - int(id) })
	if !ok {
		c.peers = slices.Insert(c.peers, i, &closedPeer{node: id, again: true})
	}
	return c.peers[i]
}

// again begins a new table at a node, which may have missed something.
func (c *closer) again(id kv.NodeID) {
	for _, p := range c.peers {
		p.again = p.again || p.node == id
	}
}

func (c *closer) startAgain(p *closedPeer) {
	c.epoch++
	p.epoch, p.seq, p.again = c.epoch, 0, false
	p.changed, p.removed, p.published = p.changed[:0], p.removed[:0], 0
	for i := range c.led {
		if e := &c.led[i]; e.index != 0 && slices.Contains(e.nodes, p.node) {
			p.published++
			p.changed = append(p.changed, ClosedPartition{Partition: e.rep.group.Partition(), Term: e.term, Index: e.index})
		}
	}
}

// send tells the node what has changed, in as many messages as it takes.
func (p *closedPeer) send(n *Node, t kv.Timestamp) {
	if p.published+len(p.changed)+len(p.removed) == 0 {
		return
	}
	for {
		p.seq++
		m := &Closed{Loop: n.id.Loop, Loops: n.id.Loops, Epoch: p.epoch, Seq: p.seq}
		m.Removed, p.removed = firstOf(p.removed)
		if len(p.removed) == 0 {
			m.Changed, p.changed = firstOf(p.changed)
		}
		if len(p.changed)+len(p.removed) == 0 {
			m.Timestamp = t
		}
		n.send(p.node, Message{Closed: m})
		if m.Timestamp != 0 {
			p.changed, p.removed = nil, nil
			return
		}
	}
}

func firstOf[T any](all []T) (first, rest []T) {
	k := min(len(all), closedChangesMax)
	if k == 0 {
		return nil, nil
	}
	return all[:k:k], all[k:]
}

// closedGap is a node that has missed something of an epoch.
func (n *Node) closedGap(from kv.NodeID, g *ClosedGap) {
	for _, p := range n.closed.peers {
		p.again = p.again || p.node == from && p.epoch == g.Epoch && g.Loop == n.id.Loop
	}
}
