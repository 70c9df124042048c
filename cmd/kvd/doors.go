package main

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kvd-db/kvd/host"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
	"github.com/kvd-db/kvd/server"
)

// backend is a host as the server wants it. The two stand on different floors, so neither
// knows the other's words for a request on its way.
type backend struct{ *host.Host }

var _ server.Backend = backend{}

var askPool = sync.Pool{New: func() any { return new([]host.Ask) }}

// Submit hands over requests.
func (b backend) Submit(batch []*server.Submission) {
	asks := askPool.Get().(*[]host.Ask)
	for _, s := range batch {
		*asks = append(*asks, host.Ask{Request: s.Request, Asker: s.Asker, Handle: &s.Handle})
	}
	b.Host.Submit(*asks)
	clear(*asks)
	*asks = (*asks)[:0]
	askPool.Put(asks)
}

// Cancel tells that nobody waits for a submission any more.
func (b backend) Cancel(s *server.Submission) { b.Host.Cancel(s.Handle) }

// askAdmin is host.AdminCall by gRPC.
func askAdmin(ctx context.Context, address string, req *kv.AdminRequest) (*kv.AdminResponse, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	a, err := wire.CallAdmin(ctx, kvpb.NewAdminClient(conn), req)
	if err != nil {
		return nil, wire.FromStatus(err)
	}
	return a, nil
}
