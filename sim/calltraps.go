package sim

import (
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/sim/check"
)

// callTraps are the traps that look at what leaders of partitions ask each other.
type callTraps struct {
	copies []callCopy // of prepares, oldest first
	oneway [2]int     // partitions of the workload of that name, if they are not the first two
	rounds rounds
	lateAt map[callOf]ns // when a Prepare comes once more, of the trap late

	forgetting
}

// callOf is what a transaction asks of a partition.
type callOf struct {
	id        kv.TxID
	partition kv.PartitionID
}

// callCopy is a call that was on its way once, and may be delivered once more.
type callCopy struct {
	from, to  kv.NodeID
	target    *process
	partition kv.PartitionID
	raw       []byte
	at        ns
}

// copiesMax is how many copies are kept.
const copiesMax = 2000

// again delivers a copy, if whom it was meant for still runs: it was in a queue all the time.
func (x *callCopy) again() { x.target.receive(x.from, x.raw) }

// called looks at each call that leaves a node.
func (t *traps) called(w *World, from, to kv.NodeID, raw []byte, q *kv.Request) {
	switch {
	case w.phase.calm || q == nil:
	case q.Prepare != nil && t.byEvent["late"]:
		if w.rng.IntN(4) == 0 {
			d := w.between(100*ms, 5*s)
			if t.calls.lateAt == nil {
				t.calls.lateAt = map[callOf]ns{}
			}
			t.calls.lateAt[callOf{q.Prepare.ID, q.Partition}] = w.now + d
			w.late(callCopy{from: from, to: to, target: w.machine(to).process, raw: raw}, d)
		}
	case q.Stage != nil && t.byEvent["late"]:
		// The second round once more, behind the first one: if nobody asks in between, and the term is the
		// same, it is staged again.
		if at, ok := t.calls.lateAt[callOf{q.Stage.ID, q.Partition}]; ok && at > w.now {
			d := at - w.now + w.between(ms, 20*ms)
			w.late(callCopy{from: from, to: to, target: w.machine(to).process, raw: raw}, d)
		}
	case q.Prepare != nil && t.byEvent["twice"]:
		if w.rng.IntN(2) == 0 {
			x := callCopy{from: from, to: to, target: w.machine(to).process, raw: raw}
			w.after(w.upTo(10*ms), x.again)
		}
	case q.Prepare != nil && w.hasTrap("stale"):
		if len(t.calls.copies) == copiesMax {
			t.calls.copies = slices.Delete(t.calls.copies, 0, copiesMax/2)
		}
		t.calls.copies = append(t.calls.copies, callCopy{from, to, w.machine(to).process, q.Partition, raw, w.now})
	case q.Resolve != nil && q.Resolve.Commit != 0 && t.byEvent["confirm"]:
		trapConfirm(w, q.Partition, from, to)
	}
}

// late delivers a copy after a while, unless calm has come.
func (w *World) late(x callCopy, after ns) {
	w.after(after, func() {
		if !w.phase.calm {
			x.again()
		}
	})
}

// Ages of the copies that come once more: there was a jump of the clocks meanwhile, and no retention has passed.
const staleMin, staleMax = 4500 * ms, 28 * s

// staleCopies are copies of prepares of a partition at a node, that came before the clocks jumped.
func (t *traps) staleCopies(w *World, id kv.PartitionID, at *process) (all []callCopy) {
	for _, x := range t.calls.copies {
		if age := w.now - x.at; x.partition == id && x.target == at && age > staleMin && age < staleMax {
			all = append(all, x)
		}
	}
	return all
}

// trapStale delivers late copies of prepares, whose locks may stay for a while (rule J2).
func trapStale(w *World, id kv.PartitionID, x, _, _ kv.NodeID) {
	all := w.traps.staleCopies(w, id, w.machine(x).alive())
	for n := min(len(all), 4); n > 0; n-- {
		all[w.rng.IntN(len(all))].again()
	}
}

// raised: a leader has just proposed a new G. Late copies of prepares come before it is applied (rule J1).
func (t *traps) raised(w *World, p *process, a *replication.Append) {
	if w.phase.calm || !w.hasTrap("stale") || !slices.Contains(t.partitions, a.Partition()) {
		return
	}
	for _, e := range a.Log.Entries {
		if _, _, leads := p.lease(a.Partition()); leads && partition.RaisesGC(e.Data) {
			w.hist.counts["G raised"]++
			for _, x := range t.staleCopies(w, a.Partition(), p) {
				x.again()
			}
		}
	}
}

// trapGhost: x loses the other replicas of its partition and believes for a while that it leads; others have no replica, and
// ask it what became of the transactions of its successor (rule E5).
func trapGhost(w *World, _ kv.PartitionID, x, y, z kv.NodeID) {
	d := 2500*ms + w.upTo(s)
	w.net.cutBoth(x, y, d, false)
	w.net.cutBoth(x, z, d, false)
}

// callScenarios are crossings in which calls between partitions are late, lost, or asked of the wrong one.
func callScenarios() []*Scenario {
	late := crossing("late", "prepares that come once more when all is over", Share{"handover", 2}, Share{"twins", 1}, Share{"append", 1})
	late.Traps = []Trap{{"late", 0}}

	twice := crossing("twice", "prepares that come twice at once, and take long to be applied", Share{"handover", 2}, Share{"twins", 1}, Share{"append", 1})
	twice.Traps, twice.Disk.ApplyMax = []Trap{{"twice", 0}}, 20*ms

	volatile := crossing("volatile", "transactions that read where leaders change while they wait for others", Share{"skew", 1})
	volatile.Process, volatile.Links = ProcessFaults{Flush: volatile.Process.Flush, Transfer: 100 * time.Millisecond}, LinkFaults{}
	volatile.Network.Spike, volatile.Network.SpikeMax = 0.05, 150*ms
	volatile.Load.Keys, volatile.Load.Clients = 3, 24

	ghost := crossing("ghost", "leaders that are cut off from their group alone, and are asked by others", Share{"append", 3}, Share{"handover", 1}, Share{"twins", 1})
	ghost.Nodes, ghost.Partitions, ghost.Load.Cross = 5, 4, 0.8
	ghost.Load.CopyPatience, ghost.Load.PatienceMax = 200*ms, 3*s
	ghost.Process, ghost.Links = ProcessFaults{Flush: ghost.Process.Flush}, LinkFaults{}
	ghost.Params = func(p *replication.Params) { p.ElectionTicks = 50 } // a leader believes in itself for long
	ghost.Traps = []Trap{{"ghost", 3 * time.Second}}

	below := collected()
	below.Name, below.About = "below", "prepares that come once more when the retention passes their transactions"
	below.Script.Act = func(w *World) { w.regularly(4*time.Second, w.phase.endOf, w.jumpAll) }
	below.Load.Mix, below.Load.Cross, below.Load.Keys = []Share{{"handover", 1}, {"twins", 1}}, 0.8, 100
	below.Disk.ApplyMax, below.Process = 20*ms, ProcessFaults{Flush: below.Process.Flush}
	below.Traps, below.Duration = []Trap{{"stale", time.Second}}, 70*time.Second

	one := *below
	raised := &one
	raised.Name, raised.About = "raised", "prepares that come once more between the moment at which the retention is raised and that at which it is in force"
	raised.Traps = []Trap{{"stale", 20 * time.Second}}
	return append(confirms(), late, raised, twice, volatile, ghost, below, liveRivals())
}

// liveRivals: transactions that want the same keys of two partitions, in opposite orders, and nothing that goes wrong: the
// younger ones give way, so that none waits for long (rules F1, F2).
func liveRivals() *Scenario {
	c := base("live-rivals", "transactions that want the same keys in opposite orders")
	c.Network = NetworkFaults{DelayMin: 100 * us, DelayMax: 400 * us}
	c.Clients = ClientFaults{}
	c.Load.Mix, c.Load.Cross, c.Load.Keys, c.Load.Think = []Share{{"rival", 1}}, 1, 3, 10*ms
	c.Process.Flush = 0
	c.Duration = 8 * time.Second
	c.Limits.Wait = 3 * time.Second
	return c
}

// rival writes a key in each of two partitions, and must not wait for long, whatever comes of it.
func rival(c *client, then func()) {
	w := c.w
	keys := []kv.Key{w.key(0, "riv", c.someKey()), w.key(1, "riv", c.someKey())}
	if w.rng.IntN(2) == 0 {
		slices.Reverse(keys)
	}
	const patience = 30 * s // the node's is shorter
	limit, over := ns(w.cfg.Limits.Wait), false
	w.after(limit, func() {
		if !over && !w.phase.calm {
			w.violate("waits end", string(keys[0]), "a transaction has waited for %d ms, and nothing is wrong but that others want its keys", limit/ms)
		}
	})
	writes := []kv.Write{{Kind: kv.WritePut, Key: keys[0], Value: w.value()}, {Kind: kv.WritePut, Key: keys[1], Value: w.value()}}
	c.commit(change{writes: writes, age: c.age(), patience: patience, once: patience}, func(*check.Op) {
		over = true
		then()
	})
}

// oneway writes a key of a partition, or that and one of the next one, or reads both: no anchor is in the last one.
func oneway(c *client, then func()) {
	w := c.w
	f := &w.traps.calls.forgetting
	if w.now >= f.idle[0] && w.now < f.idle[1] {
		w.after(f.idle[1]-w.now+w.upTo(min(s, f.idle[1]-f.idle[0])/10), then)
		return
	}
	end := func(*check.Op) { then() }
	from, to := w.traps.calls.oneway[0], w.traps.calls.oneway[1]
	if from == to {
		from = w.rng.IntN(w.cfg.Partitions - 1)
		to = from + 1
	}
	keys := []kv.Key{w.key(from, "onw", c.someKey()), w.key(to, "onw", c.someKey())}
	over := w.now >= f.idle[1] && w.now < f.readsUntil
	switch {
	case over && len(f.old) > 0:
		c.again(f, end)
		return
	case over || f.deaf == 0 && w.rng.IntN(3) == 0:
		c.readAll(keys, readOpts{}, end)
		return
	}
	writes := []kv.Write{{Kind: kv.WritePut, Key: keys[0], Value: w.value()}}
	crosses := w.chance(w.cfg.Load.Cross) && w.now >= f.readsUntil
	if crosses {
		writes = append(writes, kv.Write{Kind: kv.WritePut, Key: keys[1], Value: w.value()})
	}
	c.commit(change{writes: writes, age: c.age()}, func(o *check.Op) {
		if crosses && o.Result == check.Done && f.deaf != 0 {
			f.old = append(f.old, oldCommit{keys[1], o.Timestamp})
		}
		then()
	})
}
