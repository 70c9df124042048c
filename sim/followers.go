package sim

import (
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/sim/check"
)

// The workloads of reads that any replica may answer. What they see is judged as all reads at a timestamp
// are, whoever answered.

// pastMax is how far reads of the past go back, at most.
const pastMax = 700 * ms

// staleKinds are the keys of other workloads that these read.
var staleKinds = map[string][]string{
	"register": {"reg"}, "counter": {"sum"}, "txn": {"txn"}, "writer": {"hot"}, "set": {"set"},
	"transfer": {"bal"}, "twins": {"twa", "twb", "twc", "twd"}, "handover": {"hoa", "hob"}, "cycle": {"rin", "rio"}, "append": {"lst"},
}

// anyNode is a node, whoever leads.
func (c *client) anyNode() kv.NodeID { return kv.NodeID(c.w.rng.IntN(len(c.w.machines)) + 1) }

// someKind is a kind of keys that another workload of the scenario uses.
func (c *client) someKind() string {
	var all []string
	for _, s := range c.w.cfg.Load.Mix {
		all = append(all, staleKinds[s.Name]...)
	}
	return all[c.w.rng.IntN(len(all))]
}

// ago is a timestamp that the client has heard of, or one of up to pastMax before.
func (c *client) ago() kv.Timestamp {
	heard := c.s.Heard()
	if c.w.rng.IntN(3) == 0 {
		return heard
	}
	millis := heard.UnixMillis() - c.w.upTo(pastMax)/ms
	return kv.MakeTimestamp(max(millis, 1), heard.Counter())
}

// staleOpts are a timestamp of the past, or a bound of the past, for any node.
func (c *client) staleOpts() readOpts {
	o := readOpts{past: true, node: c.anyNode()}
	if c.w.rng.IntN(2) == 0 {
		o.at, o.stale.Follower = c.ago(), true
	} else {
		o.stale.NotBefore = c.ago()
	}
	return o
}

// stale reads keys of any partitions, or scans, at timestamps of the past.
func stale(c *client, then func()) {
	w := c.w
	end := func(*check.Op) { then() }
	if c.s.Heard() == 0 {
		c.read([]kv.Key{w.key(0, "reg", 0)}, readOpts{}, end)
		return
	}
	kind := c.someKind()
	if w.rng.IntN(4) == 0 {
		span := w.span(c.somePartition(), kind)
		if w.rng.IntN(4) == 0 {
			span = kv.Span{Start: w.key(0, "a", 0), End: w.key(w.cfg.Partitions-1, "z", 999)}
		}
		c.scan(span, c.staleOpts(), end)
		return
	}
	var keys []kv.Key
	used := map[string]bool{}
	for range 1 + w.rng.IntN(4) {
		k := w.turn(kind, c.somePartition(), c.someKey())
		if !used[string(k)] {
			used[string(k)] = true
			keys = append(keys, k)
		}
	}
	c.readAll(keys, c.staleOpts(), end)
}

// follow writes a key, and reads it at once at the timestamp of the write, from any node.
func follow(c *client, then func()) {
	w := c.w
	k := w.key(c.somePartition(), "hot", c.someKey())
	to := c.anyNode()
	if w.now < w.traps.avoidUntil && to == w.traps.avoid {
		to = to%kv.NodeID(len(w.machines)) + 1
	}
	if w.now < w.traps.hold {
		w.after(5*ms, then)
		return
	}
	c.commit(change{writes: []kv.Write{{Kind: kv.WritePut, Key: k, Value: w.value()}}, node: to}, func(o *check.Op) {
		if o.Result != check.Done {
			then()
			return
		}
		c.readAll([]kv.Key{k}, readOpts{at: o.Timestamp, past: true, node: c.anyNode(), stale: kv.Stale{Follower: true}}, func(*check.Op) { then() })
	})
}

// followed counts what replicas answered that do not lead, and judges bounds.
func (w *World) followed(o readOpts, r *kv.Response) {
	if r.Term == 0 && r.Timestamp != 0 {
		w.hist.counts["read of a follower"]++
	}
	if r.Timestamp < o.stale.NotBefore {
		w.violate("not before", "", "a read not before %d was answered at %d", uint64(o.stale.NotBefore), uint64(r.Timestamp))
	}
}

// next are the options of what goes on with a read, after its timestamp is known.
func (o readOpts) next(c *client, at kv.Timestamp) readOpts {
	o.at, o.node = at, 0
	if o.stale != (kv.Stale{}) {
		o.node, o.stale = c.anyNode(), kv.Stale{Follower: true}
	}
	return o
}

// followers is transactions of all kinds beside reads that any replica answers.
func followers() *Scenario {
	c := crossing("followers", "reads at timestamps of the past, answered by any replica, beside transactions of many kinds",
		Share{"stale", 8}, Share{"append", 2}, Share{"transfer", 3}, Share{"twins", 2}, Share{"txn", 2}, Share{"bank", 2}, Share{"register", 2}, Share{"counter", 1})
	c.LoopsMax = 2
	c.Load.Anywhere = 0
	c.Links.Slow = 3 * time.Second
	return c
}

// closing is one kind of keys, read at the timestamps of their own commits.
func closing() *Scenario {
	c := base("closing", "writes that are read at once, at their own timestamps, by any replica")
	c.Load.Clients, c.Load.Keys, c.Load.Think = 24, 6, 5*ms
	c.Load.Mix = []Share{{"follow", 3}, {"writer", 1}, {"stale", 2}}
	c.Process.Transfer, c.Process.Crash = 4*time.Second, 8*time.Second
	c.Disk.ApplyMax = 10 * ms
	c.Links.Slow = 2 * time.Second
	return c
}

// deaf is leaders that were replaced and do not know it, and go on closing timestamps.
func deaf() *Scenario {
	c := trapped("deaf", "a leader that was replaced does not hear of it, and draws timestamps", Trap{"deaf", 4500 * time.Millisecond})
	c.Load.Clients, c.Load.Keys, c.Load.Think = 16, 4, 4*ms
	c.Load.Mix = []Share{{"follow", 4}, {"stale", 1}, {"writer", 1}}
	c.Params = func(p *replication.Params) { p.ElectionTicks = 50 } // it believes in itself for long
	c.Duration = 40 * time.Second
	return c
}

// trapDeaf: x sleeps and is replaced by y, of whom it hears nothing; z, which has the oracle, hears x at once, and
// late what y says.
func trapDeaf(w *World, id kv.PartitionID, x, y, z kv.NodeID) {
	o, _ := w.leader(kv.SystemPartition)
	switch {
	case o == nil:
		return
	case o.m.id == y:
		y, z = z, y
	case o.m.id == x:
		w.transfer(kv.SystemPartition, z)
		return
	}
	const asleep = 250 * ms // without writes
	w.traps.hold = w.now + asleep + 700*ms
	w.traps.avoid, w.traps.avoidUntil = x, w.now+asleep+3*s
	w.after(asleep, func() {
		w.silence(id, x, 3*s) // the group alone: x must find the oracle
		w.net.cutBoth(x, y, 3*s, false)
		w.net.cutBoth(x, z, 700*ms, false)
		w.tellLate(id, y, z, w.now+1500*ms)
	})
}

// tellLate makes what y says to z late, as soon as y leads; if z was elected it hands over.
func (w *World) tellLate(id kv.PartitionID, y, z kv.NodeID, until ns) {
	p := w.machine(y).alive()
	if p == nil || w.now >= until {
		return
	}
	if _, lease, _ := p.lease(id); lease != 0 {
		w.net.slow(y, z, 2*s, 100*ms) // less than a draw may take
		return
	}
	if l, _ := w.leader(id); l != nil && l.m.id == z {
		w.transfer(id, y)
	}
	w.after(10*ms, func() { w.tellLate(id, y, z, until) })
}

// lastWords is leaders whose last word on what is closed arrives after their successor's first.
func lastWords() *Scenario {
	c := trapped("lastwords", "what a leader closed before it was replaced arrives late", Trap{"lastwords", 2500 * time.Millisecond})
	c.Load.Clients, c.Load.Keys, c.Load.Think = 16, 4, 4*ms
	c.Load.Mix = []Share{{"follow", 4}, {"stale", 1}, {"writer", 1}}
	c.Duration = 20 * time.Second
	return c
}

// trapLastWords: x, which has the oracle, hands over to y. z hears of the new term, then x's words from before, and
// only then has what x wrote last.
func trapLastWords(w *World, id kv.PartitionID, x, y, z kv.NodeID) {
	w.transfer(kv.SystemPartition, x)
	w.after(200*ms+w.upTo(200*ms), func() { // rounds of closing are so far apart
		w.net.slow(x, z, s, 250*ms)
		w.net.slow(y, z, s, 150*ms)
		w.after(300*ms, func() { w.transfer(id, y) })
	})
}
