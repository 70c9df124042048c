package sim

import (
	"iter"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
)

// The engine's disk is full for a while, or breaks, or damages what it holds.

// EngineTroubles strike the disk under one engine. Intervals are means.
type EngineTroubles struct {
	Full    time.Duration // no table can be made or grow for a while
	FullMax time.Duration
	Fail    time.Duration // writes and syncs of tables fail, which ends the process at the next one
	Check   time.Duration // not a fault: the replicas of a partition are compared
}

// engineDisk is how the disk under a machine's engine behaves now.
type engineDisk struct {
	faults mvcc.Faults
	full   ns // until then
}

// retryFull is when what found no space tries again.
const retryFull = 100 * ms

// hauntEngines lets the engines' disks fail until the end of the phase.
func (w *World) hauntEngines(end ns) {
	f := w.cfg.Process.Engine
	w.every(f.Full, end, func() { w.anyMachine(w.rng.IntN(2) == 0).fillEngine(w.upTo(ns(f.FullMax))) })
	w.every(f.Fail, end, func() { w.anyMachine(w.rng.IntN(2) == 0).breakEngine() })
	w.every(f.Check, end, func() {
		id := w.traps.partitions[w.rng.IntN(len(w.traps.partitions))]
		if p, _ := w.leader(id); p != nil {
			w.compare(p, id, 80*s)
		}
	})
}

func (m *machine) fillEngine(d ns) {
	m.w.trace.note(60, uint64(m.id), uint64(d))
	m.w.trace.line("node %d: the disk of the engine is full for %dms", m.id, d/ms)
	m.w.hist.counts["engine full"]++
	m.engineDisk.full = max(m.engineDisk.full, m.w.now+d)
	m.engineDisk.faults.Full.Store(true)
	m.w.after(d, func() {
		if m.w.now >= m.engineDisk.full {
			m.engineDisk.faults.Full.Store(false)
		}
	})
}

func (m *machine) breakEngine() {
	if m.alive() == nil {
		return
	}
	m.w.trace.note(61, uint64(m.id))
	m.w.trace.line("node %d: the disk of the engine fails", m.id)
	m.w.hist.counts["engine failed"]++
	m.engineDisk.faults.Broken.Store(true)
}

// mendEngine is what a restart does to a disk that failed.
func (m *machine) mendEngine() { m.engineDisk.faults.Broken.Store(false) }

// space ends all that is wrong with the disk but damage.
func (d *engineDisk) space() {
	d.faults.Full.Store(false)
	d.faults.Broken.Store(false)
	d.full = 0
}

// applyRun is applies on their way into the engine: a coroutine that stands still while the disk is full.
type applyRun struct {
	next func() (struct{}, bool)
	stop func()
	err  error
}

func newApplyRun(e *mvcc.Engine, batch []*node.Apply) *applyRun {
	r := &applyRun{}
	r.next, r.stop = iter.Pull(func(yield func(struct{}) bool) {
		r.err = node.RunApplies(e, batch, func(error) bool { return yield(struct{}{}) })
	})
	return r
}

// step goes on until the end, or until the disk is full.
func (r *applyRun) step() (full bool) {
	_, full = r.next()
	return full
}

// tellFull tells the node of the engine's disk, as the applier finds it.
func (t *applier) tellFull(full bool) {
	p := t.p
	if t.full == full {
		return
	}
	t.full = full
	p.w.trace.line("node %d: engine full %v", p.m.id, full)
	p.every(fromTimer, func(n *node.Node, now kv.Instant) { n.EngineFull(now, full) })
}

// close ends what waits for space.
func (t *applier) close() {
	if t.run != nil {
		t.run.stop()
		t.run = nil
	}
}

// damaged is an error that damage explains: the node hears of it, and the process goes on.
func (p *process) damaged(id kv.PartitionID, err error) bool {
	if kv.KindOf(err) != kv.Corruption || !p.w.traps.flipped[p.m.id] {
		return false
	}
	p.w.trace.line("node %d: p%d: %v", p.m.id, id, err)
	l := p.at(id)
	l.post(fromAnywhere, func(now kv.Instant) { l.node.Damaged(now, id, err) })
	return true
}

// trapRot flips one bit of a table of a machine's engine, while it runs or while it is down.
func trapRot(w *World) {
	m := w.victim()
	p := m.alive()
	if p == nil || m.dead {
		return
	}
	tables, err := p.applier.engine.Tables()
	if err != nil || len(tables) == 0 {
		return
	}
	i := w.rng.IntN(len(tables))
	bit := w.rng.Int64N(8 * tables[i].Bytes)
	if w.rng.IntN(4) > 0 { // mostly in the middle of the largest table: before it is what the store knows of its replicas
		for j := range tables {
			if tables[j].Bytes > tables[i].Bytes {
				i = j
			}
		}
		bit = 2*tables[i].Bytes + w.rng.Int64N(4*tables[i].Bytes)
	}
	if w.rng.IntN(3) > 0 { // nothing is cached after it
		m.crash(w.between(20*ms, 300*ms))
	}
	w.traps.flipped[m.id] = true
	w.trace.note(62, uint64(m.id), uint64(i), uint64(bit))
	w.trace.line("node %d: bit %d of table %d flips, of %d bytes", m.id, bit, i, tables[i].Bytes)
	w.hist.counts["rot"]++
	_ = mvcc.FlipBit(m.engineFS, tables[i].Path, bit)
}

// engineFull is nodes whose engines find no space for a while, with replicas that move to them meanwhile.
func engineFull() *Scenario {
	c := base("enginefull", "the engines' disks are full for a while, also in the middle of taking a snapshot in")
	c.Nodes = 5
	c.Load.ValueBytes = 600
	c.Node = smallLog
	c.Process.Engine = EngineTroubles{Full: 1200 * time.Millisecond, FullMax: 4 * time.Second, Check: 2 * time.Second}
	c.Process.Move, c.Process.Crash, c.Process.Flush = 700*time.Millisecond, 3*time.Second, 300*time.Millisecond
	c.Links.Cut = 3 * time.Second
	c.Traps = []Trap{{"ingestfull", 0}}
	return c
}

// engineFault is disks that fail under the engines, which ends their processes.
func engineFault() *Scenario {
	c := engineFull()
	c.Name, c.About = "enginefault", "writes and syncs of the engines' disks fail, and full disks and crashes besides"
	c.Process.Engine = EngineTroubles{Fail: 900 * time.Millisecond, Full: 4 * time.Second, FullMax: time.Second, Check: 2 * time.Second}
	c.Process.Crash = 5 * time.Second
	return c
}

// engineRot is one machine whose tables lose bits.
func engineRot() *Scenario {
	c := engineFull()
	c.Name, c.About = "enginerot", "one machine's tables lose bits: what is damaged is never served, and the replicas are replaced"
	c.Nodes, c.Disk.BlockBytes = 3, 512 // so that damage to one block is not damage to all
	c.Process.Engine = EngineTroubles{}
	c.Process.Move, c.Links.Cut = 0, 0 // nothing moves to a machine that may be out for good
	c.Traps = []Trap{{"rot", 2 * time.Second}}
	c.Load.Keys, c.Load.Anywhere = 10, 0
	return c
}
