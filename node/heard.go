package node

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// heardClosed is what the leaders of other nodes have closed, for the partitions of this loop.
type heardClosed struct {
	sources    map[closedLoop]*closedSource
	partitions map[kv.PartitionID]*closedPartition // also of replicas that are still to come
}

// closedLoop is a loop of another node.
type closedLoop struct {
	node kv.NodeID
	loop int
}

// closedSource is the table of one sender: the partitions whose source it is.
type closedSource struct {
	epoch, seq uint64
	lost       bool         // a message of the epoch is missing: nothing of it counts any more
	t          kv.Timestamp // closed in all of them
}

// closedPartition is how far a partition is closed. What was closed once stays closed: it
// matters only whether the replica here has applied enough.
type closedPartition struct {
	source *closedSource // whose timestamp holds; nil: nobody's any more
	term   kv.Term
	newest closedAt // its timestamp is the source's if there is one
	older  closedAt // one that a replica which lags will reach sooner; 0 = none

	replica kv.ReplicaID // that has reached
	reached kv.Timestamp // this
}

// closedAt is a timestamp, with the index that must be applied for it.
type closedAt struct {
	t     kv.Timestamp
	index kv.LogIndex
}

const heardClosedMax = 1 << 20 // partitions

func (x *closedPartition) current() closedAt {
	if x.source != nil {
		return closedAt{x.source.t, x.newest.index}
	}
	return x.newest
}

// reach looks what the replica has reached.
func (x *closedPartition) reach(r *replica) {
	if r == nil {
		return
	}
	if id := r.group.Replica(); id != x.replica {
		x.replica, x.reached = id, 0
	}
	applied := r.group.Applied()
	for _, at := range [2]closedAt{x.older, x.current()} {
		if at.t > x.reached && applied >= at.index {
			x.reached = at.t
		}
	}
	if x.older.t <= x.reached {
		x.older = closedAt{}
	}
}

// change makes way for something newer.
func (x *closedPartition) change(r *replica) {
	x.reach(r)
	if now := x.current(); x.older.t == 0 && now.t > x.reached {
		x.older = now
	}
}

// closedOn is up to which timestamp a replica that does not lead may answer reads; 0 = none.
func (n *Node) closedOn(r *replica) kv.Timestamp {
	x := n.closed.heard.partitions[r.group.Partition()]
	if x == nil {
		return 0
	}
	x.reach(r)
	return x.reached
}

// hearClosed takes over what another node has closed.
func (n *Node) hearClosed(from kv.NodeID, m *Closed) {
	h := &n.closed.heard
	at := closedLoop{from, m.Loop}
	s := h.sources[at]
	if s == nil {
		s = &closedSource{}
		h.sources[at] = s
	}
	switch {
	case m.Epoch < s.epoch, m.Epoch == s.epoch && m.Seq <= s.seq:
		return // late
	case m.Epoch > s.epoch:
		n.closedEnds(s)
		*s = closedSource{epoch: m.Epoch}
	}
	if s.lost || m.Seq != s.seq+1 {
		n.closedEnds(s)
		s.lost = true
		n.send(from, Message{ClosedGap: &ClosedGap{Loop: m.Loop, Epoch: m.Epoch}})
		return
	}
	s.seq = m.Seq
	for _, p := range m.Removed {
		if x := h.partitions[p]; x != nil && x.source == s {
			n.closedEnd(p, x)
		}
	}
	for i := range m.Changed {
		if n.mine(m.Changed[i].Partition) {
			n.closedChange(s, &m.Changed[i])
		}
	}
	n.hear(m.Timestamp)
	s.t = max(s.t, m.Timestamp)
}

func (n *Node) closedChange(s *closedSource, c *ClosedPartition) {
	h := &n.closed.heard
	r, x := n.replicas[c.Partition], h.partitions[c.Partition]
	if r != nil && c.Term < r.group.Term() || x != nil && c.Term < x.term {
		// Of a leader that was replaced. What it closes from now on goes with an index that is not taken
		// over: it must not be believed at the one before.
		if x != nil && x.source == s && !invariant.Mutated(invariant.ClosedKeepsIndex) {
			n.closedEnd(c.Partition, x)
		}
		return
	}
	if x == nil {
		if len(h.partitions) >= heardClosedMax {
			return
		}
		x = &closedPartition{}
		h.partitions[c.Partition] = x
	}
	x.change(r)
	x.source, x.term, x.newest = s, c.Term, closedAt{index: c.Index}
}

// closedEnds ends the table of a sender. The order does not show.
func (n *Node) closedEnds(s *closedSource) {
	for p, x := range n.closed.heard.partitions {
		if x.source == s {
			n.closedEnd(p, x)
		}
	}
}

// closedEnd leaves a partition with what was closed by now.
func (n *Node) closedEnd(p kv.PartitionID, x *closedPartition) {
	x.newest, x.source = x.current(), nil
	n.closedForget(p)
}

// closedForget drops what concerns no replica here.
func (n *Node) closedForget(p kv.PartitionID) {
	if x := n.closed.heard.partitions[p]; x != nil && x.source == nil && n.replicas[p] == nil {
		delete(n.closed.heard.partitions, p)
	}
}
