package host

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// Times of the links between nodes.
const (
	reconnectMin     = 20 * time.Millisecond
	reconnectMax     = 250 * time.Millisecond
	refusedRetry     = time.Second // after a refusal that will not go away by itself
	handshakeTimeout = 2 * time.Second
)

// peers are the links from this node to all others: one a node, for this direction.
type peers struct {
	self handshake // without To
	lost func(kv.NodeID)
	log  hclog.Logger
	dial func(ctx context.Context, address string) (net.Conn, error)

	mu     sync.Mutex // guards changes of byID
	byID   atomic.Pointer[map[kv.NodeID]*peer]
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	closed bool
}

// peer is the link to one node.
type peer struct {
	id      kv.NodeID
	out     *outbox
	address atomic.Pointer[string]
	cancel  context.CancelFunc
	sent    atomic.Int64
	drops   atomic.Int64
	up      atomic.Bool
}

func newPeers(self handshake, lost func(kv.NodeID), log hclog.Logger) *peers {
	p := &peers{self: self, lost: lost, log: log, dial: dialTCP}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.byID.Store(&map[kv.NodeID]*peer{})
	return p
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectTimeout}
	return d.DialContext(ctx, "tcp", address)
}

// get is the peer of an id, nil if it is not known.
func (p *peers) get(id kv.NodeID) *peer { return (*p.byID.Load())[id] }

// all are the peers, in no order.
func (p *peers) all() map[kv.NodeID]*peer { return *p.byID.Load() }

// connect makes nodes known, or their new addresses. Nodes that were replaced are forgotten.
func (p *peers) connect(nodes []kv.NodeInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	old := *p.byID.Load()
	byID := make(map[kv.NodeID]*peer, len(nodes))
	for id, x := range old {
		byID[id] = x
	}
	for _, n := range nodes {
		x := byID[n.ID]
		switch {
		case n.ID == p.self.Node || n.ID == 0 || n.Address == "":
		case n.Replaced:
			if x != nil {
				x.stop()
				delete(byID, n.ID)
			}
		case x != nil:
			x.address.Store(&n.Address)
		default:
			byID[n.ID] = p.start(n)
		}
	}
	p.byID.Store(&byID)
}

func (p *peers) start(n kv.NodeInfo) *peer {
	x := &peer{id: n.ID, out: newOutbox()}
	x.address.Store(&n.Address)
	ctx, cancel := context.WithCancel(p.ctx)
	x.cancel = cancel
	p.group.Go(func() { p.run(ctx, x) })
	return x
}

func (x *peer) stop() {
	x.cancel()
	x.out.close()
}

// learn notes the address under which a node was seen.
func (p *peers) learn(id kv.NodeID, address string) {
	if x := p.get(id); x != nil && address != "" && *x.address.Load() != address {
		x.address.Store(&address)
	}
}

// close ends all links and waits for their goroutines.
func (p *peers) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	for _, x := range p.all() {
		x.out.close()
	}
	p.group.Wait()
}

// run keeps the link to one peer open.
func (p *peers) run(ctx context.Context, x *peer) {
	const patience = time.Second // nodes that start together miss each other at first
	wait, said, down := reconnectMin, "", time.Now()
	for ctx.Err() == nil {
		begun := time.Now()
		err := p.session(ctx, x)
		if x.up.Swap(false) {
			x.out.shut()
			p.lost(x.id)
			wait, said, down = reconnectMin, "", time.Now()
		}
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != said && time.Since(down) > patience {
			said = text
			p.log.Warn("no link to node", "node", x.id, "address", *x.address.Load(), "error", text)
		}
		if r := (*refusedError)(nil); errors.As(err, &r) && r.forGood {
			wait = refusedRetry
		}
		select {
		case <-ctx.Done():
		case <-time.After(max(wait-time.Since(begun), reconnectMin)):
		}
		wait = min(2*wait, reconnectMax)
	}
}

// session opens a link and sends until it breaks.
func (p *peers) session(ctx context.Context, x *peer) error {
	conn, err := p.dial(ctx, *x.address.Load())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	l := newLink(conn)
	if err := p.greet(l, x.id); err != nil {
		return err
	}
	if !x.out.opened() {
		return ctx.Err()
	}
	x.up.Store(true)
	p.log.Debug("link open", "node", x.id, "address", *x.address.Load())
	ended := make(chan error, 1)
	p.group.Go(func() {
		ended <- l.watch()
		x.out.shut()
		_ = conn.Close()
	})
	for frames := x.out.take(nil); frames != nil && err == nil; frames = x.out.take(frames) {
		_, err = conn.Write(frames)
		x.sent.Add(int64(len(frames)))
	}
	_ = conn.Close()
	return <-ended // no watcher outlives its link, or it would shut the next one's outbox
}

// greet opens a link and checks who answers.
func (p *peers) greet(l *link, to kv.NodeID) error {
	h := p.self
	h.To = to
	back, err := l.greet(&h)
	if err != nil {
		return err
	}
	if back.Cluster != p.self.Cluster || back.Node != to {
		return kv.Errorf(kv.NotFound, "node %d was looked for, node %d of cluster %016x answers", to, back.Node, back.Cluster)
	}
	return nil
}

// send queues a message of a loop's running turn; the loop calls flush after it.
func (p *peers) send(x *peer, m *node.Message) { x.out.add(m) }

// flush ends a loop's turn for a peer that was sent something.
func (p *peers) flush(x *peer) {
	if x.out.flush() {
		x.drops.Add(1)
		p.lost(x.id)
	}
}
