package kvtest

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kvd-db/kvd/host"
	"github.com/kvd-db/kvd/host/door"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
	"github.com/kvd-db/kvd/server"
)

// node is one node, running or not.
type node struct {
	front    *front
	dir      string
	locality string
	host     *host.Host // nil: it does not run
	doors    *server.Server
}

// open takes the node's directory and an address; start follows.
func (n *node) open(join []string, c *Cluster) (err error) {
	o := host.Options{
		Data: n.dir, Listen: "127.0.0.1:0", Join: join, Locality: n.locality,
		Network: host.Network{Advertise: n.front.address(), Dial: n.front.dial},
		Storage: host.Storage{CacheBytes: 8 << 20, MemTableBytes: 4 << 20, EntryCacheBytes: 4 << 20, LogSegmentBytes: 4 << 20, ReserveBytes: 1 << 20},
		Timing:  host.Timing{Wall: c.wall, Retain: retainEvery},
		Admin:   askAdmin,
		Doors: func(r grpc.ServiceRegistrar, h *host.Host) door.Plain {
			n.doors = server.Register(r, backend{h, &c.faults}, server.Options{Log: slog.New(slog.DiscardHandler)})
			return n.doors.Plain()
		},
	}
	o.Timing.Core.ClockJumpMax = jumpMax
	n.host, err = host.Open(o)
	if err == nil {
		n.front.lead(n.host.ListenAddress())
	}
	return err
}

// Of the clusters of tests, whose clock Advance moves.
const (
	retainEvery = 500 * time.Millisecond
	jumpMax     = 10 * kv.RetentionMax
)

// stop ends the node. Leaderships are not handed over, and no answer is waited for.
func (n *node) stop() error {
	n.front.lead("")
	if n.doors != nil {
		_ = n.doors.Close() // it never fails
	}
	h := n.host
	n.host, n.doors = nil, nil
	return h.Close()
}

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

// faults is what shall go wrong with the next commit, at whatever node.
type faults struct{ next atomic.Int32 }

// backend is a host as a server wants it, with faults.
type backend struct {
	*host.Host
	faults *faults
}

// Submit hands over requests.
func (b backend) Submit(batch []*server.Submission) {
	asks := make([]host.Ask, 0, len(batch))
	for _, s := range batch {
		ask := host.Ask{Request: s.Request, Asker: s.Asker, Handle: &s.Handle}
		if q := s.Request.Commit; q != nil {
			switch {
			case b.faults.next.CompareAndSwap(int32(BeforeCommitPoint), 0):
				s.Asker.Answer(nil, &kv.Error{Kind: kv.Conflict, Key: firstKey(q), Message: "FailNextCommit: before the commit point"})
				continue
			case b.faults.next.CompareAndSwap(int32(AfterCommitPoint), 0):
				ask.Asker = &forgetful{asker: s.Asker, faults: b.faults}
			}
		}
		asks = append(asks, ask)
	}
	b.Host.Submit(asks)
}

// Cancel tells that nobody waits for a submission any more.
func (b backend) Cancel(s *server.Submission) { b.Host.Cancel(s.Handle) }

func firstKey(q *kv.Commit) kv.Key {
	if len(q.Writes) == 0 {
		return nil
	}
	return q.Writes[0].Key
}

// forgetful loses the answer to a commit that has happened. One that has not is left alone, and
// the next one is tried.
type forgetful struct {
	asker  server.Asker
	faults *faults
}

// Answer passes on that the answer was lost.
func (f *forgetful) Answer(a *kv.Response, err *kv.Error) {
	if err != nil {
		f.faults.next.Store(int32(AfterCommitPoint))
		f.asker.Answer(nil, err)
		return
	}
	f.asker.Answer(nil, kv.Errorf(kv.Ambiguous, "FailNextCommit: the answer to a commit at %s was lost", a.Timestamp))
}
