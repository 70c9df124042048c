package sim

import (
	"fmt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/sim/check"
)

// The keyspaces of every run.
const (
	rangeName = "sim"
	hashName  = "simhash"
)

// bootMax is how long forming the cluster may take.
const bootMax = 20 * s

// form starts all machines and makes the keyspaces. Nothing fails meanwhile.
func (w *World) form() {
	w.phase.calm = true
	for i := range w.cfg.Nodes {
		w.machines = append(w.machines, newMachine(w, kv.NodeID(i+1)))
	}
	if w.hasTrap("drift") {
		for i, m := range w.machines {
			m.clock.rate = 1 + float64(w.cfg.ClockPPM)/1e6
			if i == 0 {
				m.clock.rate = 1 - float64(w.cfg.ClockPPM)/1e6
			}
		}
	}
	w.net = newNetwork(w, w.cfg.Nodes, w.cfg.Network)
	w.net.quiet = true
	for _, m := range w.machines {
		m.start()
	}
	var splits [][]byte
	for i := 1; i < w.cfg.Partitions; i++ {
		splits = append(splits, []byte(fmt.Sprintf("p%d", i)))
	}
	ready := false
	w.create(&kv.CreateKeyspace{Name: rangeName, Scheme: kv.SchemeRange, SplitAt: splits}, func() {
		if w.cfg.HashPartitions == 0 {
			w.learn(func() { ready = true })
			return
		}
		w.create(&kv.CreateKeyspace{Name: hashName, Scheme: kv.SchemeHash, Partitions: w.cfg.HashPartitions}, func() { w.learn(func() { ready = true }) })
	})
	for w.phase.broken == nil && !ready && w.step(bootMax) {
	}
	if !ready {
		w.violate("the cluster forms", "", "after %d s the keyspaces are not there", bootMax/s)
	}
}

func (w *World) hasTrap(name string) bool {
	for _, t := range w.cfg.Traps {
		if t.Name == name {
			return true
		}
	}
	return false
}

// create makes a keyspace, asking one node after the other until one has done it.
func (w *World) create(req *kv.CreateKeyspace, then func()) {
	w.admin(&kv.AdminRequest{CreateKeyspace: req}, func(a answer) bool { return a.err == nil || a.err.Kind == kv.Exists }, func(answer) { then() })
}

// learn reads the map and remembers which partitions there are.
func (w *World) learn(then func()) {
	w.admin(&kv.AdminRequest{Topology: &kv.TopologyQuery{}}, func(a answer) bool { return a.err == nil }, func(a answer) {
		for _, k := range a.admin.Topology.Keyspaces {
			switch k.Name {
			case rangeName:
				w.spaces.ranges = k
			case hashName:
				w.spaces.hash = k
			}
		}
		for _, p := range a.admin.Topology.Partitions {
			if k := p.Descriptor.Keyspace; k != 0 && (k == w.spaces.ranges.ID || k == w.spaces.hash.ID) {
				w.traps.partitions = append(w.traps.partitions, p.Descriptor.Partition)
			}
		}
		then()
	})
}

// admin repeats an administrator's request until an answer is good.
func (w *World) admin(req *kv.AdminRequest, good func(answer) bool, then func(answer)) {
	over := false
	var ask func(to kv.NodeID)
	ask = func(to kv.NodeID) {
		if over {
			return
		}
		w.send(to, nil, req, func(a answer) {
			switch {
			case over:
			case good(a):
				over = true
				then(a)
			case a.err != nil && a.err.Kind == kv.NotLeader && a.err.Leader != 0 && a.err.Leader != to:
				to := a.err.Leader
				w.after(ms, func() { ask(to) })
			default:
				w.after(50*ms, func() { ask(kv.NodeID(1 + w.rng.IntN(len(w.machines)))) })
			}
		})
	}
	var again func()
	again = func() {
		if !over {
			ask(kv.NodeID(1 + w.rng.IntN(len(w.machines))))
			w.after(4*s, again)
		}
	}
	again()
}

// populate starts the clients, each with one workload of the mix.
func (w *World) populate() {
	var bag []string
	for _, x := range w.cfg.Load.Mix {
		for range x.Weight {
			bag = append(bag, x.Name)
		}
	}
	for i := range w.cfg.Load.Clients {
		c := newClient(w, i+1, w.rng.Uint64())
		c.load = workloads[bag[i%len(bag)]]
		w.clients = append(w.clients, c)
	}
	for _, c := range w.clients {
		c.loop()
	}
}

// loop lets a client do one operation after the other until the end.
func (c *client) loop() {
	c.w.after(c.w.upTo(2*c.w.cfg.Load.Think+1), func() {
		if c.w.phase.stopped {
			return
		}
		c.busy = true
		c.load(c, func() {
			c.busy = false
			c.loop()
		})
	})
}

// progress notes an acknowledged commit.
func (w *World) progress(op *check.Op) {
	if op.Kind != check.Commit || op.Change == nil || len(op.Change.Writes) == 0 {
		return
	}
	w.gaps.acknowledged(w, string(op.Change.Writes[0].Key))
}
