package node

import (
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// How long old things are kept, and how often it is looked whether they can go.
const (
	RetentionDefault = time.Hour // of old versions
	retainInterval   = kv.Instant(30 * time.Second)
	fullPassEvery    = 16 // one collection in so many looks at everything
)

// CollectTask is background work on the data of one replica: it deletes old versions, in bounded
// steps, or measures what there is. What it deletes no permitted read can see, so each
// replica does it in its own time.
type CollectTask struct {
	partition kv.PartitionID
	rep       *replica
	args      mvcc.GCArgs
	result    mvcc.GCResult
	measure   bool
	size      mvcc.Measured
	err       error
}

// Partition is the partition that is collected.
func (t *CollectTask) Partition() kv.PartitionID { return t.partition }

// Run does one step, off the loop.
func (t *CollectTask) Run(e *mvcc.Engine) {
	if t.measure {
		t.runMeasure(e)
		return
	}
	t.result, t.err = e.CollectGarbage(t.args)
}

// collecting is the garbage collection of one replica.
type collecting struct {
	done   kv.Timestamp // the G up to which everything was collected
	busy   bool
	passes int
}

// retain moves the outcome horizon and G of the partitions that are led here and were
// written to, and starts to collect what fell below an applied G.
func (n *Node) retain() {
	if n.now < n.keep.retainAt {
		return
	}
	n.keep.retainAt = n.now + retainInterval
	retention := n.cfg.Retention
	if retention == 0 {
		retention = RetentionDefault
	}
	for _, g := range n.set.Groups() {
		r := n.replicas[g.Partition()]
		if r.part == nil {
			continue
		}
		if r.leading && r.wrote != 0 {
			n.advance(r, retention)
		}
		n.collect(r)
	}
}

// advance moves H and G of a partition, in strides, until they have passed its newest write:
// then it is left asleep.
func (n *Node) advance(r *replica, retention time.Duration) {
	stride := kv.MakeTimestamp(max(retention/60, time.Second).Milliseconds(), 0)
	if h := n.ago(kv.OutcomeHorizon); h > r.applied.horizon+stride && r.applied.horizon < r.wrote {
		r.part.ProposeHorizon(h)
	}
	if g := n.ago(retention); g > r.applied.gc+stride && r.applied.gc < r.wrote {
		r.part.ProposeGC(g)
	}
	if r.applied.gc >= r.wrote {
		r.wrote = 0
	}
}

// ago is the timestamp of so long before the newest one heard of, 0 if there is none.
func (n *Node) ago(d time.Duration) kv.Timestamp {
	if ms := n.system.heard.UnixMillis() - d.Milliseconds(); ms > 0 {
		return kv.MakeTimestamp(ms, 0)
	}
	return 0
}

func (n *Node) collect(r *replica) {
	c := &r.garbage
	if c.busy || r.applied.gc <= c.done {
		return
	}
	c.busy = true
	c.passes++
	n.out.Collects = append(n.out.Collects, &CollectTask{
		partition: r.group.Partition(), rep: r,
		args: mvcc.GCArgs{Span: r.group.Descriptor().Span, Threshold: r.applied.gc, Full: c.passes%fullPassEvery == 0},
	})
}

// Collected takes back one step of a collection; the next one follows until the span is done.
func (n *Node) Collected(now kv.Instant, t *CollectTask) {
	n.at(now)
	r := n.replicas[t.partition]
	if r != t.rep {
		return
	}
	if t.measure {
		n.measured(r, t)
		return
	}
	if t.err == nil && len(t.result.Resume) > 0 {
		t.args.Span.Start = t.result.Resume
		n.out.Collects = append(n.out.Collects, t)
		return
	}
	r.garbage.busy = false
	n.Damaged(n.now, t.partition, t.err)
	if t.err == nil {
		r.garbage.done = t.args.Threshold
	}
}
