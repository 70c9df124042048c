package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// The disk traps damage what was synced, on one machine of a run: more than a minority is
// more than anybody promises to survive.
var diskTraps = map[string]func(*World){"flip": trapFlip, "rollback": trapRollback}

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
	if used <= 0 {
		return
	}
	w.traps.flipped[m.id] = true
	bit := w.rng.Int64N(used * 8)
	w.trace.note(44, uint64(m.id), uint64(bit))
	w.trace.line("node %d: bit %d of %s flips, of %d bytes", m.id, bit, path, used)
	w.hist.counts["flip"]++
	_ = m.logFS.FlipBit(path, bit)
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
		w.traps.flipped[m.id] = true
		w.trace.note(45, uint64(m.id))
		w.trace.line("node %d: the log goes back", m.id)
		w.hist.counts["rollback"]++
		m.crash(w.between(20*ms, 300*ms))
		m.logFS = old
		m.logFS.Crash(w.rng, wal.CrashLose)
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
