package host

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/peerpb"
)

// introduce says who this node is. An empty node that is a founder of this cluster hears of it
// with the state "unspecified": it must not join, but wait to be told.
func (f *former) introduce(to *introduction) *introduction {
	s := f.dir.current()
	in := &introduction{
		State: peerpb.StoreState_STORE_EMPTY, Address: f.address, Nonce: s.Nonce, SupportNanos: int64(s.Support),
		Format: StoreFormat, Protocol: PeerProtocol, Locality: f.locality,
	}
	if !s.isMember() {
		return in
	}
	in.State, in.ClusterId, in.NodeId = peerpb.StoreState_STORE_INITIALISED, s.Cluster, uint64(s.Node)
	if to.GetState() == peerpb.StoreState_STORE_EMPTY && slices.ContainsFunc(s.Founders, func(n kv.NodeInfo) bool { return n.Nonce == to.GetNonce() }) {
		in.State = peerpb.StoreState_STORE_UNSPECIFIED
	}
	return in
}

// serveHello answers who this node is. A founder that has not been told yet, perhaps because the
// one that founds has died, is told by whoever knows.
func (f *former) serveHello(ctx context.Context, req *peerpb.HelloRequest) *peerpb.HelloReply {
	in := f.introduce(req.GetFrom())
	if in.GetState() == peerpb.StoreState_STORE_UNSPECIFIED {
		s := f.dir.current()
		if err := f.tell(ctx, s, req.GetFrom().GetAddress()); err != nil {
			f.log.Debug("telling a founder", "address", req.GetFrom().GetAddress(), "error", err)
		}
	}
	return &peerpb.HelloReply{From: in}
}

// serveForm makes this node a founding member.
func (f *former) serveForm(req *peerpb.FormRequest) *peerpb.FormReply {
	err := f.accept(req)
	reply := &peerpb.FormReply{From: f.introduce(nil)}
	if err != nil {
		reply.Refused = kv.AsError(err).Message
	}
	return reply
}

func (f *former) accept(req *peerpb.FormRequest) error {
	founders := make([]kv.NodeInfo, 0, len(req.GetFounders()))
	for _, n := range req.GetFounders() {
		founders = append(founders, kv.NodeInfo{
			ID: kv.NodeID(n.GetNodeId()), Address: n.GetAddress(), Locality: n.GetLocality(), Nonce: n.GetNonce(),
			Core: len(founders) < coreVoters(len(req.GetFounders())),
		})
	}
	agreed := f.sameList(founders)
	var refused error
	err := f.dir.update(func(s *Store) {
		switch {
		case s.isMember() && s.Cluster == req.GetClusterId(): // told again
		case s.Cluster != 0 && s.Cluster != req.GetClusterId():
			refused = kv.Errorf(kv.Denied, "the node at %s belongs to cluster %016x, or founds it: start all nodes with the same --join, and empty directories", f.address, s.Cluster)
		case !slices.ContainsFunc(founders, func(n kv.NodeInfo) bool { return n.Nonce == s.Nonce }):
			refused = kv.Errorf(kv.Denied, "the node at %s was emptied since the cluster began to form: empty all of them", f.address)
		case agreed != nil:
			refused = agreed
		default:
			s.become(req.GetClusterId(), founders)
		}
	})
	if err != nil {
		return err
	}
	return refused
}

// sameList reports whether the founders are those that this node was told to form a cluster with.
func (f *former) sameList(founders []kv.NodeInfo) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	matched := map[uint64]bool{}
	for _, address := range f.join {
		nonce, answered := f.heard[address]
		i := slices.IndexFunc(founders, func(n kv.NodeInfo) bool {
			return answered && n.Nonce == nonce || n.Address == address
		})
		if i < 0 {
			if !answered {
				return kv.Errorf(kv.Unavailable, "the node at %s has not heard from %s yet", f.address, address)
			}
			return kv.Errorf(kv.Denied, "the node at %s was told to --join %s, which is not among the founders: start all nodes with the same --join", f.address, address)
		}
		matched[founders[i].Nonce] = true
	}
	if len(matched) != len(founders) {
		return kv.Errorf(kv.Denied, "the node at %s was told to --join %d nodes, the founders are %d: start all nodes with the same --join", f.address, len(matched), len(founders))
	}
	return nil
}

// grpcFormConn is a formConn by gRPC.
type grpcFormConn struct {
	conn *grpc.ClientConn
	peerpb.PeerClient
}

func dialForm(address string) (formConn, error) {
	conn, err := dialPeer(address)
	if err != nil {
		return nil, err
	}
	return &grpcFormConn{conn: conn, PeerClient: peerpb.NewPeerClient(conn)}, nil
}

func (c *grpcFormConn) Hello(ctx context.Context, r *peerpb.HelloRequest) (*peerpb.HelloReply, error) {
	return c.PeerClient.Hello(ctx, r)
}

func (c *grpcFormConn) Form(ctx context.Context, r *peerpb.FormRequest) (*peerpb.FormReply, error) {
	return c.PeerClient.Form(ctx, r)
}

func (c *grpcFormConn) Close() error { return c.conn.Close() }
