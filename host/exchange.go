package host

import (
	"net"
	"sync"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// receiver is the other end of the peers' links: what they send goes to the inbox.
type receiver struct {
	self    handshake // without To
	deliver func(from kv.NodeID, messages []node.Message, bytes int) bool
	learn   func(kv.NodeID, string)

	mu    sync.Mutex
	peers map[kv.NodeID]*sender
}

// sender is a node that sends to this one, whatever the link.
//
// Invariant: what a link has delivered was delivered before a newer link began, so no message
// of a peer's earlier life comes after one of its present life.
type sender struct {
	mu          sync.Mutex // held while something is delivered
	incarnation uint64
	serial      uint64 // of the newest link
}

func newReceiver(self handshake, deliver func(kv.NodeID, []node.Message, int) bool, learn func(kv.NodeID, string)) *receiver {
	return &receiver{self: self, deliver: deliver, learn: learn, peers: map[kv.NodeID]*sender{}}
}

// serve takes the messages of one link until it ends, or a newer one of the same node takes its place.
func (r *receiver) serve(c net.Conn) error {
	l := newLink(c)
	raw, err := l.handshake()
	if err != nil {
		return err
	}
	h, err := r.admit(raw)
	if err != nil {
		return l.refuse(err)
	}
	x, serial, err := r.begin(&h)
	if err != nil {
		return l.refuse(err)
	}
	back := r.self
	back.To = h.Node
	if err := l.welcome(&back); err != nil {
		return err
	}
	for {
		frames, err := l.read()
		if err != nil {
			return err
		}
		messages, err := decodeFrames(frames)
		if err != nil {
			return err
		}
		if !r.accept(x, serial, h.Node, messages, len(frames)) {
			return nil
		}
		if err := l.pulse(time.Now()); err != nil {
			return err
		}
	}
}

// accept delivers what a link brought; false: a newer link has come, or this node stops.
func (r *receiver) accept(x *sender, serial uint64, from kv.NodeID, messages []node.Message, bytes int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.serial == serial && r.deliver(from, messages, bytes)
}

// admit reads a handshake and refuses those that this node must not listen to.
func (r *receiver) admit(raw []byte) (handshake, error) {
	h, err := decodeHandshake(raw)
	if err != nil {
		return h, err
	}
	if err := h.check(&r.self); err != nil {
		return h, err
	}
	return h, nil
}

// begin makes this the node's link, once what an older one is delivering is delivered. A link
// of an earlier life is refused.
func (r *receiver) begin(h *handshake) (x *sender, serial uint64, err error) {
	r.mu.Lock()
	x = r.peers[h.Node]
	if x == nil {
		x = &sender{}
		r.peers[h.Node] = x
	}
	r.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if h.Incarnation < x.incarnation {
		return nil, 0, kv.Errorf(kv.Denied, "node %d has been started again since (incarnation %d, this is %d)", h.Node, x.incarnation, h.Incarnation)
	}
	x.incarnation = h.Incarnation
	x.serial++
	r.learn(h.Node, h.Address)
	return x, x.serial, nil
}
