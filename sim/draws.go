package sim

import (
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/sim/check"
)

// ahead reads at timestamps that may not have been drawn yet, as a client with a wrong number does:
// some have come to pass by the time of the proof and are served, the others are refused (docs/adr/0005).
func ahead(c *client, then func()) {
	w := c.w
	p := c.somePartition()
	at := c.s.Heard() + kv.MakeTimestamp(1+w.rng.Int64N(20), 0)
	end := func(*check.Op) { then() }
	if w.rng.IntN(3) == 0 {
		c.scan(w.span(p, "sid"), readOpts{at: at, past: true}, end)
		return
	}
	c.read([]kv.Key{w.key(p, "sid", c.someKey()), w.key(p, "sid", c.someKey())}, readOpts{at: at, past: true}, end)
}

// aheadOfTime is clients that read at timestamps that nobody has drawn, and others that write at the same time.
func aheadOfTime() *Scenario {
	c := base("ahead", "reads at timestamps that nobody has drawn yet, and writers who draw them a moment later")
	c.Load.Mix = []Share{{"ahead", 3}, {"sideband", 2}, {"txn", 1}}
	c.Load.Clients, c.Load.Think = 24, 5*ms
	c.Process.Transfer, c.Process.Crash = 3*time.Second, 6*time.Second
	return c
}

// staleGrants is nodes that live twice in a row, while what their first life asked the oracle for is still
// under way. Promises are short, so that both lives lead something.
func staleGrants() *Scenario {
	c := trapped("stalegrants", "grants that an earlier life of a node has asked for and that reach its next one", Trap{"grants", 2500 * time.Millisecond})
	c.Load.Clients, c.Load.Keys, c.Load.Think = 24, 3, 3*ms
	c.Load.Mix = []Share{{"register", 3}, {"txn", 2}, {"counter", 2}}
	c.Params = func(p *replication.Params) {
		p.HeartbeatInterval, p.SupportDuration = 30*time.Millisecond, 150*time.Millisecond
		p.RaftTick, p.ElectionTicks, p.HeartbeatTicks = 20*time.Millisecond, 8, 2
	}
	c.Duration = 30 * time.Second
	return c
}

// trapGrants lets node y live twice, each time long enough to lead the partition, with links to the oracle
// so slow that the oracle answers the first life's draws when the second one draws.
func trapGrants(w *World, id kv.PartitionID, x, y, z kv.NodeID) {
	oracle, _ := w.leader(kv.SystemPartition)
	if oracle == nil {
		return
	}
	switch oracle.m.id { // y is to be neither the oracle nor alone
	case y:
		y, z = z, y
	case x:
	default:
		x, z = z, x
	}
	o := oracle.m.id
	const life, back = 600 * ms, 80 * ms
	w.transfer(id, z)
	w.machine(y).crash(5 * ms)
	w.net.slow(y, o, 3*life, life-back/2)
	w.net.slow(o, y, 3*life, back)
	lead := func(from ns) {
		for _, d := range []ns{190 * ms, 220 * ms, 260 * ms} {
			w.after(from+d, func() { w.transfer(id, y) })
		}
	}
	lead(0)
	w.after(life, func() { w.machine(y).crash(5 * ms) })
	for _, d := range []ns{60 * ms, 120 * ms, 170 * ms} {
		w.after(life+d, func() { w.transfer(id, z) })
	}
	lead(life)
}
