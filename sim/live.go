package sim

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// The live scenarios are for rules that only liveness needs: a fault is staged, and writes
// must go on soon enough.

// stage is a cluster with busy writers, where something happens after two seconds.
func stage(name, about string, gap time.Duration, act func(w *World, id kv.PartitionID, x kv.NodeID)) *Scenario {
	c := base(name, about)
	c.Partitions = 1
	c.Network = NetworkFaults{DelayMin: 100 * us, DelayMax: 400 * us}
	c.Clients = ClientFaults{}
	c.Load.Mix, c.Load.Clients, c.Load.Keys, c.Load.Think = []Share{{"counter", 1}}, 8, 64, 15*ms
	c.Load.CopyPatience = 150 * ms
	c.Process.Flush = 0
	c.Duration = 12 * time.Second
	c.Limits.Gap = gap
	c.Script.Act = func(w *World) {
		w.after(2*s, func() {
			id := w.traps.partitions[0]
			if p, _ := w.leader(id); p != nil {
				act(w, id, p.m.id)
			}
		})
	}
	return c
}

// liveUnheard: the leader is heard, and hears nobody, for ever: CheckQuorum deposes it.
func liveUnheard() *Scenario {
	return stage("live-unheard", "a leader that is heard and hears nobody", 4*time.Second, func(w *World, _ kv.PartitionID, x kv.NodeID) {
		for _, m := range w.machines {
			w.net.cut(m.id, x, 3600*s, false)
		}
	})
}

// liveBack: the leader's machine crashes and is back at once: its followers are free at once.
func liveBack() *Scenario {
	return stage("live-back", "a leader that restarts at once", 400*time.Millisecond, func(w *World, _ kv.PartitionID, x kv.NodeID) {
		w.machine(x).crash(100 * ms)
	})
}

// liveDeaf: a transfer to somebody who does not hear of it: the leader gives its term up and
// its followers let it begin a new one.
func liveDeaf() *Scenario {
	return stage("live-deaf", "a transfer to a node that does not hear of it", 1100*time.Millisecond, func(w *World, id kv.PartitionID, x kv.NodeID) {
		y := x%kv.NodeID(len(w.machines)) + 1
		w.net.cut(x, y, 1500*ms, true)
		w.transfer(id, y)
	})
}

// liveIdle: a follower of an idle group is away, and comes back: it must catch up though
// nobody writes.
func liveIdle() *Scenario {
	var away kv.NodeID
	c := stage("live-idle", "a follower that comes back to an idle group", 0, func(w *World, id kv.PartitionID, x kv.NodeID) {
		away = x%kv.NodeID(len(w.machines)) + 1
		w.machine(away).crash(4 * s)
		w.after(2*s, func() { w.phase.stopped = true })
		w.after(9*s, func() { w.caughtUp(id, away) })
	})
	return c
}

// liveLoop: the loop that leads stands still, and its node's loop 0 goes on: the node must cease to
// renew, so that the followers are free (L9).
func liveLoop() *Scenario {
	c := stage("live-loop", "a leader whose loop stands still, in a node whose other loops do not", 1800*time.Millisecond, func(w *World, id kv.PartitionID, x kv.NodeID) {
		if p := w.machine(x).alive(); p != nil {
			p.at(id).stall(6 * s)
		}
	})
	c.LoopsMin = 3 // the partition falls to loop 2
	return c
}

// liveCore: another loop than that of the core stands still on the node that leads the core: loop 0 must give the core
// away, since without support it grants no timestamps (L9).
func liveCore() *Scenario {
	c := stage("live-core", "a loop that stands still on the node that leads the core", 1800*time.Millisecond, func(w *World, _ kv.PartitionID, _ kv.NodeID) {
		if p, _ := w.leader(kv.SystemPartition); p != nil {
			p.loops[1].stall(6 * s)
		}
	})
	c.LoopsMin = 3
	return c
}

// caughtUp fails if a node's replica has not applied what its leader has.
func (w *World) caughtUp(id kv.PartitionID, node kv.NodeID) {
	p, _ := w.leader(id)
	q := w.machine(node).alive()
	if p == nil || q == nil {
		w.violate("followers catch up", "", "partition %d has no leader, or node %d does not run", id, node)
		return
	}
	p.status(id, func(lead kv.ReplicaStatus) {
		q.status(id, func(own kv.ReplicaStatus) {
			if own.Applied < lead.Applied {
				w.violate("followers catch up", "", "the replica of partition %d on node %d has applied %d, its leader on node %d %d", id, node, own.Applied, p.m.id, lead.Applied)
			}
		})
	})
}

// status asks a node for one of its replicas.
func (p *process) status(id kv.PartitionID, then func(kv.ReplicaStatus)) {
	l := p.at(id)
	request := p.doors.admit(func(a answer) {
		if a.admin == nil || a.admin.Node == nil {
			return
		}
		for _, r := range a.admin.Node.Replicas {
			if r.Partition == id {
				then(r)
				return
			}
		}
		then(kv.ReplicaStatus{})
	})
	l.post(fromAnywhere, func(now kv.Instant) { l.node.Admin(now, request, &kv.AdminRequest{NodeStatus: &kv.NodeQuery{}}) })
}
