package node

import (
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Call is what the leader of one partition asks that of another. Exactly one of Request and Find is set.
type Call struct {
	Number  uint64         // the asking loop's own
	Loop    int            // of the asking node, echoed
	Heard   kv.Timestamp   // the newest that the asker has heard of
	Request *kv.Request    // a Prepare, a Stage, a Resolve or an Outcome
	Find    kv.PartitionID // instead: who has this partition? Loop 0 answers WrongPartition, with the descriptor that the core knows
}

// CallDone answers the Call of the same Number. Exactly one of Response and Err is set.
type CallDone struct {
	Number   uint64
	Loop     int
	Heard    kv.Timestamp // the newest that the answering node has heard of; Response has it, too
	Response *kv.Response
	Err      *kv.Error
}

// calls are what the partitions of this loop ask others. Each is one attempt: it looks for the leader, over
// a few nodes if it must, and then it has the answer or is given up; the partition asks again if it wants to.
//
// Invariants: a number is used for one message only, so no answer is taken for that to another
// question, or given twice; what a term asked is not answered in another one (A5).
type calls struct {
	seq      uint64                       // begins with the incarnation: an answer to an earlier life is nobody's
	byNumber map[uint64]*call             // under way; never iterated
	awaited  map[kv.NodeID]int            // of those, which somebody waits for, by node: all but Resolves
	list     []*call                      // in the order of asking; ended ones have no rep
	failed   []*call                      // to be answered at the next tick: a sink's calls do not re-enter the partition
	leaders  map[kv.PartitionID]kv.NodeID // as far as answers have told
	answered func(r *replica, token uint64, resp *kv.Response, err *kv.Error)
}

type call struct {
	rep    *replica // that asks; nil: the call has ended
	term   kv.Term  // in which it leads
	token  uint64
	follow *follow    // for which a replica asks that need not lead; token is the number of the question
	at     kv.Instant // when it was asked
	req    *kv.Request
	number uint64
	node   kv.NodeID // that was asked last
	find   bool      // that one was asked where the partition is
	hops   int
	err    *kv.Error // why it has failed
}

const (
	callsMax    = 1 << 14                 // under way at once
	callTimeout = kv.Instant(time.Second) // for all hops together; above parkMax, so that a replica without a leader can say so
	hopsMax     = 3                       // beyond the node asked first: the core, a replica, the leader
	leadersMax  = 1 << 12                 // hints kept
	// ridesFrom is from how many calls on, that others wait for at a node, a Resolve to that node goes with other
	// messages: each of the calls is followed by some. At the latest it goes at the next slow tick. Whoever meets a
	// lock before that asks what became of it.
	ridesFrom = 3
)

// call asks the leader of another partition.
func (n *Node) call(r *replica, token uint64, to kv.PartitionID, req *kv.Request) {
	n.activate(r)
	r.usedAt = n.now // who asks again and again is ticked
	q := *req
	q.Partition = to
	n.begin(&call{rep: r, term: r.term, token: token, at: n.now, req: &q})
}

// callFollowing asks an anchor for a read at a replica that does not lead.
func (n *Node) callFollowing(f *follow, i int, req *kv.Request) {
	n.begin(&call{rep: f.rep, token: uint64(i), follow: f, at: n.now, req: req})
}

func (n *Node) begin(x *call) {
	to := x.req.Partition
	if len(n.calls.byNumber)+len(n.calls.failed) >= callsMax {
		n.calls.fail(x, callError(kv.Unavailable, to, "%d calls of this node are under way, the most that may", callsMax))
		return
	}
	if len(n.calls.list) >= 2*callsMax {
		n.calls.tidy()
	}
	n.calls.list = append(n.calls.list, x)
	node, find := n.whereIs(to)
	n.dispatch(x, node, find)
}

func callError(k kv.Kind, p kv.PartitionID, format string, args ...any) *kv.Error {
	e := kv.Errorf(k, "partition %d could not be asked: %s: try again", p, kv.Errorf(k, format, args...).Message)
	e.Partition = p
	return e
}

// whereIs is the node to ask for a partition: its leader as far as it is known here, or else a replica, or else
// (find) the core's leader, which knows the replicas. 0: nobody is known.
func (n *Node) whereIs(p kv.PartitionID) (node kv.NodeID, find bool) {
	if r := n.replicas[p]; r != nil {
		if to := r.group.LeaderNode(); to != 0 && !r.group.Leads() {
			return to, false
		}
		return n.id.Node, false // it leads, or waits there until somebody does
	}
	if to := n.calls.leaders[p]; to != 0 {
		return to, false
	}
	if d, ok := n.core.Descriptor(p); ok {
		return n.voterOf(d, 0), false
	}
	return n.oracle(), true
}

// voterOf is a voter of a partition: this node, or any. It is not the one excepted; 0: there is none.
func (n *Node) voterOf(d *kv.Descriptor, except kv.NodeID) kv.NodeID {
	var nodes []kv.NodeID
	for _, r := range d.Replicas {
		if r.Role != kv.RoleVoter || r.Node == except {
			continue
		}
		if r.Node == n.id.Node {
			return r.Node
		}
		nodes = append(nodes, r.Node)
	}
	if len(nodes) == 0 {
		return 0
	}
	return nodes[n.rng.IntN(len(nodes))]
}

// dispatch sends the question, under a number of its own, to a node.
func (n *Node) dispatch(x *call, node kv.NodeID, find bool) {
	c := &n.calls
	if node == 0 {
		c.fail(x, callError(kv.Unavailable, x.req.Partition, "no node is known that could say who leads it"))
		return
	}
	c.seq++
	x.number, x.node, x.find = c.seq, node, find
	c.add(x)
	m := &Call{Number: x.number, Loop: n.id.Loop, Heard: n.system.heard, Request: x.req}
	if find {
		m.Request, m.Find = nil, x.req.Partition
	}
	if q := x.req.Resolve; q != nil && q.Commit != 0 && c.awaited[node] >= ridesFrom {
		n.sendLazily(node, Message{Call: m})
		return
	}
	n.send(node, Message{Call: m})
}

func (c *calls) add(x *call) {
	c.byNumber[x.number] = x
	if x.req.Resolve == nil {
		c.awaited[x.node]++
	}
}

// remove comes before x.req is forgotten.
func (c *calls) remove(x *call) {
	if c.byNumber[x.number] == nil {
		return
	}
	delete(c.byNumber, x.number)
	if x.req.Resolve != nil {
		return
	}
	if c.awaited[x.node]--; c.awaited[x.node] == 0 {
		delete(c.awaited, x.node)
	}
}

// fail has a call answered at the next tick; if too many wait for that already, never.
func (c *calls) fail(x *call, err *kv.Error) {
	c.remove(x)
	if len(c.failed) >= callsMax {
		x.rep = nil
		return
	}
	x.err = err
	c.failed = append(c.failed, x)
}

// end answers a call, if the term that asked it still lasts.
func (c *calls) end(n *Node, x *call, resp *kv.Response, err *kv.Error) {
	r := x.rep
	c.remove(x)
	x.rep, x.req = nil, nil
	switch {
	case r == nil:
	case x.follow != nil:
		x.follow.answered(n, int(x.token), resp, err)
	case r.leading && r.term == x.term:
		n.activate(r)
		c.answered(r, x.token, resp, err)
	}
}

// answered tells a partition.
func answered(r *replica, token uint64, resp *kv.Response, err *kv.Error) {
	r.part.Answered(token, resp, err)
}

// forget drops what a replica asked; a term that ended wants no answers.
func (c *calls) forget(r *replica) {
	for _, list := range [][]*call{c.list, c.failed} {
		for _, x := range list {
			if x.rep == r && x.follow == nil {
				c.remove(x)
				x.rep, x.req = nil, nil
			}
		}
	}
}

// lost gives up what a node was asked.
func (c *calls) lost(n *Node, node kv.NodeID) {
	var gone []*call
	for _, x := range c.list {
		if x.rep != nil && x.err == nil && x.node == node {
			gone = append(gone, x)
		}
	}
	for _, x := range gone {
		if x.rep == nil {
			continue // the answer to one before it ended this one's term
		}
		p := x.req.Partition
		c.unlearn(p, node)
		c.end(n, x, nil, callError(kv.Unavailable, p, "the connection to node %d broke", node))
	}
}

// tick answers what has failed, and gives up what waits too long.
func (c *calls) tick(n *Node) {
	failed := c.failed
	c.failed = nil
	for _, x := range failed {
		c.end(n, x, nil, x.err)
	}
	for len(c.list) > 0 && (c.list[0].rep == nil || n.now-c.list[0].at > callTimeout) {
		x := c.list[0]
		c.list[0] = nil
		c.list = c.list[1:]
		if x.rep != nil && x.err == nil {
			p := x.req.Partition
			c.unlearn(p, x.node)
			c.end(n, x, nil, callError(kv.Timeout, p, "node %d has not answered for %s", x.node, time.Duration(callTimeout)))
		}
	}
	if len(c.list) > 2*len(c.byNumber) {
		c.tidy()
	}
}

// tidy takes those that have ended out of the list.
func (c *calls) tidy() {
	c.list = slices.DeleteFunc(c.list, func(x *call) bool { return x.rep == nil })
}

// callDone is the answer to a call of this node, or sends it on to another one.
func (n *Node) callDone(from kv.NodeID, d *CallDone) {
	n.hear(d.Heard)
	c := &n.calls
	x := c.byNumber[d.Number]
	if x == nil || x.node != from || d.Loop != n.id.Loop {
		return // answered, given up, or of an earlier life
	}
	p := x.req.Partition
	if d.Err == nil {
		c.learn(p, from)
		c.end(n, x, d.Response, nil)
		return
	}
	if d.Err.Kind == kv.Unavailable {
		c.unlearn(p, from)
	}
	node, find, err := n.follow(x, d.Err)
	switch {
	case err != nil:
		c.end(n, x, nil, err)
	case x.hops == hopsMax:
		c.end(n, x, nil, callError(kv.Unavailable, p, "%d nodes were asked, and none leads it", hopsMax+1))
	default:
		x.hops++
		c.remove(x)
		n.dispatch(x, node, find)
	}
}

// follow is whom to ask after an error, or else the error that ends the call. WrongPartition ends it if the
// keys are not there, or if the core knows no such partition.
func (n *Node) follow(x *call, e *kv.Error) (node kv.NodeID, find bool, err *kv.Error) {
	p := x.req.Partition
	switch {
	case e.Kind == kv.NotLeader && (e.Leader == 0 || e.Leader == x.node):
		n.calls.unlearn(p, x.node)
		return 0, false, callError(kv.Unavailable, p, "node %d does not know who leads it", x.node)
	case e.Kind == kv.NotLeader:
		if !x.find {
			n.calls.learn(p, e.Leader)
		}
		return e.Leader, x.find, nil
	case e.Kind != kv.WrongPartition || len(e.Key) > 0:
		return 0, false, e
	}
	n.calls.unlearn(p, x.node)
	for _, d := range e.Descriptors {
		if d != nil && d.Partition == p {
			except := x.node
			if x.find {
				except = 0
			}
			if node = n.voterOf(d, except); node == 0 {
				err = callError(kv.Unavailable, p, "no node is known that has a replica")
			}
			return node, false, err
		}
	}
	if x.find {
		return 0, false, e
	}
	if node, find = n.whereIs(p); node == 0 {
		err = callError(kv.Unavailable, p, "no node is known that could say who leads it")
	}
	return node, find, err
}

// learn notes who leads a partition; when there are too many notes, all are thrown away.
func (c *calls) learn(p kv.PartitionID, node kv.NodeID) {
	if len(c.leaders) >= leadersMax && c.leaders[p] == 0 {
		clear(c.leaders)
	}
	c.leaders[p] = node
}

func (c *calls) unlearn(p kv.PartitionID, node kv.NodeID) {
	if c.leaders[p] == node {
		delete(c.leaders, p)
	}
}
