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
	copies []callCopy            // of prepares, oldest first
	silent map[kv.PartitionID]ns // groups whose raft messages are all lost until then
	sprung bool                  // of a trap that is sprung once in a run
	rounds rounds
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
			x := callCopy{from: from, to: to, target: w.machine(to).process, raw: raw}
			w.after(w.between(100*ms, 5*s), func() {
				if !w.phase.calm {
					x.again()
				}
			})
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

// trapStale delivers a late copy of a prepare, whose locks may stay for a while (rule J2).
func trapStale(w *World, id kv.PartitionID, x, _, _ kv.NodeID) {
	if all := w.traps.staleCopies(w, id, w.machine(x).alive()); len(all) > 0 {
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

// trapConfirm: a participant's leader, at node x, is told to resolve; nothing that it proposes leaves it, it crashes, and its
// partition has no leader until outcomes as old as that one are forgotten (rule H7).
func trapConfirm(w *World, id kv.PartitionID, from, x kv.NodeID) {
	p := w.machine(x).alive()
	if w.traps.calls.sprung || from == x || p == nil || w.rng.IntN(20) > 0 || w.now > w.phase.endOf-confirmTime-10*s {
		return
	}
	if _, _, leads := p.lease(id); !leads {
		return
	}
	w.traps.calls.sprung = true
	w.traps.calls.silent = map[kv.PartitionID]ns{id: w.now + confirmTime}
	w.trace.line("p%d is silent for %dms", id, confirmTime/ms)
	w.after(20*ms, func() { p.m.crash(confirmTime + 5*s) })
	w.after(overwritten, w.jumpAll)
}

// Times of trapConfirm: until the version that is the outcome is overwritten, and from then on longer than a node waits before
// it looks what can be forgotten.
const (
	overwritten = 6 * s
	confirmTime = overwritten + 36*s
)

// jumpAll lets all wall clocks jump by more than outcomes and versions are kept.
func (w *World) jumpAll() {
	for _, m := range w.machines {
		m.clock.wall += 11 * 60 * s
	}
}

// silenced reports whether a raft message is lost because its group is silent.
func (t *traps) silenced(w *World, f *replication.Frame) bool {
	return w.now < t.calls.silent[f.Partition] && !w.phase.calm
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

	confirm := horizon()
	confirm.Name, confirm.About = "confirm", "a participant that goes away when it is told to resolve, and comes back when outcomes of that time are forgotten"
	confirm.Script.Act, confirm.Partitions, confirm.Process = nil, 2, ProcessFaults{Flush: confirm.Process.Flush, Transfer: 3 * time.Second}
	confirm.Network = NetworkFaults{DelayMin: 100 * us, DelayMax: 400 * us}
	confirm.Load.Mix, confirm.Load.Cross, confirm.Load.Keys, confirm.Load.Clients = []Share{{"oneway", 1}}, 0.3, 4, 16
	confirm.Clients.Cancel = 1 // or those who wait for the silent partition would hold the locks in the other one
	confirm.Load.PatienceMin, confirm.Load.PatienceMax, confirm.Load.CopyPatience = 200*ms, 800*ms, 300*ms
	confirm.Traps, confirm.Duration = []Trap{{"confirm", 0}}, 75*time.Second

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
	below.Traps, below.Duration = []Trap{{"stale", 5 * time.Second}}, 70*time.Second
	return []*Scenario{late, confirm, ghost, below, liveRivals()}
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

// oneway writes a key of the first partition, or that and one of the second, or reads both: no anchor is in the second.
func oneway(c *client, then func()) {
	w := c.w
	end := func(*check.Op) { then() }
	keys := []kv.Key{w.key(0, "onw", c.someKey()), w.key(1, "onw", c.someKey())}
	if w.rng.IntN(3) == 0 {
		c.readAll(keys, readOpts{}, end)
		return
	}
	writes := []kv.Write{{Kind: kv.WritePut, Key: keys[0], Value: w.value()}}
	if w.chance(w.cfg.Load.Cross) {
		writes = append(writes, kv.Write{Kind: kv.WritePut, Key: keys[1], Value: w.value()})
	}
	c.commit(change{writes: writes, age: c.age()}, end)
}
