package node

import "github.com/kvd-db/kvd/kv"

// OwnRequest is set in the ids that the node gives to the requests of other partitions' leaders. The
// world's ids never have it.
const OwnRequest RequestID = 1 << 57

// called are the calls that this loop's partitions work on. Nobody cancels one: each leaves with its answer,
// of which every request gets one.
type called struct {
	next RequestID
	open map[RequestID]caller // never iterated
	lazy lazy
}

// caller waits for the answer to a call.
type caller struct {
	node   kv.NodeID
	number uint64
	loop   int
	lazy   bool // it does not wait: nothing but the end of a record follows
}

// calledMax is how many calls are worked on at once.
const calledMax = 1 << 14

// answerCall takes a call of another partition's leader. It becomes a request like any other.
func (n *Node) answerCall(from kv.NodeID, c *Call) {
	n.hear(c.Heard)
	w := caller{node: from, number: c.Number, loop: c.Loop, lazy: c.Request != nil && c.Request.Resolve != nil}
	switch q := c.Request; {
	case c.Find != 0:
		n.callAnswer(w, nil, n.locate(c.Find))
	case q == nil || q.Prepare == nil && q.Stage == nil && q.Resolve == nil && q.Outcome == nil:
		n.callAnswer(w, nil, kv.Errorf(kv.Invalid, "a call of node %d asks neither for a prepare, nor a stage, nor a resolve, nor an outcome", from))
	case len(n.called.open) >= calledMax:
		n.callAnswer(w, nil, kv.Errorf(kv.Unavailable, "node %d works on %d calls of other partitions, the most that may be: try again", n.id.Node, calledMax))
	default:
		n.called.next++
		id := n.called.next | OwnRequest
		n.called.open[id] = w
		n.route(id, q)
	}
}

// replyCall ends a call with the answer to its request.
func (n *Node) replyCall(id RequestID, resp *kv.Response, err *kv.Error) {
	w, ok := n.called.open[id]
	if !ok {
		return
	}
	delete(n.called.open, id)
	n.callAnswer(w, resp, err)
}

func (n *Node) callAnswer(w caller, resp *kv.Response, err *kv.Error) {
	m := Message{CallDone: &CallDone{Number: w.number, Loop: w.loop, Heard: n.system.heard, Response: resp, Err: err}}
	if w.lazy && err == nil {
		n.sendLazily(w.node, m)
		return
	}
	n.send(w.node, m)
}

// locate says which replicas a partition has, as far as the core's state is here. That there is no such
// partition only the core's leader can say.
func (n *Node) locate(p kv.PartitionID) *kv.Error {
	e := kv.Errorf(kv.WrongPartition, "the core knows no partition %d", p)
	d, ok := n.core.Descriptor(p)
	switch to := n.oracle(); {
	case ok:
		e = kv.Errorf(kv.WrongPartition, "the core knows who has partition %d: ask there", p)
		e.Descriptors = []*kv.Descriptor{d}
	case to == 0:
		e = kv.Errorf(kv.Unavailable, "node %d knows neither partition %d nor who leads the core: try again", n.id.Node, p)
	case to != n.id.Node:
		e = kv.Errorf(kv.NotLeader, "node %d does not know partition %d: ask node %d, which leads the core", n.id.Node, p, to)
		e.Leader = to
	}
	e.Partition = p
	return e
}
