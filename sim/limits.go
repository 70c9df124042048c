package sim

import (
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
)

// Memory and queues stay within limits: every node's gauges are held against their limits all the
// time, and so is what waits around the nodes. When nobody asks for anything any more and nothing fails,
// all of it must be empty again: what is left then was forgotten, and would pile up for ever.

const (
	limitsEvery = 100 * ms
	// controlMax is how many messages that are no log entries may be on their way between two nodes:
	// heartbeats, votes, draws, reports of what a link or a process may hold up at most.
	controlMax = 2000
	// tidyMax is how long a node may take to tidy up after it had nothing to do for a while.
	tidyMax = 10 * s
)

// watchLimits looks at all queues, again and again, until the end of the run.
func (w *World) watchLimits() {
	w.after(limitsEvery, func() {
		for _, m := range w.machines {
			if p := m.alive(); p != nil {
				w.withinLimits(p)
			}
		}
		w.watchLimits()
	})
}

func (w *World) withinLimits(p *process) {
	gauges := w.worldLoad(p)
	for _, l := range p.loops {
		gauges = append(gauges, l.node.Load()...)
	}
	for _, g := range gauges {
		if g.Now > g.Max {
			w.violate("limits", "", "node %d holds %d %s, the limit is %d", p.m.id, g.Now, g.Name, g.Max)
		}
	}
}

// worldLoad is what waits outside of a node: on the links to it, and in front of its loop.
func (w *World) worldLoad(p *process) []node.Gauge {
	f := p.flow.WithDefaults()
	groups := int64(len(w.traps.partitions) + 1)
	messages := groups*2*int64(f.InflightMessagesMax) + controlMax
	bytes := groups*2*int64(f.InflightBytesMax+f.MessageBytesMax) + controlMax<<10
	var g []node.Gauge
	for _, o := range w.machines {
		if o != p.m {
			l := w.net.link(o.id, p.m.id)
			g = append(g, node.Gauge{Name: "messages on a link", Now: l.load.messages, Max: messages}, node.Gauge{Name: "bytes on a link", Now: l.load.bytes, Max: bytes})
		}
	}
	inputs := int64(len(w.machines))*messages + 3*int64(len(p.doors.open))
	for _, l := range p.loops {
		g = append(g, node.Gauge{Name: "inputs before a loop", Now: int64(l.waiting), Max: inputs})
	}
	return g
}

// drain fails if a queue is not empty when it should be.
func (w *World) drain() {
	end := w.now + tidyMax
	for w.phase.broken == nil {
		who, left := w.undrained()
		if who == nil {
			return
		}
		if w.now >= end {
			w.violate("limits", "", "node %d still holds %d %s, %s after everybody has stopped; %d are allowed then",
				who.m.id, left.Now, left.Name, time.Duration(idleTime+tidyMax), left.Idle)
			return
		}
		w.run(w.now + limitsEvery)
	}
}

// undrained is a gauge that is above its idle level.
func (w *World) undrained() (*process, node.Gauge) {
	for _, m := range w.machines {
		p := m.alive()
		if p == nil {
			continue
		}
		for _, l := range p.loops {
			for _, g := range l.node.Load() {
				if g.Now > g.Idle {
					return p, g
				}
			}
		}
	}
	return nil, node.Gauge{}
}

// overload is far more clients than a cluster with tiny limits can serve, and leaders that cannot
// reach the oracle, or each other.
func overload() *Scenario {
	c := base("overload", "many times more requests than the limits allow, leaders and the oracle cut off, slow disks")
	c.Load.Clients, c.Load.Keys, c.Load.Think, c.Load.ValueBytes = 150, 12, 20*ms, 400
	c.Load.Mix = []Share{{"register", 4}, {"counter", 1}, {"txn", 2}, {"scan", 1}, {"outcome", 2}, {"reader", 2}, {"writer", 2}}
	c.Load.CopyPatience, c.Load.PatienceMin, c.Load.PatienceMax = 400*ms, 200*ms, 2*s
	// A refused commit was not done, and nobody sends it again: no network brings it twice.
	c.Clients.Cancel, c.Clients.Double = 0.9, 0
	c.Disk.SyncTime, c.Disk.ApplyMax = 2*ms, 4*ms
	c.Process.Crash, c.Process.Pause, c.Process.Stall, c.Process.Transfer = 6*time.Second, 3*time.Second, 3*time.Second, 4*time.Second
	c.Links.Cut, c.Links.Slow = 900*time.Millisecond, 3*time.Second
	c.Node = func(n *node.Config) {
		n.Partition.RequestsMax, n.Partition.WaitersPerKeyMax = 40, 16
		n.Partition.CommitBytesMax, n.Partition.SeenIDsMax = 8<<10, 400
		n.Flow = replication.Flow{
			MessageBytesMax: 2 << 10, ApplyBytesMax: 16 << 10, UncommittedBytesMax: 8 << 10,
			InflightMessagesMax: 8, InflightBytesMax: 8 << 10,
		}
		n.EntryCacheBytes = 8 << 10
	}
	c.Traps = []Trap{{"oracle", 3 * time.Second}}
	c.Duration = 30 * time.Second
	return c
}

// trapOracle cuts the oracle off from the leader of a partition, for as long as that one goes on leading.
func trapOracle(w *World, _ kv.PartitionID, x, _, _ kv.NodeID) {
	if o, _ := w.leader(kv.SystemPartition); o != nil && o.m.id != x {
		w.net.cutBoth(x, o.m.id, 500*ms+w.upTo(2500*ms), false)
	}
}
