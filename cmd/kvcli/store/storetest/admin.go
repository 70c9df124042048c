package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/btree"

	"github.com/kvd-db/kvd/kv"
)

// CreateKeyspace implements store.Admin.
func (f *Fake) CreateKeyspace(_ context.Context, q kv.CreateKeyspace) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data[q.Name] != nil {
		return kv.Errorf(kv.Exists, "keyspace %q exists", q.Name)
	}
	k := kv.Keyspace{ID: kv.KeyspaceID(len(f.keyspaces) + 1), Name: q.Name, Scheme: q.Scheme, Partitions: max(q.Partitions, len(q.SplitAt)+1), Retention: q.Retention}
	f.keyspaces = append(f.keyspaces, k)
	const degree = 8
	f.data[q.Name] = btree.NewG(degree, func(a, b versions) bool { return bytes.Compare(a.key, b.key) < 0 })
	return nil
}

// DropKeyspace implements store.Admin.
func (f *Fake) DropKeyspace(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data[name] == nil {
		return kv.Errorf(kv.NotFound, "keyspace %q does not exist", name)
	}
	delete(f.data, name)
	f.keyspaces = slices.DeleteFunc(f.keyspaces, func(k kv.Keyspace) bool { return k.Name == name })
	return nil
}

// SetKeyspace implements store.Admin.
func (f *Fake) SetKeyspace(_ context.Context, q kv.SetKeyspace) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.keyspaces, func(k kv.Keyspace) bool { return k.Name == q.Name })
	if i < 0 {
		return kv.Errorf(kv.NotFound, "keyspace %q does not exist", q.Name)
	}
	f.keyspaces[i].Retention = q.Retention
	return nil
}

var nodes = []kv.NodeInfo{
	{ID: 1, Address: "127.0.0.1:7401", Locality: "zone=a", Core: true},
	{ID: 2, Address: "127.0.0.1:7402", Locality: "zone=b", Core: true},
	{ID: 3, Address: "127.0.0.1:7403", Core: true},
}

// Topology implements store.Admin: one partition a keyspace, numbered from 10.
func (f *Fake) Topology(ctx context.Context, keyspace string) (*kv.Topology, error) {
	if _, err := f.enter(ctx, "topology", nil); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	t := &kv.Topology{ClusterID: 77, Nodes: nodes}
	for _, k := range f.keyspaces {
		if keyspace != "" && k.Name != keyspace {
			continue
		}
		t.Keyspaces = append(t.Keyspaces, k)
		d := &kv.Descriptor{Partition: kv.PartitionID(9 + k.ID), Keyspace: k.ID, Span: k.Span(), Generation: 1, NextReplica: 4}
		for _, n := range nodes {
			d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(n.ID), Node: n.ID, Role: kv.RoleVoter})
		}
		t.Partitions = append(t.Partitions, kv.PartitionInfo{Descriptor: d, Leader: 1, Term: 4, Keys: int64(f.data[k.Name].Len()), Bytes: 100, Garbage: 5, Applied: 7})
	}
	return t, nil
}

// Status implements store.Admin.
func (f *Fake) Status(ctx context.Context) (*kv.Status, error) {
	if _, err := f.enter(ctx, "status", nil); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	s := &kv.Status{ClusterID: 77, CoreLeader: 1, Held: 1 << 50, HeldUntil: 2 << 50, Partitions: kv.PartitionCounts{Total: len(f.keyspaces) + 1, UnderReplicated: 1}}
	for _, n := range nodes {
		s.Nodes = append(s.Nodes, kv.NodeReport{Info: n, Liveness: kv.NodeLive, LastHeard: 40 * time.Millisecond, Leaders: 1, Replicas: 2, Bytes: 100})
	}
	s.Nodes[2].Liveness, s.Nodes[2].LastHeard = kv.NodeSuspected, 3*time.Second
	s.Unhealthy = []string{"node 3 was last heard 3s ago"}
	return s, nil
}

// NodeStatus implements store.Admin: node 1 leads all, node 2 is 200 ms behind, node 3 does not answer.
func (f *Fake) NodeStatus(ctx context.Context, n kv.NodeID) (*kv.NodeStatus, error) {
	if _, err := f.enter(ctx, "node-status", fmt.Append(nil, n)); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if n > 2 {
		return nil, kv.Errorf(kv.Unavailable, "node %d does not answer", n)
	}
	const now, behind = 1_795_500_000_000, 200
	s := &kv.NodeStatus{Info: nodes[n-1], Heard: kv.MakeTimestamp(now-int64(n), 0)}
	for _, k := range f.keyspaces {
		s.Replicas = append(s.Replicas, kv.ReplicaStatus{Partition: kv.PartitionID(9 + k.ID), Closed: kv.MakeTimestamp(now-1-behind*int64(n-1), 0)})
	}
	return s, nil
}

// Check implements store.Admin.
func (f *Fake) Check(ctx context.Context, p kv.PartitionID) (*kv.CheckAnswer, error) {
	if _, err := f.enter(ctx, "check", nil); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if a := f.checks[p]; a != nil {
		return a, nil
	}
	a := &kv.CheckAnswer{Partition: p, Index: 7, Equal: true}
	for _, n := range nodes {
		a.Digests = append(a.Digests, kv.ReplicaDigest{Node: n.ID, Hash: 0xabc, Keys: 2, Versions: 3})
	}
	return a, nil
}

// Transactions implements store.Admin: those of SetTransactions.
func (f *Fake) Transactions(ctx context.Context, p kv.PartitionID) (*kv.TransactionsAnswer, error) {
	if _, err := f.enter(ctx, "transactions", fmt.Append(nil, p)); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if a := f.transactions[p]; a != nil {
		return a, nil
	}
	return &kv.TransactionsAnswer{Partition: p, Node: 1}, nil
}

// MoveLeader implements store.Admin.
func (f *Fake) MoveLeader(ctx context.Context, p kv.PartitionID, to kv.NodeID) error {
	if _, err := f.enter(ctx, "move-leader", nil); err != nil {
		return err
	}
	defer f.mu.Unlock()
	f.moves = append(f.moves, kv.MoveLeader{Partition: p, To: to})
	return nil
}
