package replication

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/kv"
)

// NextDescriptor is the descriptor after a configuration change: the one in the change's
// Context, if any, without the replicas that the configuration in force does not have, and
// with the roles that it gives. It is a pure function: the loop and the state machine both
// call it. The generation grows by one when raft's own leaving of a joint configuration
// (which has no Context) drops a replica or changes a role.
func NextDescriptor(d *kv.Descriptor, cc *raftpb.ConfChangeV2, conf *raftpb.ConfState) *kv.Descriptor {
	named := false
	next := d.Clone()
	if len(cc.GetContext()) > 0 {
		if c, err := kv.DecodeDescriptor(cc.GetContext()); err == nil && c.Partition == d.Partition {
			next, named = c, true
		}
	}
	was := slices.Clone(next.Replicas)
	next.Replicas = slices.DeleteFunc(next.Replicas, func(r kv.Replica) bool { return !isMember(conf, r.ID) })
	for i := range next.Replicas {
		next.Replicas[i].Role = kv.RoleLearner
		if isVoter(conf, next.Replicas[i].ID) {
			next.Replicas[i].Role = kv.RoleVoter
		}
	}
	if !named && !slices.Equal(was, next.Replicas) {
		next.Generation++
	}
	return next
}

func isVoter(c *raftpb.ConfState, id kv.ReplicaID) bool {
	return slices.Contains(c.Voters, uint64(id)) || slices.Contains(c.VotersOutgoing, uint64(id))
}

func isMember(c *raftpb.ConfState, id kv.ReplicaID) bool {
	return isVoter(c, id) || slices.Contains(c.Learners, uint64(id)) || slices.Contains(c.LearnersNext, uint64(id))
}

// AddLearner is the change that adds a replica which only listens. next is the descriptor with it.
func AddLearner(id kv.ReplicaID, next *kv.Descriptor) *raftpb.ConfChangeV2 {
	return change(next, raftpb.ConfChangeTransitionAuto, single(raftpb.ConfChangeAddLearnerNode, id))
}

// Swap is the joint change that makes a learner a voter and removes a replica (L40); either
// may be 0. next is the descriptor while joint: with both.
func Swap(promote, remove kv.ReplicaID, next *kv.Descriptor) *raftpb.ConfChangeV2 {
	var cs []*raftpb.ConfChangeSingle
	if promote != 0 {
		cs = append(cs, single(raftpb.ConfChangeAddNode, promote))
	}
	if remove != 0 {
		cs = append(cs, single(raftpb.ConfChangeRemoveNode, remove))
	}
	return change(next, raftpb.ConfChangeTransitionJointImplicit, cs...)
}

func single(t raftpb.ConfChangeType, id kv.ReplicaID) *raftpb.ConfChangeSingle {
	return &raftpb.ConfChangeSingle{Type: t.Enum(), NodeId: new(uint64(id))}
}

func change(next *kv.Descriptor, t raftpb.ConfChangeTransition, cs ...*raftpb.ConfChangeSingle) *raftpb.ConfChangeV2 {
	return &raftpb.ConfChangeV2{Transition: t.Enum(), Changes: cs, Context: kv.AppendDescriptor(nil, next)}
}

func unmarshal(b []byte, m proto.Message) error { return proto.Unmarshal(b, m) }
