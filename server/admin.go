package server

import (
	"context"
	"crypto/tls"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
)

// passedOn marks a call that another node has passed on: it is not passed on again.
const passedOn = "kvd-passed-on"

// local is the backend as the router sees it.
type local struct{ *Server }

// Info implements router.Local.
func (l local) Info() kv.NodeInfo { return l.backend.Info() }

// Heard implements router.Local.
func (l local) Heard() kv.Timestamp { return l.backend.Heard() }

// Submit implements router.Local.
func (l local) Submit(q *kv.Request, done func(*kv.Response, *kv.Error)) func() {
	if err := checkLimits(q); err != nil {
		done(nil, err)
		return func() {}
	}
	s := &Submission{Request: q, Asker: askerFunc(done)}
	l.backend.Submit([]*Submission{s})
	return func() { l.backend.Cancel(s) }
}

// Admin implements router.Local.
func (l local) Admin(ctx context.Context, q *kv.AdminRequest) (*kv.AdminResponse, error) {
	return l.admin(ctx, q)
}

type askerFunc func(*kv.Response, *kv.Error)

// Answer implements Asker.
func (f askerFunc) Answer(a *kv.Response, err *kv.Error) { f(a, err) }

// admin asks the backend, and if that does not lead what the question is about, the node
// that does.
func (s *Server) admin(ctx context.Context, q *kv.AdminRequest) (*kv.AdminResponse, error) {
	a, err := s.backend.Admin(ctx, q)
	if err == nil {
		return a, nil
	}
	e := kv.AsError(err)
	if e.Kind != kv.NotLeader || e.Leader == 0 || e.Leader == s.backend.Info().ID || wasPassedOn(ctx) {
		return nil, e
	}
	address := s.address(ctx, e.Leader)
	if address == "" {
		return nil, e
	}
	c, err := s.peers.admin(address)
	if err != nil {
		return nil, kv.Errorf(kv.Unavailable, "node %d at %q: %v", e.Leader, address, err)
	}
	a, err = wire.CallAdmin(metadata.AppendToOutgoingContext(ctx, passedOn, "1"), c, q)
	if err != nil {
		return nil, passedOnError(err, e.Leader)
	}
	return a, nil
}

// passedOnError is the error of a call that was passed on. A connection that broke may have
// taken the answer with it.
func passedOnError(err error, node kv.NodeID) *kv.Error {
	e := wire.FromStatus(err)
	if e.Kind == kv.Unavailable && !wire.Answered(err) {
		return kv.Errorf(kv.Ambiguous, "node %d, which the question was passed on to, gave no answer: %s", node, e.Message)
	}
	return e
}

func wasPassedOn(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	return len(md.Get(passedOn)) > 0
}

// address is where a node is, as this node believes; "" if it does not know.
func (s *Server) address(ctx context.Context, n kv.NodeID) string {
	a, err := s.backend.Admin(ctx, &kv.AdminRequest{Topology: &kv.TopologyQuery{Local: true}})
	if err != nil || a.Topology == nil {
		return ""
	}
	for _, info := range a.Topology.Nodes {
		if info.ID == n {
			return info.Address
		}
	}
	return ""
}

// peers is the connections over which admin calls are passed on.
type peers struct {
	tls   *tls.Config
	mu    sync.Mutex
	conns map[string]*grpc.ClientConn // by address
}

func newPeers(c *tls.Config) *peers { return &peers{tls: c, conns: map[string]*grpc.ClientConn{}} }

func (p *peers) admin(address string) (kvpb.AdminClient, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[address]; c != nil {
		return kvpb.NewAdminClient(c), nil
	}
	creds := insecure.NewCredentials()
	if p.tls != nil {
		creds = credentials.NewTLS(p.tls)
	}
	c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MessageBytesMax)))
	if err != nil {
		return nil, err
	}
	p.conns[address] = c
	return kvpb.NewAdminClient(c), nil
}

func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close() // it fails only if it is closed already
	}
	clear(p.conns)
}
