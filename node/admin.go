package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
)

// Admin is an administrator's request.
func (n *Node) Admin(now kv.Instant, id RequestID, req *kv.AdminRequest) {
	n.at(now)
	n.admin(id, req)
}

func (n *Node) admin(id RequestID, req *kv.AdminRequest) {
	switch {
	case req.NodeStatus != nil:
		n.adminReply(id, &kv.AdminResponse{Node: n.status()}, nil)
	case req.MoveLeader != nil:
		n.withLeader(id, req, req.MoveLeader.Partition, n.moveLeader)
	case req.Check != nil:
		n.withLeader(id, req, req.Check.Partition, n.check)
	case req.ChangeReplicas != nil:
		n.withLeader(id, req, req.ChangeReplicas.Partition, func(r *replica, id RequestID, req *kv.AdminRequest) {
			n.changeReplicas(r, changeAsker{request: id}, req.ChangeReplicas.Add, req.ChangeReplicas.Remove)
		})
	case req.Transactions != nil:
		n.withLeader(id, req, req.Transactions.Partition, n.transactions)
	case req.Topology != nil && req.Topology.Local && n.inCore() && n.core.Topology(req.Topology.Keyspace) != nil:
		n.adminReply(id, &kv.AdminResponse{Topology: n.core.Topology(req.Topology.Keyspace)}, nil)
	default:
		n.withLeader(id, req, kv.SystemPartition, func(_ *replica, id RequestID, req *kv.AdminRequest) {
			n.core.Admin(core.RequestID(id), req)
		})
	}
}

// withLeader runs fn if this node leads the partition, keeps the request if nobody does,
// and says who does otherwise.
func (n *Node) withLeader(id RequestID, req *kv.AdminRequest, p kv.PartitionID, fn func(*replica, RequestID, *kv.AdminRequest)) {
	r := n.replicas[p]
	switch {
	case r == nil && n.system.creating[p] != nil:
		n.adminReply(id, nil, kv.Errorf(kv.Unavailable, "this node is making its replica of partition %d: try again at once", p))
	case r == nil && p == kv.SystemPartition:
		e := kv.Errorf(kv.NotLeader, "this node holds no replica of the cluster's core: ask node %d", n.system.outsider.leader)
		e.Leader, e.Partition = n.system.outsider.leader, p
		n.adminReply(id, nil, e)
	case r == nil:
		n.adminReply(id, nil, n.wrongPartition(p))
	case r.leading:
		fn(r, id, req)
	default:
		n.park(r, parkedRequest{id: id, admin: req})
	}
}

func (n *Node) moveLeader(r *replica, id RequestID, req *kv.AdminRequest) {
	d, to := r.group.Descriptor(), req.MoveLeader.To
	if to == n.id.Node {
		n.adminReply(id, &kv.AdminResponse{}, nil)
		return
	}
	best := kv.ReplicaID(0)
	var most kv.LogIndex
	r.group.Progress(func(rid kv.ReplicaID, learner bool, match kv.LogIndex, _ bool) {
		node := d.NodeOf(rid)
		if !learner && rid != r.group.Replica() && (to == 0 && (best == 0 || match > most) || to != 0 && node == to) {
			best, most = rid, match
		}
	})
	if best == 0 || !r.group.Transfer(best) {
		n.adminReply(id, nil, kv.Errorf(kv.Invalid, "partition %d has no voter on node %d that could lead it", d.Partition, to))
		return
	}
	n.adminReply(id, &kv.AdminResponse{}, nil)
}

func (n *Node) check(r *replica, id RequestID, _ *kv.AdminRequest) {
	if r.part == nil {
		n.adminReply(id, nil, kv.Errorf(kv.Invalid, "partition %d is the cluster's core, which has no versions to compare", r.group.Partition()))
		return
	}
	n.startCheck(r, id)
}

func (n *Node) transactions(r *replica, id RequestID, _ *kv.AdminRequest) {
	p := r.group.Partition()
	switch {
	case r.part == nil:
		n.adminReply(id, nil, kv.Errorf(kv.Invalid, "partition %d is the cluster's core, which has no transactions over several partitions", p))
	case r.part.Restoring():
		n.adminReply(id, nil, kv.Errorf(kv.Unavailable, "the leader of partition %d does not know yet what is locked: try again at once", p))
	default:
		a := &kv.TransactionsAnswer{Partition: p, Node: n.id.Node}
		a.Transactions, a.More = r.part.Transactions(kv.TransactionsMax)
		n.adminReply(id, &kv.AdminResponse{Transactions: a}, nil)
	}
}

// Drain makes the node give away what it leads, and take no new leaderships' requests. It
// reports how many partitions it still leads.
func (n *Node) Drain(now kv.Instant) int {
	n.at(now)
	n.system.draining = true
	left := 0
	for _, g := range n.set.Groups() {
		if !g.Leads() || len(g.Conf().Voters) < 2 {
			continue
		}
		left++
		g.HandOver()
	}
	return left
}

// status is what this node knows of itself.
func (n *Node) status() *kv.NodeStatus {
	s := &kv.NodeStatus{Info: n.Info(), Faulty: slices.Clone(n.system.faulty), Draining: n.system.draining, Heard: n.system.heard}
	closed := n.closed.here()
	for _, g := range n.set.Groups() {
		rs := kv.ReplicaStatus{
			Partition: g.Partition(), Replica: g.Replica(), Role: g.Role().String(), Term: g.Term(), Leader: g.LeaderNode(),
			Commit: g.Commit(), Applied: g.Applied(), LastIndex: g.LastIndex(), Asleep: g.Asleep(),
		}
		if rs.Closed = closed[g.Partition()]; !g.Leads() {
			rs.Closed = n.closedOn(n.replicas[g.Partition()])
		}
		if roleOn(g.Descriptor(), n.id.Node) == kv.RoleLearner {
			rs.Role = "learner"
		}
		if until := g.LeaseUntil(); until > n.now {
			rs.LeaseLeft = min(time.Duration(until-n.now), n.cfg.Replication.SupportDuration)
		}
		s.Replicas = append(s.Replicas, rs)
	}
	return s
}

// fault notes a replica that must not run (rule 56).
func (n *Node) fault(p kv.PartitionID, err error) {
	s := fmt.Sprintf("partition %d: %v", p, err)
	n.system.faulty = append(n.system.faulty, s)
	n.out.Faulty = append(n.out.Faulty, s)
}
