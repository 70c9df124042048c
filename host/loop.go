package host

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// loop owns one node.Node, which is all of the server or a part of it. One turn is: take everything that has arrived, read the clock, hand it
// to the node, Flush, and hand the effects to whoever does them. While a turn runs the next
// one collects, so that batches grow by themselves as the load does.
type loop struct {
	node  *node.Node
	self  kv.NodeID
	inbox *inbox
	clock *Clock
	wall  func() time.Time
	world world
	calls callTable

	in      inputs // of the running turn
	own     own    // of the last turn, for this one
	scratch scratch
	pulse
	shared shared
	logger hclog.Logger

	all     loops // of the node
	index   int   // in all
	support kv.Instant
	stalled bool // another loop, as loop 0 told its node
}

// own is what a turn leaves to the next one, which follows at once.
type own struct {
	messages []node.Message // to this node
	reads    []*node.Read   // done, of what was at hand
}

func (o *own) empty() bool { return len(o.messages)+len(o.reads) == 0 }

// pulse is the loop's timer.
type pulse struct {
	ticker    *time.Ticker
	tickEvery time.Duration // of the ticker
	tickAt    kv.Instant    // the next tick is not before
}

// world is where the effects go.
type world struct {
	disk      *disk
	applier   *applier
	readers   *readers
	peers     *peers
	snapshots *snapshots
	registry  func(info kv.NodeInfo, nodes []kv.NodeInfo)
}

// scratch are buffers that a turn uses and the next one uses again.
type scratch struct {
	disk    []diskWork
	lent    []lent
	here    []lent // at hand
	back    []*node.Read
	touched []*peer
}

// shared is what the loop publishes to other goroutines after each turn.
type shared struct {
	heard    atomic.Uint64
	answered atomic.Int64 // 1: the oracle has answered
	turns    atomic.Uint64
	inputs   atomic.Uint64
	turned   atomic.Int64 // when the last turn began, by the node's clock
	open     atomic.Int64 // calls
	faulty   atomic.Int64
}

// run turns until the inbox is closed.
func (l *loop) run() {
	l.tickEvery = tickInterval
	l.ticker = time.NewTicker(tickInterval)
	defer l.ticker.Stop()
	for {
		closed := l.inbox.take(&l.in, l.calls.freed)
		l.calls.freed = l.calls.freed[:0]
		l.turn(l.clock.Now())
		if closed {
			l.endCalls()
			return
		}
		if !l.rest() {
			continue
		}
		select {
		case <-l.inbox.wake:
			runtime.Gosched() // whoever is about to add something does so first: a larger turn
		case <-l.ticker.C:
			l.inbox.roused()
		}
	}
}

// rest is called before the loop sleeps; false means that there is work.
func (l *loop) rest() bool { return l.own.empty() && l.inbox.rest() }

// turn is one turn. now was read after the inputs were taken.
func (l *loop) turn(now kv.Instant) {
	n, in := l.node, &l.in
	ticks := now >= l.tickAt
	if ticks {
		l.tickAt = now.Add(tickInterval)
		l.listen(now)
		n.Tick(now, l.wall().UnixMilli())
	}
	for _, fn := range in.rare {
		fn(now)
	}
	for _, s := range in.stored {
		n.Stored(now, s.appends, s.positions)
	}
	if len(in.applied) > 0 {
		n.Applied(now, in.applied)
	}
	l.receive(now)
	l.readsDone(now)
	l.admit(now)
	l.shared.inputs.Add(uint64(len(in.requests) + len(in.received)))
	in.reset()
	l.dispatch(n.Flush(now))
	l.pace(ticks)
	l.shared.turns.Add(1)
	l.shared.turned.Store(int64(now))
	l.shared.open.Store(int64(l.calls.open))
}

// pace changes how often the ticker wakes the loop: more often at once, more seldom after a tick that
// left nothing to do.
func (l *loop) pace(ticked bool) {
	if every := l.node.TickEvery(); every < l.tickEvery || ticked && every > l.tickEvery {
		l.tickEvery = every
		l.ticker.Reset(every)
	}
}

func (l *loop) receive(now kv.Instant) {
	own := l.own.messages
	l.own.messages = nil
	for i := range own {
		l.node.Receive(now, l.self, own[i])
	}
	for _, r := range l.in.received {
		for i := range r.messages {
			l.node.Receive(now, r.from, r.messages[i])
		}
	}
}

// readsDone hands back to the node what was read and could not be answered, and forgets the calls of
// what the readers have answered.
func (l *loop) readsDone(now kv.Instant) {
	back := append(l.scratch.back[:0], l.own.reads...)
	clear(l.own.reads)
	l.own.reads = l.own.reads[:0]
	for _, d := range l.in.reads {
		if d.call != nil {
			d.call.lent--
			l.calls.end(d.call)
		}
		if d.back {
			back = append(back, d.read)
		}
	}
	if len(back) > 0 {
		l.node.ReadDone(now, back)
	}
	clear(back)
	l.scratch.back = back[:0]
}

func (l *loop) admit(now kv.Instant) {
	for i := range l.in.requests {
		r := &l.in.requests[i]
		c := l.calls.add(r.id, r.asker, nil, r.bytes)
		c.req = r.req
		l.node.Request(now, node.RequestID(r.id), r.req)
	}
	for i := range l.in.admins {
		a := &l.in.admins[i]
		l.calls.add(a.id, nil, a.answer, 0)
		l.node.Admin(now, node.RequestID(a.id), a.req)
	}
	for _, id := range l.in.cancels {
		c := l.calls.get(id)
		if c == nil || c.answered.Load() {
			continue
		}
		p := kv.PartitionID(0)
		if c.req != nil {
			p = c.req.Partition
		}
		l.node.Cancel(now, node.RequestID(id), p)
		l.answer(c, nil, nil, kv.Errorf(kv.Timeout, "the deadline passed, or the caller went away, before the answer was there"))
	}
}

// answer ends a call.
func (l *loop) answer(c *call, resp *kv.Response, admin *kv.AdminResponse, err *kv.Error) {
	if c.admin == nil {
		c.answer(resp, err)
	} else if c.answered.CompareAndSwap(false, true) {
		c.admin <- adminAnswer{admin, err}
	}
	l.calls.end(c)
}

// dispatch hands out the effects of a turn: first what others wait for.
func (l *loop) dispatch(e *node.Effects) {
	l.shared.heard.Store(uint64(l.node.Heard()))
	if l.node.Answered() {
		l.shared.answered.Store(1)
	}
	l.send(e)
	if len(e.Appends) > 0 || e.ReleaseLog != 0 {
		work := l.scratch.disk[:0]
		for _, a := range e.Appends {
			work = append(work, diskWork{append: a})
		}
		if e.ReleaseLog != 0 {
			work = append(work, diskWork{release: e.ReleaseLog, loop: l.index})
		}
		l.world.disk.work.put(work...)
		clear(work)
		l.scratch.disk = work[:0]
	}
	l.lend(e)
	for i := range e.Replies {
		r := &e.Replies[i]
		if c := l.calls.get(uint64(r.ID)); c != nil {
			l.answer(c, r.Response, nil, r.Err)
		}
	}
	if len(e.Applies) > 0 {
		l.world.applier.work.put(e.Applies...)
	}
	l.dispatchRare(e)
	l.node.Recycle(e)
}

// dispatchRare is for the effects that most turns do not have.
func (l *loop) dispatchRare(e *node.Effects) {
	for i := range e.AdminReplies {
		r := &e.AdminReplies[i]
		if c := l.calls.get(uint64(r.ID)); c != nil {
			l.answer(c, nil, r.Response, r.Err)
		}
	}
	for _, s := range e.Snapshots {
		l.world.snapshots.send(s)
	}
	for _, s := range e.Discards {
		l.world.snapshots.discard(s)
	}
	if len(e.Collects) > 0 {
		l.world.applier.collects.put(e.Collects...)
	}
	if e.FlushEngine {
		l.world.applier.flush()
	}
	for _, f := range e.Faulty {
		l.shared.faulty.Add(1)
		l.logger.Error("a replica is damaged and stopped", "replica", f)
	}
	if e.Nodes != nil {
		l.world.registry(l.node.Info(), e.Nodes)
	}
	if e.Core != nil {
		l.tellCore(e.Core)
	}
}

// send queues the messages for the peers, and wakes each sender once.
func (l *loop) send(e *node.Effects) {
	var fresh kv.Instant
	touched := l.scratch.touched[:0]
	for i := range e.Sends {
		s := &e.Sends[i]
		if s.Guard != nil {
			if fresh == 0 {
				fresh = l.clock.Now() // after the turn that decided it (L17)
			}
			if !s.Guard.Holds(fresh) {
				continue
			}
		}
		if s.To == l.self {
			l.tellLoop(&s.Message)
			continue
		}
		p := l.world.peers.get(s.To)
		if p == nil {
			continue
		}
		l.world.peers.send(p, &s.Message)
		if !slices.Contains(touched, p) { // there are few peers
			touched = append(touched, p)
		}
	}
	for _, p := range touched {
		l.world.peers.flush(p)
	}
	clear(touched)
	l.scratch.touched = touched[:0]
}

// lend reads what is at hand, and gives the other reads to the pool. One that serves a call may answer it there.
func (l *loop) lend(e *node.Effects) {
	if len(e.Reads)+len(e.Digests) == 0 {
		return
	}
	work, here := l.scratch.lent[:0], l.scratch.here[:0]
	view := l.world.readers.engine.Newest()
	for _, r := range e.Reads {
		w := lent{read: r}
		if r.Task.Serve {
			if w.call = l.calls.get(uint64(r.Task.Request)); w.call == nil {
				continue // nobody waits any more
			}
		}
		if r.RunAtHand(view) {
			here = append(here, w)
			continue
		}
		if w.call != nil {
			w.call.lent++
		}
		work = append(work, w)
	}
	for _, d := range e.Digests {
		work = append(work, lent{digest: d})
	}
	if len(work) > 0 {
		l.world.readers.put(work)
	}
	l.finish(here)
	clear(work)
	clear(here)
	l.scratch.lent, l.scratch.here = work[:0], here[:0]
}

// finish answers what was read here, by a clock that is read afterwards (L17).
func (l *loop) finish(here []lent) {
	if len(here) == 0 {
		return
	}
	fresh := l.clock.Now()
	for i := range here {
		w := &here[i]
		if w.call != nil {
			if l.calls.get(uint64(w.read.Task.Request)) != w.call {
				continue // another read of this turn has answered it
			}
			if reply, ok := w.read.Finish(fresh); ok {
				l.answer(w.call, reply.Response, nil, reply.Err)
				continue
			}
		}
		l.own.reads = append(l.own.reads, w.read)
	}
}

// endCalls answers everybody who still waits when the node stops.
func (l *loop) endCalls() {
	for _, c := range l.calls.bySlot {
		if c == nil {
			continue
		}
		err := errStopping
		if c.req != nil && c.req.Commit != nil && len(c.req.Commit.Writes) > 0 {
			err = kv.Errorf(kv.Ambiguous, "this node stopped before the outcome of commit %v was known: ask another node for it", c.req.Commit.ID)
			err.ID = c.req.Commit.ID
		}
		l.answer(c, nil, nil, err)
	}
}
