package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// The disk traps damage what was synced, on one machine of a run: more than a minority is
// more than anybody promises to survive.
var diskTraps = map[string]func(*World){"flip": trapFlip, "rollback": trapRollback, "rot": trapRot}

// victim is the one machine of the run whose disk may be damaged.
func (w *World) victim() *machine {
	if w.traps.victim == 0 {
		w.traps.victim = kv.NodeID(1 + w.rng.IntN(len(w.machines)))
	}
	return w.machine(w.traps.victim)
}

// trapFlip flips one bit of a machine's log while it is down: of what was synced, and is not in the
// last batch, where damage cannot be told from a torn write.
func trapFlip(w *World) {
	m := w.victim()
	p := m.alive()
	if p == nil || m.dead || p.log.newest.Segment == 0 {
		return
	}
	newest := p.log.newest
	m.crash(w.between(20*ms, 300*ms))
	path, used := m.someSegment(newest)
	m.flip(path, 0, used)
}

// flip flips one bit of a file between two offsets.
func (m *machine) flip(path string, from, used int64) {
	w := m.w
	if used <= from {
		return
	}
	w.traps.flipped[m.id] = true
	bit := from*8 + w.rng.Int64N((used-from)*8)
	w.trace.note(44, uint64(m.id), uint64(bit))
	w.trace.line("node %d: bit %d of %s flips, of %d bytes", m.id, bit, path, used)
	w.hist.counts["flip"]++
	_ = m.logFS.FlipBit(path, bit)
}

// trapRejoin: z hears nothing for a while, so that what is acknowledged is on x and y only; then y crashes and its log
// loses some of that, and x is gone: whoever lets y vote lets z lead without it (rule 56).
func trapRejoin(w *World, id kv.PartitionID, x, y, z kv.NodeID) {
	w.partFrom(x, y, z, func(y, z kv.NodeID) {
		apart := 250*ms + w.upTo(250*ms)
		w.net.cutBoth(x, z, apart+3*s, false)
		w.net.cutBoth(y, z, apart+30*ms, false)
		w.after(apart, func() { w.loseNewest(id, w.machine(y), x, 40) })
	})
}

// partFrom lets a trap part x and y from z, once x has the oracle: without it nobody could commit there. y is the one whose
// disk may be damaged.
func (w *World) partFrom(x, y, z kv.NodeID, trap func(y, z kv.NodeID)) {
	if w.traps.victim == 0 {
		w.traps.victim = y
	}
	if w.traps.victim == z {
		y, z = z, y
	}
	if w.traps.victim != y {
		return
	}
	w.transfer(kv.SystemPartition, x)
	w.after(100*ms, func() { trap(y, z) })
}

// trapGoesBack is trapRejoin with a log that goes back to an older state of itself, behind what the engine has: whoever
// takes the engine's word for the log's loses what is acknowledged and in neither (rule 54).
func trapGoesBack(w *World, _ kv.PartitionID, x, y, z kv.NodeID) {
	w.partFrom(x, y, z, func(y, z kv.NodeID) {
		m := w.machine(y)
		p := m.alive()
		if p == nil || m.dead {
			return
		}
		old, then := m.logFS.Clone(), p.log.written.clone()
		w.after(150*ms, func() {
			if m.alive() == p {
				p.applier.tryFlush()
			}
		})
		apart := 250*ms + w.upTo(150*ms)
		w.net.cutBoth(x, z, apart+3*s, false)
		w.net.cutBoth(y, z, apart+30*ms, false)
		w.after(apart, func() {
			if m.alive() == p && p.knowsMore(then) {
				w.net.cutBoth(x, y, 3*s, false)
				m.goBack(old, 20*ms)
			}
		})
	})
}

// goBack lets the log of a machine be what it was once, when the machine is back after d.
func (m *machine) goBack(old *wal.MemFS, d ns) {
	w := m.w
	w.traps.flipped[m.id] = true
	w.trace.note(45, uint64(m.id))
	w.trace.line("node %d: the log goes back", m.id)
	w.hist.counts["rollback"]++
	m.crash(d)
	m.logFS = old
	m.logFS.Crash(w.rng, wal.CrashLose)
}

// loseNewest damages the newest record that a machine has of a group, as soon as records of other groups follow it: in the
// very last batch damage cannot be told from a torn write, and behind a gap the log shows what is missing.
func (w *World) loseNewest(id kv.PartitionID, m *machine, leader kv.NodeID, tries int) {
	p := m.alive()
	if p == nil || tries == 0 {
		return
	}
	at, newest := p.log.places[id], p.log.newest
	if at.Segment == 0 || at.Segment != newest.Segment || at.Offset >= newest.Offset {
		w.after(3*ms, func() { w.loseNewest(id, m, leader, tries-1) })
		return
	}
	w.net.cutBoth(leader, m.id, 3*s, false)
	m.crash(20 * ms)
	const inRecord = 16
	m.flip(fmt.Sprintf("%s/%016x.log", logDir, at.Segment), int64(at.Offset), int64(at.Offset)+inRecord)
}

// rejoin is bitrot that strikes when a vote of the damaged replica would count.
func rejoin() *Scenario {
	c := base("rejoin", "a replica loses what only it and its leader have, and the leader goes away")
	c.Partitions = 4
	c.Load.ValueBytes, c.Load.Think = 200, 10*ms
	c.Load.Mix = []Share{{"register", 3}, {"counter", 2}, {"txn", 2}}
	c.Network = NetworkFaults{DelayMin: 100 * us, DelayMax: 400 * us}
	c.Node = smallLog
	c.Traps = []Trap{{"rejoin", 6 * time.Second}}
	c.Duration = 40 * time.Second
	return c
}

// goesBack is rejoin with a log that goes back instead of one that is damaged.
func goesBack() *Scenario {
	c := rejoin()
	c.Name, c.About = "goesback", "a replica's log forgets what only it and its leader have, and the leader goes away"
	c.Traps, c.Partitions, c.Duration = []Trap{{"goesback", 4 * time.Second}}, 2, 40*time.Second
	return c
}

// frameMax is more than what stands between the start of a batch and its first record.
const frameMax = 128

// someSegment is one of the newest segments of the log, with the bytes of it that hold older batches
// than the newest.
func (m *machine) someSegment(newest wal.Position) (path string, used int64) {
	names, err := m.logFS.List(logDir)
	last := fmt.Sprintf("%016x.log", newest.Segment)
	names = slices.DeleteFunc(names, func(n string) bool { return n[0] < '0' || n[0] > '9' && n[0] < 'a' || n > last }) // spares and the like
	if err != nil || len(names) == 0 {
		return "", 0
	}
	name := names[max(0, len(names)-1-m.w.rng.IntN(3))]
	path = logDir + "/" + name
	if name == last {
		return path, int64(newest.Offset) - frameMax
	}
	return path, m.logFS.FileSize(path)
}

// trapRollback lets a machine's log go back to an older state of itself, as a disk does that has lied about
// its cache, once the engine has flushed more than the older log had: that must be noticed.
// A log that goes back behind nobody's knowledge cannot be noticed by anybody.
func trapRollback(w *World) {
	m := w.victim()
	p := m.alive()
	if p == nil || m.dead {
		return
	}
	old, then := m.logFS.Clone(), p.log.written.clone()
	w.after(w.between(200*ms, 2*s), func() {
		if m.alive() != p || !p.knowsMore(then) {
			return
		}
		m.goBack(old, w.between(20*ms, 300*ms))
	})
}

// written is what one process has handed to its log so far, by group.
type written struct {
	last   map[kv.PartitionID]kv.LogIndex // newest entry
	writes map[kv.PartitionID]int
}

func (x *written) add(a *replication.Append) {
	if x.last == nil {
		*x = written{map[kv.PartitionID]kv.LogIndex{}, map[kv.PartitionID]int{}}
	}
	x.writes[a.Partition()]++
	if n := len(a.Log.Entries); n > 0 {
		x.last[a.Partition()] = a.Log.Entries[n-1].Index
	}
}

func (x *written) clone() written { return written{maps.Clone(x.last), maps.Clone(x.writes)} }

// knowsMore reports whether the engine has flushed more, of every group that has written to the
// log since, than the log had then.
func (p *process) knowsMore(then written) bool {
	flushed := map[kv.PartitionID]kv.LogIndex{}
	err := p.applier.engine.FlushedReplicaStates(func(id kv.PartitionID, applied kv.LogIndex, _ kv.Term) { flushed[id] = applied })
	more := err == nil
	for id, n := range p.log.written.writes { // the order does not matter: all must hold
		if n > then.writes[id] {
			more = more && flushed[id] > then.last[id] && then.last[id] > 0
		}
	}
	return more
}
