package host

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/peerpb"
)

// service is the door for peers. Who asks who this node is gets an answer from the beginning;
// snapshots and links are taken once the node runs.
type service struct {
	peerpb.UnimplementedPeerServer
	host *Host
}

var errStarting = status.Error(codes.Unavailable, "the node is starting")

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

// serveLink takes the messages of another node, once this one runs.
func (h *Host) serveLink(c net.Conn) {
	r := h.running.Load()
	if r == nil {
		l := newLink(c)
		if _, err := l.handshake(); err == nil { // unread, it would make the answer vanish
			_ = l.refuse(kv.Errorf(kv.Unavailable, "the node is starting"))
		}
		return
	}
	if err := r.receiver.serve(c); err != nil {
		h.options.Log.Named("peers").Debug("a link has ended", "from", c.RemoteAddr(), "error", err)
	}
}
