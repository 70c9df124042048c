package wire

import (
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
)

// TopologyMessage is a topology as a message.
func TopologyMessage(t *kv.Topology) *kvpb.TopologyResponse {
	m := &kvpb.TopologyResponse{ClusterId: t.ClusterID, Nodes: nodeMessages(t.Nodes), Heard: uint64(t.Heard), CoreLeader: uint64(t.CoreLeader)}
	for _, k := range t.Keyspaces {
		m.Keyspaces = append(m.Keyspaces, &kvpb.Keyspace{Id: uint32(k.ID), Name: k.Name, Scheme: uint32(k.Scheme), Partitions: uint32(k.Partitions), RetentionNanos: int64(k.Retention)})
	}
	for _, p := range t.Partitions {
		m.Partitions = append(m.Partitions, &kvpb.PartitionInfo{
			Partition: descriptorMessage(p.Descriptor), Leader: uint64(p.Leader), Term: uint64(p.Term),
			Keys: p.Keys, Bytes: p.Bytes, Garbage: p.Garbage, Applied: uint64(p.Applied),
		})
	}
	return m
}

// TopologyOf is the inverse of TopologyMessage.
func TopologyOf(m *kvpb.TopologyResponse) *kv.Topology {
	t := &kv.Topology{
		ClusterID: m.GetClusterId(), Nodes: nodesOf(m.GetNodes()),
		Heard: kv.Timestamp(m.GetHeard()), CoreLeader: kv.NodeID(m.GetCoreLeader()),
	}
	for _, k := range m.GetKeyspaces() {
		t.Keyspaces = append(t.Keyspaces, kv.Keyspace{
			ID: kv.KeyspaceID(k.GetId()), Name: k.GetName(), Scheme: kv.Scheme(k.GetScheme()), Partitions: int(k.GetPartitions()),
			Retention: time.Duration(k.GetRetentionNanos()),
		})
	}
	for _, p := range m.GetPartitions() {
		t.Partitions = append(t.Partitions, kv.PartitionInfo{
			Descriptor: descriptorOf(p.GetPartition()), Leader: kv.NodeID(p.GetLeader()), Term: kv.Term(p.GetTerm()),
			Keys: p.GetKeys(), Bytes: p.GetBytes(), Garbage: p.GetGarbage(), Applied: kv.LogIndex(p.GetApplied()),
		})
	}
	return t
}

func nodeMessages(nodes []kv.NodeInfo) []*kvpb.NodeInfo {
	var ms []*kvpb.NodeInfo
	for _, n := range nodes {
		ms = append(ms, nodeMessage(n))
	}
	return ms
}

func nodeMessage(n kv.NodeInfo) *kvpb.NodeInfo {
	return &kvpb.NodeInfo{
		Id: uint64(n.ID), Address: n.Address, Locality: n.Locality, Nonce: n.Nonce, Core: n.Core, Replaced: n.Replaced,
	}
}

func nodesOf(ms []*kvpb.NodeInfo) []kv.NodeInfo {
	var nodes []kv.NodeInfo
	for _, m := range ms {
		nodes = append(nodes, nodeOf(m))
	}
	return nodes
}

func nodeOf(m *kvpb.NodeInfo) kv.NodeInfo {
	return kv.NodeInfo{
		ID: kv.NodeID(m.GetId()), Address: m.GetAddress(), Locality: m.GetLocality(), Nonce: m.GetNonce(), Core: m.GetCore(), Replaced: m.GetReplaced(),
	}
}

// JoinMessage is the answer to a join as a message.
func JoinMessage(j *kv.JoinAnswer) *kvpb.JoinResponse {
	return &kvpb.JoinResponse{ClusterId: j.ClusterID, Node: uint64(j.Node), Nodes: nodeMessages(j.Nodes)}
}

// JoinOf is the inverse of JoinMessage.
func JoinOf(m *kvpb.JoinResponse) *kv.JoinAnswer {
	return &kv.JoinAnswer{ClusterID: m.GetClusterId(), Node: kv.NodeID(m.GetNode()), Nodes: nodesOf(m.GetNodes())}
}

// StatusMessage is a cluster's state as a message.
func StatusMessage(s *kv.Status) *kvpb.StatusResponse {
	m := &kvpb.StatusResponse{
		ClusterId: s.ClusterID, CoreLeader: uint64(s.CoreLeader), Unhealthy: s.Unhealthy, Held: uint64(s.Held), HeldUntil: uint64(s.HeldUntil),
		Partitions: &kvpb.PartitionCounts{
			Total: int64(s.Partitions.Total), UnderReplicated: int64(s.Partitions.UnderReplicated),
			Unavailable: int64(s.Partitions.Unavailable), Unknown: int64(s.Partitions.Unknown),
		},
	}
	for _, n := range s.Nodes {
		m.Nodes = append(m.Nodes, &kvpb.NodeReport{
			Info: nodeMessage(n.Info), Liveness: uint32(n.Liveness), LastHeardNanos: int64(n.LastHeard),
			Leaders: int64(n.Leaders), Replicas: int64(n.Replicas), Bytes: n.Bytes,
		})
	}
	return m
}

// StatusOf is the inverse of StatusMessage.
func StatusOf(m *kvpb.StatusResponse) *kv.Status {
	c := m.GetPartitions()
	s := &kv.Status{
		ClusterID: m.GetClusterId(), CoreLeader: kv.NodeID(m.GetCoreLeader()), Unhealthy: m.GetUnhealthy(), Held: kv.Timestamp(m.GetHeld()), HeldUntil: kv.Timestamp(m.GetHeldUntil()),
		Partitions: kv.PartitionCounts{
			Total: int(c.GetTotal()), UnderReplicated: int(c.GetUnderReplicated()), Unavailable: int(c.GetUnavailable()), Unknown: int(c.GetUnknown()),
		},
	}
	for _, n := range m.GetNodes() {
		s.Nodes = append(s.Nodes, kv.NodeReport{
			Info: nodeOf(n.GetInfo()), Liveness: kv.Liveness(n.GetLiveness()), LastHeard: time.Duration(n.GetLastHeardNanos()),
			Leaders: int(n.GetLeaders()), Replicas: int(n.GetReplicas()), Bytes: n.GetBytes(),
		})
	}
	return s
}

// NodeStatusMessage is a node's state as a message.
func NodeStatusMessage(s *kv.NodeStatus) *kvpb.NodeStatusResponse {
	m := &kvpb.NodeStatusResponse{Info: nodeMessage(s.Info), Faulty: s.Faulty, Draining: s.Draining, Heard: uint64(s.Heard)}
	for _, r := range s.Replicas {
		m.Replicas = append(m.Replicas, &kvpb.ReplicaStatus{
			Partition: uint64(r.Partition), Replica: uint64(r.Replica), Role: r.Role, Term: uint64(r.Term), Leader: uint64(r.Leader),
			Commit: uint64(r.Commit), Applied: uint64(r.Applied), LastIndex: uint64(r.LastIndex),
			LeaseLeftNanos: int64(r.LeaseLeft), Asleep: r.Asleep, Closed: uint64(r.Closed),
		})
	}
	return m
}

// NodeStatusOf is the inverse of NodeStatusMessage.
func NodeStatusOf(m *kvpb.NodeStatusResponse) *kv.NodeStatus {
	s := &kv.NodeStatus{Info: nodeOf(m.GetInfo()), Faulty: m.GetFaulty(), Draining: m.GetDraining(), Heard: kv.Timestamp(m.GetHeard())}
	for _, r := range m.GetReplicas() {
		s.Replicas = append(s.Replicas, kv.ReplicaStatus{
			Partition: kv.PartitionID(r.GetPartition()), Replica: kv.ReplicaID(r.GetReplica()), Role: r.GetRole(), Term: kv.Term(r.GetTerm()),
			Leader: kv.NodeID(r.GetLeader()), Commit: kv.LogIndex(r.GetCommit()), Applied: kv.LogIndex(r.GetApplied()),
			LastIndex: kv.LogIndex(r.GetLastIndex()), LeaseLeft: time.Duration(r.GetLeaseLeftNanos()), Asleep: r.GetAsleep(),
			Closed: kv.Timestamp(r.GetClosed()),
		})
	}
	return s
}

// CheckMessage is a comparison of replicas as a message.
func CheckMessage(c *kv.CheckAnswer) *kvpb.CheckResponse {
	m := &kvpb.CheckResponse{Partition: uint64(c.Partition), Index: uint64(c.Index), Equal: c.Equal}
	for _, d := range c.Digests {
		m.Digests = append(m.Digests, &kvpb.ReplicaDigest{
			Node: uint64(d.Node), Hash: d.Hash, Keys: d.Keys, Versions: d.Versions, Missing: d.Missing,
		})
	}
	return m
}

// CheckOf is the inverse of CheckMessage.
func CheckOf(m *kvpb.CheckResponse) *kv.CheckAnswer {
	c := &kv.CheckAnswer{Partition: kv.PartitionID(m.GetPartition()), Index: kv.LogIndex(m.GetIndex()), Equal: m.GetEqual()}
	for _, d := range m.GetDigests() {
		c.Digests = append(c.Digests, kv.ReplicaDigest{
			Node: kv.NodeID(d.GetNode()), Hash: d.GetHash(), Keys: d.GetKeys(), Versions: d.GetVersions(), Missing: d.GetMissing(),
		})
	}
	return c
}
