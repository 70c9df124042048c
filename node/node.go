package node

import (
	"math/rand/v2"
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// Node is one loop of a server, of which many have one only. It belongs to one goroutine.
type Node struct {
	cfg      Config
	id       Identity
	now      kv.Instant
	set      *replication.Set
	replicas map[kv.PartitionID]*replica
	core     *core.Machine
	system   system
	questions
	keep   keeper
	closed closed
	rng    *rand.Rand
	out    *Effects
}

// closed is the timestamps that are closed, by this node and others.
type closed struct {
	closer
	heard heardClosed
}

// questions are what is asked of other nodes, or of this one by them, and not answered yet.
type questions struct {
	draws   draws
	reads   indexReads
	calls   calls
	called  called
	follows follows
}

// system is what the node knows of the cluster's core and tells it.
type system struct {
	heard      kv.Timestamp // newest timestamp heard of
	outsider   outsider
	wallMillis int64 // of the last tick
	report     reporter
	tickAt     kv.Instant  // next slow tick
	announced  kv.Revision // of the core's state, whose nodes were last announced
	checks     checks
	faulty     []string
	lives
	draining bool
	disks
	coreTold CoreLeader // to the other loops
}

// New starts a node from what its disk holds. The incarnation in id must be durable.
func New(now kv.Instant, cfg Config, id Identity, boot Boot) (*Node, error) {
	if err := cfg.Replication.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, id: id, now: now, replicas: map[kv.PartitionID]*replica{}, out: &Effects{}}
	n.id.Loops = max(id.Loops, 1)
	n.rng = rand.New(rand.NewPCG(cfg.Seed, uint64(id.Loop)<<56|id.Incarnation<<16|uint64(id.Node)))
	if !invariant.Mutated(invariant.DrawSeqRestarts) {
		n.draws.seq = id.Incarnation << 32 // a grant that an earlier life asked for is nobody's (B1)
	}
	n.calls = calls{seq: id.Incarnation << 32, byNumber: map[uint64]*call{}, awaited: map[kv.NodeID]int{}, leaders: map[kv.PartitionID]kv.NodeID{}, answered: answered}
	n.called.open = map[RequestID]caller{}
	n.follows.open = map[RequestID]*follow{}
	n.closed.epoch = id.Incarnation << 32 // a table of an earlier life is older
	n.closed.heard = heardClosed{sources: map[closedLoop]*closedSource{}, partitions: map[kv.PartitionID]*closedPartition{}}
	n.system.tombstones = map[kv.PartitionID]kv.ReplicaID{}
	n.system.creating = map[kv.PartitionID]*creation{}
	n.system.others = map[kv.PartitionID]*wal.View{}
	n.system.resetting = map[kv.PartitionID]*resetting{}
	n.reads.parked = map[uint64]*indexRead{}
	n.set = replication.NewSet(now, replication.Options{
		Self: id.Node, Incarnation: id.Incarnation, Fresh: id.Fresh, Params: cfg.Replication, Flow: cfg.Flow,
		Loop: id.Loop, Loops: id.Loops, Cache: wal.NewCache(cfg.EntryCacheBytes), Logger: raftLogger{},
	}, env{n})
	n.core = core.New(cfg.Core, coreSink{n})
	if err := n.loadSystem(boot); err != nil {
		return nil, err
	}
	for _, p := range id.Peers {
		n.set.Connect(p.ID)
	}
	for _, p := range n.core.Nodes() {
		n.set.Connect(p.ID)
	}
	if err := n.boot(boot); err != nil {
		return nil, err
	}
	if n.mine(kv.SystemPartition) && !n.has(kv.SystemPartition) {
		n.found(id.Founders) // also when the first attempt was cut short by a crash
	}
	return n, nil
}

// has reports whether the node has, had or is getting a replica of a partition.
func (n *Node) has(p kv.PartitionID) bool {
	return n.replicas[p] != nil || n.system.resetting[p] != nil || n.system.tombstones[p] != 0 || n.damagedReplica(p) != nil
}

// at begins an event: the clock moves and promises lapse before anything is looked at (L4).
func (n *Node) at(now kv.Instant) {
	n.now = max(n.now, now)
	n.set.Advance()
}

const (
	tickEvery      = 10 * time.Millisecond
	quietTickEvery = 50 * time.Millisecond // at most
)

// TickEvery is how often Tick should come as things are now: seldom while nothing is under way that a tick
// would let go on. Waking up is most of what an idle node costs.
func (n *Node) TickEvery() time.Duration {
	if !n.set.Quiet() || len(n.draws.waiting)+len(n.draws.asked)+len(n.calls.list)+len(n.calls.failed)+len(n.keep.held.applies) > 0 {
		return tickEvery
	}
	return min(quietTickEvery, n.cfg.Replication.HeartbeatInterval/2)
}

// Tick is the passing of time; wallMillis keeps timestamps near the clock for people.
func (n *Node) Tick(now kv.Instant, wallMillis int64) {
	n.at(now)
	n.system.wallMillis = wallMillis
	n.set.Tick()
	n.draws.tick(n)
	n.calls.tick(n)
	n.keep.held.tick(n)
	const slowTick = kv.Instant(45 * time.Millisecond) // less than quietTickEvery: each of those is one
	if n.now < n.system.tickAt {
		return
	}
	n.system.tickAt = n.now + slowTick
	n.called.lazy.tick(n)
	if r := n.replicas[kv.SystemPartition]; r != nil && r.leading {
		n.core.Tick(n.now, wallMillis)
	}
	for _, r := range n.busyReplicas() {
		if r.part != nil {
			r.part.Tick()
		}
		r.changeTick(n)
	}
	n.outsiderTick()
	n.parkTick()
	n.follows.tick(n)
	n.closed.tick(n)
	n.checkTick()
	n.snapshotTick()
	n.farewellTick()
	n.report()
	n.keepTick()
	n.retain()
}

// Flush ends a turn: what was queued is packed and proposed, raft is asked, and everything
// that the turn caused is returned.
func (n *Node) Flush(now kv.Instant) *Effects {
	n.at(now)
	n.propose()
	n.set.Drain()
	n.propose() // what committed entries let go on
	n.set.Drain()
	n.closed.publish(n)
	n.draws.ask(n)
	n.announce()
	n.tellCore()
	n.called.lazy.board(n)
	out := n.out
	n.out = &Effects{}
	return out
}

// Recycle takes back the slices of effects that are done with.
func (n *Node) Recycle(e *Effects) {
	if len(n.out.Sends)+len(n.out.Appends)+len(n.out.Applies)+len(n.out.Reads)+len(n.out.Replies) > 0 {
		return
	}
	clear(e.Sends)
	clear(e.Appends)
	clear(e.Applies)
	clear(e.Reads)
	clear(e.Replies)
	n.out.Sends, n.out.Appends, n.out.Applies, n.out.Reads, n.out.Replies = e.Sends[:0], e.Appends[:0], e.Applies[:0], e.Reads[:0], e.Replies[:0]
}

// Info is the registry entry of this node.
func (n *Node) Info() kv.NodeInfo {
	if i, ok := n.core.Node(n.id.Node); ok {
		return i
	}
	for _, i := range n.system.outsider.nodes {
		if i.ID == n.id.Node {
			return i
		}
	}
	return n.id.Info
}

// Answered reports whether the oracle has answered a draw of this loop, in this life.
func (n *Node) Answered() bool { return n.draws.granted }

// Heard is the newest timestamp the node has heard of.
func (n *Node) Heard() kv.Timestamp { return n.system.heard }

func (n *Node) hear(t kv.Timestamp) { n.system.heard = max(n.system.heard, t) }

// Lease tells the simulator what a replica believes of its lease.
func (n *Node) Lease(p kv.PartitionID) (term kv.Term, until kv.Instant, leads bool) {
	g := n.set.Group(p)
	if g == nil {
		return 0, 0, false
	}
	return g.Term(), g.LeaseUntil(), g.Leads()
}

// Unfinished tells the simulator what a replica has in hand: nothing if nobody waits, and all that is committed is applied.
func (n *Node) Unfinished(p kv.PartitionID) (waiting, applies int) {
	r := n.replicas[p]
	if r == nil {
		return 0, 0
	}
	if r.leading && r.part != nil {
		commands, _ := r.part.Inflight()
		waiting = r.part.Waiting() + commands
	}
	return waiting, r.applying.batches
}

// Elections are the leaderships that began here since the last call.
func (n *Node) Elections() []replication.Election { return n.set.Elections() }

// announce names new nodes to the world.
func (n *Node) announce() {
	if n.core.Revision() == n.system.announced {
		return
	}
	n.system.announced = n.core.Revision()
	if n.inCore() {
		n.connect(n.core.Nodes())
	}
}

// connect makes nodes known to the world and to the heartbeats.
func (n *Node) connect(nodes []kv.NodeInfo) {
	n.out.Nodes = nodes
	for _, i := range nodes {
		if !i.Replaced {
			n.set.Connect(i.ID)
		}
	}
}
