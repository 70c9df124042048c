package node

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// firstIndex and firstTerm are where the log of a partition made by the core begins: all
// its first replicas start from the same empty state at that index.
const (
	firstIndex kv.LogIndex = 1
	firstTerm  kv.Term     = 1
)

// lives are the replicas of this node that do not run: on their way in, on their way out, or
// damaged.
type lives struct {
	tombstones map[kv.PartitionID]kv.ReplicaID // the newest buried id of each partition
	creating   map[kv.PartitionID]*creation
	resetting  map[kv.PartitionID]*resetting
	damaged    []*mvcc.ReplicaState // must not run (rule 56)
	doomed     []*mvcc.ReplicaState // being destroyed
	// others are groups that the log knows and that do not run. What the log holds of them
	// must stay as well.
	others    map[kv.PartitionID]*wal.View
	graves    []grave // their tombstones stay in the log until the engine has flushed its own
	buried    []grave // the same, and the flush was asked for
	farewells []*farewell
}

// grave is a replica that was destroyed here.
type grave struct {
	partition kv.PartitionID
	replica   kv.ReplicaID
}

// creation is a replica that the core ordered and that is on its way to the disk: first its keys are
// claimed, then the log, then the engine, flushed; only then it is opened and the order is answered.
type creation struct {
	desc    *kv.Descriptor
	replica kv.ReplicaID
	learner bool // begins empty and waits for a snapshot
	from    kv.NodeID
	mark    *replication.Append
	view    *wal.View // once the mark is stored
}

// found makes this founder's replica of the system partition.
func (n *Node) found(founders []kv.NodeInfo) {
	for _, f := range founders {
		n.set.Connect(f.ID)
	}
	d := core.SystemDescriptor(core.ChooseCore(founders))
	if _, ok := d.ReplicaOn(n.id.Node); ok {
		n.create(&creation{desc: d})
	}
}

// claim asks the applier, which sees the replicas of all loops, for the keys of a new replica: one is
// never made over another one's keys. Nothing is on the disk before they are free.
func (n *Node) claim(c *creation) {
	n.system.creating[c.desc.Partition] = c
	n.apply(&Apply{kind: applyClaim, state: c.state()})
}

// claimed goes on with the creation, or says who has the keys: the order comes again.
func (n *Node) claimed(a *Apply) {
	p := a.state.Descriptor.Partition
	c := n.system.creating[p]
	if c == nil {
		return
	}
	if a.holder == 0 {
		n.create(c)
		return
	}
	delete(n.system.creating, p)
	n.send(c.from, Message{OrderDone: &core.OrderDone{
		Partition: p, Replica: c.replica,
		Err: kv.Errorf(kv.Exists, "node %d still has a replica of partition %d, which holds some of the same keys", n.id.Node, a.holder).Message,
	}})
}

func (n *Node) create(c *creation) {
	rep, _ := c.desc.ReplicaOn(n.id.Node)
	c.replica = rep.ID
	m := wal.Mark{Kind: wal.MarkCreate, Replica: c.replica, Index: firstIndex, Term: firstTerm}
	h := &wal.HardState{Term: firstTerm, Commit: firstIndex}
	if c.learner {
		m.Index, m.Term, h = 0, 0, nil
	}
	n.system.creating[c.desc.Partition] = c
	if v := n.system.others[c.desc.Partition]; v != nil && v.ReplicaID() == c.replica {
		c.view = v // the log has it; the engine is what is missing
		n.apply(&Apply{kind: applyCreate, state: c.state()})
		return
	}
	c.mark = replication.MarkAppend(c.desc.Partition, m, h)
	n.out.Appends = append(n.out.Appends, c.mark)
}

// Stored takes back log writes, in the order in which they were given out.
func (n *Node) Stored(now kv.Instant, appends []*replication.Append, pos [][]wal.Position) {
	n.at(now)
	for i, a := range appends {
		if len(pos[i]) > 0 {
			n.keep.newest = max(n.keep.newest, pos[i][len(pos[i])-1].Segment)
		}
		if !a.IsMark() {
			n.set.Stored(a, pos[i])
			continue
		}
		switch a.Log.Mark.Kind {
		case wal.MarkTombstone:
			n.buried(a, pos[i])
			continue
		case wal.MarkForget:
			delete(n.system.others, a.Partition())
			continue
		}
		n.resetStored(a, pos[i])
		if c := n.system.creating[a.Partition()]; c != nil && c.mark == a {
			c.view = wal.NewView(c.desc.Partition, n.set.Cache())
			c.view.Stored(&a.Log, pos[i])
			n.apply(&Apply{kind: applyCreate, state: c.state()})
		}
	}
}

// state is what a new replica begins with.
func (c *creation) state() *mvcc.ReplicaState {
	s := &mvcc.ReplicaState{Replica: c.replica, Descriptor: *c.desc}
	if c.learner {
		return s
	}
	conf := raftpb.EnsureConfState(&raftpb.ConfState{})
	for _, r := range c.desc.Replicas {
		conf.Voters = append(conf.Voters, uint64(r.ID))
	}
	s.Applied, s.AppliedTerm = firstIndex, firstTerm
	s.ConfState, _ = proto.Marshal(conf)
	return s
}

// created opens the replica that is now on the disk.
func (n *Node) created(a *Apply) {
	p := a.state.Descriptor.Partition
	c := n.system.creating[p]
	if c == nil {
		return
	}
	delete(n.system.creating, p)
	delete(n.system.others, p)
	c.view.UseCache(n.set.Cache())
	if _, err := n.openReplica(a.state, c.view, c.view.HardState()); err != nil {
		n.fault(p, err)
		return
	}
	n.replicas[p].applied.flushed = a.state.Applied
	if c.from != 0 {
		n.send(c.from, Message{OrderDone: &core.OrderDone{Partition: p, Replica: c.replica}})
	}
	n.news(n.replicas[p])
}

// openReplica starts the group of a replica whose state is on the disk.
func (n *Node) openReplica(s *mvcc.ReplicaState, view *wal.View, h wal.HardState) (*replica, error) {
	conf, err := confOf(s)
	if err != nil {
		return nil, err
	}
	r := &replica{machine: partition.NewMachine(s), applied: summaryOf(s)}
	p := s.Descriptor.Partition
	if p != kv.SystemPartition {
		opts := n.cfg.Partition
		opts.Node = n.id.Node
		r.part = partition.New(p, opts, partitionSink{n})
	}
	n.replicas[p] = r
	g, err := n.set.Open(replication.OpenGroup{
		Descriptor: s.Descriptor.Clone(), Replica: s.Replica, View: view, HardState: h,
		Applied: s.Applied, AppliedTerm: s.AppliedTerm, Conf: conf,
	})
	if err != nil {
		delete(n.replicas, p)
		return nil, err
	}
	r.group = g
	n.outgrown(r)
	return r, nil
}

// destroy removes a replica for ever: first its id is buried in the log, then its data go.
func (n *Node) destroy(r *replica) {
	p := r.group.Partition()
	if r.leading {
		n.unlead(r)
	}
	n.turnAway(r)
	n.follows.leave(n, r)
	n.discard(r.group)
	r.group.Close()
	delete(n.replicas, p)
	n.closedForget(p)
	n.bury(&mvcc.ReplicaState{Replica: r.group.Replica(), Descriptor: *r.group.Descriptor().Clone()})
}

// bury writes the tombstone of a replica; its data go once that is durable.
func (n *Node) bury(s *mvcc.ReplicaState) {
	p := s.Descriptor.Partition
	n.system.tombstones[p] = max(n.system.tombstones[p], s.Replica)
	n.out.Appends = append(n.out.Appends, replication.MarkAppend(p, wal.Mark{Kind: wal.MarkTombstone, Replica: s.Replica}, nil))
	n.system.doomed = append(n.system.doomed, s)
}

// buried goes on when the tombstone is durable.
func (n *Node) buried(a *replication.Append, pos []wal.Position) {
	v := wal.NewView(a.Partition(), nil)
	v.Stored(&a.Log, pos)
	n.system.others[a.Partition()] = v
	i := slices.IndexFunc(n.system.doomed, func(s *mvcc.ReplicaState) bool {
		return s.Descriptor.Partition == a.Partition() && s.Replica == a.Log.Mark.Replica
	})
	if i < 0 {
		return
	}
	n.apply(&Apply{kind: applyDestroy, state: n.system.doomed[i]})
	n.system.doomed = slices.Delete(n.system.doomed, i, i+1)
}

func (n *Node) destroyed(a *Apply) {
	n.system.graves = append(n.system.graves, grave{a.state.Descriptor.Partition, a.state.Replica})
	n.flushEngine()
	n.send(n.oracle(), Message{OrderDone: &core.OrderDone{Partition: a.state.Descriptor.Partition, Replica: a.state.Replica, Dropped: true}})
}

func memberOf(c *raftpb.ConfState, id kv.ReplicaID) bool {
	for _, l := range [][]uint64{c.GetVoters(), c.GetVotersOutgoing(), c.GetLearners(), c.GetLearnersNext()} {
		if slices.Contains(l, uint64(id)) {
			return true
		}
	}
	return false
}
