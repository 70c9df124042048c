package node

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
)

// FillSnapshot makes a MsgSnap say what an engine snapshot holds: s is the replica state read
// from that same engine snapshot, which is as new as the one raft asked for, or newer.
func FillSnapshot(m *raftpb.Message, s mvcc.ReplicaState) error {
	conf, err := confOf(&s)
	if err != nil {
		return err
	}
	m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		ConfState: conf, Index: new(uint64(s.Applied)), Term: new(uint64(s.AppliedTerm)),
	}}
	return nil
}

func confOf(s *mvcc.ReplicaState) (*raftpb.ConfState, error) {
	conf := &raftpb.ConfState{}
	if err := proto.Unmarshal(s.ConfState, conf); err != nil {
		return nil, kv.Errorf(kv.Corruption, "partition %d: the stored configuration cannot be read: %v", s.Descriptor.Partition, err)
	}
	return raftpb.EnsureConfState(conf), nil
}

func (n *Node) sendSnapshot(g *replication.Group, to kv.ReplicaID, m *raftpb.Message) {
	args := mvcc.SnapshotArgs{Partition: g.Partition(), Span: g.Descriptor().Span}
	if g.Partition() == kv.SystemPartition {
		args.SystemPrefix = corePrefix
	}
	n.out.Snapshots = append(n.out.Snapshots, SendSnapshot{Args: args, To: g.NodeOf(to), ToReplica: to, Message: m})
}

// refusedSnapshot is a replica that could not be sent a snapshot. raft sends the next one as soon as it hears of
// the failure; so it hears of it later each time: a full node must not be sent the same copy over and over.
type refusedSnapshot struct {
	group *replication.Group
	to    kv.ReplicaID
	term  kv.Term
	wait  kv.Instant // this time
	due   kv.Instant // 0: a snapshot is on its way
}

const (
	snapshotRetryMin = kv.Instant(50 * time.Millisecond)
	snapshotRetryMax = kv.Instant(5 * time.Second)
)

// SnapshotSent says how the streaming of a snapshot ended.
func (n *Node) SnapshotSent(now kv.Instant, p kv.PartitionID, to kv.ReplicaID, ok bool) {
	n.at(now)
	g := n.set.Group(p)
	if g == nil {
		return
	}
	i := slices.IndexFunc(n.keep.refused, func(x *refusedSnapshot) bool { return x.group == g && x.to == to && x.term == g.Term() })
	switch {
	case ok || !g.Leads():
		if i >= 0 {
			n.keep.refused = slices.Delete(n.keep.refused, i, i+1)
		}
		g.SnapshotSent(to, ok)
	case i < 0:
		n.keep.refused = append(n.keep.refused, &refusedSnapshot{group: g, to: to, term: g.Term(), wait: snapshotRetryMin, due: n.now + snapshotRetryMin})
	default:
		x := n.keep.refused[i]
		x.wait = min(2*x.wait, snapshotRetryMax)
		x.due = n.now + x.wait
	}
}

// snapshotTick lets raft know of the failures whose time has come, and forgets those of other terms.
func (n *Node) snapshotTick() {
	n.keep.refused = slices.DeleteFunc(n.keep.refused, func(x *refusedSnapshot) bool {
		return !x.group.Leads() || x.group.Term() != x.term || n.set.Group(x.group.Partition()) != x.group
	})
	for _, x := range n.keep.refused {
		if x.due != 0 && n.now >= x.due {
			x.due = 0
			x.group.SnapshotSent(x.to, false)
		}
	}
}

// SnapshotReceived is a whole and verified snapshot for a replica of this node.
func (n *Node) SnapshotReceived(now kv.Instant, from kv.NodeID, s *Snapshot) {
	n.at(now)
	r := n.replicas[s.Partition]
	st := s.Sink.State()
	if r == nil || r.inbound != nil || r.group.Installing() || uint64(r.group.Replica()) != s.Message.GetTo() ||
		uint64(st.Applied) != s.Message.GetSnapshot().GetMetadata().GetIndex() {
		n.out.Discards = append(n.out.Discards, s)
		return
	}
	r.inbound = s
	n.set.Receive(from, replication.Frame{Partition: s.Partition, Message: s.Message})
	n.set.Drain()
	if !r.group.Installing() && r.inbound == s {
		r.inbound = nil
		n.out.Discards = append(n.out.Discards, s)
	}
}

// install hands a received snapshot to the engine (rule 50, step 2).
func (n *Node) install(g *replication.Group, _ *raftpb.Snapshot) {
	r := n.replicas[g.Partition()]
	in := r.inbound
	r.inbound = nil
	st := in.Sink.State()
	st.Replica = g.Replica()
	n.apply(&Apply{kind: applyInstall, rep: r, state: &st, snapshot: in})
}

func (n *Node) installed(a *Apply) {
	r := a.rep
	n.out.Discards = append(n.out.Discards, a.snapshot)
	if n.replicas[r.group.Partition()] != r {
		return
	}
	conf, err := confOf(a.state)
	if err == nil && r.part == nil {
		err = n.core.Load(a.system)
	}
	if err != nil {
		n.faultyGroup(r.group, err)
		return
	}
	r.machine = partition.NewMachine(a.state)
	r.applied = summaryOf(a.state)
	r.sizing.known, r.garbage.review, r.garbage.full = false, 0, false
	n.outgrown(r)
	n.set.Installed(r.group, conf, a.state.Descriptor.Clone())
	if to := r.group.LeaderNode(); to != 0 {
		n.send(to, Message{Digest: &Digest{Partition: r.group.Partition(), Index: a.state.Applied, Replica: r.group.Replica()}})
	}
}

func (n *Node) discard(g *replication.Group) {
	if r := n.replicas[g.Partition()]; r != nil && r.inbound != nil {
		n.out.Discards = append(n.out.Discards, r.inbound)
		r.inbound = nil
	}
}

// systemKeys are the keys of the system partition as of an installed snapshot.
type systemKeys []core.Write

func (a *Apply) system(yield func(key string, value []byte) bool) {
	for _, w := range a.keys {
		if !yield(w.Key, w.Value) {
			return
		}
	}
}
