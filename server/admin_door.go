package server

import (
	"context"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
)

// adminDoor is service Admin.
type adminDoor struct {
	kvpb.UnimplementedAdminServer
	server *Server
}

// ask answers one call: pick takes the answer out of an AdminResponse, nil if it is not there.
func ask[T any](ctx context.Context, d *adminDoor, q *kv.AdminRequest, pick func(*kv.AdminResponse) *T) (*T, error) {
	a, err := d.server.admin(ctx, q)
	if err != nil {
		return nil, wire.Status(kv.AsError(err))
	}
	m := pick(a)
	if m == nil {
		return nil, wire.Status(kv.Errorf(kv.Internal, "the node's answer lacks what was asked for"))
	}
	return m, nil
}

// done is the pick of a call whose answer is empty.
func done[T any](*kv.AdminResponse) *T { return new(T) }

// part is the pick of an answer that has one part.
func part[A, M any](get func(*kv.AdminResponse) *A, message func(*A) *M) func(*kv.AdminResponse) *M {
	return func(r *kv.AdminResponse) *M {
		if a := get(r); a != nil {
			return message(a)
		}
		return nil
	}
}

// CreateKeyspace implements kvpb.AdminServer.
func (d *adminDoor) CreateKeyspace(ctx context.Context, m *kvpb.CreateKeyspaceRequest) (*kvpb.CreateKeyspaceResponse, error) {
	q := &kv.AdminRequest{CreateKeyspace: wire.CreateKeyspaceOf(m)}
	return ask(ctx, d, q, done[kvpb.CreateKeyspaceResponse])
}

// DropKeyspace implements kvpb.AdminServer.
func (d *adminDoor) DropKeyspace(ctx context.Context, m *kvpb.DropKeyspaceRequest) (*kvpb.DropKeyspaceResponse, error) {
	q := &kv.AdminRequest{DropKeyspace: &kv.DropKeyspace{Name: m.GetName()}}
	return ask(ctx, d, q, done[kvpb.DropKeyspaceResponse])
}

// SetKeyspace implements kvpb.AdminServer.
func (d *adminDoor) SetKeyspace(ctx context.Context, m *kvpb.SetKeyspaceRequest) (*kvpb.SetKeyspaceResponse, error) {
	q := &kv.AdminRequest{SetKeyspace: &kv.SetKeyspace{Name: m.GetName(), Retention: time.Duration(m.GetRetentionNanos())}}
	return ask(ctx, d, q, done[kvpb.SetKeyspaceResponse])
}

// Hold implements kvpb.AdminServer.
func (d *adminDoor) Hold(ctx context.Context, m *kvpb.HoldRequest) (*kvpb.HoldResponse, error) {
	q := &kv.AdminRequest{Hold: &kv.Hold{Timestamp: kv.Timestamp(m.GetTimestamp())}}
	return ask(ctx, d, q, part(func(r *kv.AdminResponse) *kv.HoldAnswer { return r.Hold }, func(a *kv.HoldAnswer) *kvpb.HoldResponse {
		return &kvpb.HoldResponse{Oldest: uint64(a.Oldest)}
	}))
}

// Topology implements kvpb.AdminServer.
func (d *adminDoor) Topology(ctx context.Context, m *kvpb.TopologyRequest) (*kvpb.TopologyResponse, error) {
	q := &kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: m.GetKeyspace(), Local: m.GetLocal()}}
	return ask(ctx, d, q, part(func(r *kv.AdminResponse) *kv.Topology { return r.Topology }, wire.TopologyMessage))
}

// Join implements kvpb.AdminServer.
func (d *adminDoor) Join(ctx context.Context, m *kvpb.JoinRequest) (*kvpb.JoinResponse, error) {
	q := &kv.AdminRequest{Join: &kv.JoinCluster{Address: m.GetAddress(), Locality: m.GetLocality(), Nonce: m.GetNonce()}}
	return ask(ctx, d, q, part(func(r *kv.AdminResponse) *kv.JoinAnswer { return r.Join }, wire.JoinMessage))
}

// Status implements kvpb.AdminServer.
func (d *adminDoor) Status(ctx context.Context, _ *kvpb.StatusRequest) (*kvpb.StatusResponse, error) {
	q := &kv.AdminRequest{Status: &kv.StatusQuery{}}
	return ask(ctx, d, q, part(func(r *kv.AdminResponse) *kv.Status { return r.Status }, wire.StatusMessage))
}

// NodeStatus implements kvpb.AdminServer.
func (d *adminDoor) NodeStatus(ctx context.Context, _ *kvpb.NodeStatusRequest) (*kvpb.NodeStatusResponse, error) {
	q := &kv.AdminRequest{NodeStatus: &kv.NodeQuery{}}
	return ask(ctx, d, q, part(func(r *kv.AdminResponse) *kv.NodeStatus { return r.Node }, wire.NodeStatusMessage))
}

// MoveLeader implements kvpb.AdminServer.
func (d *adminDoor) MoveLeader(ctx context.Context, m *kvpb.MoveLeaderRequest) (*kvpb.MoveLeaderResponse, error) {
	q := &kv.AdminRequest{MoveLeader: &kv.MoveLeader{Partition: kv.PartitionID(m.GetPartition()), To: kv.NodeID(m.GetTo())}}
	return ask(ctx, d, q, done[kvpb.MoveLeaderResponse])
}

// Check implements kvpb.AdminServer.
func (d *adminDoor) Check(ctx context.Context, m *kvpb.CheckRequest) (*kvpb.CheckResponse, error) {
	q := &kv.AdminRequest{Check: &kv.CheckQuery{Partition: kv.PartitionID(m.GetPartition())}}
	return ask(ctx, d, q, part(func(r *kv.AdminResponse) *kv.CheckAnswer { return r.Check }, wire.CheckMessage))
}

// ChangeReplicas implements kvpb.AdminServer.
func (d *adminDoor) ChangeReplicas(ctx context.Context, m *kvpb.ChangeReplicasRequest) (*kvpb.ChangeReplicasResponse, error) {
	q := &kv.AdminRequest{ChangeReplicas: &kv.ChangeReplicas{
		Partition: kv.PartitionID(m.GetPartition()), Add: kv.NodeID(m.GetAdd()), Remove: kv.NodeID(m.GetRemove()),
	}}
	return ask(ctx, d, q, done[kvpb.ChangeReplicasResponse])
}

// Transactions implements kvpb.AdminServer.
func (d *adminDoor) Transactions(ctx context.Context, m *kvpb.TransactionsRequest) (*kvpb.TransactionsResponse, error) {
	q := &kv.AdminRequest{Transactions: &kv.TransactionsQuery{Partition: kv.PartitionID(m.GetPartition())}}
	return ask(ctx, d, q, part(func(r *kv.AdminResponse) *kv.TransactionsAnswer { return r.Transactions }, wire.TransactionsMessage))
}
