package sim

import (
	"slices"
	"time"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/sim/check"
)

// Snapshots that are open for longer than old versions are kept (docs/adr/0015). Time runs at ten times the
// speed of the clocks, as fast as the oracle lets it: what is kept for ten minutes is kept for one.

// What clients do, on their own clocks, as package client/router does it.
const (
	holdAfter = 8 * s // the first time
	holdEvery = 5 * s
	// holdLate is by when the first hold must be answered, and holdGapMax how long it may be from one answer
	// to the next, for a snapshot to count as held. The cluster is more patient than that.
	holdLate   = 30 * s
	holdGapMax = 20 * s
)

// holdMax is the limit in the scenario, in the oracle's time.
const holdMax = 30 * time.Minute

// snapshot is one that a client has open.
type snapshot struct {
	c        *client
	keys     []kv.Key
	at       kv.Timestamp
	seen     []check.Seen
	opened   ns
	answered ns   // the newest hold; 0 = none
	renewed  bool // never with a longer gap
	asking   bool
	lapses   ns // it is not held any more
	closes   ns
	closed   bool
}

// hold opens a snapshot of keys that others write, and reads it again and again.
func hold(c *client, then func()) {
	w := c.w
	p, i := c.somePartition(), c.someKey()
	keys := []kv.Key{w.key(p, "reg", i), w.key(p, "reg", (i+1)%w.cfg.Load.Keys)}
	c.read(keys, readOpts{node: c.somewhere()}, func(o *check.Op) {
		if o.Result != check.Done {
			then()
			return
		}
		x := &snapshot{c: c, keys: keys, at: o.Timestamp, seen: slices.Clone(o.Reads), opened: w.now, renewed: true}
		x.closes = min(w.now+w.between(30*s, 200*s), w.phase.endOf)
		x.lapses = x.closes
		if w.rng.IntN(2) == 0 {
			x.lapses = w.now + w.upTo(x.closes-w.now)
		}
		w.after(holdAfter, x.renew)
		x.read(then)
	})
}

// renew tells the core, and does so again after a while.
func (x *snapshot) renew() {
	w := x.c.w
	if x.closed || w.now >= x.lapses {
		return
	}
	w.after(holdEvery, x.renew)
	if x.asking {
		return
	}
	x.asking = true
	w.admin(&kv.AdminRequest{Hold: &kv.Hold{Timestamp: x.at}}, func(a answer) bool { return a.err == nil }, func(a answer) {
		x.asking = false
		x.renewed = x.held()
		x.answered = w.now
		if oldest := a.admin.Hold.Oldest; x.renewed && !x.closed && oldest > x.at {
			w.violate("held snapshots", "", "a hold of %d is refused: what is kept begins at %d", uint64(x.at), uint64(oldest))
		}
	})
}

// held reports whether the cluster has to keep what the snapshot reads.
func (x *snapshot) held() bool {
	w := x.c.w
	last := x.answered + holdGapMax
	if x.answered == 0 {
		last = x.opened + holdLate
	}
	var now kv.Timestamp
	for _, c := range w.clients {
		now = max(now, c.s.Heard())
	}
	const margin = 2 * time.Minute // clients hear of the time a little late
	age := time.Duration(now.UnixMillis()-x.at.UnixMillis()) * time.Millisecond
	return x.renewed && w.now <= last && age < holdMax-margin
}

// read reads the snapshot until it is closed.
func (x *snapshot) read(then func()) {
	w := x.c.w
	w.after(w.upTo(12*s), func() {
		if w.now >= x.closes || w.phase.stopped {
			x.closed = true
			then()
			return
		}
		op := w.begin(x.c, check.Read)
		op.Past = true
		req := kv.Request{Read: &kv.Read{Keys: x.keys, Timestamp: x.at}}
		x.c.do(session.Op{Key: x.keys[0], Request: req}, &call{node: x.c.somewhere(), done: func(r *kv.Response, err *kv.Error) {
			if err == nil {
				op.Timestamp, op.Reads = r.Timestamp, seen(x.keys, r)
			}
			w.end(op, err == nil, err)
			x.judge(op, err)
			x.read(then)
		}}, x.c.patience(0))
	})
}

// judge looks at what a read has brought.
func (x *snapshot) judge(op *check.Op, err *kv.Error) {
	w := x.c.w
	switch {
	case err == nil && !slices.Equal(op.Reads, x.seen):
		w.violate("held snapshots", string(x.keys[0]), "the snapshot at %d was %s, and is %s %d s later", uint64(x.at), x.seen, op.Reads, (w.now-x.opened)/s)
	case err == nil && w.now-x.opened > 70*s:
		w.hist.counts["snapshot read after the retention"]++
	case err != nil && err.Kind == kv.TooOld && x.held():
		w.violate("held snapshots", string(x.keys[0]), "the snapshot at %d is held since %d s, the newest hold was answered %d ms ago, and: %s",
			uint64(x.at), (w.now-x.opened)/s, (w.now-x.answered)/ms, err.Message)
	case err != nil && err.Kind == kv.TooOld && err.Oldest <= x.at:
		w.violate("held snapshots", string(x.keys[0]), "a read at %d is too old, and what can be read begins at %d", uint64(x.at), uint64(err.Oldest))
	case err != nil && err.Kind == kv.TooOld:
		w.hist.counts["snapshot lost"]++
	}
}

// held is snapshots that are held, while the leaders of the core and of partitions change.
func held() *Scenario {
	c := base("held", "snapshots that are open for longer than the retention, some of them held, while the core's leader changes")
	c.Load.Clients, c.Load.Think = 10, 250*ms
	c.Load.Mix = []Share{{"hold", 2}, {"register", 8}}
	c.Node = func(n *node.Config) {
		n.Retention, n.RetainInterval, n.Core.HoldMax = kv.RetentionMin, 2*time.Second, holdMax
	}
	c.Process.Crash, c.Process.DownMax = 25*time.Second, 6*time.Second
	c.Script.Act = func(w *World) {
		for _, m := range w.machines {
			m.clock.wall += 48 * 3600 * s // the oracle follows as fast as it may
		}
		w.every(4*time.Second, w.phase.endOf, func() {
			w.transfer(w.traps.partitions[w.rng.IntN(len(w.traps.partitions))], kv.NodeID(1+w.rng.IntN(len(w.machines))))
		})
		w.every(70*time.Second, w.phase.endOf, func() { w.transfer(kv.SystemPartition, kv.NodeID(1+w.rng.IntN(len(w.machines)))) })
	}
	c.Duration = 300 * time.Second
	return c
}
