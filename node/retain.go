package node

import (
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// How long old versions are kept, and how often it is looked whether they can go.
const (
	RetentionDefault      = time.Hour // of old versions
	RetainIntervalDefault = 30 * time.Second
	strides               = 60 // G and H are raised in steps of such a part of the retention, or of a second
	// garbageShare: old versions are worth a look at a partition's tables if they are one in so many, or if the
	// partition is small.
	garbageShare = 100
)

// retention is what the core has said of old versions, and when it is looked at them next.
type retention struct {
	at       kv.Instant
	ceiling  kv.Timestamp // of G; 0 = nothing was heard yet
	revision kv.Revision
	own      map[kv.KeyspaceID]time.Duration // of keyspaces that have one of their own
}

// hear takes over what the core says. Every ceiling is a promise for ever, so the highest one holds, whoever
// gave it; of the keyspaces the newest word counts.
func (x *retention) hear(r *core.Retain) {
	x.ceiling = max(x.ceiling, r.Ceiling)
	if r.Revision < x.revision {
		return
	}
	x.revision, x.own = r.Revision, make(map[kv.KeyspaceID]time.Duration, len(r.Retentions))
	for _, k := range r.Retentions {
		x.own[k.Keyspace] = k.Retention
	}
}

// retention is how long the versions of a keyspace are kept.
func (n *Node) retention(k kv.KeyspaceID) time.Duration {
	if d := n.keep.retention.own[k]; d != 0 {
		return d
	}
	if n.cfg.Retention != 0 {
		return n.cfg.Retention
	}
	return RetentionDefault
}

// CollectTask is background work on the data of one replica: it deletes old versions, in bounded
// steps, or measures what there is. What it deletes no permitted read can see, so each
// replica does it in its own time.
type CollectTask struct {
	partition kv.PartitionID
	rep       *replica
	args      mvcc.GCArgs
	result    mvcc.GCResult
	measure   bool
	review    bool // of a measurement: of what the last pass has left
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

// collecting is the garbage collection of one replica. What was measured decides: a pass that looks only at
// blocks with garbage is made if there is enough below G, and one over everything
// if such a pass has left enough.
type collecting struct {
	done   kv.Timestamp // the G up to which enough was collected
	review kv.Timestamp // the G of a pass of which it is not known yet what it has left; 0 = none
	full   bool         // it has left enough
	busy   bool
}

// retain moves the outcome horizon and G of the partitions that are led here, and
// starts to collect what fell below an applied G.
func (n *Node) retain() {
	x := &n.keep.retention
	if n.now < x.at {
		return
	}
	interval := n.cfg.RetainInterval
	if interval == 0 {
		interval = RetainIntervalDefault
	}
	x.at = n.now.Add(interval)
	for _, g := range n.set.Groups() {
		r := n.replicas[g.Partition()]
		if r.part == nil {
			continue
		}
		if !r.sizing.known && r.applied.Garbage > 0 {
			n.outgrown(r) // by what the disk says, which may be long ago
		}
		if r.leading {
			n.advance(r)
		}
		n.collect(r)
	}
}

// advance moves H and G of a partition, in strides: H until it has passed the newest write, G while
// there is garbage for it. Then the partition is left asleep.
func (n *Node) advance(r *replica) {
	keep := n.retention(r.group.Descriptor().Keyspace)
	stride := kv.MakeTimestamp(max(keep/strides, time.Second).Milliseconds(), 0)
	g := min(n.ago(keep), n.keep.retention.ceiling)
	found := &r.sizing.found
	raise := g > r.applied.gc+stride && found.Since != 0 && found.Since <= g && worthwhile(found.Garbage, found)
	if h := n.ago(kv.OutcomeHorizon); h > r.applied.horizon+stride && (raise || r.applied.horizon < r.wrote) {
		r.part.ProposeHorizon(h)
	}
	if raise {
		r.part.ProposeGC(g)
	}
	if r.applied.horizon >= r.wrote {
		r.wrote = 0
	}
}

// worthwhile reports whether so many of the versions that were measured are worth a look at the tables.
func worthwhile(garbage int64, m *mvcc.Measured) bool {
	all := m.Keys + m.Garbage
	return garbage > 0 && (all <= mvcc.GCExaminedDefault || garbage*garbageShare >= all)
}

// ago is the timestamp of so long before the newest one heard of, 0 if there is none.
func (n *Node) ago(d time.Duration) kv.Timestamp {
	if ms := n.system.heard.UnixMillis() - d.Milliseconds(); ms > 0 {
		return kv.MakeTimestamp(ms, 0)
	}
	return 0
}

// collect begins a pass if one is worth it. Before that it has the replica measured, as of the G in question.
func (n *Node) collect(r *replica) {
	c, s := &r.garbage, &r.sizing
	switch {
	case c.busy || r.applied.gc <= c.done && !c.full:
		return
	case !s.known && r.applied.Garbage == 0:
		c.done = r.applied.gc
		return
	case c.review != 0 || !s.known || s.threshold < r.applied.gc:
		n.outgrown(r)
		return
	case !c.full && !worthwhile(s.found.Due, &s.found):
		c.done = r.applied.gc
		return
	}
	c.busy = true
	n.out.Collects = append(n.out.Collects, &CollectTask{
		partition: r.group.Partition(), rep: r,
		args: mvcc.GCArgs{Span: r.group.Descriptor().Span, Threshold: r.applied.gc, Full: c.full},
	})
}

// reviewed judges what a pass has left.
func (c *collecting) reviewed(t *CollectTask) {
	if !t.review || t.args.Threshold != c.review {
		return // it was begun before the pass had ended
	}
	c.review = 0
	c.full = worthwhile(t.size.Due, &t.size)
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
	c := &r.garbage
	c.busy = false
	n.Damaged(n.now, t.partition, t.err)
	if t.err != nil {
		return
	}
	c.done, c.review, c.full = t.args.Threshold, 0, false
	if !t.args.Full {
		c.review = t.args.Threshold
	}
	r.sizing.due = n.now // what was measured is not true any more
	n.outgrown(r)
}
