package wire

import (
	"context"
	"math"
	"time"

	"google.golang.org/grpc"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
)

// CallAdmin makes the one call of service Admin that an AdminRequest asks for. Its error
// is gRPC's: see FromStatus and Answered.
func CallAdmin(ctx context.Context, c kvpb.AdminClient, q *kv.AdminRequest, opts ...grpc.CallOption) (*kv.AdminResponse, error) {
	switch {
	case q.CreateKeyspace != nil:
		_, err := c.CreateKeyspace(ctx, CreateKeyspaceMessage(q.CreateKeyspace), opts...)
		return &kv.AdminResponse{}, err
	case q.DropKeyspace != nil:
		_, err := c.DropKeyspace(ctx, &kvpb.DropKeyspaceRequest{Name: q.DropKeyspace.Name}, opts...)
		return &kv.AdminResponse{}, err
	case q.SetKeyspace != nil:
		r := q.SetKeyspace
		_, err := c.SetKeyspace(ctx, &kvpb.SetKeyspaceRequest{Name: r.Name, RetentionNanos: int64(r.Retention)}, opts...)
		return &kv.AdminResponse{}, err
	case q.Hold != nil:
		m, err := c.Hold(ctx, &kvpb.HoldRequest{Timestamp: uint64(q.Hold.Timestamp)}, opts...)
		return &kv.AdminResponse{Hold: &kv.HoldAnswer{Oldest: kv.Timestamp(m.GetOldest())}}, err
	case q.Topology != nil:
		m, err := c.Topology(ctx, &kvpb.TopologyRequest{Keyspace: q.Topology.Keyspace, Local: q.Topology.Local}, opts...)
		return &kv.AdminResponse{Topology: TopologyOf(m)}, err
	case q.Join != nil:
		m, err := c.Join(ctx, &kvpb.JoinRequest{Address: q.Join.Address, Locality: q.Join.Locality, Nonce: q.Join.Nonce}, opts...)
		return &kv.AdminResponse{Join: JoinOf(m)}, err
	case q.Status != nil:
		m, err := c.Status(ctx, &kvpb.StatusRequest{}, opts...)
		return &kv.AdminResponse{Status: StatusOf(m)}, err
	case q.NodeStatus != nil:
		m, err := c.NodeStatus(ctx, &kvpb.NodeStatusRequest{}, opts...)
		return &kv.AdminResponse{Node: NodeStatusOf(m)}, err
	case q.MoveLeader != nil:
		_, err := c.MoveLeader(ctx, &kvpb.MoveLeaderRequest{Partition: uint64(q.MoveLeader.Partition), To: uint64(q.MoveLeader.To)}, opts...)
		return &kv.AdminResponse{}, err
	case q.Check != nil:
		m, err := c.Check(ctx, &kvpb.CheckRequest{Partition: uint64(q.Check.Partition)}, opts...)
		return &kv.AdminResponse{Check: CheckOf(m)}, err
	case q.ChangeReplicas != nil:
		r := q.ChangeReplicas
		_, err := c.ChangeReplicas(ctx, &kvpb.ChangeReplicasRequest{Partition: uint64(r.Partition), Add: uint64(r.Add), Remove: uint64(r.Remove)}, opts...)
		return &kv.AdminResponse{}, err
	case q.Transactions != nil:
		m, err := c.Transactions(ctx, &kvpb.TransactionsRequest{Partition: uint64(q.Transactions.Partition)}, opts...)
		return &kv.AdminResponse{Transactions: TransactionsOf(m)}, err
	}
	return nil, kv.Errorf(kv.Invalid, "an admin request with no part set")
}

// CreateKeyspaceMessage is the order for a keyspace as a message.
func CreateKeyspaceMessage(q *kv.CreateKeyspace) *kvpb.CreateKeyspaceRequest {
	return &kvpb.CreateKeyspaceRequest{Name: q.Name, Scheme: uint32(q.Scheme), Partitions: uint32(q.Partitions), SplitAt: q.SplitAt, RetentionNanos: int64(q.Retention)}
}

// CreateKeyspaceOf is the inverse of CreateKeyspaceMessage.
func CreateKeyspaceOf(m *kvpb.CreateKeyspaceRequest) *kv.CreateKeyspace {
	return &kv.CreateKeyspace{
		Name: m.GetName(), Scheme: kv.Scheme(min(m.GetScheme(), math.MaxUint8)), Partitions: int(m.GetPartitions()), SplitAt: m.GetSplitAt(),
		Retention: time.Duration(m.GetRetentionNanos()),
	}
}
