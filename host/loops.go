package host

import (
	"context"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/wal"
)

// loops are the event loops of a node. What comes from outside them is brought to the one that owns the
// partition it is about (package node names it), or to all; what they have to say to each
// other goes from inbox to inbox.
type loops []*loop

// of is the loop that owns a partition.
func (ls loops) of(p kv.PartitionID) *loop { return ls[p.Loop(len(ls))] }

// do has one loop run fn at the start of its next turn.
func (l *loop) do(fn func(n *node.Node, now kv.Instant)) {
	l.inbox.do(func(now kv.Instant) { fn(l.node, now) })
}

// every has all loops run fn.
func (ls loops) every(fn func(n *node.Node, now kv.Instant)) {
	for _, l := range ls {
		l.do(fn)
	}
}

// heard is the newest timestamp that any loop has heard of.
func (ls loops) heard() (t kv.Timestamp) {
	for _, l := range ls {
		t = max(t, kv.Timestamp(l.shared.heard.Load()))
	}
	return t
}

// sum adds up something that each loop counts.
func (ls loops) sum(count func(*shared) int64) (n int64) {
	for _, l := range ls {
		n += count(&l.shared)
	}
	return n
}

// split sorts things by the loop of their partition; within a loop they keep their order.
func split[T any](ls loops, all []T, partition func(*T) kv.PartitionID) [][]T {
	parts := make([][]T, len(ls))
	for i := range all {
		at := partition(&all[i]).Loop(len(ls))
		parts[at] = append(parts[at], all[i])
	}
	return parts
}

// submit takes requests in.
func (ls loops) submit(batch []Ask) {
	if len(ls) == 1 {
		ls[0].inbox.submit(batch)
		return
	}
	for i, part := range split(ls, batch, func(a *Ask) kv.PartitionID { return a.Request.Partition }) {
		if len(part) > 0 {
			ls[i].inbox.submit(part)
		}
	}
}

// cancel tells that nobody waits for an answer any more.
func (ls loops) cancel(id uint64) {
	if i := int(id >> loopShift); i < len(ls) {
		ls[i].inbox.cancel(id)
	}
}

// receive brings the messages of another node to their loops; it waits while one of these is behind, so
// that the sender's stream fills up. False: the node stops.
func (ls loops) receive(from kv.NodeID, messages []node.Message, bytes int) bool {
	if len(ls) == 1 {
		return ls[0].inbox.receive(from, messages, bytes)
	}
	parts := make([][]node.Message, len(ls))
	for i := range messages {
		at := messages[i].Loop(len(ls))
		if at != node.EveryLoop {
			parts[at] = append(parts[at], messages[i])
			continue
		}
		for at := range parts {
			parts[at] = append(parts[at], messages[i])
		}
	}
	for i, part := range parts {
		if len(part) > 0 && !ls[i].inbox.receive(from, part, bytes*len(part)/len(messages)) {
			return false
		}
	}
	return true
}

// stored tells each loop of its own log writes.
func (ls loops) stored(s stored) {
	if len(ls) == 1 {
		ls[0].inbox.storedNow(s)
		return
	}
	parts := make([]stored, len(ls))
	for i, a := range s.appends {
		part := &parts[a.Partition().Loop(len(ls))]
		part.appends, part.positions = append(part.appends, a), append(part.positions, s.positions[i])
	}
	for i, part := range parts {
		if len(part.appends) > 0 {
			ls[i].inbox.storedNow(part)
		}
	}
}

// applied tells each loop of its own applies.
func (ls loops) applied(applies []*node.Apply) {
	if len(ls) == 1 {
		ls[0].inbox.appliedNow(applies)
		return
	}
	for i, part := range split(ls, applies, func(a **node.Apply) kv.PartitionID { return (*a).Partition() }) {
		if len(part) > 0 {
			ls[i].inbox.appliedNow(part)
		}
	}
}

// readsDone hands reads back to their loops.
func (ls loops) readsDone(done []readDone) {
	if len(ls) == 1 {
		ls[0].inbox.readsDone(done)
		return
	}
	for i, part := range split(ls, done, func(d *readDone) kv.PartitionID { return d.read.Task.Partition }) {
		if len(part) > 0 {
			ls[i].inbox.readsDone(part)
		}
	}
}

// admin asks the node and waits.
func (ls loops) admin(ctx context.Context, req *kv.AdminRequest) (*kv.AdminResponse, error) {
	at := node.AdminLoop(req, len(ls))
	if at != node.EveryLoop {
		return ls[at].ask(ctx, req)
	}
	var parts []*kv.NodeStatus
	for _, l := range ls {
		a, err := l.ask(ctx, req)
		if err != nil {
			return nil, err
		}
		parts = append(parts, a.Node)
	}
	return &kv.AdminResponse{Node: node.JoinStatus(parts)}, nil
}

// ask asks one loop and waits.
func (l *loop) ask(ctx context.Context, req *kv.AdminRequest) (*kv.AdminResponse, error) {
	answer := make(chan adminAnswer, 1)
	id, err := l.inbox.admin(req, answer)
	if err != nil {
		return nil, err
	}
	var a adminAnswer
	select {
	case a = <-answer:
	case <-ctx.Done():
		l.inbox.cancel(id)
		a = <-answer // the loop answers what is canceled
	}
	if a.err != nil {
		return nil, a.err
	}
	return a.resp, nil
}

// stalled reports whether a loop other than 0 had not turned for half of what nodes promise each
// other when loop 0 turned last: the node must not renew then (L9). Not by this turn's time: after a pause of the
// whole process one loop is the first to turn again.
func (ls loops) stalled(support kv.Instant) bool {
	last := kv.Instant(ls[0].shared.turned.Load())
	for _, l := range ls[1:] {
		if last-kv.Instant(l.shared.turned.Load()) > support/2 {
			return true
		}
	}
	return false
}

// tellLoop brings a message of this node to itself: this loop hears it in its next turn, another one at once.
func (l *loop) tellLoop(m *node.Message) {
	if at := m.Loop(len(l.all)); at >= 0 && at != l.index {
		l.all[at].inbox.handOver(l.self, *m)
		return
	}
	l.own.messages = append(l.own.messages, *m)
}

// listen brings in, before the node's tick, what the other loops do and have heard.
func (l *loop) listen(now kv.Instant) {
	if len(l.all) == 1 {
		return
	}
	l.node.Hear(now, l.all.heard())
	if l.index != 0 {
		return
	}
	if stalled := l.all.stalled(l.support); stalled != l.stalled {
		l.stalled = stalled
		l.logger.Warn("an event loop of this node", "stands still", stalled)
		l.node.LoopStalled(now, stalled)
	}
}

// tellCore tells the other loops who leads the core.
func (l *loop) tellCore(c *node.CoreLeader) {
	for _, o := range l.all {
		if o != l {
			o.do(func(n *node.Node, now kv.Instant) { n.CoreLeader(now, *c) })
		}
	}
}

// newestSegment is where a batch of log writes ends.
func newestSegment(positions [][]wal.Position) (segment uint64) {
	for _, p := range positions {
		if len(p) > 0 {
			segment = max(segment, p[len(p)-1].Segment)
		}
	}
	return segment
}
