package node

import (
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// Request is a client's request.
func (n *Node) Request(now kv.Instant, id RequestID, req *kv.Request) {
	n.at(now)
	r := n.replicas[req.Partition]
	switch {
	case r == nil || r.part == nil:
		n.reply(id, nil, n.wrongPartition(req.Partition))
	case n.system.draining && !r.leading:
		n.reply(id, nil, n.notLeader(r.group))
	case r.leading:
		n.request(r, id, req)
	default:
		n.park(r, parkedRequest{id: id, req: req})
	}
}

func (n *Node) request(r *replica, id RequestID, req *kv.Request) {
	n.activate(r)
	r.usedAt = n.now
	if req.Commit != nil {
		r.wrote = max(r.wrote, n.system.heard, 1)
	}
	r.part.Request(id, req)
}

// park keeps a request until the replica leads; it is turned away as soon as another does.
func (n *Node) park(r *replica, w parkedRequest) {
	g := r.group
	if g.LeaderNode() != 0 && !g.Leads() || len(r.waiting) >= waitingMax {
		n.refuse(w, n.notLeader(g))
		return
	}
	g.Wanted()
	r.waiting = append(r.waiting, w)
}

func (n *Node) refuse(w parkedRequest, err *kv.Error) {
	if w.admin != nil {
		n.adminReply(w.id, nil, err)
		return
	}
	n.reply(w.id, nil, err)
}

func (n *Node) wrongPartition(p kv.PartitionID) *kv.Error {
	e := kv.Errorf(kv.WrongPartition, "this node holds no replica of partition %d: refresh the map", p)
	e.Partition = p
	if d, ok := n.core.Descriptor(p); ok {
		e.Descriptors = []*kv.Descriptor{d}
	}
	return e
}

// Cancel says that nobody waits for the request any more. It is rare: a deadline passed.
func (n *Node) Cancel(now kv.Instant, id RequestID) {
	n.at(now)
	for _, r := range n.keep.active {
		if r.leading && r.part != nil {
			r.part.Cancel(id)
		}
	}
	for _, g := range n.set.Groups() {
		if r := n.replicas[g.Partition()]; len(r.waiting) > 0 {
			r.waiting = slices.DeleteFunc(r.waiting, func(w parkedRequest) bool { return w.id == id })
		}
	}
	n.core.Cancel(coreRequest(id))
}

// Receive is a message from another node, or from this one.
func (n *Node) Receive(now kv.Instant, from kv.NodeID, m Message) {
	n.at(now)
	switch {
	case m.Raft != nil:
		n.set.Receive(from, *m.Raft)
	case m.Heartbeat != nil:
		n.set.Heartbeat(from, *m.Heartbeat)
	case m.Ack != nil:
		n.set.HeartbeatAck(from, *m.Ack)
	case m.Draw != nil:
		n.draw(from, m.Draw)
	case m.Grant != nil:
		n.draws.granted(n, from, m.Grant)
	case m.Report != nil:
		n.reported(from, m.Report)
	case m.Order != nil:
		n.order(from, m.Order)
	case m.OrderDone != nil:
		n.orderDone(from, m.OrderDone)
	case m.CoreHint != nil:
		n.coreHint(from, m.CoreHint)
	case m.Registry != nil:
		n.registry(from, m.Registry)
	case m.Digest != nil:
		n.digest(from, m.Digest)
	}
}

// PeerLost says that the stream to a node broke, or that something was dropped from it.
func (n *Node) PeerLost(now kv.Instant, node kv.NodeID) {
	n.at(now)
	n.set.PeerLost(node)
	if node == n.oracle() {
		n.draws.again()
	}
}

// DiskSlow says that an fsync hangs, or does no more (L9).
func (n *Node) DiskSlow(now kv.Instant, slow bool) {
	n.at(now)
	n.set.DiskSlow(slow)
}
