package sim

import (
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// logThread is the process's writer of the log: it drains what is queued, writes once, syncs
// once, and answers in order.
type logThread struct {
	p       *process
	log     *wal.Log
	queue   []*replication.Append
	busy    bool
	began   ns // of the write under way
	batch   []*replication.Append
	slow    bool   // as the node was told
	freed   uint64 // segments below it can go, once what is queued is written
	freeing uint64 // the same, once the batch is written
	grown   uint64 // the newest segment that the loops were told of
	ready   uint64 // the segment after which one is ready, or will be soon
	written written
	newest  wal.Position                    // of the first record of the batch that was synced last: a crash leaves it there
	places  map[kv.PartitionID]wal.Position // of the longest of each group's newest records: that with its entries
}

func (t *logThread) add(as []*replication.Append) {
	for _, a := range as {
		t.p.w.traps.appended(t.p.w, t.p, a)
		t.written.add(a)
		t.p.w.logs.match(t.p.w, t.p, a)
	}
	t.queue = append(t.queue, as...)
	t.pump()
}

func (t *logThread) pump() {
	p := t.p
	if t.busy || len(t.queue) == 0 || p.dead {
		return
	}
	t.busy, t.began = true, p.w.now
	t.batch, t.queue = t.queue, nil
	t.freeing, t.freed = max(t.freeing, t.freed), 0
	p.w.after(p.m.disk.writeTime(syncs(t.batch)), func() {
		if !p.dead { // the device works on while the process stands still
			t.finish()
		}
	})
}

func syncs(as []*replication.Append) bool {
	for _, a := range as {
		if a.Sync {
			return true
		}
	}
	return false
}

// write is the one write and the one sync of a batch.
func (t *logThread) write() ([][]wal.Position, error) {
	batch := make([]wal.Append, len(t.batch))
	for i, a := range t.batch {
		batch[i] = a.Log
	}
	return t.log.Write(batch, syncs(t.batch))
}

// finish is when the device has done what it was told.
func (t *logThread) finish() {
	p := t.p
	pos, err := t.write()
	if kv.KindOf(err) == kv.DiskFull {
		p.w.trace.line("node %d: %v", p.m.id, err)
		p.later(100*ms, t.finish) // nothing was written: the same again, in the same order
		return
	}
	if err != nil {
		p.w.fatal(p, "writing the log", err)
		return
	}
	batch := t.batch
	if syncs(batch) {
		t.newest = firstOf(pos)
	}
	for i, a := range batch {
		t.places[a.Partition()] = longest(pos[i])
	}
	p.w.trace.note(4, uint64(p.m.id), uint64(len(batch)))
	p.later(0, func() {
		t.busy, t.batch = false, nil
		t.stored(batch, pos)
		if t.freeing != 0 {
			t.dropOld(t.freeing)
			t.freeing = 0
		}
		t.pump()
	})
}

// firstOf is where a batch begins: its records need not lie in the order in which they were given.
func firstOf(pos [][]wal.Position) (first wal.Position) {
	for _, ps := range pos {
		for _, p := range ps {
			if first.Segment == 0 || p.Segment < first.Segment || p.Segment == first.Segment && p.Offset < first.Offset {
				first = p
			}
		}
	}
	return first
}

func longest(ps []wal.Position) (most wal.Position) {
	for _, p := range ps {
		if p.Len > most.Len {
			most = p
		}
	}
	return most
}

// stored tells each loop of its own writes.
func (t *logThread) stored(batch []*replication.Append, pos [][]wal.Position) {
	type write struct {
		append *replication.Append
		pos    []wal.Position
	}
	writes := make([]write, len(batch))
	for i, a := range batch {
		writes[i] = write{a, pos[i]}
	}
	for i, part := range byLoop(t.p, writes, func(x write) kv.PartitionID { return x.append.Partition() }) {
		if len(part) == 0 {
			continue
		}
		l, as, ps := t.p.loops[i], make([]*replication.Append, len(part)), make([][]wal.Position, len(part))
		for j, x := range part {
			as[j], ps[j] = x.append, x.pos
		}
		l.post(fromLog, func(now kv.Instant) { l.node.Stored(now, as, ps) })
	}
	t.grew(t.log.Stats().Segment)
	t.prepare()
}

// prepare has the next segment ready before it is needed, as the host does beside the writer. With no room
// for one, the write that needs it finds that out.
func (t *logThread) prepare() {
	s := t.log.Stats().Segment
	if s == t.ready {
		return
	}
	t.ready = s
	t.p.later(t.p.w.upTo(prepareAfter), func() {
		if err := t.log.PrepareNext(); err != nil {
			t.p.w.trace.line("node %d: no segment is ready: %v", t.p.m.id, err) // of a failed sync the next write will tell
		}
	})
}

// prepareAfter is after how long, at most, the host looks for a segment to prepare.
const prepareAfter = 100 * ms

// grew tells all loops that the log has a new segment.
func (t *logThread) grew(segment uint64) {
	if len(t.p.loops) == 1 || segment <= t.grown {
		return
	}
	t.grown = segment
	t.p.every(fromLog, func(n *node.Node, now kv.Instant) { n.LogGrew(now, segment) })
}

// release lets old segments go, after what is queued: that may be why they can.
func (t *logThread) release(segment uint64) {
	if !t.busy && len(t.queue) == 0 {
		t.dropOld(segment)
		return
	}
	t.freed = max(t.freed, segment)
}

func (t *logThread) dropOld(segment uint64) {
	if err := t.log.ReleaseBefore(segment); err != nil && kv.KindOf(err) != kv.DiskFull {
		t.p.w.fatal(t.p, "releasing the log", err)
	}
}

// watch tells the node when a write hangs, and when it hangs no more (L9).
func (t *logThread) watch() {
	hangs := t.busy && t.p.w.now-t.began > hangAfter
	if hangs == t.slow {
		return
	}
	t.slow = hangs
	t.p.w.trace.line("node %d: disk slow %v", t.p.m.id, hangs)
	t.p.every(fromTimer, func(n *node.Node, now kv.Instant) { n.DiskSlow(now, hangs) })
}

// hangAfter is how long a write may take before the disk counts as hanging (L9).
const hangAfter = 300 * ms
