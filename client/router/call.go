package router

import (
	"context"
	"errors"
	"time"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/wire"
)

// Call is one request through all its copies, with room for the parts of a small one. It
// comes from NewCall and goes back with Release.
type Call struct {
	Op     session.Op
	Read   kv.Read
	Keys   [1]kv.Key
	Commit kv.Commit
	Writes [1]kv.Write
	// OnRetry, if set, hears of every wait before a retry; it must not block.
	OnRetry func(id kv.TxID, sends int, why *kv.Error, wait time.Duration)
	Meter   *Meter // nil: nobody measures

	router  *Router
	machine session.Call
	reply   wire.Reply
	heard   chan delivery // of one: a call has one copy under way at most
	end     end
	begun   begun
	at      place // of the copy under way; guarded by its link's mu
}

// begun is what Start leaves to Finish.
type begun struct {
	action  session.Action // the next one, unless a copy is under way
	heard   kv.Timestamp
	copy    flight
	refused *kv.Error // by the link, of submitAll
}

// flight is a copy that is on its way to a node.
type flight struct {
	link    *link  // nil: none, or to the local node
	cancel  func() // a copy that the local node has
	action  session.Action
	address string
	start   time.Time // only if somebody wants to know, or any replica may answer
}

// end is when a call ends.
type end struct {
	timer *time.Timer // runs if the context has no deadline
	at    time.Time
}

// place is where a copy lies while it waits to be sent.
type place struct {
	id     uint64
	batch  *batch
	offset int       // of its frame in the batch
	until  time.Time // after that it counts as lost
}

// patienceMin is how long the first copy of a request may stay without an answer while its
// node is alive; each further one may stay twice as long, not counting those at near replicas. A request
// that takes longer is not lost by that: a commit that is sent again joins its first copy.
const patienceMin = 3 * time.Second

// nearPatience is that of a read at a near replica which does not lead. A node that waits for what it needs
// to know of a lock gives up sooner.
const nearPatience = time.Second

// patience is that of the copy under way.
func (c *Call) patience() time.Duration {
	if c.machine.Brief() {
		return nearPatience
	}
	return patienceMin << min(max(c.machine.Stats().Sends-1-c.machine.NearTries(), 0), 6)
}

// delivery is what became of one copy.
type delivery struct {
	how      how
	body     []byte       // responded, errored: the frame's
	response *kv.Response // answeredHere
	err      *kv.Error    // refused, lost
}

type how uint8

const (
	responded    how = iota + 1 // the node sent a response frame
	errored                     // the node sent an error frame
	refused                     // it did not leave this process
	lost                        // it left, or may have left, and nothing will come back
	answeredHere                // by the local node, with response or err
)

func newCall() *Call {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &Call{heard: make(chan delivery, 1), end: end{timer: t}}
}

// NewCall is a call to be filled in: its Op, which may point into it.
func (r *Router) NewCall() *Call {
	c := r.calls.Get().(*Call)
	c.router = r
	return c
}

// Release gives a finished call back. The response of Do, and all slices in it, must not be
// used any more. Calls of a router with a Local node are not reused: the node may still
// read them.
func (c *Call) Release() {
	r := c.router
	if r == nil || r.config.Local != nil {
		return
	}
	c.Op, c.Read, c.Keys, c.Commit, c.Writes = session.Op{}, kv.Read{}, [1]kv.Key{}, kv.Commit{}, [1]kv.Write{}
	c.router, c.reply, c.at, c.begun, c.OnRetry, c.Meter = nil, wire.Reply{}, place{}, begun{}, nil, nil
	r.calls.Put(c)
}

// Stats is what the call took.
func (c *Call) Stats() session.Stats { return c.machine.Stats() }

// Named is the commit under its newest name, and the partition that the name was drawn for.
func (c *Call) Named() (*kv.Commit, kv.PartitionID) { return c.machine.Commit() }

// Sent is the request as it was last sent; nil if it never was.
func (c *Call) Sent() *kv.Request { return c.machine.Request() }

// Do brings the call to its end. The response is valid until Release.
func (c *Call) Do(ctx context.Context) (*kv.Response, *kv.Error) {
	c.Start(ctx)
	return c.Finish(ctx)
}

func (f *flight) underWay() bool { return f.link != nil || f.cancel != nil }

// Start sends the first copy, if that can be done without waiting, so that a caller with
// several calls need not have a goroutine for each. Finish must follow, under the same context.
func (c *Call) Start(ctx context.Context) {
	c.begin(ctx)
	if c.begun.action.Kind == session.Send {
		c.begun.copy, c.begun.action = c.submit(ctx, c.begun.action, c.begun.heard)
	}
}

// begin finds out where the first copy goes.
func (c *Call) begin(ctx context.Context) {
	r := c.router
	c.arm(ctx)
	c.Op.Request.Trace = c.Meter.traces() || r.config.Traced != nil && r.config.Traced(ctx)
	if r.config.Local != nil {
		r.hear(r.config.Local.Heard())
	}
	r.mu.Lock()
	a := c.machine.Begin(r.session, c.Op)
	heard := r.session.Heard()
	r.mu.Unlock()
	c.begun = begun{action: a, heard: heard}
}

// arm sets the end of the call.
func (c *Call) arm(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok {
		c.end.at = deadline
		return
	}
	c.end.at = time.Now().Add(kv.RequestTimeoutDefault)
	c.end.timer.Reset(kv.RequestTimeoutDefault)
}

// Finish brings a started call to its end. The response is valid until Release. The time since
// Start does not count, unless the context has a deadline.
func (c *Call) Finish(ctx context.Context) (*kv.Response, *kv.Error) {
	c.arm(ctx)
	defer c.end.timer.Stop()
	a, heard := c.begun.action, c.begun.heard
	if c.begun.copy.underWay() {
		a = c.land(ctx, c.begun.copy)
	}
	for {
		switch a.Kind {
		case session.Send:
			a = c.send(ctx, a, heard)
		case session.Wait:
			if c.OnRetry != nil {
				c.OnRetry(c.commitID(), c.machine.Stats().Sends, c.machine.Last(), a.Delay)
			}
			a = c.wait(ctx, a.Delay)
		case session.Refresh:
			a = c.refresh(ctx, a.Keyspace)
		default:
			c.Meter.add(c.machine.Stats().Sends)
			return a.Response, a.Err
		}
	}
}

// commitID is the id that the commit has now; zero for other calls.
func (c *Call) commitID() kv.TxID {
	if m, _ := c.machine.Commit(); m != nil {
		return m.ID
	}
	return kv.TxID{}
}

// step lets the machine hear of something.
func (c *Call) step(event func(*session.Call) session.Action) session.Action {
	r := c.router
	watched := r.config.OnTopology != nil
	var before, after kv.NodeID
	r.mu.Lock()
	q := c.machine.Request()
	if watched {
		before = r.leaderOf(q)
	}
	a := event(&c.machine)
	if watched {
		after = r.leaderOf(q)
	}
	doubted, area := r.session.Map.CoreDoubted(), ""
	if doubted {
		area = r.session.Map.KeyspaceName(c.Op.Key)
	}
	r.mu.Unlock()
	if doubted {
		r.startRefresh(area) // nobody waits for it
	}
	if after != before && after != 0 {
		r.config.OnTopology(Change{Kind: "leader", Partition: q.Partition, From: r.address(before), To: r.address(after)})
	}
	return a
}

// leaderOf is who is believed to lead the partition that a request was sent to. It runs under mu.
func (r *Router) leaderOf(q *kv.Request) kv.NodeID {
	if q == nil {
		return 0
	}
	p, ok := r.session.Map.Partition(q.Partition)
	if !ok {
		return 0
	}
	return p.Leader
}

func (c *Call) ended(ctx context.Context) session.Action {
	return c.step(func(m *session.Call) session.Action { return m.Ended(c.cause(ctx)) })
}

// cause is why the call ends before its answer came.
func (c *Call) cause(ctx context.Context) *kv.Error {
	if c.router.stop.Err() != nil {
		return errClosed()
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return kv.Errorf(kv.Canceled, "the context was canceled")
	}
	return kv.Errorf(kv.Timeout, "no answer before the deadline")
}

func (c *Call) wait(ctx context.Context, d time.Duration) session.Action {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return c.step((*session.Call).Woke)
	case <-ctx.Done():
	case <-c.end.timer.C:
	case <-c.router.stop.Done():
	}
	return c.ended(ctx)
}

func (c *Call) refresh(ctx context.Context, keyspace string) session.Action {
	f := c.router.startRefresh(keyspace)
	select {
	case <-f.done:
		return c.step(func(m *session.Call) session.Action { return m.Refreshed(f.err) })
	case <-ctx.Done():
	case <-c.end.timer.C:
	case <-c.router.stop.Done():
	}
	return c.ended(ctx)
}

// send brings one copy to a node and waits for what becomes of it.
func (c *Call) send(ctx context.Context, a session.Action, heard kv.Timestamp) session.Action {
	f, next := c.submit(ctx, a, heard)
	if !f.underWay() {
		return next
	}
	return c.land(ctx, f)
}

// submit gives one copy to its node, or to the link there; if that fails, the machine's next action is returned.
func (c *Call) submit(ctx context.Context, a session.Action, heard kv.Timestamp) (flight, session.Action) {
	if local := c.router.config.Local; local != nil && local.Info().ID == a.Node && ctx.Err() == nil && c.router.stop.Err() == nil {
		return flight{cancel: c.submitLocal(local, a)}, session.Action{}
	}
	l, err := c.router.way(ctx, a)
	if err == nil {
		err = l.submit(c, a.Request, time.Now(), heard)
	}
	return c.submitted(ctx, a, l, err)
}

// way is the link that a copy goes over. It is Closed if nothing may be sent any more.
func (r *Router) way(ctx context.Context, a session.Action) (*link, *kv.Error) {
	if ctx.Err() != nil || r.stop.Err() != nil {
		return nil, errClosed()
	}
	address := r.address(a.Node)
	if address == "" {
		return nil, kv.Errorf(kv.Unavailable, "the address of node %d is not known", a.Node)
	}
	return r.link(lane{address: address, bulk: a.Request.Scan != nil})
}

// submitted is what follows when a link took a copy, or refused it.
func (c *Call) submitted(ctx context.Context, a session.Action, l *link, err *kv.Error) (flight, session.Action) {
	switch {
	case err == nil:
	case err.Kind == kv.Closed:
		return flight{}, c.unsent(ctx)
	default:
		return flight{}, c.step(func(m *session.Call) session.Action { return m.Refused(err) })
	}
	f := flight{link: l, action: a, address: l.address}
	if c.watched() || c.Op.Anywhere {
		f.start = time.Now()
	}
	return f, session.Action{}
}

// land waits for what becomes of a copy.
func (c *Call) land(ctx context.Context, f flight) session.Action {
	if f.cancel != nil {
		return c.landLocal(ctx, f)
	}
	d, ok := c.await(ctx, f.link)
	var took time.Duration
	if c.Op.Anywhere {
		took = time.Since(f.start)
	}
	next, err := c.digest(ctx, d, ok)
	if c.Op.Anywhere {
		c.router.noteNear(f.action.Node, d.how, took, err)
	}
	if c.watched() {
		c.report(ctx, f.action, f.address, f.start, len(d.body), err)
	}
	return next
}

// await is false if the call ended before the copy's fate was known.
func (c *Call) await(ctx context.Context, l *link) (delivery, bool) {
	select {
	case d := <-c.heard:
		return d, true
	case <-ctx.Done():
	case <-c.end.timer.C:
	}
	switch l.abandon(c) {
	case answered:
		return <-c.heard, true
	case takenBack:
		return delivery{how: refused}, false
	}
	return delivery{}, false
}

// digest turns what became of a copy into the machine's next action. The decoding happens
// here, in the caller's goroutine, and not in the link's.
func (c *Call) digest(ctx context.Context, d delivery, ok bool) (session.Action, *kv.Error) {
	if !ok {
		if d.how == refused {
			return c.unsent(ctx), c.cause(ctx)
		}
		return c.ended(ctx), c.cause(ctx)
	}
	err := d.err
	switch d.how {
	case responded:
		if err = wire.DecodeResponse(d.body, &c.reply); err == nil {
			return c.answered(&c.reply.Response), nil
		}
	case errored:
		err = wire.DecodeError(d.body)
	case lost:
		return c.step(func(m *session.Call) session.Action { return m.Lost(err) }), err
	}
	if err.Kind == kv.Closed && c.router.stop.Err() != nil {
		return c.unsent(ctx), err
	}
	return c.refused(err), err
}

// answered tells the machine of an answer, and the router how far the replica is.
func (c *Call) answered(a *kv.Response) session.Action {
	return c.step(func(m *session.Call) session.Action {
		if c.Op.Anywhere {
			c.router.noteAnswer(m.Request(), m.Node(), a.Timestamp)
		}
		return m.Answered(a)
	})
}

// refused is answered for a refusal.
func (c *Call) refused(err *kv.Error) session.Action {
	return c.step(func(m *session.Call) session.Action {
		if c.Op.Anywhere {
			c.router.noteRefusal(m.Request(), c.Op.Bound(), m.Node(), err)
		}
		return m.Refused(err)
	})
}

// unsent ends the call: the copy under way never left.
func (c *Call) unsent(ctx context.Context) session.Action {
	return c.step(func(m *session.Call) session.Action {
		m.Unsent()
		return m.Ended(c.cause(ctx))
	})
}

// submitLocal hands one copy to the node in this process. Its answer has a channel of its own: that to an
// earlier copy, which was given up, may still come.
func (c *Call) submitLocal(local Local, a session.Action) (cancel func()) {
	c.heard = make(chan delivery, 1)
	heard := c.heard
	return local.Submit(a.Request, func(p *kv.Response, err *kv.Error) { heard <- delivery{how: answeredHere, response: p, err: err} })
}

// landLocal waits for the answer of the node in this process.
func (c *Call) landLocal(ctx context.Context, f flight) session.Action {
	select {
	case d := <-c.heard:
		c.router.hear(c.router.config.Local.Heard()) // at least what the answer came with
		if d.err != nil {
			return c.refused(d.err)
		}
		return c.answered(d.response)
	case <-ctx.Done():
	case <-c.end.timer.C:
	case <-c.router.stop.Done():
	}
	f.cancel()
	return c.ended(ctx)
}
