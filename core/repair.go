package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/placement"
)

// operator is one step that a partition's leader was asked for. It is repeated until the
// partition's descriptor, or its leader, is as wanted.
type operator struct {
	partition kv.PartitionID
	add       kv.NodeID
	remove    kv.NodeID
	moveTo    kv.NodeID
	drain     bool // moveTo: away from a draining node
	reason    string
	waiter    *waiting // the admin request that asked for it, or nil

	generation kv.Generation // of the descriptor when it last changed
	progressAt kv.Instant
	sentTo     kv.NodeID
	sentAt     kv.Instant
}

func (o *operator) String() string {
	switch {
	case o.moveTo != 0:
		return fmt.Sprintf("its leader moves to node %d: %s", o.moveTo, o.reason)
	case o.add != 0 && o.remove != 0:
		return fmt.Sprintf("a replica moves from node %d to node %d: %s", o.remove, o.add, o.reason)
	case o.add != 0:
		return fmt.Sprintf("a replica is added on node %d: %s", o.add, o.reason)
	}
	return fmt.Sprintf("the replica on node %d is removed: %s", o.remove, o.reason)
}

func (o *operator) done(d *kv.Descriptor, leader kv.NodeID) bool {
	if o.moveTo != 0 {
		return leader == o.moveTo
	}
	added, _ := d.ReplicaOn(o.add)
	_, there := d.ReplicaOn(o.remove)
	return (o.add == 0 || added.Role == kv.RoleVoter) && !there
}

const (
	operatorRetry = kv.Instant(2 * time.Second)
	// A leader move that is not done by then never will be: raft gives a transfer up after an election timeout.
	leaderMoveMax = kv.Instant(10 * time.Second)
)

func (m *Machine) startOperator(o *operator) {
	d, _ := m.state.partition(o.partition)
	o.generation, o.progressAt = d.Generation, m.lead.now
	m.part(o.partition).operator = o
	m.lead.driver.operators = append(m.lead.driver.operators, o)
	m.driveOperator(o)
}

// tickOperators goes on with every operator, oldest first.
func (m *Machine) tickOperators() {
	for _, o := range slices.Clone(m.lead.driver.operators) {
		m.driveOperator(o)
	}
}

// driveOperator ends an operator that is done or hopeless, and repeats its order otherwise.
func (m *Machine) driveOperator(o *operator) {
	if !m.lead.ticked {
		return // the time is not known yet
	}
	d, ok := m.state.partition(o.partition)
	if !ok || m.state.phase(d) == phaseDropping {
		m.endOperator(o, kv.Errorf(kv.NotFound, "partition %d was dropped", o.partition))
		return
	}
	ps := m.part(o.partition)
	if o.done(d, ps.leader) {
		m.endOperator(o, nil)
		return
	}
	if d.Generation != o.generation {
		o.generation, o.progressAt, o.sentTo = d.Generation, m.lead.now, 0
	}
	limit := kv.Instant(m.opts.OperatorMax)
	if o.moveTo != 0 {
		limit = leaderMoveMax
	}
	switch {
	case o.moveTo != 0 && m.liveness(o.moveTo) != kv.NodeLive:
		m.endOperator(o, kv.Errorf(kv.Unavailable, "node %d, which should lead partition %d, does not answer", o.moveTo, o.partition))
	case m.lead.now-o.progressAt >= limit:
		m.failOperator(o, "it made no progress for too long")
	case o.add != 0 && m.liveness(o.add) == kv.NodeDead:
		m.failOperator(o, fmt.Sprintf("node %d, where the new replica should go, is dead", o.add))
	case ps.leader != 0 && (o.sentTo != ps.leader || m.lead.now-o.sentAt >= operatorRetry):
		o.sentTo, o.sentAt = ps.leader, m.lead.now
		m.sink.Order(ps.leader, o.order(d.Generation))
	}
}

func (o *operator) order(g kv.Generation) Order {
	if o.moveTo != 0 {
		return Order{MoveLeader: &LeaderMove{Partition: o.partition, To: o.moveTo, Reason: o.reason}}
	}
	return Order{ChangeReplicas: &ReplicaChange{Partition: o.partition, Generation: g, Add: o.add, Remove: o.remove, Reason: o.reason}}
}

// failOperator gives an operator up; the partition is left alone for a while.
func (m *Machine) failOperator(o *operator, why string) {
	ps := m.part(o.partition)
	ps.setback = setback{
		why: fmt.Sprintf("%v; given up: %s", o, why),
		at:  m.lead.now, until: m.lead.now.Add(m.opts.OperatorPause),
	}
	m.endOperator(o, kv.Errorf(kv.Unavailable, "partition %d: the change was given up: %s", o.partition, why))
}

func (m *Machine) endOperator(o *operator, err *kv.Error) {
	l := m.lead
	l.driver.operators = slices.DeleteFunc(l.driver.operators, func(x *operator) bool { return x == o })
	if ps := l.driver.parts[o.partition]; ps != nil && ps.operator == o {
		ps.operator = nil
		if err == nil {
			ps.setback.why = ""
		}
	}
	if o.waiter == nil {
		return
	}
	if err != nil {
		m.answer(o.waiter, nil, err)
	} else {
		m.answer(o.waiter, &kv.AdminResponse{}, nil)
	}
}

// plan starts new operators as far as the limits allow.
func (m *Machine) plan() {
	if m.state.cluster == nil {
		return
	}
	v := m.view()
	for _, o := range m.lead.driver.operators {
		switch {
		case o.drain:
			v.DrainMovesMax--
		case o.moveTo != 0:
			v.LeaderMovesMax--
		default:
			v.RepairsMax--
		}
	}
	for _, x := range placement.Plan(v) {
		o := &operator{partition: x.Partition, reason: x.Reason}
		switch x.Kind {
		case placement.AddReplica:
			o.add = x.Node
		case placement.ReplaceReplica:
			o.add, o.remove = x.Node, x.Old
		case placement.RemoveReplica:
			o.remove = x.Node
		case placement.MoveLeader:
			o.moveTo, o.drain = x.Node, x.Drain
		}
		m.startOperator(o)
	}
}

// view is the cluster for the planner.
func (m *Machine) view() *placement.View {
	v := &placement.View{RepairsMax: m.opts.RepairsMax, LeaderMovesMax: m.opts.LeaderMovesMax, DrainMovesMax: m.opts.DrainMovesMax}
	replicas, live := m.replicaCounts(), map[kv.NodeID]bool{}
	data := placement.Voters(m.state.cluster.Replicas, m.registered())
	m.state.nodes.Ascend(func(n kv.NodeInfo) bool {
		ns := m.nodeState(n.ID)
		live[n.ID] = m.liveness(n.ID) == kv.NodeLive
		v.Nodes = append(v.Nodes, placement.Node{
			Candidate: placement.Candidate{Node: n.ID, Locality: n.Locality, Replicas: replicas[n.ID], Leaders: len(ns.leads), Bytes: ns.bytes()},
			Liveness:  m.liveness(n.ID), Draining: ns.draining(), Replaced: n.Replaced,
		})
		return true
	})
	v.Partitions = make([]placement.Partition, 0, m.state.partitions.Len())
	m.state.partitions.Ascend(func(d *kv.Descriptor) bool {
		if m.state.phase(d) == phaseDropping {
			return true
		}
		p := placement.Partition{Descriptor: d, Want: data}
		if d.Partition == kv.SystemPartition {
			p.Want = m.state.cluster.Voters
		}
		if ps := m.lead.driver.parts[d.Partition]; ps != nil {
			p.Damaged = ps.damaged
			p.Busy = ps.operator != nil || m.lead.now < ps.setback.until || ps.news.generation > d.Generation
			if live[ps.leader] {
				p.Leader = ps.leader
			}
		}
		v.Partitions = append(v.Partitions, p)
		return true
	})
	return v
}

// want is how many voters a partition shall have: nodes that will not return do not count,
// dead ones do, so that what is missing is seen.
func (m *Machine) want(d *kv.Descriptor) int {
	if d.Partition == kv.SystemPartition {
		return m.state.cluster.Voters
	}
	return placement.Voters(m.state.cluster.Replicas, m.registered())
}

// registered counts the nodes that were not replaced.
func (m *Machine) registered() int {
	n := 0
	m.state.nodes.Ascend(func(i kv.NodeInfo) bool {
		if !i.Replaced {
			n++
		}
		return true
	})
	return n
}
