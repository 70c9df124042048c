package node

import (
	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/partition"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
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

// SnapshotSent says how the streaming of a snapshot ended.
func (n *Node) SnapshotSent(now kv.Instant, p kv.PartitionID, to kv.ReplicaID, ok bool) {
	n.at(now)
	if g := n.set.Group(p); g != nil {
		g.SnapshotSent(to, ok)
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
	n.out.Applies = append(n.out.Applies, &Apply{kind: applyInstall, rep: r, state: &st, snapshot: in})
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
