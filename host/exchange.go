package host

import (
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/proto/peerpb"
)

// receiver is the other end of the peers' streams: what they send goes to the inbox.
type receiver struct {
	self    handshake // without To
	deliver func(from kv.NodeID, messages []node.Message, bytes int) bool
	learn   func(kv.NodeID, string)

	mu      sync.Mutex
	streams map[kv.NodeID]stream
}

// stream is the newest stream of a node.
type stream struct {
	incarnation uint64
	serial      uint64
}

func newReceiver(self handshake, deliver func(kv.NodeID, []node.Message, int) bool, learn func(kv.NodeID, string)) *receiver {
	return &receiver{self: self, deliver: deliver, learn: learn, streams: map[kv.NodeID]stream{}}
}

// exchange serves one stream until it ends, or a newer one of the same node takes its place.
func (r *receiver) exchange(s grpc.BidiStreamingServer[peerpb.PeerBatch, peerpb.PeerBatch]) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	h, err := r.admit(first.GetFrames())
	if err != nil {
		return refusal(err)
	}
	serial, err := r.begin(&h)
	if err != nil {
		return refusal(err)
	}
	back := r.self
	back.To = h.Node
	if err := s.Send(&peerpb.PeerBatch{Frames: back.append(nil)}); err != nil {
		return err
	}
	for {
		b, err := s.Recv()
		if err != nil {
			return err
		}
		if !r.current(h.Node, serial) {
			return status.Error(codes.Aborted, "a newer stream of the same node has come")
		}
		messages, err := decodeFrames(b.GetFrames())
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		if !r.deliver(h.Node, messages, len(b.GetFrames())) {
			return status.Error(codes.Unavailable, errStopping.Message)
		}
	}
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

// begin makes this the node's stream. A stream of an earlier life is refused.
func (r *receiver) begin(h *handshake) (serial uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[h.Node]
	if h.Incarnation < s.incarnation {
		return 0, kv.Errorf(kv.Denied, "node %d has been started again since (incarnation %d, this is %d)", h.Node, s.incarnation, h.Incarnation)
	}
	s.incarnation = h.Incarnation
	s.serial++
	r.streams[h.Node] = s
	r.learn(h.Node, h.Address)
	return s.serial, nil
}

func (r *receiver) current(n kv.NodeID, serial uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.streams[n].serial == serial
}

// refusal makes a typed refusal travel.
func refusal(err error) error {
	code := codes.FailedPrecondition
	if kv.KindOf(err) == kv.NotFound || kv.KindOf(err) == kv.Unavailable {
		code = codes.Unavailable // may go away by itself
	}
	return status.Error(code, kv.AsError(err).Message)
}
