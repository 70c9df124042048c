package sim

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
)

// snapshotChunk is small, so that something can happen between two chunks.
const snapshotChunk = 4 << 10

// transfer is one snapshot on its way: a connection of its own, chunk after chunk.
type transfer struct {
	from, to *process
	args     mvcc.SnapshotArgs
	replica  kv.ReplicaID
	source   *mvcc.SnapshotSource
	sink     *mvcc.SnapshotSink
	message  *raftpb.Message
	over     bool
}

// sendSnapshot begins to stream the state of a replica.
func (p *process) sendSnapshot(s *node.SendSnapshot) {
	x := &transfer{from: p, args: s.Args, replica: s.ToReplica, message: s.Message}
	if int(s.To) > 0 && int(s.To) <= len(p.w.machines) {
		x.to = p.w.machine(s.To).alive()
	}
	p.snapshots.open = append(p.snapshots.open, x)
	if x.to != nil {
		x.to.snapshots.open = append(x.to.snapshots.open, x)
	}
	p.later(p.m.disk.readTime(), x.begin)
}

// begin takes the copy that is sent.
func (x *transfer) begin() {
	if x.over {
		return
	}
	if x.to == nil {
		x.end(false)
		return
	}
	var err error
	x.args.ChunkBytes = snapshotChunk
	if x.source, err = x.from.applier.engine.NewSnapshotSource(x.args); err != nil {
		if kv.KindOf(err) != kv.NotFound && !x.from.damaged(x.args.Partition, err) { // it was destroyed meanwhile
			x.from.w.fatal(x.from, "copying a replica", err)
			return
		}
		x.end(false)
		return
	}
	st := x.source.State()
	if err := node.FillSnapshot(x.message, st); err != nil {
		x.from.w.fatal(x.from, "making a snapshot", err)
		return
	}
	x.from.w.hist.counts["snapshot"]++
	if x.to.applier.full { // a node with a full disk takes none
		x.refused()
		return
	}
	if x.sink, err = x.to.applier.engine.NewSnapshotSink(x.args); err != nil {
		x.from.w.fatal(x.to, "receiving a snapshot", err)
		return
	}
	x.next()
}

// next sends one more chunk.
func (x *transfer) next() {
	w := x.from.w
	if x.over {
		return
	}
	l := w.net.link(x.from.m.id, x.to.m.id)
	if w.now < l.cut || w.now < l.cutBulk {
		x.end(false)
		return
	}
	chunk, err := x.source.Next()
	if err != nil {
		if x.from.damaged(x.args.Partition, err) {
			x.end(false)
			return
		}
		w.fatal(x.from, "reading a snapshot", err)
		return
	}
	w.trace.bytes(chunk)
	w.after(w.net.delay(), func() { x.to.resume(func() { x.arrive(chunk) }) })
}

func (x *transfer) arrive(chunk []byte) {
	w := x.from.w
	if x.over {
		return
	}
	done, err := x.sink.Add(chunk)
	if kv.KindOf(err) == kv.DiskFull {
		x.refused()
		return
	}
	if err != nil {
		w.fatal(x.to, "taking a snapshot in", err)
		return
	}
	if !done {
		x.from.resume(x.next)
		return
	}
	// Its message travels encoded like all others.
	raw := node.AppendMessage(nil, &node.Message{Raft: &replication.Frame{Partition: x.args.Partition, Message: x.message}})
	m, err := node.DecodeMessage(raw)
	if err != nil {
		w.violate("codec", "", "the message of a snapshot cannot be decoded: %v", err)
		return
	}
	if w.traps.byEvent["ingestfull"] && !w.phase.calm && w.rng.IntN(3) == 0 {
		x.to.m.fillEngine(w.upTo(2 * s))
	}
	snap := &node.Snapshot{Partition: x.args.Partition, Message: m.Raft.Message, Sink: x.sink}
	x.sink = nil // now the node's, until it is discarded
	to, from := x.to, x.from.m.id
	to.snapshots.sinks = append(to.snapshots.sinks, snap)
	l := to.at(snap.Partition)
	l.post(fromBulk, func(now kv.Instant) { l.node.SnapshotReceived(now, from, snap) })
	delete(w.traps.refusals, x.refusal())
	x.end(true)
}

// refused ends a snapshot that its receiver has no room for.
func (x *transfer) refused() {
	w := x.from.w
	w.hist.counts["snapshot refused"]++
	r := x.refusal()
	all := append(w.traps.refusals[r], w.now)
	w.traps.refusals[r] = all
	if n := len(all); n > refusalsMax && w.now-all[n-1-refusalsMax] < s {
		w.violate("snapshots back off", "", "node %d was refused a snapshot of partition %d by node %d %d times within %d ms",
			r.from, r.partition, r.to, refusalsMax+1, (w.now-all[n-1-refusalsMax])/ms)
	}
	x.end(false)
}

// refusal is who refused what to whom.
type refusal struct {
	from, to  kv.NodeID
	partition kv.PartitionID
	term      uint64
	life      uint64 // of the sender
}

// refusalsMax is how many a second may follow the first one.
const refusalsMax = 5

func (x *transfer) refusal() refusal {
	return refusal{x.from.m.id, x.to.m.id, x.args.Partition, x.message.GetTerm(), x.from.m.incarnation}
}

// end tells the sender how it went, and frees what the transfer held.
func (x *transfer) end(ok bool) {
	if x.over {
		return
	}
	x.over = true
	if x.source != nil {
		x.source.Close()
	}
	if x.sink != nil {
		x.sink.Close()
	}
	x.from.snapshots.drop(x)
	if x.to != nil {
		x.to.snapshots.drop(x)
	}
	p := x.from
	p.w.after(p.w.net.delay(), func() {
		l := p.at(x.args.Partition)
		l.post(fromBulk, func(now kv.Instant) { l.node.SnapshotSent(now, x.args.Partition, x.replica, ok) })
	})
}

// snapshots are those that a process sends or receives, and those that its node has not done
// with.
type snapshots struct {
	open  []*transfer
	sinks []*node.Snapshot
}

func (t *snapshots) drop(x *transfer) {
	t.open = slices.DeleteFunc(t.open, func(o *transfer) bool { return o == x })
}

// discard closes a received snapshot that the node has done with.
func (t *snapshots) discard(s *node.Snapshot) {
	n := len(t.sinks)
	t.sinks = slices.DeleteFunc(t.sinks, func(o *node.Snapshot) bool { return o == s })
	if len(t.sinks) < n {
		s.Sink.Close()
	}
}

// close ends them all, as the death of the process does.
func (t *snapshots) close() {
	for len(t.open) > 0 {
		t.open[0].end(false)
	}
	for _, s := range t.sinks {
		s.Sink.Close()
	}
	t.sinks = nil
}
