package node

import (
	"math"

	"github.com/kvd-db/kvd/core"
)

// Gauge is how full one queue is. A gauge of a group or a partition is that of the fullest one.
type Gauge struct {
	Name string
	Now  int64
	Max  int64 // by Config, or by the constant beside the queue
	Idle int64 // the most that may be left once nothing is asked for and nothing fails
}

// unbounded is the Max of what only the number of partitions bounds.
const unbounded = math.MaxInt64

// Load is how full everything is that grows with what the node is asked, or with what goes wrong around
// it. The simulator holds it against the limits all the time. It walks the groups: it is not
// for every turn.
func (n *Node) Load() []Gauge {
	all := append(n.nodeLoad(), n.groupLoad()...)
	return append(all, n.partitionLoad()...)
}

func (n *Node) nodeLoad() []Gauge {
	admins, oracleDraws := n.core.Waiting()
	p := n.cfg.Partition.WithDefaults()
	draws := len(n.draws.waiting)
	for _, a := range n.draws.asked {
		draws += len(a.draws)
	}
	s := &n.system
	lives := len(s.creating) + len(s.resetting) + len(s.doomed) + len(s.graves) + len(s.buried) + len(s.others)
	return []Gauge{
		{"timestamps waited for", int64(draws), int64(len(n.set.Groups())*drawsMax(p.RequestsMax) + 2), 2}, // one to know the time, one to close
		{"draw requests under way", int64(len(n.draws.asked)), drawRequestsMax, 1},
		{"draws that the oracle keeps", int64(oracleDraws), core.DrawsWaitingMax, 0},
		{"admin requests of the core", int64(admins), core.AdminWaitingMax, 0},
		{"reads that wait for a proof of leadership", int64(n.reads.len()), parkedMax, 0},
		{"calls under way", int64(len(n.calls.byNumber)), callsMax, 0},
		{"calls that have failed", int64(len(n.calls.failed)), callsMax, 0},
		{"calls of other nodes", int64(len(n.called.open)), calledMax, 0},
		{"reads of followers that wait for anchors", int64(len(n.follows.open)), followsMax, 0},
		{"comparisons of replicas", int64(len(s.checks.open)), checksMax, 0},
		{"cached bytes of the log", n.set.Cache().Bytes(), n.cfg.EntryCacheBytes, n.cfg.EntryCacheBytes},
		{"replicas on their way in or out", int64(lives), unbounded, int64(len(s.damaged))},
	}
}

// drawsMax is how many draws one partition may have under way: those of the requests that it has admitted,
// and as many that were given up and are not answered.
func drawsMax(requestsMax int) int { return 2 * requestsMax }

// groupLoad is what replication holds for the fullest group.
func (n *Node) groupLoad() []Gauge {
	f := n.cfg.Flow.WithDefaults()
	entry := int64(min(proposalBytesMax, n.cfg.Partition.WithDefaults().CommitBytesMax)) // raft looks at a limit before it adds one
	// What one leader may have under way. Another one may have come before it.
	writes := int64(f.UncommittedBytesMax+f.InflightBytesMax+f.MessageBytesMax) + entry
	g := []Gauge{
		{"bytes proposed and not committed", 0, int64(f.UncommittedBytesMax), 0},
		{"bytes on their way to the log", 0, 2*writes + checkpointBytesMax, 0},
		{"bytes of the log that wait for a snapshot", 0, 2 * writes, 0},
		{"appends held back", 0, 0, 0},
		{"questions for a proof of leadership", 0, parkedMax, 0},
		{"requests that wait for a leader", 0, waitingMax, 0},
		{"snapshots that wait to be installed", 0, 1, 0},
		{"bytes being applied", 0, int64(f.ApplyBytesMax) + entry, 0},
	}
	for _, x := range n.set.Groups() {
		l, r := x.Load(), n.replicas[x.Partition()]
		if l.Uncommitted > 1 { // one command may be larger than the limit, and is alone then
			g[0].most(l.UncommittedBytes)
		}
		if l.Writes > 1 {
			g[1].most(l.WriteBytes)
		}
		g[2].most(l.StalledBytes)
		g[3].Max = max(g[3].Max, int64(len(x.Descriptor().Replicas)))
		g[3].most(int64(l.Held))
		g[4].most(int64(l.Reads))
		g[5].most(int64(r.waiting.len()))
		if r.inbound != nil {
			g[6].most(1)
		}
		if r.applying.batches > 1 {
			g[7].most(r.applying.bytes)
		}
	}
	return g
}

// partitionLoad is what the fullest partition holds that is led here.
func (n *Node) partitionLoad() []Gauge {
	o := n.cfg.Partition.WithDefaults()
	g := []Gauge{
		{"requests of a partition without an answer", 0, int64(o.RequestsMax), 0},
		{"bytes of commits that are not applied", 0, int64(o.CommitBytesMax), 0},
		{"ids in the window of a partition", 0, int64(o.SeenIDsMax), int64(o.SeenIDsMax)}, // they leave by the oracle's time, which may stand still
		{"draws of a partition", 0, int64(drawsMax(o.RequestsMax)), 0},
	}
	for _, x := range n.set.Groups() {
		if r := n.replicas[x.Partition()]; r.part != nil {
			l := r.part.Load()
			g[0].most(int64(l.Requests))
			g[1].most(int64(l.CommitBytes))
			g[2].most(int64(l.SeenIDs))
			g[3].most(int64(l.Draws))
		}
	}
	return g
}

func (g *Gauge) most(now int64) { g.Now = max(g.Now, now) }

// applying is what was handed to the applier and not taken back.
type applying struct {
	batches int
	bytes   int64
}

func (x *applying) add(a *Apply, sign int) {
	x.batches += sign
	for _, e := range a.entries {
		x.bytes += int64(sign * len(e.GetData()))
	}
}
