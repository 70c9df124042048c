package sim

import (
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
)

// input is one event on its way into a node.
type input func(now kv.Instant)

// source is where inputs come from. Those of one source are delivered in order; between
// sources any order is possible.
type source int

// The sources of one process. Each request of a client is a source of its own: clients have
// connections of their own, and replies to reads come from a pool.
const (
	fromTimer source = iota
	fromLog
	fromApplier
	fromBulk
	fromAnywhere // no order at all
	fromLoops    // of the same process
	fromNodes    // and two lanes for each node
)

// from is the source of messages from a node by a lane.
func (p *process) from(id kv.NodeID, lane int) source {
	return fromNodes + source(2*int(id-1)+lane)
}

// process is one run of a server: its loops, each with a node, and the threads that work for them.
// It ends with kill; the machine's disks outlive it.
type process struct {
	w         *World
	m         *machine
	loops     []*eventLoop
	halt      halt
	low       *node.LowWater
	log       logThread
	applier   applier
	readers   readers
	doors     doors
	snapshots snapshots
	flow      replication.Flow // as the node is configured
	dead      bool
}

// halt is what of the process stands still.
type halt struct {
	paused  ns   // all of it, until then
	freeze  ns   // when > 0: the next turn's effects wait so long, as if the process had been stopped after it
	stalled bool // one of its loops, as loop 0 was told
}

// Costs of the event loop.
const (
	turnDelayMin   = 3 * us
	turnDelayMax   = 40 * us
	tickInterval   = 10 * ms
	inputsPerTurn  = 64
	resumeSpread   = 1 * ms // after a pause, threads come back one after the other
	messageTurnMax = 1 << 20
)

// later runs do on one of the process's threads, d from now: not while the process stands
// still, and never once it is dead.
func (p *process) later(d ns, do func()) {
	p.w.after(d, func() { p.resume(do) })
}

func (p *process) resume(do func()) {
	switch {
	case p.dead:
	case p.w.now < p.halt.paused:
		p.w.after(p.halt.paused-p.w.now+p.w.upTo(resumeSpread), func() { p.resume(do) })
	default:
		do()
	}
}

// pause stops the whole process, as SIGSTOP does; its disk and its network go on.
func (p *process) pause(d ns) {
	if p.dead {
		return
	}
	p.halt.paused = max(p.halt.paused, p.w.now+d)
	p.w.trace.note(2, uint64(p.m.id), uint64(d))
	p.w.trace.line("node %d pauses for %dms", p.m.id, d/ms)
}

// receive takes a message off the network.
func (p *process) receive(from kv.NodeID, raw []byte) {
	if p == nil || p.dead {
		return
	}
	m, err := node.DecodeMessage(raw)
	if err != nil {
		p.w.violate("codec", "", "node %d cannot decode a message of node %d: %v", p.m.id, from, err)
		return
	}
	lane := 1
	if m.Urgent() {
		lane = 0
	}
	p.w.trace.note(3, uint64(from), uint64(p.m.id))
	if p.w.trace.lines {
		p.w.trace.line("recv %d>%d %s", from, p.m.id, describe(&m))
	}
	deliver := func(n *node.Node, now kv.Instant) { n.Receive(now, from, m) }
	if i := m.Loop(len(p.loops)); i != node.EveryLoop {
		l := p.loops[i]
		l.post(p.from(from, lane), func(now kv.Instant) { deliver(l.node, now) })
		return
	}
	p.every(p.from(from, lane), deliver)
}

// kill ends the process between two events. What it had sent is still on its way.
func (p *process) kill() {
	if p.dead {
		return
	}
	p.dead = true
	for _, l := range p.loops {
		l.inbox, l.waiting = nil, 0
	}
	p.doors.close()
	p.snapshots.close()
	p.applier.close()
	p.w.net.disconnect(p.m.id)
}
