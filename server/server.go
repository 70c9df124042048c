package server

import (
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/kvd-db/kvd/client/router"
	"github.com/kvd-db/kvd/host/door"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
)

// Limits of one stream, and of their number.
const (
	OpsInFlightMax   = router.OpsInFlightMax
	InFlightBytesMax = 512 << 20
	// PipesMax is how many pipes there may be; a client has two to each node.
	PipesMax = 16 << 10
	// heartbeat is how long a stream is quiet at most: well below router.SilenceMax, after which
	// a client gives it up. It speaks even if no request waits: the largest ones take a while
	// to arrive.
	heartbeat = time.Second
)

// Options of a server.
type Options struct {
	TLS *tls.Config  // to reach other nodes; nil: none
	Log *slog.Logger // nil: slog.Default
	Dev bool         // gRPC reflection, for tools that explore
}

// Server is the doors of one node.
type Server struct {
	backend Backend
	log     *slog.Logger
	router  *router.Router
	peers   *peers
	stop    chan struct{} // closed by Close: streams end
	closing sync.Once
}

// GRPCOptions is what a gRPC server must be made with for Register to keep its promises.
func GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(wire.MessageBytesMax),
		grpc.MaxSendMsgSize(wire.MessageBytesMax),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.InitialWindowSize(4 << 20),
		grpc.InitialConnWindowSize(16 << 20),
	}
}

// Register opens the doors of a backend on a gRPC server. Close closes what they hold.
func Register(g grpc.ServiceRegistrar, b Backend, o Options) *Server {
	s := &Server{backend: b, log: o.Log, peers: newPeers(o.TLS), stop: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.router = router.New(router.Config{TLS: o.TLS, Log: o.Log, Local: local{s}})
	kvpb.RegisterKVServer(g, &kvDoor{server: s})
	kvpb.RegisterAdminServer(g, &adminDoor{server: s})
	if r, ok := g.(reflection.GRPCServer); ok && o.Dev {
		reflection.Register(r)
	}
	return s
}

// Plain is what the server serves without gRPC, on the same port.
func (s *Server) Plain() door.Plain {
	return door.Plain{wire.PipeMagic: {Serve: s.servePipe, ConnsMax: PipesMax}}
}

// servePipe serves a pipe until it ends, the server closes or the client says something that cannot be
// understood: that it is told.
func (s *Server) servePipe(conn net.Conn) {
	p := wire.NewPipe(conn, wire.ReadSilenceMax)
	received, err := serve(s.backend, p, s.stop)
	if err != nil {
		_ = p.Send(wire.AppendError(wire.AppendHead(nil, 0), 0, err)) // whoever has gone needs no reason
	}
	_ = p.Close()
	<-received
}

// Close ends the streams, the plain calls under way and the connections to other nodes.
// After it the gRPC server, which is its owner's to stop, can stop gracefully.
func (s *Server) Close() error {
	s.closing.Do(func() {
		close(s.stop)
		_ = s.router.Close() // it never fails
		s.peers.close()
	})
	return nil
}

// checkLimits refuses a request that is beyond the system's limits, before anybody works on it.
func checkLimits(q *kv.Request) *kv.Error {
	switch {
	case q.Partition == 0:
		return kv.Errorf(kv.Invalid, "a request must name its partition")
	case q.Read != nil:
		if n := len(q.Read.Keys); n == 0 {
			return kv.Errorf(kv.Invalid, "a read must name at least one key")
		} else if n > kv.GetManyKeysMax {
			return kv.LimitError("keys of one read", kv.GetManyKeysMax, int64(n), "read in parts")
		}
		for _, k := range q.Read.Keys {
			if err := checkKey(k); err != nil {
				return err
			}
		}
	case q.Commit != nil:
		return checkCommit(q.Commit)
	case q.Outcome != nil:
		return checkKey(q.Outcome.Anchor)
	}
	return nil
}

// fullKeyBytesMax is the longest full key: in a range keyspace the bucket's bytes are spare.
const fullKeyBytesMax = kv.KeyspacePrefixBytes + kv.BucketBytes + kv.KeyBytesMax

func checkKey(k kv.Key) *kv.Error {
	switch {
	case len(k) <= kv.KeyspacePrefixBytes:
		return kv.Errorf(kv.Invalid, "a full key of %d bytes: the keyspace alone takes %d", len(k), kv.KeyspacePrefixBytes)
	case len(k) > fullKeyBytesMax:
		return kv.LimitError("key bytes", kv.KeyBytesMax, int64(len(k)-kv.KeyspacePrefixBytes), "use a shorter key")
	}
	return nil
}

func checkCommit(c *kv.Commit) *kv.Error {
	if c.ID.IsZero() {
		return kv.Errorf(kv.Invalid, "a commit must have an id")
	}
	t := totals{}
	if err := t.add(c.Reads, c.Spans, c.Writes); err != nil {
		return err
	}
	if len(c.Parts) > 0 && len(c.Writes) == 0 {
		return kv.Errorf(kv.Invalid, "a commit with parts must write something in its own partition: the first key written is its anchor")
	}
	for i := range c.Parts {
		p := &c.Parts[i]
		if p.Partition == 0 {
			return kv.Errorf(kv.Invalid, "part %d of a commit must name its partition", i)
		}
		if err := t.add(p.Reads, p.Spans, p.Writes); err != nil {
			return err
		}
	}
	return t.check()
}

// totals are what all parts of a commit take together.
type totals struct{ keys, bytes int }

func (t *totals) check() *kv.Error {
	if t.keys > kv.CommitKeysMax {
		return kv.LimitError("keys of one commit", kv.CommitKeysMax, int64(t.keys), "commit in parts")
	}
	if t.bytes > kv.CommitBytesMax {
		return kv.LimitError("bytes of one commit", kv.CommitBytesMax, int64(t.bytes), "commit in parts")
	}
	return nil
}

// add checks and counts what a commit reads and writes in one partition.
func (t *totals) add(reads []kv.ReadMark, spans []kv.Span, writes []kv.Write) *kv.Error {
	n := len(writes) + len(reads) + len(spans)
	if n == 0 {
		return kv.Errorf(kv.Invalid, "a commit must read or write something in each of its partitions")
	}
	if t.keys += n; t.keys > kv.CommitKeysMax {
		return t.check()
	}
	for i := range writes {
		w := &writes[i]
		if err := checkKey(w.Key); err != nil {
			return err
		}
		for _, v := range [][]byte{w.Value, w.Expect.Value} {
			if len(v) > kv.ValueBytesMax {
				return kv.LimitError("value bytes", kv.ValueBytesMax, int64(len(v)), "store the value in parts")
			}
		}
		t.bytes += len(w.Key) + len(w.Value)
	}
	for _, r := range reads {
		if err := checkKey(r.Key); err != nil {
			return err
		}
		t.bytes += len(r.Key)
	}
	return nil
}
