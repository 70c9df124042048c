package router

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
)

// Limits of one link.
const (
	OpsInFlightMax = 16 << 10
	QueueBytesMax  = 2 * wire.MessageBytesMax
	SilenceMax     = 3 * time.Second
	// connectMax is how long a link waits for a connection before what is queued goes elsewhere.
	connectMax = time.Second
)

// Local is the node that the router lives in, which it reaches without a connection.
type Local interface {
	Info() kv.NodeInfo
	Heard() kv.Timestamp
	// Submit: done is called exactly once; cancel may be called at any time.
	Submit(req *kv.Request, done func(*kv.Response, *kv.Error)) (cancel func())
	Admin(ctx context.Context, req *kv.AdminRequest) (*kv.AdminResponse, error)
}

// Config is how to reach a cluster.
type Config struct {
	Seeds []string // addresses to begin with; others are learned
	TLS   *tls.Config
	Log   *slog.Logger // nil: slog.Default
	Local Local        // nil: none
	// Locality is where this process is, as nodes have it: "region=x,zone=y".
	Locality string
	// OnRPC, if set, hears of every copy of every request; it must not block.
	OnRPC func(ctx context.Context, info RPC)
	// Traced, if set, says for which contexts answers are to tell where their time went.
	Traced func(ctx context.Context) bool
	// OnTopology, if set, hears of every change of the map that answers brought about.
	OnTopology func(change Change)
}

// RPC is one copy of one request.
type RPC struct {
	Method    string
	Node      string // address
	Partition kv.PartitionID
	Start     time.Time
	Elapsed   time.Duration
	Bytes     int          // of the answer
	Timestamp kv.Timestamp // in the answer: at which was read or committed; 0: none
	Spent     kv.Spent     // where the node says that the time went, if the request was traced and answered or refused there
	Others    []RPCPart    // of a commit: what the partition's leader had others prepare
	Err       error
}

// RPCPart is one participant of a commit.
type RPCPart struct {
	kv.PartTiming        // only the partition if the commit was not traced, or nobody has told
	Node          string // address of who answered, or else of who is believed to lead it
	Bytes         int    // of the keys and values that it was sent
	Err           error  // of a commit that failed: what the participant has to do with it; nil: it had acknowledged
}

// Change is one change of the map.
type Change struct {
	Kind      string // "leader" or "map"
	Partition kv.PartitionID
	From, To  string // addresses; "" = not known
}

// Router is the way into one cluster. All methods may be called from any goroutine.
type Router struct {
	config  Config
	log     *slog.Logger
	calls   sync.Pool
	stop    context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // links, refreshes and renewals of holds
	holds   openHolds

	mu        sync.Mutex
	session   *session.Session
	near      near
	heardAt   time.Time
	links     map[lane]*link
	refreshes map[string]*refresh
	closed    bool
}

// source draws from the runtime's generator, which every goroutine may use.
type source struct{}

func (source) Uint64() uint64 { return rand.Uint64() }

// New is a router that knows its seeds only. It connects when it is first used.
func New(c Config) *Router {
	r := &Router{config: c, log: c.Log, session: session.New(source{}), links: map[lane]*link{}, refreshes: map[string]*refresh{}}
	if r.log == nil {
		r.log = slog.Default()
	}
	r.near, r.session.Nearest = newNear(c.Locality), r.nearest
	r.calls.New = func() any { return newCall() }
	r.stop, r.cancel = context.WithCancel(context.Background())
	return r
}

// Close ends all calls under way and waits for all goroutines.
func (r *Router) Close() error {
	r.mu.Lock()
	r.closed = true
	links := r.links
	r.links = map[lane]*link{}
	r.mu.Unlock()
	r.cancel()
	r.closeHolds()
	for _, l := range links {
		l.close()
	}
	r.running.Wait()
	return nil
}

// Heard is the newest timestamp that came from any node, and when it came.
func (r *Router) Heard() (kv.Timestamp, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session.Heard(), r.heardAt
}

func (r *Router) hear(t kv.Timestamp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(t)
}

// note is hear under mu.
func (r *Router) note(t kv.Timestamp) {
	if t > r.session.Heard() {
		r.session.Hear(t)
		r.heardAt = time.Now()
	}
}

// address is where a node is; "" if that is not known.
func (r *Router) address(n kv.NodeID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, _ := r.session.Map.Node(n)
	return info.Address
}

// leaderAddress is where a partition's leader is believed to be; empty: nobody knows.
func (r *Router) leaderAddress(p kv.PartitionID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	place, ok := r.session.Map.Partition(p)
	if !ok {
		return ""
	}
	info, _ := r.session.Map.Node(place.Leader)
	return info.Address
}

// lane is one of the two ways to a node. Scans have a connection of their own: a page of a
// megabyte holds up nobody who waits for a small answer.
type lane struct {
	address string
	bulk    bool
}

// link is the link of a lane, made if there is none. nil once the router is closed.
func (r *Router) link(to lane) (*link, *kv.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed()
	}
	if l := r.links[to]; l != nil {
		return l, nil
	}
	l, err := r.newLink(to.address)
	if err != nil {
		return nil, kv.Errorf(kv.Invalid, "address %q: %v", to.address, err)
	}
	r.links[to] = l
	r.running.Go(l.run)
	return l, nil
}

func errClosed() *kv.Error { return kv.Errorf(kv.Closed, "the client is closed") }

func (r *Router) newLink(address string) (*link, error) {
	creds := insecure.NewCredentials()
	if r.config.TLS != nil {
		creds = credentials.NewTLS(r.config.TLS)
	}
	conn, err := grpc.NewClient("passthrough:///"+address, append(wire.ClientOptions(),
		grpc.WithTransportCredentials(creds),
		grpc.WithNoProxy(), // nodes are not behind a proxy for the web
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.5, MaxDelay: time.Second},
			MinConnectTimeout: connectMax,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: SilenceMax}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MessageBytesMax), grpc.MaxCallSendMsgSize(wire.MessageBytesMax)),
		grpc.WithInitialWindowSize(streamWindowBytes), grpc.WithInitialConnWindowSize(connWindowBytes),
	)...)
	if err != nil {
		return nil, err
	}
	l := &link{router: r, address: address, conn: conn, kv: kvpb.NewKVClient(conn), admin: kvpb.NewAdminClient(conn), pending: map[uint64]*Call{}}
	l.work.L = &l.mu
	return l, nil
}

// Windows of flow control: fixed, so that a burst needs no probing, and a stream that is
// not read costs no more than this.
const (
	streamWindowBytes = 4 << 20
	connWindowBytes   = 16 << 20
)

// NewID draws the name of an attempt.
func (r *Router) NewID() kv.TxID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session.NewID()
}
