package node

import (
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
)

// replicaChange moves a partition one replica at a time (L39, L40), conducted by its leader:
//
//	learner added ─► the node makes an empty replica ─► it catches up ─► one joint change
//	makes it a voter and removes the old one ─► the removed replica is told to go
//
// Each step looks at what is in force, so that a new leader can begin anywhere.
type replicaChange struct {
	rep    *replica
	asker  changeAsker
	add    kv.NodeID
	remove kv.NodeID
	joinAt kv.Instant // when the order to make the replica is sent again
	until  kv.Instant
}

// changeAsker is who wants to hear how a change ended: an administrator, or the core.
type changeAsker struct {
	request RequestID // 0 = the core
	node    kv.NodeID // that leads the core
}

const (
	changeTimeout = kv.Instant(10 * time.Minute)
	joinInterval  = kv.Instant(500 * time.Millisecond)
	learnerLagMax = 1024 // entries that a learner may lack when it is made a voter
)

// changeReplicas begins a change; one at a time.
func (n *Node) changeReplicas(r *replica, by changeAsker, add, remove kv.NodeID) {
	d := r.group.Descriptor()
	_, has := d.ReplicaOn(add)
	_, had := d.ReplicaOn(remove)
	switch {
	case r.change != nil:
		n.endChange(d.Partition, by, kv.Errorf(kv.Unavailable, "partition %d is changing its replicas already: wait for it to end", d.Partition))
		return
	case add == 0 && remove == 0 || add == remove:
		n.endChange(d.Partition, by, kv.Errorf(kv.Invalid, "a change of replicas names a node to add, one to remove, or both, and not the same"))
		return
	case add == 0 && roleOn(d, remove) == kv.RoleVoter && len(r.group.Conf().Voters) == 2:
		// The last voter alone could not learn after a crash that the other one's removal was committed.
		n.endChange(d.Partition, by, kv.Errorf(kv.Invalid, "partition %d has two voters: name a node to add, too, when one goes", d.Partition))
		return
	case remove != 0 && !had && !has && add == 0, add != 0 && has && remove == 0 && roleOn(d, add) == kv.RoleVoter:
		n.endChange(d.Partition, by, nil) // it is so already
		return
	}
	n.activate(r)
	r.change = &replicaChange{rep: r, asker: by, add: add, remove: remove, until: n.now + changeTimeout}
	r.changeTick(n)
}

func roleOn(d *kv.Descriptor, node kv.NodeID) kv.Role {
	r, _ := d.ReplicaOn(node)
	return r.Role
}

func (n *Node) endChange(p kv.PartitionID, by changeAsker, err *kv.Error) {
	switch {
	case by.request == 0 && err != nil: // success is seen in the reports
		n.send(by.node, Message{OrderDone: &core.OrderDone{Partition: p, Err: err.Message}})
	case by.request == 0:
	case err != nil:
		n.adminReply(by.request, nil, err)
	default:
		n.adminReply(by.request, &kv.AdminResponse{}, nil)
	}
}

func (c *replicaChange) abandon(n *Node) {
	if c != nil {
		n.endChange(c.rep.group.Partition(), c.asker, n.notLeader(c.rep.group))
	}
}

// changeTick does the next step of a change, if there is one to do.
func (r *replica) changeTick(n *Node) {
	c := r.change
	if c == nil || !r.leading {
		return
	}
	if n.now > c.until {
		r.change = nil
		n.endChange(r.group.Partition(), c.asker, kv.Errorf(kv.Timeout, "partition %d: the new replica on node %d did not catch up in %s", r.group.Partition(), c.add, time.Duration(changeTimeout)))
		return
	}
	d := r.group.Descriptor()
	added, have := d.ReplicaOn(c.add)
	removed, still := d.ReplicaOn(c.remove)
	switch {
	case len(r.group.Conf().VotersOutgoing) > 0: // raft leaves the joint configuration by itself
	case c.add != 0 && !have:
		c.addLearner(d)
	case c.add != 0 && added.Role == kv.RoleLearner:
		c.promote(n, d, added, removed, still)
	case still:
		c.swap(d, 0, removed)
	default:
		r.change = nil
		n.endChange(r.group.Partition(), c.asker, nil)
		n.news(r)
	}
}

func (c *replicaChange) addLearner(d *kv.Descriptor) {
	next := d.Clone()
	next.Replicas = append(next.Replicas, kv.Replica{ID: d.NextReplica, Node: c.add, Role: kv.RoleLearner})
	next.NextReplica++
	next.Generation++
	next.SortReplicas()
	_ = c.rep.group.ProposeConf(replication.AddLearner(d.NextReplica, next)) // refused: the next tick tries again
}

// promote waits for the learner: its node is told to make the replica until it answers, and
// it must have nearly everything.
func (c *replicaChange) promote(n *Node, d *kv.Descriptor, added, removed kv.Replica, still bool) {
	ready := false
	c.rep.group.Progress(func(id kv.ReplicaID, _ bool, match kv.LogIndex, streaming bool) {
		ready = ready || id == added.ID && streaming && match+learnerLagMax >= c.rep.group.Commit()
	})
	if ready {
		if !still {
			removed.ID = 0
		}
		c.swap(d, added.ID, removed)
		return
	}
	if n.now >= c.joinAt {
		c.joinAt = n.now + joinInterval
		n.send(c.add, Message{Order: &core.Order{Join: &core.JoinOrder{Descriptor: d.Clone(), Replica: added.ID}}})
	}
}

// swap never removes the leader itself: it hands over first, and the next leader goes on.
func (c *replicaChange) swap(d *kv.Descriptor, promote kv.ReplicaID, removed kv.Replica) {
	if removed.ID == c.rep.group.Replica() {
		for _, r := range d.Replicas {
			if r.Role == kv.RoleVoter && r.ID != removed.ID && c.rep.group.Transfer(r.ID) {
				return
			}
		}
		return
	}
	next := d.Clone()
	next.Generation++
	_ = c.rep.group.ProposeConf(replication.Swap(promote, removed.ID, next))
}
