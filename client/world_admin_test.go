package client_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// Admin: node 1 leads the core.
func (n *node) Admin(_ context.Context, q *kv.AdminRequest) (*kv.AdminResponse, error) {
	w := n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.admins++
	toCore := q.CreateKeyspace != nil || q.DropKeyspace != nil || q.SetKeyspace != nil || q.Hold != nil || q.Status != nil || q.Topology != nil && !q.Topology.Local
	if toCore && n.id != 1 {
		return nil, &kv.Error{Kind: kv.NotLeader, Leader: 1, Term: 1}
	}
	a := &kv.AdminResponse{}
	switch {
	case q.CreateKeyspace != nil:
		if err := w.create(q.CreateKeyspace); err != nil {
			return nil, err
		}
	case q.DropKeyspace != nil:
		if err := w.drop(q.DropKeyspace.Name); err != nil {
			return nil, err
		}
	case q.SetKeyspace != nil:
		i := slices.IndexFunc(w.keyspaces, func(k kv.Keyspace) bool { return k.Name == q.SetKeyspace.Name })
		if i < 0 {
			return nil, kv.Errorf(kv.NotFound, "keyspace %q does not exist", q.SetKeyspace.Name)
		}
		w.keyspaces[i].Retention = q.SetKeyspace.Retention
	case q.Hold != nil:
		w.held = append(w.held, q.Hold.Timestamp)
		a.Hold = &kv.HoldAnswer{Oldest: w.oldest}
	case q.Topology != nil:
		t, err := w.topology(q.Topology.Keyspace)
		if err != nil {
			return nil, err
		}
		a.Topology = t
	case q.Status != nil:
		a.Status = &kv.Status{ClusterID: 7, CoreLeader: 1, Partitions: kv.PartitionCounts{Total: len(w.parts)}}
		for _, x := range w.nodes {
			a.Status.Nodes = append(a.Status.Nodes, kv.NodeReport{Info: x.Info(), Liveness: kv.NodeLive})
		}
	case q.NodeStatus != nil:
		a.Node = &kv.NodeStatus{Info: n.Info()}
	case q.MoveLeader != nil:
		return a, w.onLeader(n, q.MoveLeader.Partition, func(p *part) { w.elect(p); p.leader = cmp.Or(q.MoveLeader.To, p.leader) })
	case q.Check != nil:
		a.Check = &kv.CheckAnswer{Partition: q.Check.Partition, Equal: true}
		return a, w.onLeader(n, q.Check.Partition, func(*part) {})
	case q.Transactions != nil:
		a.Transactions = &kv.TransactionsAnswer{Partition: q.Transactions.Partition, Node: n.id}
		return a, w.onLeader(n, q.Transactions.Partition, func(*part) {})
	case q.ChangeReplicas != nil:
		return a, w.onLeader(n, q.ChangeReplicas.Partition, func(p *part) { p.d.Generation++ })
	default:
		return nil, kv.Errorf(kv.Invalid, "no part")
	}
	return a, nil
}

func (w *world) onLeader(n *node, id kv.PartitionID, do func(*part)) error {
	for _, p := range w.parts {
		if p.d.Partition != id {
			continue
		}
		if _, holds := p.d.ReplicaOn(n.id); !holds {
			break
		}
		if p.leader != n.id {
			return &kv.Error{Kind: kv.NotLeader, Leader: p.leader, Term: p.term}
		}
		do(p)
		return nil
	}
	return &kv.Error{Kind: kv.WrongPartition, Partition: id} // as a node that does not know more
}

func (w *world) drop(name string) *kv.Error {
	i := slices.IndexFunc(w.keyspaces, func(k kv.Keyspace) bool { return k.Name == name })
	if i < 0 {
		return kv.Errorf(kv.NotFound, "keyspace %q does not exist", name)
	}
	id := w.keyspaces[i].ID
	w.keyspaces = slices.Delete(w.keyspaces, i, i+1)
	w.parts = slices.DeleteFunc(w.parts, func(p *part) bool { return p.d.Keyspace == id })
	return nil
}

func (w *world) topology(name string) (*kv.Topology, *kv.Error) {
	t := &kv.Topology{ClusterID: 7, Heard: w.oracle, CoreLeader: w.core}
	for _, n := range w.nodes {
		t.Nodes = append(t.Nodes, n.Info())
	}
	for _, k := range w.keyspaces {
		if name == "" || k.Name == name {
			t.Keyspaces = append(t.Keyspaces, k)
		}
	}
	if name != "" && len(t.Keyspaces) == 0 {
		return nil, kv.Errorf(kv.NotFound, "keyspace %q does not exist", name)
	}
	for _, p := range w.parts {
		if slices.ContainsFunc(t.Keyspaces, func(k kv.Keyspace) bool { return k.ID == p.d.Keyspace }) {
			t.Partitions = append(t.Partitions, kv.PartitionInfo{Descriptor: p.d.Clone(), Leader: p.leader, Term: p.term})
		}
	}
	return t, nil
}

// do runs f with the world held still.
func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// partOf is the partition of a user key; it runs under mu.
func (w *world) partOf(keyspace, key string) *part {
	for _, k := range w.keyspaces {
		if k.Name != keyspace {
			continue
		}
		for _, p := range w.parts {
			if p.d.Span.Contains(k.FullKey([]byte(key))) {
				return p
			}
		}
	}
	panic(fmt.Sprintf("no partition for %s in %s", key, keyspace))
}
