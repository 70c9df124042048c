package node

import (
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// keeper holds the lists of replicas that something is due for, and what is known of the log.
type keeper struct {
	proposing    []*replica // have commands for the next entry
	active       []*replica // lead a partition that is in use: ticked
	parked       []*replica // have requests that wait for a leader
	stale        []*replica // have changed since they were measured
	coreCommands [][]byte   // for the next entry of the system partition
	refused      []*refusedSnapshot

	held held

	at        kv.Instant // next look at the log
	retention retention
	bytes     int64 // of all replicas, as last summed up
	logUse
}

// logUse is what is known of the log.
type logUse struct {
	released uint64 // segments below it were released
	newest   uint64 // segment, as far as it is known here
	appended int64  // bytes handed to the log since the last flush request
	flushing bool   // a flush was asked for and not heard of
}

// Flushed is what a flush of the engine made durable.
type Flushed struct {
	Partition kv.PartitionID
	Applied   kv.LogIndex
}

const keepInterval = kv.Instant(time.Second)

// Flushed says how far each replica's state is durable in the engine: the log may be cut up
// to there and no further (rule 51).
func (n *Node) Flushed(now kv.Instant, flushed []Flushed) {
	n.at(now)
	n.keep.flushing = false
	n.forget(flushed)
	for _, f := range flushed {
		if r := n.replicas[f.Partition]; r != nil {
			r.applied.flushed = max(r.applied.flushed, f.Applied)
			n.compact(r)
		}
	}
	n.release()
}

// forget lets the log drop the tombstones that the engine now keeps durably.
func (n *Node) forget(flushed []Flushed) {
	for _, g := range n.system.buried {
		v := n.system.others[g.partition]
		switch {
		case n.replicas[g.partition] != nil || v == nil || v.ReplicaID() != 0 || v.Tombstone() != g.replica:
			// A newer replica has come; should it go as well, the grave is its own.
		case n.system.creating[g.partition] != nil || slices.ContainsFunc(flushed, func(f Flushed) bool { return f.Partition == g.partition }):
			n.system.graves = append(n.system.graves, g) // or that was a flush from before the end of the replica
		case v.OldestSegment() != wal.SegmentNone:
			n.out.Appends = append(n.out.Appends, replication.MarkAppend(g.partition, wal.Mark{Kind: wal.MarkForget}, nil))
		}
	}
	n.system.buried = nil
	if len(n.system.graves) > 0 {
		n.flushEngine()
	}
}

// oldest is the lowest segment that any group of this loop needs.
func (n *Node) oldest() uint64 {
	oldest := uint64(wal.SegmentNone)
	for _, g := range n.set.Groups() {
		oldest = min(oldest, g.View().OldestSegment())
	}
	for _, v := range n.system.others { // a minimum: the order does not show
		oldest = min(oldest, v.OldestSegment())
	}
	for _, c := range n.system.creating {
		if c.view != nil {
			oldest = min(oldest, c.view.OldestSegment())
		}
	}
	for _, r := range n.system.resetting {
		oldest = min(oldest, r.view.OldestSegment())
	}
	return oldest
}

// compact forgets log entries that no replica needs any more: applied and flushed here, and
// if this replica leads, known to every follower that keeps up.
func (n *Node) compact(r *replica) {
	const lagMax = 1 << 16 // entries kept for a follower that lags; beyond it gets a snapshot
	g, to := r.group, r.applied.flushed
	if g.Leads() {
		g.Progress(func(_ kv.ReplicaID, _ bool, match kv.LogIndex, streaming bool) {
			if streaming && match < to && to-match < lagMax {
				to = match
			}
		})
	}
	if to > 0 && !g.Installing() {
		g.Compact(to)
	}
}

// keepTick looks, once a second, at which segments of the log can go.
func (n *Node) keepTick() {
	if n.now < n.keep.at {
		return
	}
	n.keep.at = n.now + keepInterval
	n.measureTick()
	if n.keep.appended > n.cfg.LogKeepBytes/int64(n.id.Loops) || len(n.system.graves) > 0 { // together the loops keep to it; graves found at the start wait, too
		n.flushEngine()
	}
	n.release()
}

// flushEngine asks for what was applied to become durable, so that the log can be cut.
func (n *Node) flushEngine() {
	if !n.keep.flushing {
		n.keep.flushing, n.keep.appended = true, 0
		n.system.buried, n.system.graves = append(n.system.buried, n.system.graves...), nil
		n.out.FlushEngine = true
	}
}

// release lets the segments go that no group of this loop needs, and writes the few records forward that
// hold one back (rule S5).
func (n *Node) release() {
	const checkpointsMax = 64 // in one look
	oldest := n.oldest()
	if oldest == wal.SegmentNone { // nothing is needed: what is on its way to the log comes into the newest segment, or a later one
		oldest = n.keep.newest
	}
	if oldest > n.keep.released {
		n.keep.released = oldest
		n.out.ReleaseLog = oldest
	}
	left := checkpointsMax
	for _, g := range n.set.Groups() {
		v := g.View()
		if left > 0 && v.OldestSegment() == oldest && n.keep.newest > oldest+segmentsKept && v.LiveBytes() < checkpointBytesMax && g.Checkpoint() {
			left--
		}
	}
}

// checkpointBytesMax bounds the records of a group that are written forward.
const checkpointBytesMax = 64 << 10

// segmentsKept is how many segments a group's last write may lie behind before it is written forward.
const segmentsKept = 2
