package sim

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// carried is comparisons of replicas of which one gets a snapshot instead of the command that asks for its sum.
func carried() *Scenario {
	c := base("carried", "replicas that a snapshot carries over the entry that asks for their sums")
	c.Load.ValueBytes, c.Load.Clients, c.Load.Think = 600, 16, 8*ms
	c.Node = smallLog
	c.Process.Flush = 200 * time.Millisecond
	c.Traps = []Trap{{"carry", 16 * time.Second}}
	c.Duration = 40 * time.Second
	c.Network.Drop = 0 // a sum that is lost and of which nobody hears is waited for
	return c
}

// trapCarry keeps everything but heartbeats from y until the log that it lacks is gone, and has the replicas compared meanwhile.
func trapCarry(w *World, id kv.PartitionID, x, y, z kv.NodeID) {
	d := 1500*ms + w.upTo(s)
	w.traps.carrying = max(w.traps.carrying, w.now+d)
	for _, o := range []kv.NodeID{x, z} {
		w.net.breakStreams(o, y)
		w.net.cutBoth(o, y, d, true)
	}
	w.after(w.upTo(200*ms), func() {
		if p, _ := w.leader(id); p != nil {
			w.compare(p, id, d+checkMax)
		}
	})
}

// checkMax is how long a comparison may take once its messages get through.
const checkMax = 5 * s

// compare has a leader compare the replicas of a partition: they must be equal at any time, and the answer must come
// within a time.
func (w *World) compare(p *process, id kv.PartitionID, within ns) {
	told := false
	p.admin(&kv.AdminRequest{Check: &kv.CheckQuery{Partition: id}}, func(a answer) {
		told = true
		if a.admin != nil && a.admin.Check != nil {
			w.hist.counts["check"]++
			w.sumsEqual(id, a.admin.Check)
		}
	})
	w.endsWithin(p, id, within, &told)
}

// endsWithin fails if a comparison takes longer. What other cuts delay it does not count.
func (w *World) endsWithin(p *process, id kv.PartitionID, within ns, told *bool) {
	w.after(within, func() {
		switch {
		case *told || p.dead || p.w.now < p.at(id).stillUntil():
		case w.now < w.traps.carrying+checkMax:
			w.endsWithin(p, id, w.traps.carrying+checkMax-w.now, told)
		default:
			w.violate("checks end", "", "node %d has not compared the replicas of partition %d within %d ms", p.m.id, id, within/ms)
		}
	})
}

// sumsEqual fails if two replicas differ; it reports whether all have answered.
func (w *World) sumsEqual(id kv.PartitionID, x *kv.CheckAnswer) (whole bool) {
	whole = true
	for i, d := range x.Digests {
		whole = whole && (!d.Missing || w.traps.flipped[d.Node])
		if o := x.Digests[0]; i > 0 && !d.Missing && !o.Missing && (d.Hash != o.Hash || d.Versions != o.Versions) {
			w.violate("replicas equal", "", "partition %d at index %d: %+v", id, x.Index, x.Digests)
		}
	}
	return whole
}
