package sim

import (
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/sim/check"
)

// The scenarios in which a participant confirms what it must not: the anchor forgets the commit while a lock of it is
// there, and nobody sees that before the version that is the outcome is gone (rules H7, I9).

// forgetting is what both have in common: the participant is silent until outcomes of that time are forgotten, and the
// clients of the workload oneway do nothing meanwhile but at first, when they write over the anchors.
type forgetting struct {
	sprung     bool  // once in a run
	idle       [2]ns // from, until
	readsUntil ns    // and then nobody writes: a half that is lost must be seen
	silent     map[kv.PartitionID]ns
	silentAt   kv.NodeID      // here alone; 0: everywhere
	deaf       kv.PartitionID // no Resolve reaches its leader
	old        []oldCommit    // of the workload oneway, while deaf
}

// oldCommit is a commit to which somebody will come back at a node that has not heard what became of it.
type oldCommit struct {
	key kv.Key
	at  kv.Timestamp
}

// Times of a silence: until the versions that are the outcomes are overwritten, and from then on two of the intervals in
// which a node looks what can be forgotten: in one G moves, in the next one what is below it goes.
const (
	overwritten = 3 * s
	confirmTime = overwritten + 62*s
	readsOnly   = 3 * s // and the partition has a leader again
)

// forget silences a participant: all its raft messages are lost.
func (w *World) forget(id kv.PartitionID) {
	f := &w.traps.calls.forgetting
	w.silence(id, 0, confirmTime)
	f.idle = [2]ns{w.now + overwritten, w.now + confirmTime}
	f.readsUntil = w.now + confirmTime + readsOnly
	w.after(overwritten, w.jumpAll)
}

// jumpAll lets all wall clocks jump by more than outcomes and versions are kept.
func (w *World) jumpAll() {
	for _, m := range w.machines {
		m.clock.wall += 11 * 60 * s
	}
}

// silence loses the raft messages of a group, those of one node, or of all if it is 0.
func (w *World) silence(id kv.PartitionID, at kv.NodeID, d ns) {
	f := &w.traps.calls.forgetting
	f.silent, f.silentAt = map[kv.PartitionID]ns{id: w.now + d}, at
	w.trace.line("p%d is silent for %dms, at node %d", id, d/ms, at)
}

// silenced reports whether a raft message is lost because its group is silent.
func (t *traps) silenced(w *World, from, to kv.NodeID, f *replication.Frame) bool {
	x := &t.calls.forgetting
	return w.now < x.silent[f.Partition] && !w.phase.calm && (x.silentAt == 0 || x.silentAt == from || x.silentAt == to)
}

// loses reports whether a call is lost on its way.
func (t *traps) loses(w *World, to kv.NodeID, q *kv.Request) bool {
	if q == nil || q.Resolve == nil || q.Partition != t.calls.forgetting.deaf || w.phase.calm {
		return false
	}
	p, _ := w.leader(q.Partition)
	return p != nil && p.m.id == to
}

// trapConfirm: a participant's leader, at node x, is told to resolve; nothing that it proposes leaves it, it crashes, and its
// partition has no leader until outcomes as old as that one are forgotten (rule H7).
func trapConfirm(w *World, id kv.PartitionID, from, x kv.NodeID) {
	p := w.machine(x).alive()
	if w.traps.calls.forgetting.sprung || from == x || p == nil || w.rng.IntN(20) > 0 || w.now > w.phase.endOf-confirmTime-readsOnly-s {
		return
	}
	if _, _, leads := p.lease(id); !leads {
		return
	}
	w.traps.calls.forgetting.sprung = true
	w.forget(id)
	w.after(20*ms, func() { p.m.crash(confirmTime) })
}

// unproved is a run of the scenario of that name: a participant whose old leader, at x, does not know of the new one, and
// two nodes that lead the anchor, v at first and in the end, and u in between.
type unproved struct {
	w            *World
	anchor, part kv.PartitionID
	x, u, v      kv.NodeID
}

// pickUnproved takes two partitions of which the one is led where the other has no replica, and has another replica at such
// a place, and lets the clients write to these two.
func (w *World) pickUnproved() {
	at := func(id kv.PartitionID, n kv.NodeID) bool { return w.traps.replicas[member{id, n}] != 0 }
	for i, a := range w.traps.partitions {
		p, _ := w.leader(a)
		for j, b := range w.traps.partitions {
			if i == j || p == nil || at(b, p.m.id) {
				continue
			}
			for _, m := range w.machines {
				if m != p.m && at(a, m.id) && !at(b, m.id) {
					w.traps.calls.oneway = [2]int{i, j}
					t := &unproved{w: w, anchor: a, part: b, u: m.id, v: p.m.id}
					w.after(500*ms, t.depose)
					return
				}
			}
		}
	}
	w.traps.calls.forgetting.idle = [2]ns{w.now, w.phase.endOf}
}

// depose: v has learned by now that x leads the participant. Before it learns of another leader u leads the anchor.
func (t *unproved) depose() {
	w := t.w
	w.transfer(t.anchor, t.u)
	w.after(100*ms, func() {
		p, _ := w.leader(t.part)
		if p == nil {
			return
		}
		t.x = p.m.id
		for _, m := range w.machines {
			if m != p.m && w.traps.replicas[member{t.part, m.id}] != 0 {
				w.net.cutBoth(t.x, m.id, 5*s, false)
			}
		}
		w.after(1250*ms, t.goBack) // more than a call waits, and less than until placement lets v lead again
	})
}

// goBack: u has learned of the new leader. It does not get through with what it has to resolve there, and v takes over.
func (t *unproved) goBack() {
	w := t.w
	z, _ := w.leader(t.part)
	if z == nil || z.m.id == t.x {
		return
	}
	f := &w.traps.calls.forgetting
	f.deaf = t.part
	w.after(30*ms, func() { w.transfer(t.anchor, t.v) })
	w.after(150*ms, func() {
		f.deaf = 0
		w.forget(t.part)
		z.m.crash(confirmTime)
	})
}

// lag: the locks of a participant stay for a while, timestamps are closed, and then one of its followers hears of nothing
// any more. When it is asked for what was committed then, the anchor has forgotten it (rule G5).
func (w *World) lag() {
	id := w.traps.partitions[1]
	x, _ := w.leader(id)
	if x == nil {
		return
	}
	f := &w.traps.calls.forgetting
	f.deaf = id
	w.after(s/2, func() {
		f.deaf = 0
		w.forget(id)
		w.silence(id, x.m.id%kv.NodeID(len(w.machines))+1, confirmTime+readsOnly)
	})
}

// again reads what was committed long ago, at the node that did not hear of it.
func (c *client) again(f *forgetting, then func(*check.Op)) {
	x := f.old[c.w.rng.IntN(len(f.old))]
	c.readAll([]kv.Key{x.key}, readOpts{at: x.at, past: true, node: f.silentAt, stale: kv.Stale{Follower: true}}, then)
}

// confirmScenario is what both have in common.
func confirmScenario(name, about string) *Scenario {
	c := horizon()
	c.Name, c.About = name, about
	c.Script.Act, c.Process = nil, ProcessFaults{Flush: c.Process.Flush}
	c.Network = NetworkFaults{DelayMin: 100 * us, DelayMax: 400 * us}
	c.Load.Mix, c.Load.Cross, c.Load.Keys, c.Load.Clients = []Share{{"oneway", 1}}, 0.5, 8, 16
	c.Clients.Cancel = 1 // or those who wait for the silent partition would hold the locks in the other one
	c.Load.PatienceMin, c.Load.PatienceMax, c.Load.CopyPatience = 200*ms, 800*ms, 300*ms
	return c
}

func confirms() []*Scenario {
	confirm := confirmScenario("confirm", "a participant that goes away when it is told to resolve, and comes back when outcomes of that time are forgotten")
	confirm.Partitions, confirm.Traps, confirm.Duration = 2, []Trap{{"confirm", 0}}, 73*time.Second

	deposed := confirmScenario("unproved", "a deposed leader is told to resolve what its successor has locked, and outcomes of that time are forgotten before anybody sees it")
	deposed.Nodes, deposed.Partitions, deposed.Duration = 5, 4, 75*time.Second
	deposed.Params = func(p *replication.Params) { p.ElectionTicks = 100 } // a leader believes in itself for long
	deposed.Script.Act = func(w *World) { w.after(s, w.pickUnproved) }

	lagging := confirmScenario("lagging", "a follower with locks of transactions that are over, and long forgotten, is asked for what they wrote")
	lagging.Partitions, lagging.Load.Keys, lagging.Duration = 2, 300, 71*time.Second
	lagging.Script.Act = func(w *World) { w.after(s, w.lag) }
	return []*Scenario{confirm, deposed, lagging}
}
