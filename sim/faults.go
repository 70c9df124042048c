package sim

import (
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// haunt lets the scenario's faults strike until the end of the phase.
func (w *World) haunt() {
	end, f := w.phase.endOf, w.cfg.Process
	w.every(f.Crash, end, func() { w.anyMachine(false).crash(w.downTime()) })
	w.every(f.CrashAll, end, w.crashAll)
	w.every(f.Pause, end, func() {
		if p := w.anyMachine(w.rng.IntN(2) == 0).alive(); p != nil {
			d := w.upTo(ns(f.PauseMax))
			if w.rng.IntN(2) == 0 {
				p.halt.freeze = d
				return
			}
			p.pause(d)
		}
	})
	w.every(f.LoopStall, end, func() {
		if p := w.anyMachine(w.rng.IntN(2) == 0).alive(); p != nil {
			p.loops[w.rng.IntN(len(p.loops))].stall(w.upTo(ns(f.PauseMax)))
		}
	})
	w.every(f.Stall, end, func() { w.anyMachine(w.rng.IntN(2) == 0).stall(w.upTo(ns(f.StallMax))) })
	w.every(f.SyncFail, end, func() { w.anyMachine(w.rng.IntN(2) == 0).failSync() })
	w.every(f.Full, end, func() { w.anyMachine(w.rng.IntN(2) == 0).fill(w.upTo(ns(f.StallMax))) })
	w.hauntEngines(end)
	w.every(f.Transfer, end, func() { w.transfer(w.somePartition(), kv.NodeID(1+w.rng.IntN(len(w.machines)))) })
	w.every(f.Move, end, w.moveReplica)
	w.every(f.WallJump, end, func() {
		w.machines[w.rng.IntN(len(w.machines))].clock.wall = w.between(-3600*s, 3600*s)
	})
	if len(w.machines) == 1 {
		return // no links, and nobody to set a trap for
	}
	w.every(w.cfg.Links.Cut, end, w.cutSomewhere)
	w.every(w.cfg.Links.Slow, end, func() {
		a, b := w.pair()
		w.net.slow(a, b, w.upTo(ns(w.cfg.Links.CutMax)), w.upTo(ns(w.cfg.Links.SlowBy)))
	})
	w.setTraps(end)
}

// flushes of full memtables are part of healthy life, and go on for ever. Nobody tells the node of them.
func (w *World) flushes() {
	for _, m := range w.machines {
		w.every(w.cfg.Process.Flush, 1<<62, func() {
			if p := m.alive(); p != nil {
				p.applier.flushAfter(m.disk.flushTime(), func() {})
			}
		})
	}
}

// downTime is mostly short: what is interesting is who comes back before others have noticed.
func (w *World) downTime() ns {
	if w.rng.IntN(4) == 0 {
		return w.upTo(ns(w.cfg.Process.DownMax))
	}
	return w.upTo(60 * ms)
}

func (w *World) crashAll() {
	for _, m := range w.machines {
		m.crash(w.upTo(300 * ms))
	}
}

// anyMachine is one at random, or one that leads something.
func (w *World) anyMachine(leads bool) *machine {
	if leads {
		if p, _ := w.leader(w.somePartition()); p != nil {
			return p.m
		}
	}
	return w.machines[w.rng.IntN(len(w.machines))]
}

// somePartition is one of the data partitions, now and then the system partition.
func (w *World) somePartition() kv.PartitionID {
	if len(w.traps.partitions) == 0 || w.rng.IntN(6) == 0 {
		return kv.SystemPartition
	}
	return w.traps.partitions[w.rng.IntN(len(w.traps.partitions))]
}

func (m *machine) stall(d ns) {
	m.disk.stall = max(m.disk.stall, m.w.now+d)
	m.w.trace.note(42, uint64(m.id), uint64(d))
	m.w.trace.line("node %d: the disk hangs for %dms", m.id, d/ms)
}

// failSync makes the machine's next sync fail: what it was to make durable is lost.
func (m *machine) failSync() {
	if m.alive() == nil {
		return
	}
	m.w.trace.note(46, uint64(m.id))
	m.w.trace.line("node %d: the next sync fails", m.id)
	m.w.hist.counts["sync failed"]++
	m.disk.broken = true
	m.logFS.FailSync(1)
}

// mendLog ends what failSync began. More than one may have struck: a log that has failed syncs no more.
func (m *machine) mendLog() {
	m.disk.broken = false
	m.logFS.FailSync(0)
}

// fill leaves the machine's log no room to grow for a while.
func (m *machine) fill(d ns) {
	fs := m.logFS
	m.w.trace.note(47, uint64(m.id), uint64(d))
	m.w.trace.line("node %d: the disk is full for %dms", m.id, d/ms)
	m.w.hist.counts["disk full"]++
	fs.SetCapacity(max(fs.Used(), 1))
	m.w.after(d, func() { fs.SetCapacity(0) })
}

func (w *World) pair() (a, b kv.NodeID) {
	n := len(w.machines)
	a = w.anyMachine(w.rng.IntN(2) == 0).id
	b = (a+kv.NodeID(w.rng.IntN(n-1)))%kv.NodeID(n) + 1
	return a, b
}

// cutSomewhere cuts a pair or a whole node, in one direction or both.
func (w *World) cutSomewhere() {
	d := w.upTo(ns(w.cfg.Links.CutMax))
	a, b := w.pair()
	kind, bulk := w.rng.IntN(5), w.rng.IntN(4) == 0
	for _, m := range w.machines {
		if m.id == a || kind < 3 && m.id != b { // kinds 0 to 2: one pair
			continue
		}
		if kind != 1 {
			w.net.cut(a, m.id, d, bulk)
		}
		if kind != 2 {
			w.net.cut(m.id, a, d, bulk)
		}
	}
}

// admin gives an administrator's request to a process, as if somebody stood beside it. What is for
// every loop is asked of loop 0 alone.
func (p *process) admin(req *kv.AdminRequest, tell func(answer)) {
	id := p.doors.admit(tell)
	l := p.loops[max(0, node.AdminLoop(req, len(p.loops)))]
	l.post(fromAnywhere, func(now kv.Instant) { l.node.Admin(now, id, req) })
}

func nobody(answer) {}

// transfer asks the leader of a partition to hand over.
func (w *World) transfer(id kv.PartitionID, to kv.NodeID) {
	if p, _ := w.leader(id); p != nil && p.m.id != to {
		w.trace.line("transfer p%d %d>%d", id, p.m.id, to)
		p.admin(&kv.AdminRequest{MoveLeader: &kv.MoveLeader{Partition: id, To: to}}, nobody)
	}
}

// moveReplica asks the leader of a partition to replace one of its replicas.
func (w *World) moveReplica() {
	if len(w.traps.partitions) == 0 {
		return
	}
	id := w.traps.partitions[w.rng.IntN(len(w.traps.partitions))]
	p, _ := w.leader(id)
	if p == nil {
		return
	}
	w.describePartition(p, id, func(d *kv.Descriptor) {
		var free, used []kv.NodeID
		for _, m := range w.machines {
			switch r, ok := d.ReplicaOn(m.id); {
			case !ok:
				free = append(free, m.id)
			case r.Role == kv.RoleVoter:
				used = append(used, m.id)
			}
		}
		if len(free) == 0 || len(used) != 3 || len(d.Replicas) != 3 {
			return // a move is under way: placement finishes what its leader does not
		}
		req := &kv.ChangeReplicas{Partition: id, Add: free[w.rng.IntN(len(free))], Remove: used[w.rng.IntN(len(used))]}
		w.trace.line("move p%d: add %d, remove %d", id, req.Add, req.Remove)
		if p, _ := w.leader(id); p != nil {
			p.admin(&kv.AdminRequest{ChangeReplicas: req}, nobody)
		}
	})
}

// describePartition asks a node for a descriptor.
func (w *World) describePartition(p *process, id kv.PartitionID, then func(*kv.Descriptor)) {
	p.admin(&kv.AdminRequest{Topology: &kv.TopologyQuery{Local: true}}, func(a answer) {
		if a.admin == nil || a.admin.Topology == nil {
			return
		}
		for _, x := range a.admin.Topology.Partitions {
			if x.Descriptor.Partition == id {
				then(x.Descriptor)
			}
		}
	})
}

// calmDown ends all faults: links heal, disks work, whoever is down comes back.
func (w *World) calmDown() {
	w.phase.calm = true
	w.trace.note(43)
	w.trace.line("faults end")
	w.net.heal()
	for _, m := range w.machines {
		m.disk.stall = 0
		if m.logFS.FailSync(0) > 0 { // else it has struck, and the next write will tell
			m.disk.broken = false
		}
		m.logFS.SetCapacity(0)
		m.engineDisk.space()
		if p := m.process; p != nil && !p.dead {
			p.halt.paused, p.halt.freeze = min(p.halt.paused, w.now), 0
			for _, l := range p.loops {
				l.stalled = min(l.stalled, w.now)
				l.wake()
			}
		} else if !m.dead {
			m.down = w.now
			m.restartLater(w.upTo(50 * ms))
		}
	}
}
