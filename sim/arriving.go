package sim

import (
	"time"
)

// arriving is replicas that apply prepares while a copy without locks arrives, which takes their place.
func arriving() *Scenario {
	c := base("arriving", "replicas that go on applying what they find in their log while a snapshot arrives that has locks no more")
	c.Partitions, c.Node, c.Duration = 3, smallLog, 11*time.Second
	c.Load.Mix, c.Load.Cross, c.Load.Keys, c.Load.Clients, c.Load.Think = []Share{{"oneway", 1}}, 0.8, 10, 12, 15*ms
	c.Load.ValueBytes = 600
	c.Network = NetworkFaults{DelayMin: 100 * us, DelayMax: 400 * us}
	c.Clients.Cancel, c.Process.Flush = 1, 0
	c.Script.Act = func(w *World) {
		for _, at := range []ns{s / 2, 6 * s} {
			w.after(at, w.arrive)
		}
	}
	return c
}

// arrive: y, a follower, is flushed when it has no lock, and ends in the middle of transactions of which nobody hears that
// they are decided. When it is back the log that it lacks is gone, and all locks with it, but not all records: another
// participant does not confirm. Its disk is slow: what it finds committed in its own log it applies when most of the copy
// has come.
func (w *World) arrive() {
	id := w.traps.partitions[1]
	x, _ := w.leader(id)
	if x == nil {
		return
	}
	y := w.machines[(int(x.m.id)+w.rng.IntN(len(w.machines)-1))%len(w.machines)]
	const rest, open, busy, away, slow = 100 * ms, 50 * ms, 1700 * ms, 2200 * ms, 400 * ms
	f := &w.traps.calls.forgetting
	f.idle = [2]ns{w.now, w.now + rest}
	w.after(rest-20*ms, func() {
		if p := y.alive(); p != nil {
			p.applier.tryFlush()
		}
	})
	w.after(rest, func() {
		f.deaf = id
		f.idle = [2]ns{w.now + busy, w.now + away + s}
	})
	w.after(rest+open, func() {
		f.deaf = w.traps.partitions[2]
		for _, o := range w.machines {
			w.net.cutBoth(y.id, o.id, away, true)
		}
		y.crash(away)
		w.after(away, func() { y.disk.applies = w.now + slow })
	})
	w.after(rest+away+s, func() {
		f.deaf = 0
		if p, _ := w.leader(id); p != nil {
			w.compare(p, id, checkMax)
		}
	})
}
