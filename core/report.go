package core

import (
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// Report learns what a node says of itself, and that it lives.
func (m *Machine) Report(from kv.NodeID, r *Report) {
	if m.lead == nil {
		return
	}
	info, ok := m.state.node(from)
	if !ok {
		return
	}
	ns := m.nodeState(from)
	if info.Replaced {
		ns.said = m.state.bound
	}
	was := ns.damaged()
	ns.report(m.lead.driver.listened, r)
	m.reportLeaders(from, ns, r)
	m.reportHeld(from, r)
	m.reportDamaged(was, ns.damaged())
	if r.Complete {
		m.sink.Retain(from, m.retain(r.Loop))
	}
}

func (m *Machine) reportLeaders(from kv.NodeID, ns *nodeState, r *Report) {
	named := map[kv.PartitionID]struct{}{}
	for i := range r.Leaders {
		named[r.Leaders[i].Partition] = struct{}{}
		m.reportLeader(from, &r.Leaders[i])
	}
	if !r.Complete {
		return
	}
	for _, p := range sortedKeys(ns.leads) {
		if _, still := named[p]; !still && r.covers(p) {
			m.setLeader(p, m.part(p), 0)
		}
	}
}

func (m *Machine) reportLeader(from kv.NodeID, r *LeaderReport) {
	d, ok := m.state.partition(r.Partition)
	if !ok {
		return
	}
	ps := m.part(r.Partition)
	if r.Term < ps.term {
		return // it does not know yet that it was deposed
	}
	ps.term, ps.applied, ps.size = r.Term, r.Applied, size{r.Keys, r.Bytes, r.Garbage}
	m.setLeader(r.Partition, ps, from)
	m.leaderHeard(r.Partition)
	n := r.Descriptor
	if n == nil || n.Generation <= d.Generation || n.Partition != r.Partition || n.Keyspace != d.Keyspace {
		return
	}
	if n.Generation <= ps.news.generation && m.lead.now-ps.news.at < newsRetry {
		return // under way
	}
	if err := n.Validate(); err != nil {
		ps.setback.why, ps.setback.at = err.Error(), m.lead.now
		return
	}
	ps.news.generation, ps.news.at = n.Generation, m.lead.now
	m.propose(&putDescriptor{Descriptor: n})
}

// setLeader keeps nodeState.leads and partitionState.leader the same.
func (m *Machine) setLeader(p kv.PartitionID, ps *partitionState, n kv.NodeID) {
	if ps.leader == n {
		return
	}
	if ps.leader != 0 {
		delete(m.nodeState(ps.leader).leads, p)
	}
	ps.leader = n
	if n != 0 {
		m.nodeState(n).leads[p] = struct{}{}
	}
}

// reportHeld learns which ordered replicas exist, and orders those away that nothing knows.
func (m *Machine) reportHeld(from kv.NodeID, r *Report) {
	drops := 0
	for _, h := range r.Held {
		switch m.judgeHeld(from, h) {
		case heldMember:
			m.markExists(m.part(h.Partition), h.Replica)
		case heldOrphan:
			if drops++; drops <= ordersPerTickMax {
				m.sink.Order(from, Order{Drop: &DropOrder{Partition: h.Partition, Replica: h.Replica}})
			}
		}
	}
	if r.Complete {
		m.dropsSeen(from, r)
	}
}

type heldKind uint8

const (
	heldUnknown heldKind = iota // newer than what is known here: left alone
	heldMember
	heldOrphan
)

// judgeHeld: a replica is an orphan if its partition's id was given and has no record any
// more, or if a newer descriptor than its own does not have it: ids below NextReplica never come back.
func (m *Machine) judgeHeld(from kv.NodeID, h ReplicaRef) heldKind {
	d, ok := m.state.partition(h.Partition)
	switch {
	case m.state.cluster == nil || h.Partition >= m.state.ids.Partition:
		return heldUnknown
	case !ok:
		return heldOrphan
	case d.NodeOf(h.Replica) == from:
		return heldMember
	case d.NodeOf(h.Replica) != 0:
		return heldUnknown // on another node: this can only be a mistake, which dropping might make worse
	case h.Replica < d.NextReplica || m.state.phase(d) == phaseDropping:
		return heldOrphan
	}
	return heldUnknown
}

// dropsSeen: an ordered drop is done as well if a complete report does not name the replica.
func (m *Machine) dropsSeen(from kv.NodeID, r *Report) {
	held := map[ReplicaRef]struct{}{}
	for _, h := range r.Held {
		held[h] = struct{}{}
	}
	m.state.keyspaces.Ascend(func(k keyspaceRecord) bool {
		if k.Phase != phaseDropping {
			return true
		}
		m.state.partitionsOf(k.Keyspace, func(d *kv.Descriptor) bool {
			if rep, ok := d.ReplicaOn(from); ok && r.covers(d.Partition) {
				if _, still := held[ReplicaRef{d.Partition, rep.ID}]; !still {
					m.markGone(m.part(d.Partition), rep.ID)
				}
			}
			return true
		})
		return true
	})
}

func (m *Machine) reportDamaged(was, now []ReplicaRef) {
	var touched []kv.PartitionID
	for _, x := range slices.Concat(was, now) {
		touched = append(touched, x.Partition)
	}
	m.refreshDamaged(touched)
}

// refreshDamaged finds the damaged replicas of some partitions in what their nodes said last.
func (m *Machine) refreshDamaged(touched []kv.PartitionID) {
	for _, p := range touched {
		d, ok := m.state.partition(p)
		if !ok {
			continue
		}
		var damaged []kv.ReplicaID
		for _, r := range d.Replicas {
			ns := m.lead.driver.nodes[r.Node]
			if ns != nil && slices.Contains(ns.damaged(), ReplicaRef{p, r.ID}) {
				damaged = append(damaged, r.ID)
			}
		}
		if ps := m.lead.driver.parts[p]; ps != nil || damaged != nil {
			m.part(p).damaged = damaged
		}
	}
}
