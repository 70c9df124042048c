package node

import (
	"cmp"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// How often it is looked how much a replica holds. A write only puts its replica in a list; the
// counting is done off the loop, and bounded for the node.
const (
	measureInterval    = kv.Instant(time.Second)
	measurePerVersion  = kv.Instant(5 * time.Millisecond) // longer for each version that the last measurement had to look at
	measureIntervalMax = kv.Instant(time.Minute)
	measureVersionsMax = 500_000 // looked at in one second, of all replicas: below a tenth of a core
)

// sizing is when a replica is measured.
type sizing struct {
	stale    bool // in the list of those that changed since they were measured
	busy     bool
	due      kv.Instant
	examined int // versions that the last measurement looked at

	known     bool // measured since the process began
	threshold kv.Timestamp
	found     mvcc.Measured // as of threshold
}

// outgrown notes that what is known of a replica's size is not true any more.
func (n *Node) outgrown(r *replica) {
	if !r.sizing.stale {
		r.sizing.stale = true
		n.keep.stale = append(n.keep.stale, r)
	}
}

// measureTick has the replicas measured that are due, in the order in which they changed.
func (n *Node) measureTick() {
	left := measureVersionsMax
	kept := n.keep.stale[:0]
	for _, r := range n.keep.stale {
		s := &r.sizing
		switch {
		case n.replicas[r.group.Partition()] != r:
		case s.busy || n.now < s.due || left <= 0:
			kept = append(kept, r)
		default:
			left -= 1 + max(s.examined, int(min(r.applied.Keys, measureVersionsMax)))
			s.stale, s.busy = false, true
			n.out.Collects = append(n.out.Collects, &CollectTask{
				partition: r.group.Partition(), rep: r, measure: true, review: r.garbage.review != 0,
				args: mvcc.GCArgs{Span: r.group.Descriptor().Span, Threshold: cmp.Or(r.garbage.review, r.applied.gc)},
			})
		}
	}
	clear(n.keep.stale[len(kept):])
	n.keep.stale = kept
}

// runMeasure counts what is live in the replica, and what is garbage.
func (t *CollectTask) runMeasure(e *mvcc.Engine) {
	if t.partition == kv.SystemPartition {
		t.size, t.err = e.MeasureSystem(corePrefix)
	} else {
		t.size, t.err = e.Measure(t.args.Span, t.args.Threshold)
	}
}

// measured takes a measurement back. The next apply puts it in the replica's state.
func (n *Node) measured(r *replica, t *CollectTask) {
	s := &r.sizing
	s.busy, s.examined = false, t.size.Examined
	s.due = n.now + min(measureInterval+kv.Instant(t.size.Examined)*measurePerVersion, measureIntervalMax)
	if t.err != nil {
		n.outgrown(r)
		return
	}
	s.known, s.threshold, s.found = true, t.args.Threshold, t.size
	r.garbage.reviewed(t)
	was := r.applied.Counters
	r.applied.Counters = t.size.Counters
	if was.Keys != t.size.Keys || was.Bytes != t.size.Bytes {
		n.news(r)
	}
}
