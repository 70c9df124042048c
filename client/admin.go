package client

import (
	"context"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Admin asks about the cluster, and changes it.
type Admin struct{ client *Client }

// Admin is the door for questions about the cluster.
func (c *Client) Admin() *Admin { return &Admin{client: c} }

// Scheme says how a keyspace is cut into partitions.
type Scheme struct {
	scheme     kv.Scheme
	partitions int
	splitAt    [][]byte
}

// ByRange cuts at user keys, which must ascend; without any there is one partition.
func ByRange(splitAt ...[]byte) Scheme { return Scheme{scheme: kv.SchemeRange, splitAt: splitAt} }

// ByHash spreads keys over n partitions by a hash; n never changes.
func ByHash(n int) Scheme { return Scheme{scheme: kv.SchemeHash, partitions: n} }

func (a *Admin) ask(ctx context.Context, address string, q *kv.AdminRequest) (*kv.AdminResponse, error) {
	p, err := a.client.router.Admin(ctx, address, q)
	return p, typed(err)
}

// KeyspaceOption changes how CreateKeyspace makes a keyspace.
type KeyspaceOption func(*kv.CreateKeyspace)

// WithRetention sets how long an overwritten version can be read at least: 10 minutes or more. The
// default, 0, is what the nodes are configured with, an hour if nothing else was said.
func WithRetention(d time.Duration) KeyspaceOption {
	return func(q *kv.CreateKeyspace) { q.Retention = d }
}

// CreateKeyspace makes a keyspace; when it returns, all partitions have a leader.
func (a *Admin) CreateKeyspace(ctx context.Context, name string, s Scheme, opts ...KeyspaceOption) error {
	q := &kv.CreateKeyspace{Name: name, Scheme: s.scheme, Partitions: s.partitions, SplitAt: s.splitAt}
	for _, o := range opts {
		o(q)
	}
	_, err := a.ask(ctx, "", &kv.AdminRequest{CreateKeyspace: q})
	return err
}

// SetRetention changes how long an overwritten version of a keyspace can be read at least, see WithRetention. All
// nodes know it within half a minute. What was collected before does not come back.
func (a *Admin) SetRetention(ctx context.Context, name string, d time.Duration) error {
	_, err := a.ask(ctx, "", &kv.AdminRequest{SetKeyspace: &kv.SetKeyspace{Name: name, Retention: d}})
	return err
}

// DropKeyspace removes a keyspace with all its data.
func (a *Admin) DropKeyspace(ctx context.Context, name string) error {
	_, err := a.ask(ctx, "", &kv.AdminRequest{DropKeyspace: &kv.DropKeyspace{Name: name}})
	return err
}

// Topology is the map of a keyspace ("" = all) and all nodes.
func (a *Admin) Topology(ctx context.Context, keyspace string) (*kv.Topology, error) {
	p, err := a.ask(ctx, "", &kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: keyspace}})
	if err != nil {
		return nil, err
	}
	return p.Topology, nil
}

// Keyspaces is all keyspaces.
func (a *Admin) Keyspaces(ctx context.Context) ([]kv.Keyspace, error) {
	t, err := a.Topology(ctx, "")
	if err != nil {
		return nil, err
	}
	return t.Keyspaces, nil
}

// Nodes is the node registry.
func (a *Admin) Nodes(ctx context.Context) ([]kv.NodeInfo, error) {
	t, err := a.Topology(ctx, "")
	if err != nil {
		return nil, err
	}
	return t.Nodes, nil
}

// Partitions is the partitions of the client's keyspace, in key order.
func (a *Admin) Partitions(ctx context.Context) ([]kv.PartitionInfo, error) {
	t, err := a.Topology(ctx, a.client.keyspace)
	if err != nil {
		return nil, err
	}
	return t.Partitions, nil
}

// Locate is the partition that holds a key of the client's keyspace.
func (a *Admin) Locate(ctx context.Context, key []byte) (kv.PartitionInfo, error) {
	if err := checkKey(key); err != nil {
		return kv.PartitionInfo{}, typed(err)
	}
	t, err := a.Topology(ctx, a.client.keyspace)
	if err != nil {
		return kv.PartitionInfo{}, err
	}
	for _, k := range t.Keyspaces {
		if k.Name != a.client.keyspace {
			continue
		}
		full := k.FullKey(key)
		for _, p := range t.Partitions {
			if p.Descriptor.Span.Contains(full) {
				return p, nil
			}
		}
	}
	return kv.PartitionInfo{}, typed(kv.Errorf(kv.NotFound, "keyspace %q has no partition for the key", a.client.keyspace))
}

// MoveLeader has a partition's leader hand over to its voter on a node; 0 = to any.
func (a *Admin) MoveLeader(ctx context.Context, p kv.PartitionID, to kv.NodeID) error {
	_, err := a.ask(ctx, "", &kv.AdminRequest{MoveLeader: &kv.MoveLeader{Partition: p, To: to}})
	return err
}

// Status is the state of the cluster, as the core's leader sees it.
func (a *Admin) Status(ctx context.Context) (*kv.Status, error) {
	p, err := a.ask(ctx, "", &kv.AdminRequest{Status: &kv.StatusQuery{}})
	if err != nil {
		return nil, err
	}
	return p.Status, nil
}

// NodeStatus is one node's view of itself.
func (a *Admin) NodeStatus(ctx context.Context, node kv.NodeID) (*kv.NodeStatus, error) {
	s, err := a.Status(ctx)
	if err != nil {
		return nil, err
	}
	for i := range s.Nodes {
		if n := &s.Nodes[i].Info; n.ID == node {
			p, err := a.ask(ctx, n.Address, &kv.AdminRequest{NodeStatus: &kv.NodeQuery{}})
			if err != nil {
				return nil, err
			}
			return p.Node, nil
		}
	}
	return nil, typed(kv.Errorf(kv.NotFound, "node %d is not in the registry", node))
}

// Check compares all replicas of a partition at one applied index.
func (a *Admin) Check(ctx context.Context, p kv.PartitionID) (*kv.CheckAnswer, error) {
	r, err := a.ask(ctx, "", &kv.AdminRequest{Check: &kv.CheckQuery{Partition: p}})
	if err != nil {
		return nil, err
	}
	return r.Check, nil
}

// Transactions is what a partition's leader knows of transactions over several partitions.
func (a *Admin) Transactions(ctx context.Context, p kv.PartitionID) (*kv.TransactionsAnswer, error) {
	r, err := a.ask(ctx, "", &kv.AdminRequest{Transactions: &kv.TransactionsQuery{Partition: p}})
	if err != nil {
		return nil, err
	}
	return r.Transactions, nil
}

// ChangeReplicas moves a partition one step: a replica more on add, one less on remove;
// 0 = none.
func (a *Admin) ChangeReplicas(ctx context.Context, p kv.PartitionID, add, remove kv.NodeID) error {
	_, err := a.ask(ctx, "", &kv.AdminRequest{ChangeReplicas: &kv.ChangeReplicas{Partition: p, Add: add, Remove: remove}})
	return err
}
