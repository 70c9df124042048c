package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Topology is what this node knows of a keyspace ("" = all of them), its partitions and all
// nodes; nil if there is no such keyspace. Leaders are known while leading only.
func (m *Machine) Topology(keyspace string) *kv.Topology {
	t := &kv.Topology{ClusterID: m.ClusterID(), Nodes: m.Nodes()}
	if keyspace != "" {
		k, ok := m.Keyspace(keyspace)
		if !ok {
			return nil
		}
		t.Keyspaces = []kv.Keyspace{k}
		m.addPartitions(t, k)
		return t
	}
	if d, ok := m.state.partition(kv.SystemPartition); ok {
		t.Partitions = append(t.Partitions, m.partitionInfo(d))
	}
	m.state.keyspaces.Ascend(func(k keyspaceRecord) bool {
		if k.Phase != phaseDropping {
			t.Keyspaces = append(t.Keyspaces, k.Keyspace)
			m.addPartitions(t, k.Keyspace)
		}
		return true
	})
	return t
}

func (m *Machine) addPartitions(t *kv.Topology, k kv.Keyspace) {
	m.state.partitionsOf(k, func(d *kv.Descriptor) bool {
		t.Partitions = append(t.Partitions, m.partitionInfo(d))
		return true
	})
}

func (m *Machine) partitionInfo(d *kv.Descriptor) kv.PartitionInfo {
	info := kv.PartitionInfo{Descriptor: d}
	if m.lead != nil {
		if ps := m.lead.driver.parts[d.Partition]; ps != nil {
			info.Leader, info.Term, info.Applied = ps.leader, ps.term, ps.applied
			info.Keys, info.Bytes, info.Garbage = ps.size.keys, ps.size.bytes, ps.size.garbage
		}
	}
	return info
}

func (m *Machine) answerTopology(id RequestID, keyspace string) {
	t := m.Topology(keyspace)
	if t == nil {
		m.sink.Reply(id, nil, kv.Errorf(kv.NotFound, "keyspace %q does not exist: create it first; kvcli keyspace list shows those that do", keyspace))
		return
	}
	m.sink.Reply(id, &kv.AdminResponse{Topology: t}, nil)
}

func (m *Machine) status() *kv.Status {
	s := &kv.Status{ClusterID: m.ClusterID(), CoreLeader: m.opts.Self}
	s.Held, s.HeldUntil = m.lead.holds.lowest(m.lead.oracle.limit), m.lead.holds.until(m.lead.oracle.limit)
	sick := &complaints{status: s}
	m.state.nodes.Ascend(func(n kv.NodeInfo) bool {
		m.nodeStatus(s, n, sick)
		return true
	})
	m.state.partitions.Ascend(func(d *kv.Descriptor) bool {
		if m.state.phase(d) != phaseDropping {
			m.partitionStatus(s, d, sick)
		}
		return true
	})
	sick.end()
	for _, o := range m.lead.driver.operators {
		if o.moveTo == 0 {
			s.Unhealthy = append(s.Unhealthy, fmt.Sprintf("partition %d: %v", o.partition, o))
		}
	}
	if lag := m.lead.oracle.lagMillis(); lag > clockLagReport {
		s.Unhealthy = append(s.Unhealthy, fmt.Sprintf(
			"timestamps are %v behind the wall clock of the core's leader, and follow at %d times its speed: is that clock right?",
			(time.Duration(lag)*time.Millisecond).Round(time.Second), clockRate))
	}
	return s
}

func (m *Machine) nodeStatus(s *kv.Status, n kv.NodeInfo, sick *complaints) {
	ns := m.nodeState(n.ID)
	r := kv.NodeReport{Info: n, Liveness: m.liveness(n.ID), LastHeard: m.silence(n.ID), Leaders: len(ns.leads), Replicas: ns.replicas(), Bytes: ns.bytes()}
	if n.Replaced {
		r.Liveness = kv.NodeReplaced
	}
	s.Nodes = append(s.Nodes, r)
	switch {
	case n.Replaced:
	case r.Liveness != kv.NodeLive:
		sick.say("nodes", fmt.Sprintf("node %d at %s is %v: silent for %v", n.ID, n.Address, r.Liveness, r.LastHeard.Round(100*time.Millisecond)))
	case ns.full():
		sick.say("nodes", fmt.Sprintf("the disk of node %d at %s is full: free some space there", n.ID, n.Address))
	case ns.draining():
		sick.say("nodes", fmt.Sprintf("node %d at %s is draining; partitions that it leads still: %d", n.ID, n.Address, len(ns.leads)))
	}
}

func (m *Machine) partitionStatus(s *kv.Status, d *kv.Descriptor, sick *complaints) {
	s.Partitions.Total++
	ps := m.lead.driver.parts[d.Partition]
	if ps == nil {
		ps = &partitionState{}
	}
	led := ps.leader != 0 && m.liveness(ps.leader) == kv.NodeLive
	sound := 0
	for _, r := range d.Replicas {
		if r.Role == kv.RoleVoter && m.liveness(r.Node) == kv.NodeLive && !slices.Contains(ps.damaged, r.ID) {
			sound++
		}
	}
	switch young := time.Duration(m.lead.driver.listened) < m.opts.SuspectAfter; {
	case !led && young:
		s.Partitions.Unknown++
	case !led:
		s.Partitions.Unavailable++
		sick.say("unavailable partitions", fmt.Sprintf("partition %d has no leader", d.Partition))
	case sound < m.want(d):
		s.Partitions.UnderReplicated++
		sick.say("under-replicated partitions", fmt.Sprintf("partition %d has %d sound voters, %d are wanted", d.Partition, sound, m.want(d)))
	}
	for _, r := range ps.damaged {
		sick.say("damaged replicas", fmt.Sprintf("replica %d of partition %d on node %d is damaged", r, d.Partition, d.NodeOf(r)))
	}
	if ps.setback.why != "" && m.lead.now < ps.setback.at.Add(m.opts.OperatorPause) {
		sick.say("troubles", fmt.Sprintf("partition %d: %s", d.Partition, ps.setback.why))
	}
}

// complaints keeps the sentences of one sort from filling a status.
type complaints struct {
	status *kv.Status
	counts []complaintCount // in the order of their first sentence
}

type complaintCount struct {
	sort string
	n    int
}

func (c *complaints) say(sort, sentence string) {
	for i := range c.counts {
		if c.counts[i].sort == sort {
			if c.counts[i].n++; c.counts[i].n <= unhealthyNamesMax {
				c.status.Unhealthy = append(c.status.Unhealthy, sentence)
			}
			return
		}
	}
	c.counts = append(c.counts, complaintCount{sort, 1})
	c.status.Unhealthy = append(c.status.Unhealthy, sentence)
}

func (c *complaints) end() {
	for _, x := range c.counts {
		if x.n > unhealthyNamesMax {
			c.status.Unhealthy = append(c.status.Unhealthy, fmt.Sprintf("and %d more %s", x.n-unhealthyNamesMax, x.sort))
		}
	}
}
