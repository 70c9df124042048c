package router

import (
	"context"
	"net"
	"time"

	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
)

// open opens a stream, which ends with ctx: a pipe (docs/adr/0010), or under TLS, which pipes do not
// have yet, a KV.Stream.
func (l *link) open(ctx context.Context, cut func()) (stream, error) {
	if l.router.config.TLS == nil {
		return openPipe(ctx, l.address)
	}
	late := time.AfterFunc(connectMax, cut)
	s, err := l.kv.Stream(ctx)
	if err == nil && !late.Stop() {
		err = context.DeadlineExceeded
	}
	return &overGRPC{stream: s}, err
}

// openPipe returns once the node has said something: one that is stopped, or that waits for space in its
// listener's queue, accepts connections too.
func openPipe(ctx context.Context, address string) (stream, error) {
	d := net.Dialer{Timeout: connectMax}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	p := wire.NewPipe(conn, 0) // silence is watched for by the link
	_ = conn.SetWriteDeadline(time.Now().Add(connectMax))
	if _, err = conn.Write([]byte(wire.PipeMagic)); err == nil {
		err = p.Await(connectMax)
	}
	return p, err
}

// overGRPC are the batches of a KV.Stream.
type overGRPC struct {
	stream kvpb.KV_StreamClient
	ops    kvpb.OpBatch
}

func (g *overGRPC) Send(batch []byte) error {
	g.ops.Frames = batch // encoded before Send returns, and no interceptor keeps it
	return g.stream.Send(&g.ops)
}

func (g *overGRPC) Recv() ([]byte, error) {
	m, err := g.stream.Recv()
	return m.GetFrames(), err
}
