package node

import (
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/replication"
)

const (
	reportInterval   = kv.Instant(500 * time.Millisecond)
	reportSoonest    = kv.Instant(50 * time.Millisecond)
	completeInterval = kv.Instant(5 * time.Second)
	completePerHeld  = kv.Instant(2 * time.Millisecond) // a long list is sent, and gone through, less often
)

func coreRequest(id RequestID) core.RequestID { return core.RequestID(id) }

// reporter is what the core was told, and what is new since.
type reporter struct {
	to       kv.NodeID // the core's leader that was told
	term     kv.Term   // of the core, as far as it is known here
	at       kv.Instant
	complete kv.Instant
	changed  []*replica // flagged: have news
}

// news notes that the core has to hear of a replica.
func (n *Node) news(r *replica) {
	if !r.news {
		r.news = true
		n.system.report.changed = append(n.system.report.changed, r)
	}
}

// report tells the core what this node holds and leads: all of it now and then and to a new
// leader of the core, what is new soon.
func (n *Node) report() {
	p, to := &n.system.report, n.oracle()
	if to == 0 || n.now < p.at+reportSoonest {
		return
	}
	if term := n.coreTerm(); to != p.to || term != p.term || n.now >= p.complete+max(completeInterval, completePerHeld*kv.Instant(len(n.set.Groups()))) {
		p.to, p.term, p.complete = to, term, n.now
		n.sendReport(to, true)
		return
	}
	if len(p.changed) > 0 || n.now >= p.at+reportInterval {
		n.sendReport(to, false)
	}
}

// coreTerm is the term of the core, 0 if it is not known here.
func (n *Node) coreTerm() kv.Term {
	if g := n.set.Group(kv.SystemPartition); g != nil {
		return g.Term()
	}
	return n.system.outsider.term
}

func (n *Node) sendReport(to kv.NodeID, complete bool) {
	p := &n.system.report
	rep := &core.Report{Loop: n.id.Loop, Loops: n.id.Loops, Complete: complete, Draining: n.system.draining, DiskFull: n.system.full(), Replicas: len(n.set.Groups()), Bytes: n.keep.bytes}
	for _, s := range n.system.damaged {
		rep.Damaged = append(rep.Damaged, core.ReplicaRef{Partition: s.Descriptor.Partition, Replica: s.Replica})
	}
	if complete {
		n.keep.bytes = 0
		for _, g := range n.set.Groups() {
			r := n.replicas[g.Partition()]
			n.keep.bytes += r.applied.Bytes
			r.toldGeneration = 0 // what was told before may not have been kept
			n.addReport(rep, r)
		}
		rep.Bytes = n.keep.bytes
		rep.Held = append(rep.Held, rep.Damaged...)
	} else {
		for _, r := range p.changed {
			if n.replicas[r.group.Partition()] == r {
				n.addReport(rep, r)
			}
		}
	}
	for _, r := range p.changed {
		r.news = false
	}
	p.changed, p.at = nil, n.now
	n.send(to, Message{Report: rep})
}

func (n *Node) addReport(rep *core.Report, r *replica) {
	g := r.group
	rep.Held = append(rep.Held, core.ReplicaRef{Partition: g.Partition(), Replica: g.Replica()})
	if !r.leading {
		return
	}
	l := core.LeaderReport{Partition: g.Partition(), Term: g.Term(), Applied: g.Applied(), Keys: r.applied.Keys, Bytes: r.applied.Bytes, Garbage: r.applied.Garbage}
	if d := g.Descriptor(); d.Generation != r.toldGeneration {
		l.Descriptor = d
		r.toldGeneration = d.Generation
	}
	rep.Leaders = append(rep.Leaders, l)
}

func (n *Node) reported(from kv.NodeID, rep *core.Report) {
	if r := n.replicas[kv.SystemPartition]; r == nil || !r.leading {
		n.redirect(from)
		return
	}
	n.core.Report(from, rep)
	n.tellRegistry(from, rep)
}

// order is what the core (or a partition's leader) wants this node to do.
func (n *Node) order(from kv.NodeID, o *core.Order) {
	switch {
	case o.Create != nil:
		n.orderCreate(from, o.Create, 0)
	case o.Join != nil:
		n.orderCreate(from, o.Join.Descriptor, o.Join.Replica)
	case o.Drop != nil:
		n.orderDrop(from, o.Drop)
	case o.ChangeReplicas != nil:
		c := o.ChangeReplicas
		if r := n.replicas[c.Partition]; r != nil && r.leading && r.change == nil && r.group.Descriptor().Generation <= c.Generation {
			n.changeReplicas(r, changeAsker{node: from}, c.Add, c.Remove)
		}
	case o.MoveLeader != nil:
		if r := n.replicas[o.MoveLeader.Partition]; r != nil && r.leading {
			if to, ok := r.group.Descriptor().ReplicaOn(o.MoveLeader.To); !ok || !r.group.Transfer(to.ID) {
				n.send(from, Message{OrderDone: &core.OrderDone{Partition: o.MoveLeader.Partition, Err: "the node has no voter of the partition"}})
			}
		}
	}
}

// orderCreate makes the replica that the descriptor gives this node; as a learner if one is named.
func (n *Node) orderCreate(from kv.NodeID, d *kv.Descriptor, learner kv.ReplicaID) {
	rep, ok := d.ReplicaOn(n.id.Node)
	p := d.Partition
	if !ok || learner != 0 && rep.ID != learner {
		return
	}
	if r := n.replicas[p]; r != nil {
		if r.group.Replica() == rep.ID {
			n.send(from, Message{OrderDone: &core.OrderDone{Partition: p, Replica: rep.ID}})
		}
		return // an older replica must be dropped first
	}
	if rep.ID <= n.system.tombstones[p] || n.system.creating[p] != nil || n.system.resetting[p] != nil || n.damagedReplica(p) != nil {
		return
	}
	n.claim(&creation{desc: d, replica: rep.ID, from: from, learner: learner != 0})
}

func (n *Node) orderDrop(from kv.NodeID, o *core.DropOrder) {
	r := n.replicas[o.Partition]
	if r != nil && r.group.Replica() == o.Replica {
		n.destroy(r)
		return
	}
	if s := n.damagedReplica(o.Partition); s != nil && s.Replica == o.Replica {
		n.buryDamaged(s)
		return
	}
	if n.system.creating[o.Partition] == nil {
		n.send(from, Message{OrderDone: &core.OrderDone{Partition: o.Partition, Replica: o.Replica, Dropped: true}})
	}
}

func (n *Node) orderDone(from kv.NodeID, d *core.OrderDone) {
	if r := n.replicas[kv.SystemPartition]; r != nil && r.leading {
		n.core.OrderDone(from, *d)
	}
}

// faultyGroup stops a replica that was found damaged while it ran (rule 56).
func (n *Node) faultyGroup(g *replication.Group, err error) {
	p := g.Partition()
	r := n.replicas[p]
	if r == nil {
		return
	}
	if r.leading {
		n.unlead(r)
	}
	n.turnAway(r)
	n.follows.leave(n, r)
	n.discard(g)
	n.bidFarewell(g)
	g.Close()
	delete(n.replicas, p)
	n.closedForget(p)
	n.system.others[p] = g.View() // what the log holds of it stays until the replica is buried
	n.damage(&mvcc.ReplicaState{Replica: g.Replica(), Descriptor: *g.Descriptor().Clone()}, err)
}
