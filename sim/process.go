package sim

import (
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
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
	fromNodes    // and two lanes for each node
)

// from is the source of messages from a node by a lane.
func (p *process) from(id kv.NodeID, lane int) source {
	return fromNodes + source(2*int(id-1)+lane)
}

// process is one run of a server: a node, what is on its way into it, and the threads that work for
// it. It ends with kill; the machine's disks outlive it.
type process struct {
	w         *World
	m         *machine
	node      *node.Node
	inbox     [][]input // by source
	waiting   int       // inputs in the inbox
	loop      loop
	log       logThread
	applier   applier
	readers   readers
	doors     doors
	snapshots snapshots
	dead      bool
}

// loop is the state of the process's event loop.
type loop struct {
	due    bool // a turn is planned
	paused ns   // the process stands still until then
	freeze ns   // when > 0: the next turn's effects wait so long, as if the process had been stopped after it
	turns  uint64
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

// post puts an input into the inbox, from where a turn of the loop takes it.
func (p *process) post(from source, in input) {
	if p.dead {
		return
	}
	for int(from) >= len(p.inbox) {
		p.inbox = append(p.inbox, nil)
	}
	p.inbox[from] = append(p.inbox[from], in)
	p.waiting++
	p.wake()
}

func (p *process) wake() {
	if p.loop.due || p.dead || p.waiting == 0 {
		return
	}
	p.loop.due = true
	p.w.after(max(p.w.between(turnDelayMin, turnDelayMax), p.loop.paused-p.w.now), p.turn)
}

// turn lets some of the waiting inputs in and has their effects done.
func (p *process) turn() {
	p.loop.due = false
	if p.dead {
		return
	}
	if p.w.now < p.loop.paused {
		p.wake()
		return
	}
	now := p.m.clock.now() // read after all inputs have arrived
	taken := uint64(0)
	for n := 1 + p.w.rng.IntN(inputsPerTurn); n > 0 && p.waiting > 0; n-- {
		p.take()(now)
		taken++
		if p.dead {
			return
		}
	}
	p.loop.turns++
	p.w.trace.note(1, uint64(p.m.id), taken, uint64(now))
	fx := p.node.Flush(now)
	p.w.elected(p)
	if p.loop.freeze > 0 {
		d := p.loop.freeze
		p.loop.freeze = 0
		p.pause(d)
		p.w.after(d, func() { p.effects(fx) })
		return
	}
	p.effects(fx)
	p.wake()
}

// take is the oldest input of a source chosen at random.
func (p *process) take() input {
	open := 0
	for _, q := range p.inbox {
		if len(q) > 0 {
			open++
		}
	}
	pick := p.w.rng.IntN(open)
	for i, q := range p.inbox {
		if len(q) == 0 {
			continue
		}
		if pick > 0 {
			pick--
			continue
		}
		at := 0
		if source(i) == fromAnywhere {
			at = p.w.rng.IntN(len(q))
			q[0], q[at] = q[at], q[0]
		}
		in := q[0]
		q[0] = nil
		if p.inbox[i] = q[1:]; len(q) == 1 {
			p.inbox[i] = nil
		}
		p.waiting--
		return in
	}
	panic("the inbox is empty")
}

// later runs do on one of the process's threads, d from now: not while the process stands
// still, and never once it is dead.
func (p *process) later(d ns, do func()) {
	p.w.after(d, func() { p.resume(do) })
}

func (p *process) resume(do func()) {
	switch {
	case p.dead:
	case p.w.now < p.loop.paused:
		p.w.after(p.loop.paused-p.w.now+p.w.upTo(resumeSpread), func() { p.resume(do) })
	default:
		do()
	}
}

// pause stops the whole process, as SIGSTOP does; its disk and its network go on.
func (p *process) pause(d ns) {
	if p.dead {
		return
	}
	p.loop.paused = max(p.loop.paused, p.w.now+d)
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
	p.post(p.from(from, lane), func(now kv.Instant) { p.node.Receive(now, from, m) })
}

// tick is the process's timer; a stopped process misses ticks.
func (p *process) tick() {
	if p.dead {
		return
	}
	if p.w.now >= p.loop.paused && len(p.inbox[fromTimer]) == 0 {
		p.log.watch()
		p.post(fromTimer, func(now kv.Instant) { p.node.Tick(now, p.m.clock.wallMillis()) })
	}
	p.w.after(p.m.clock.span(tickInterval), p.tick)
}

// effects does what a turn wanted done.
func (p *process) effects(fx *node.Effects) {
	if p.dead {
		return
	}
	for i := range fx.Sends {
		x := &fx.Sends[i]
		if x.Guard != nil && !x.Guard.Holds(p.m.clock.now()) {
			continue
		}
		p.w.net.send(p.m.id, x.To, &x.Message)
	}
	p.log.add(fx.Appends)
	p.applier.add(fx.Applies)
	p.readers.add(fx.Reads)
	for _, r := range fx.Replies {
		p.doors.reply(r)
	}
	for _, r := range fx.AdminReplies {
		p.doors.adminReply(r)
	}
	for i := range fx.Snapshots {
		p.sendSnapshot(&fx.Snapshots[i])
	}
	p.housekeeping(fx)
	p.node.Recycle(fx)
}

// housekeeping is the part of the effects that nobody waits for.
func (p *process) housekeeping(fx *node.Effects) {
	for _, s := range fx.Discards {
		p.snapshots.discard(s)
	}
	for _, d := range fx.Digests {
		p.later(p.w.between(us, 5*ms), func() {
			d.Run()
			p.post(fromAnywhere, func(now kv.Instant) { p.node.DigestDone(now, d) })
		})
	}
	for _, c := range fx.Collects {
		p.later(p.w.between(us, 5*ms), func() {
			c.Run(p.applier.engine)
			p.post(fromAnywhere, func(now kv.Instant) { p.node.Collected(now, c) })
		})
	}
	if fx.ReleaseLog != 0 {
		p.log.release(fx.ReleaseLog)
	}
	if fx.FlushEngine {
		p.applier.flush()
	}
	for _, f := range fx.Faulty {
		p.w.faulty(p, f)
	}
}

// kill ends the process between two events. What it had sent is still on its way.
func (p *process) kill() {
	if p.dead {
		return
	}
	p.dead = true
	p.inbox, p.waiting = nil, 0
	p.doors.close()
	p.snapshots.close()
	p.w.net.disconnect(p.m.id)
}
