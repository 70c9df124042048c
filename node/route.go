package node

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Request is a client's request.
func (n *Node) Request(now kv.Instant, id RequestID, req *kv.Request) {
	n.at(now)
	n.route(id, req)
}

// route brings a request of a client, or of another partition's leader, to its replica.
func (n *Node) route(id RequestID, req *kv.Request) {
	r := n.replicas[req.Partition]
	switch {
	case r == nil || r.part == nil:
		n.reply(id, nil, n.wrongPartition(req.Partition))
	case n.system.draining && !r.leading:
		n.reply(id, nil, n.notLeader(r.group))
	case r.leading && n.system.full() && (req.Commit != nil || req.Prepare != nil):
		n.reply(id, nil, kv.Errorf(kv.DiskFull, "the disk of %s on node %d, which leads partition %d, is full: free some space there; nothing was done", n.cfg.DataDir, n.id.Node, req.Partition))
	case r.leading:
		n.request(r, id, req)
	case n.answersAsFollower(r, id, req):
	default:
		n.park(r, parkedRequest{id: id, req: req})
	}
}

func (n *Node) request(r *replica, id RequestID, req *kv.Request) {
	n.activate(r)
	r.usedAt = n.now
	if req.Commit != nil || req.Prepare != nil || req.Stage != nil || req.Resolve != nil {
		r.wrote = max(r.wrote, n.system.heard, 1)
	}
	r.part.Request(id, req)
}

// park keeps a request until the replica leads; it is turned away as soon as another does.
func (n *Node) park(r *replica, w parkedRequest) {
	g := r.group
	if g.LeaderNode() != 0 && !g.Leads() || r.waiting.len() >= waitingMax {
		n.refuse(w, n.notLeader(g))
		return
	}
	g.Wanted()
	w.at = n.now
	if r.waiting.len() == 0 {
		n.keep.parked = append(n.keep.parked, r)
	}
	r.waiting.add(w)
}

// parkMax is how long a request waits for the replica to have a leader: then its sender gets
// news, and may ask elsewhere.
const parkMax = kv.Instant(500 * time.Millisecond)

// parkTick answers the requests that waited too long.
func (n *Node) parkTick() {
	list := n.keep.parked
	n.keep.parked = nil
	for _, r := range list {
		for _, w := range r.waiting.takeSince(n.now - parkMax) {
			n.refuse(w, n.leaderless(r))
		}
		if r.waiting.len() > 0 {
			n.keep.parked = append(n.keep.parked, r)
		}
	}
}

func (n *Node) leaderless(r *replica) *kv.Error {
	p := r.group.Partition()
	e := kv.Errorf(kv.Unavailable, "partition %d has no leader: its replicas are electing one, or most of them cannot be reached; nothing was done, try again; kvcli status shows what is wrong", p)
	e.Partition = p
	return e
}

func (n *Node) refuse(w parkedRequest, err *kv.Error) {
	if w.admin != nil {
		n.adminReply(w.id, nil, err)
		return
	}
	n.reply(w.id, nil, err)
}

func (n *Node) wrongPartition(p kv.PartitionID) *kv.Error {
	if s := n.damagedReplica(p); s != nil {
		e := kv.Errorf(kv.Unavailable, "the replica of partition %d on node %d is damaged and stays stopped: it is replaced from its peers, or, if it is the only one, restored by hand; kvcli status shows what is wrong", p, n.id.Node)
		e.Partition = p
		return e
	}
	e := kv.Errorf(kv.WrongPartition, "this node holds no replica of partition %d: refresh the map", p)
	e.Partition = p
	if d, ok := n.core.Descriptor(p); ok {
		e.Descriptors = []*kv.Descriptor{d}
	}
	return e
}

// Cancel says that nobody waits for the request any more: a deadline passed, or a caller went
// away, with all that it asked for. p is the partition that the request named; 0 for an
// administrator's, which may wait in the core or for any replica.
func (n *Node) Cancel(now kv.Instant, id RequestID, p kv.PartitionID) {
	n.at(now)
	delete(n.follows.open, id)
	if p == 0 {
		for _, r := range n.keep.parked {
			r.waiting.cancel(id)
		}
		n.core.Cancel(coreRequest(id))
		return
	}
	r := n.replicas[p]
	if r == nil {
		return
	}
	r.waiting.cancel(id)
	if r.leading && r.part != nil {
		r.part.Cancel(id)
	}
}

// Receive is a message from another node, or from this one.
func (n *Node) Receive(now kv.Instant, from kv.NodeID, m Message) {
	n.at(now)
	switch {
	case m.Raft != nil:
		n.hear(m.Heard)
		n.set.Receive(from, *m.Raft)
	case m.Heartbeat != nil:
		n.set.Heartbeat(from, *m.Heartbeat)
	case m.Ack != nil:
		n.set.HeartbeatAck(from, *m.Ack)
	case m.Draw != nil:
		n.draw(from, m.Draw)
	case m.Grant != nil:
		n.draws.answer(n, from, m.Grant)
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
	case m.Call != nil:
		n.answerCall(from, m.Call)
	case m.CallDone != nil:
		n.callDone(from, m.CallDone)
	case m.Closed != nil:
		n.hearClosed(from, m.Closed)
	case m.ClosedGap != nil:
		n.closedGap(from, m.ClosedGap)
	case m.Retain != nil:
		n.keep.retention.hear(m.Retain)
	}
}

// PeerLost says that the stream to a node broke, or that something was dropped from it.
func (n *Node) PeerLost(now kv.Instant, node kv.NodeID) {
	n.at(now)
	n.set.PeerLost(node)
	n.unheard(node)
	if node == n.oracle() {
		n.draws.again()
	}
	n.calls.lost(n, node)
	n.closed.again(node)
}
