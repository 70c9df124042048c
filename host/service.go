package host

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kvd-db/kvd/proto/peerpb"
)

// service is the door for peers. Who asks who this node is gets an answer from the beginning;
// streams are taken once the node runs.
type service struct {
	peerpb.UnimplementedPeerServer
	host *Host
}

var errStarting = status.Error(codes.Unavailable, "the node is starting")

// Exchange takes the messages of another node.
func (s *service) Exchange(stream grpc.BidiStreamingServer[peerpb.PeerBatch, peerpb.PeerBatch]) error {
	r := s.host.running.Load()
	if r == nil {
		return errStarting
	}
	return r.receiver.exchange(stream)
}

// Bulk takes a snapshot.
func (s *service) Bulk(stream grpc.ClientStreamingServer[peerpb.Chunk, peerpb.BulkAck]) error {
	r := s.host.running.Load()
	if r == nil {
		return errStarting
	}
	return r.snapshots.bulk(stream)
}

// Hello says who this node is.
func (s *service) Hello(ctx context.Context, req *peerpb.HelloRequest) (*peerpb.HelloReply, error) {
	return s.host.former.serveHello(ctx, req), nil
}

// Form makes this node a founding member of a cluster.
func (s *service) Form(_ context.Context, req *peerpb.FormRequest) (*peerpb.FormReply, error) {
	return s.host.former.serveForm(req), nil
}
