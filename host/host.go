package host

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/kvd-db/kvd/host/door"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/proto/peerpb"
)

// Host is one node in the real world: Open, Start, then Drain and Close.
type Host struct {
	options Options
	dir     *directory
	address string // under which others reach this node
	former  *former
	net     network
	metrics *metrics

	running  atomic.Pointer[running] // nil until the node is made, and after Close
	draining atomic.Bool
	failed   chan struct{} // closed at the first failure that ends the node
	failure  error
	once     sync.Once
	group    sync.WaitGroup
	stop     context.CancelFunc // of what runs beside the node
}

// network is what the host listens on.
type network struct {
	listener net.Listener
	door     *door.Door // over the listener
	admin    net.Listener
	server   *grpc.Server
	http     *http.Server
}

// Open checks the options, takes the data directory and the addresses. Nothing runs yet.
func Open(o Options) (*Host, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.setDefaults()
	h := &Host{options: o, failed: make(chan struct{}), metrics: newMetrics(), stop: func() {}}
	dir, err := openDirectory(o.Data, o.Timing.Support)
	if err != nil {
		return nil, err
	}
	h.dir = dir
	if err := h.listen(); err != nil {
		dir.close()
		return nil, err
	}
	h.former = &former{dir: dir, join: o.joinList(h.address), address: h.address, locality: o.Locality, dial: dialForm, admin: o.Admin, log: o.Log}
	return h, nil
}

func (h *Host) listen() error {
	var err error
	if h.net.listener, err = net.Listen("tcp", h.options.Listen); err != nil {
		return kv.Errorf(kv.Unavailable, "cannot listen on %s: %v: stop what uses it, or give another --listen", h.options.Listen, err)
	}
	if a := h.options.Network.AdminListen; a != "" {
		if h.net.admin, err = net.Listen("tcp", a); err != nil {
			_ = h.net.listener.Close()
			return kv.Errorf(kv.Unavailable, "cannot listen on %s: %v: stop what uses it, or give another --admin-listen", a, err)
		}
	}
	h.address = h.options.Network.Advertise
	if h.address == "" {
		h.address = reachable(h.net.listener.Addr().String(), h.options.Listen)
	}
	return nil
}

// reachable is the address that others can use: the one given, with the port that was
// found for 0, and with this machine's name in place of "any interface".
func reachable(actual, given string) string {
	_, port, err := net.SplitHostPort(actual)
	if err != nil {
		return actual
	}
	host, _, _ := net.SplitHostPort(given)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return actual
		}
	}
	return net.JoinHostPort(host, port)
}

// Address is where this node is reached.
func (h *Host) Address() string { return h.address }

// ListenAddress is where this node listens: another one than Address if it advertises that.
func (h *Host) ListenAddress() string { return h.net.listener.Addr().String() }

// AdminAddress is where the admin port listens, empty if there is none.
func (h *Host) AdminAddress() string {
	if h.net.admin == nil {
		return ""
	}
	return h.net.admin.Addr().String()
}

// Start brings the node up, and returns once it serves. At a first start it waits for the
// others of its cluster for as long as the context lets it.
func (h *Host) Start(ctx context.Context) error {
	h.net.server = newServer()
	peerpb.RegisterPeerServer(h.net.server, &service{host: h})
	plain := door.Plain{linkMagic: {Serve: h.serveLink, ConnsMax: linksMax}}
	if h.options.Doors != nil {
		maps.Copy(plain, h.options.Doors(h.net.server, h))
	}
	h.metrics.registry.MustRegister(collector{h})
	h.net.door = door.Open(h.net.listener, plain)
	h.group.Go(func() {
		if err := h.net.server.Serve(h.net.door); err != nil && !errors.Is(err, net.ErrClosed) {
			h.fail(kv.Errorf(kv.Internal, "serving on %s: %v", h.address, err))
		}
	})
	if h.net.admin != nil {
		h.net.http = startHTTP(h, h.net.admin)
	}
	if err := h.former.run(ctx); err != nil {
		return err
	}
	if err := h.recognise(ctx); err != nil {
		return err
	}
	moved := h.dir.current().Address
	r, err := h.startNode()
	if err != nil {
		return err
	}
	h.running.Store(r)
	beside, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.group.Go(func() { thrift(beside) })
	if moved != "" && moved != h.address {
		h.group.Go(func() { h.register(beside) })
	}
	return nil
}

// recognise asks the nodes of --join who they are: nodes of another cluster are a mistake
// that must not go on, and the others may have new addresses.
func (h *Host) recognise(ctx context.Context) error {
	s := h.dir.current()
	var met []kv.NodeInfo
	for _, in := range h.former.hello(ctx) {
		switch {
		case in == nil || in.GetNonce() == s.Nonce || in.GetClusterId() == 0:
		case in.GetClusterId() != s.Cluster:
			return kv.Errorf(kv.Denied, "the data directory %s belongs to node %d of cluster %016x, the node at %s to cluster %016x: correct --join, or give the right --data (an empty one comes as a new node)",
				h.dir.path, s.Node, s.Cluster, in.GetAddress(), in.GetClusterId())
		default:
			met = append(met, kv.NodeInfo{ID: kv.NodeID(in.GetNodeId()), Address: in.GetAddress(), Locality: in.GetLocality(), Nonce: in.GetNonce()})
		}
	}
	return h.dir.update(func(s *Store) {
		peers := slices.Clone(s.Peers)
		for _, n := range met {
			if i := slices.IndexFunc(peers, func(p kv.NodeInfo) bool { return p.ID == n.ID }); i < 0 {
				peers = append(peers, n)
			} else {
				peers[i].Address = n.Address
			}
		}
		s.Peers = peers
	})
}

// register tells the registry this node's new address, through whoever takes it.
func (h *Host) register(ctx context.Context) {
	const retryEvery = 500 * time.Millisecond
	for {
		through := append([]string{h.address}, h.former.join...)
		for _, p := range h.dir.current().Peers {
			through = append(through, p.Address)
		}
		for _, address := range through {
			if _, err := h.former.register(ctx, address); err == nil {
				h.options.Log.Info("this node's new address is in the registry", "address", h.address)
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryEvery):
		}
	}
}

// remember writes the registry down for the next start.
func (h *Host) remember(nodes []kv.NodeInfo) {
	h.group.Go(func() {
		if err := h.dir.update(func(s *Store) { s.Peers = nodes }); err != nil {
			h.options.Log.Error("writing the registry down", "error", err)
		}
	})
}

// fail ends the node: its owner hears of it by Failed.
func (h *Host) fail(err error) {
	h.once.Do(func() {
		h.failure = err
		close(h.failed)
	})
}

// Failed is closed when the node cannot go on, for instance after a failed sync: the process must
// end at once, without touching the disk. Failure says why.
func (h *Host) Failed() <-chan struct{} { return h.failed }

// Failure is why the node cannot go on; valid once Failed is closed.
func (h *Host) Failure() error { return h.failure }

// Drain gives leaderships away until none is left that another node could take, or the
// context ends.
func (h *Host) Drain(ctx context.Context) {
	const askEvery = 20 * time.Millisecond
	h.draining.Store(true)
	r := h.running.Load()
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, h.options.Timing.Drain)
	defer cancel()
	for ctx.Err() == nil {
		left := make(chan int, len(r.loops))
		r.loops.every(func(n *node.Node, now kv.Instant) { left <- n.Drain(now) })
		sum, open := 0, len(r.loops)
		for open > 0 && ctx.Err() == nil {
			select {
			case n := <-left:
				sum, open = sum+n, open-1
			case <-r.ended:
				return
			case <-ctx.Done():
			}
		}
		if open == 0 && sum == 0 {
			return
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
		}
	}
	h.options.Log.Warn("some leaderships could not be handed over in time", "waited", h.options.Timing.Drain)
}

// Close ends everything in order; what was acknowledged is on the disk. It can be called
// whatever became of Start.
func (h *Host) Close() error {
	h.draining.Store(true)
	h.stop()
	var err error
	if r := h.running.Swap(nil); r != nil {
		err = r.stop()
	}
	if h.net.server != nil {
		h.net.server.Stop()
	}
	if h.net.http != nil {
		_ = h.net.http.Close()
	}
	_ = h.net.listener.Close()
	if h.net.door != nil {
		_ = h.net.door.Close()
	}
	if h.net.admin != nil {
		_ = h.net.admin.Close()
	}
	h.group.Wait()
	h.dir.close()
	return err
}
