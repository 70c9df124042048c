package sim

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// answer is what a client hears of a request that it sent.
type answer struct {
	response *kv.Response
	admin    *kv.AdminResponse
	err      *kv.Error
	heard    kv.Timestamp // the newest that the node had heard of: the stream carries it
	lost     bool         // the connection broke: err says so, and no answer will come
}

// doors are the requests of clients that one process has admitted and not answered.
type doors struct {
	p    *process
	last node.RequestID
	open map[node.RequestID]func(answer)
}

func (d *doors) admit(tell func(answer)) node.RequestID {
	d.last++
	d.open[d.last] = tell
	return d.last
}

func (d *doors) reply(r node.Reply) { d.tell(r.ID, answer{response: r.Response, err: r.Err}) }

func (d *doors) adminReply(r node.AdminReply) {
	d.tell(r.ID, answer{admin: r.Response, err: r.Err})
}

func (d *doors) tell(id node.RequestID, a answer) {
	tell := d.open[id]
	if tell == nil {
		d.p.w.trace.note(21, uint64(id)) // canceled, or answered twice
		return
	}
	delete(d.open, id)
	a.heard = d.p.heard()
	kind := uint64(0)
	if a.err != nil {
		kind = uint64(a.err.Kind)
	}
	d.p.w.trace.note(20, uint64(d.p.m.id), uint64(id), kind)
	if d.p.w.trace.lines {
		d.p.w.trace.line("node %d answers %d %s", d.p.m.id, id, describeAnswer(a))
	}
	tell(a)
}

// close breaks all connections.
func (d *doors) close() {
	open := d.open
	d.open = nil
	for _, id := range slices.SortedFunc(maps.Keys(open), func(a, b node.RequestID) int { return cmp.Compare(a, b) }) {
		open[id](answer{lost: true, err: kv.Errorf(kv.Unavailable, "the connection to node %d broke", d.p.m.id)})
	}
}

// ClientFaults are what happens between clients and nodes.
type ClientFaults struct {
	LoseRequest float64 // the connection breaks before a request arrives
	LoseAnswer  float64 // the connection breaks before an answer arrives
	Double      float64 // a request arrives twice, the second time up to DoubleLate later
	DoubleLate  ns
	Cancel      float64 // a client that gives up on a copy says so
}

// copyOf is one request on its way to a node and back.
type copyOf struct {
	w      *World
	to     *machine
	req    *kv.Request
	admin  *kv.AdminRequest
	answer func(answer)
	told   bool
	at     *eventLoop
	id     node.RequestID
}

// send takes a request to a node; tell is called at most once.
func (w *World) send(to kv.NodeID, req *kv.Request, admin *kv.AdminRequest, tell func(answer)) *copyOf {
	c := &copyOf{w: w, to: w.machine(to), req: req, admin: admin, answer: tell}
	f := w.faults().Clients
	switch {
	case w.chance(f.LoseRequest):
		w.after(w.net.delay(), func() { c.tell(brokenConnection(to)) })
	default:
		w.after(w.net.delay(), c.arrive)
		if req != nil && w.chance(f.Double) {
			w.after(w.upTo(f.DoubleLate), c.arrive)
		}
	}
	return c
}

func brokenConnection(to kv.NodeID) answer {
	return answer{lost: true, err: kv.Errorf(kv.Unavailable, "the connection to node %d broke", to)}
}

func (c *copyOf) tell(a answer) {
	if c.req != nil && c.req.Commit != nil {
		c.w.heardOf(c.req.Commit, a)
	}
	if !c.told {
		c.told = true
		c.answer(a)
	}
}

// arrive is when the request reaches the node.
func (c *copyOf) arrive() {
	w, p := c.w, c.to.process
	if p == nil || p.dead {
		w.after(w.net.delay(), func() {
			c.tell(answer{err: kv.Errorf(kv.Unavailable, "nobody listens at node %d", c.to.id)})
		})
		return
	}
	id := p.doors.admit(func(a answer) {
		if w.chance(w.faults().Clients.LoseAnswer) {
			a = brokenConnection(c.to.id)
		}
		w.after(w.net.delay(), func() { c.tell(a) })
	})
	l := p.loops[0]
	if c.req != nil {
		l = p.at(c.req.Partition)
	} else if i := node.AdminLoop(c.admin, len(p.loops)); i > 0 {
		l = p.loops[i]
	}
	c.at, c.id = l, id
	w.trace.note(22, uint64(p.m.id), uint64(id))
	if w.trace.lines {
		w.trace.line("node %d request %d %s", p.m.id, id, describeRequest(c.req, c.admin))
	}
	l.post(fromAnywhere, func(now kv.Instant) {
		if c.req != nil {
			l.node.Request(now, id, c.req)
		} else {
			l.node.Admin(now, id, c.admin)
		}
	})
}

// forget is when the client gives up on the copy. Now and then it says so.
func (c *copyOf) forget() {
	c.told = true
	l, id := c.at, c.id
	if l == nil || l.p.dead || !c.w.chance(c.w.faults().Clients.Cancel) {
		return
	}
	c.w.after(c.w.net.delay(), func() {
		if l.p.dead {
			return
		}
		if tell := l.p.doors.open[id]; tell != nil {
			delete(l.p.doors.open, id)
			var partition kv.PartitionID
			if c.req != nil {
				partition = c.req.Partition
			}
			l.post(fromAnywhere, func(now kv.Instant) { l.node.Cancel(now, id, partition) })
		}
	})
}
