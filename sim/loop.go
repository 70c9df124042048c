package sim

import (
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// eventLoop is one of the loops of a process: a node, and what is on its way into it. It has turns, and
// can stand still, by itself.
type eventLoop struct {
	p       *process
	index   int
	node    *node.Node
	inbox   [][]input     // by source
	waiting int           // inputs in the inbox
	due     bool          // a turn is planned
	stalled ns            // it stands still until then; the process goes on
	turned  ns            // when it last turned
	frozen  *node.Effects // of the last turn, until a pause that followed it is over
	ticked  ns            // when it was last ticked
}

// at is the loop that owns a partition.
func (p *process) at(id kv.PartitionID) *eventLoop { return p.loops[id.Loop(len(p.loops))] }

// every posts an input to all loops.
func (p *process) every(from source, in func(n *node.Node, now kv.Instant)) {
	for _, l := range p.loops {
		l.post(from, func(now kv.Instant) { in(l.node, now) })
	}
}

// heard is the newest timestamp that any loop has heard of.
func (p *process) heard() (t kv.Timestamp) {
	for _, l := range p.loops {
		t = max(t, l.node.Heard())
	}
	return t
}

// lease is what the process's replica of a partition believes of its lease.
func (p *process) lease(id kv.PartitionID) (term kv.Term, until kv.Instant, leads bool) {
	return p.at(id).node.Lease(id)
}

// byLoop splits something into what is each loop's, in the order in which it is.
func byLoop[T any](p *process, all []T, partition func(T) kv.PartitionID) [][]T {
	if len(p.loops) == 1 {
		return [][]T{all}
	}
	parts := make([][]T, len(p.loops))
	for _, x := range all {
		l := partition(x).Loop(len(p.loops))
		parts[l] = append(parts[l], x)
	}
	return parts
}

// post puts an input into the inbox, from where a turn of the loop takes it.
func (l *eventLoop) post(from source, in input) {
	if l.p.dead {
		return
	}
	for int(from) >= len(l.inbox) {
		l.inbox = append(l.inbox, nil)
	}
	l.inbox[from] = append(l.inbox[from], in)
	l.waiting++
	l.wake()
}

// stillUntil is when the loop may turn again.
func (l *eventLoop) stillUntil() ns { return max(l.p.halt.paused, l.stalled) }

func (l *eventLoop) wake() {
	if l.due || l.p.dead || l.waiting == 0 {
		return
	}
	l.due = true
	w := l.p.w
	w.after(max(w.between(turnDelayMin, turnDelayMax), l.stillUntil()-w.now), l.turn)
}

// turn lets some of the waiting inputs in and has their effects done.
func (l *eventLoop) turn() {
	p := l.p
	l.due = false
	if p.dead {
		return
	}
	if p.w.now < l.stillUntil() {
		l.wake()
		return
	}
	l.thaw()
	now := p.m.clock.now() // read after all inputs have arrived
	taken := uint64(0)
	for n := 1 + p.w.rng.IntN(inputsPerTurn); n > 0 && l.waiting > 0; n-- {
		l.take()(now)
		taken++
		if p.dead {
			return
		}
	}
	l.turned = p.w.now
	p.w.trace.note(1, uint64(l.index)<<32|uint64(p.m.id), taken, uint64(now))
	fx := l.node.Flush(now)
	p.w.elected(l)
	if p.halt.freeze > 0 {
		d := p.halt.freeze
		p.halt.freeze = 0
		p.pause(d)
		l.frozen = fx
		p.w.after(d, l.thaw)
		return
	}
	l.effects(fx)
	l.wake()
}

// thaw does the effects of a turn that was followed by a pause: no turn comes before that, though the end of
// all faults also ends the pause.
func (l *eventLoop) thaw() {
	if fx := l.frozen; fx != nil {
		l.frozen = nil
		l.effects(fx)
	}
}

// take is the oldest input of a source chosen at random.
func (l *eventLoop) take() input {
	rng := l.p.w.rng
	open := 0
	for _, q := range l.inbox {
		if len(q) > 0 {
			open++
		}
	}
	pick := rng.IntN(open)
	for i, q := range l.inbox {
		if len(q) == 0 {
			continue
		}
		if pick > 0 {
			pick--
			continue
		}
		at := 0
		if source(i) == fromAnywhere {
			at = rng.IntN(len(q))
			q[0], q[at] = q[at], q[0]
		}
		in := q[0]
		q[0] = nil
		if l.inbox[i] = q[1:]; len(q) == 1 {
			l.inbox[i] = nil
		}
		l.waiting--
		return in
	}
	panic("the inbox is empty")
}

// stall stops one loop; everything else of the process goes on.
func (l *eventLoop) stall(d ns) {
	w := l.p.w
	if l.p.dead {
		return
	}
	l.stalled = max(l.stalled, w.now+d)
	w.hist.counts["loop stalled"]++
	w.trace.note(48, uint64(l.p.m.id), uint64(l.index), uint64(d))
	w.trace.line("node %d: loop %d of %d stands still for %dms", l.p.m.id, l.index, len(l.p.loops), d/ms)
}

// tick is the loop's timer; a stopped process misses ticks.
func (l *eventLoop) tick() {
	p := l.p
	if p.dead {
		return
	}
	if p.w.now >= p.halt.paused && len(l.inbox[fromTimer]) == 0 && p.w.now-l.ticked >= p.m.clock.span(ns(l.node.TickEvery())-tickInterval/2) {
		l.ticked = p.w.now
		if l.index == 0 {
			p.log.watch()
			p.watchLoops()
		}
		l.post(fromTimer, l.tickNow)
	}
	p.w.after(p.m.clock.span(tickInterval), l.tick)
}

func (l *eventLoop) tickNow(now kv.Instant) {
	if len(l.p.loops) > 1 {
		l.node.Hear(now, l.p.heard())
	}
	l.node.Tick(now, l.p.m.clock.wallMillis())
}

// watchLoops tells loop 0 when another loop stands still, and when none does any more (L9).
func (p *process) watchLoops() {
	stalled := false
	for _, l := range p.loops[1:] {
		stalled = stalled || p.loops[0].turned-l.turned > ns(p.w.params().SupportDuration)/2
	}
	if stalled == p.halt.stalled {
		return
	}
	p.halt.stalled = stalled
	p.w.trace.line("node %d: a loop stands still: %v", p.m.id, stalled)
	p.loops[0].post(fromTimer, func(now kv.Instant) { p.loops[0].node.LoopStalled(now, stalled) })
}

// effects does what a turn wanted done.
func (l *eventLoop) effects(fx *node.Effects) {
	p := l.p
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
	l.housekeeping(fx)
	l.node.Recycle(fx)
}

// housekeeping is the part of the effects that nobody waits for.
func (l *eventLoop) housekeeping(fx *node.Effects) {
	p := l.p
	for _, s := range fx.Discards {
		p.snapshots.discard(s)
	}
	for _, d := range fx.Digests {
		p.later(p.w.between(us, 5*ms), func() {
			d.Run()
			l.post(fromAnywhere, func(now kv.Instant) { l.node.DigestDone(now, d) })
		})
	}
	for _, c := range fx.Collects {
		p.later(p.w.between(us, 5*ms), func() {
			c.Run(p.applier.engine)
			l.post(fromAnywhere, func(now kv.Instant) { l.node.Collected(now, c) })
		})
	}
	if fx.ReleaseLog != 0 {
		p.log.release(p.low.Raise(l.index, fx.ReleaseLog))
	}
	if fx.FlushEngine {
		p.applier.flush()
	}
	for _, f := range fx.Faulty {
		p.w.faulty(p, f)
	}
	if c := fx.Core; c != nil {
		for _, o := range p.loops[1:] {
			o.post(fromLoops, func(now kv.Instant) { o.node.CoreLeader(now, *c) })
		}
	}
}
