package sim

import (
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
)

// applier is the process's one writer of the engine. Flushes go on beside it.
type applier struct {
	p        *process
	engine   *mvcc.Engine
	queue    []*node.Apply
	busy     bool
	run      *applyRun
	flushing bool
	again    bool // another flush was asked for meanwhile
	full     bool // as the node was told
}

func (t *applier) add(as []*node.Apply) {
	t.queue = append(t.queue, as...)
	t.pump()
}

func (t *applier) pump() {
	p := t.p
	if t.busy || p.dead || len(t.queue) == 0 {
		return
	}
	t.busy = true
	batch := t.queue
	t.queue = nil
	p.later(p.m.disk.applyTime(), func() { t.applied(batch) })
}

// applied is when the engine has taken a batch; the node hears of it later, and readers may
// see it before.
func (t *applier) applied(batch []*node.Apply) {
	t.run = newApplyRun(t.engine, batch)
	t.goOn(batch)
}

// goOn is also how an attempt is made again that found the disk full; Pebble does the same with its flush.
func (t *applier) goOn(batch []*node.Apply) {
	p := t.p
	if t.run.step() {
		t.tellFull(true)
		p.later(retryFull, func() {
			if t.tryFlush() {
				t.goOn(batch)
			}
		})
		return
	}
	err := t.run.err
	t.run = nil
	if err != nil {
		p.w.fatal(p, "applying", err)
		return
	}
	t.tellFull(false)
	p.w.trace.note(5, uint64(p.m.id), uint64(len(batch)))
	p.later(p.w.between(us, 100*us), func() {
		for i, part := range byLoop(p, batch, (*node.Apply).Partition) {
			if l := p.loops[i]; len(part) > 0 {
				l.post(fromApplier, func(now kv.Instant) { l.node.Applied(now, part) })
			}
		}
		t.busy = false
		t.pump()
	})
}

// flush begins to make durable what was applied until now, because the node asks for it. One that is
// under way may have begun too early: another one follows it.
func (t *applier) flush() {
	if t.flushing {
		t.again = true
		return
	}
	t.flushing = true
	t.flushAfter(t.p.m.disk.flushTime(), func() {
		t.flushing = false
		t.report()
		if t.again {
			t.again = false
			t.flush()
		}
	})
}

// flushAfter flushes d from now; then is called later, when more has been applied.
func (t *applier) flushAfter(d ns, then func()) {
	p := t.p
	p.later(d, func() {
		if !t.tryFlush() {
			return
		}
		p.w.trace.note(6, uint64(p.m.id))
		p.later(p.w.between(us, 30*ms), then)
	})
}

// tryFlush makes one attempt, which a full disk may refuse; false: the process has ended.
func (t *applier) tryFlush() bool {
	err := t.engine.Flush()
	if err == nil || kv.KindOf(err) == kv.DiskFull {
		return true
	}
	t.p.w.fatal(t.p, "flushing the engine", err)
	return false
}

// report tells the node how far the engine is durable.
func (t *applier) report() {
	p := t.p
	var all []node.Flushed
	err := t.engine.FlushedReplicaStates(func(id kv.PartitionID, applied kv.LogIndex, _ kv.Term) {
		all = append(all, node.Flushed{Partition: id, Applied: applied})
	})
	if err != nil {
		p.w.fatal(p, "reading what is flushed", err)
		return
	}
	p.every(fromApplier, func(n *node.Node, now kv.Instant) { n.Flushed(now, all) })
}

// readers is the process's pool of readers. Each read takes its own time: to begin, to get from the
// engine to the check of the lease, and to be answered.
type readers struct{ p *process }

func (t readers) add(rs []*node.Read) {
	const atHandIn = 3 // one in so many is looked for where the loop is
	for _, r := range rs {
		if t.p.w.between(1, atHandIn) == 1 && r.RunAtHand(t.p.applier.engine.Newest()) {
			t.finish(r)
			continue
		}
		t.p.later(t.p.m.disk.readTime(), func() { t.run(r) })
	}
}

func (t readers) run(r *node.Read) {
	r.Run(t.p.applier.engine)
	t.p.later(t.p.m.disk.readTime(), func() { t.finish(r) })
}

func (t readers) finish(r *node.Read) {
	p := t.p
	if r.Task.Serve {
		if reply, ok := r.Finish(p.m.clock.now()); ok {
			p.doors.reply(reply)
			return
		}
	}
	l := p.at(r.Task.Partition)
	l.post(fromAnywhere, func(now kv.Instant) { l.node.ReadDone(now, []*node.Read{r}) })
}
