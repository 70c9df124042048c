package sim

import (
	"math/rand/v2"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// client is one simulated client: it does one operation after the other, by the rules of
// package session, and writes down what it was told.
type client struct {
	w    *World
	id   int
	s    *session.Session
	load workload
	busy bool
}

// Patience of clients.
const (
	copyPatienceMin = 100 * ms // for one copy, before it counts as lost
	opPatienceMax   = 20 * s   // for an operation that must not stay unknown
)

func newClient(w *World, id int, seed uint64) *client {
	return &client{w: w, id: id, s: session.New(rand.NewPCG(seed, uint64(id)))}
}

// call drives one call of the session to its end. copyPatience is for each copy, patience for
// all. begun is told of each new attempt, done of the end.
type call struct {
	c            *client
	machine      session.Call
	copyPatience ns
	node         kv.NodeID // if set, the first copy goes to this node, whoever leads
	copy         *copyOf
	id           uint64 // grows with each step, so that what is late is ignored
	ended        bool
	begun        func(*kv.Commit)
	done         func(*kv.Response, *kv.Error)
}

// do begins a call.
func (c *client) do(op session.Op, k *call, patience ns) {
	k.c = c
	if k.copyPatience == 0 {
		k.copyPatience = c.w.between(copyPatienceMin, c.w.cfg.Load.CopyPatience)
	}
	c.w.after(patience, func() {
		if !k.ended {
			k.act(k.machine.Ended(kv.Errorf(kv.Timeout, "the client has waited for %d ms", patience/ms)))
		}
	})
	k.act(k.machine.Begin(c.s, op))
}

// act does what the session wants next.
func (k *call) act(a session.Action) {
	w := k.c.w
	k.id++
	id := k.id
	if k.copy != nil {
		k.copy.forget()
		k.copy = nil
	}
	switch a.Kind {
	case session.Send:
		k.send(a, id)
	case session.Wait:
		w.after(ns(a.Delay), func() {
			if k.id == id {
				k.act(k.machine.Woke())
			}
		})
	case session.Refresh:
		k.c.refresh(a.Keyspace, 0, func(err *kv.Error) {
			if k.id == id {
				k.act(k.machine.Refreshed(err))
			}
		})
	case session.Done:
		k.ended = true
		k.done(a.Response, a.Err)
	}
}

func (k *call) send(a session.Action, id uint64) {
	w := k.c.w
	if a.Request.Commit != nil && k.begun != nil {
		k.begun(a.Request.Commit)
	}
	to := a.Node
	if k.node != 0 {
		to, k.node = k.node, 0
	}
	k.copy = w.send(to, a.Request, nil, func(x answer) {
		k.c.s.Hear(x.heard)
		switch {
		case k.id != id:
		case x.lost:
			k.act(k.machine.Lost(x.err))
		case x.err != nil:
			e := *x.err // the session completes it
			k.act(k.machine.Refused(&e))
		default:
			k.act(k.machine.Answered(x.response))
		}
	})
	w.after(k.copyPatience, func() {
		if k.id == id {
			k.act(k.machine.Lost(kv.Errorf(kv.Timeout, "node %d has not answered for %d ms", to, k.copyPatience/ms)))
		}
	})
}

// refresh asks one node after the other for the map.
func (c *client) refresh(keyspace string, tried int, done func(*kv.Error)) {
	w := c.w
	if tried > 2*len(w.machines) {
		done(kv.Errorf(kv.Unavailable, "no node has told the topology"))
		return
	}
	to := kv.NodeID(w.rng.IntN(len(w.machines)) + 1)
	over := false
	next := func() {
		if !over {
			over = true
			c.refresh(keyspace, tried+1, done)
		}
	}
	w.send(to, nil, &kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: keyspace, Local: tried%2 == 1}}, func(x answer) {
		c.s.Hear(x.heard)
		switch {
		case over:
		case x.err != nil && x.err.Kind == kv.NotFound:
			over = true
			done(x.err)
		case x.err != nil, x.admin.Topology == nil: // an old copy of the core does not know the keyspace yet
			next()
		default:
			over = true
			c.s.Learn(keyspace, x.admin.Topology)
			done(nil)
		}
	})
	w.after(300*ms, next)
}
