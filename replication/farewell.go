package replication

import (
	"cmp"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// A leader whose replica must stop at once, because it is damaged, cannot campaign to set its followers free
// (L33), and they stay bound for as long as its node lives: the promise is the node's. So it asks them to take
// over, as in a transfer. That is safe whatever they have: its lease is revoked, and who wins is raft's to say.

// Parting is a message of a leader that has stopped.
type Parting struct {
	To    kv.NodeID
	Frame Frame
}

// Partings ask the other voters, those with the longest logs first, to take over; nil if the replica does not lead. One is enough
// if it arrives: whoever campaigns sets the others free (L12). A voter of a newer term ignores it.
func (g *Group) Partings() []Parting {
	if g.last.role != Leader || invariant.Mutated(invariant.NoFarewell) {
		return nil
	}
	type follower struct {
		id    kv.ReplicaID
		match kv.LogIndex
	}
	var all []follower
	g.Progress(func(id kv.ReplicaID, learner bool, match kv.LogIndex, _ bool) {
		if !learner && id != g.replica {
			all = append(all, follower{id, match})
		}
	})
	slices.SortFunc(all, func(a, b follower) int {
		return cmp.Or(cmp.Compare(b.match, a.match), cmp.Compare(a.id, b.id))
	})
	var out []Parting
	for _, f := range all {
		if n := g.nodeOf(f.id); n != 0 {
			out = append(out, Parting{To: n, Frame: Frame{Partition: g.id, Message: &raftpb.Message{
				Type: raftpb.MsgTimeoutNow.Enum(), From: new(uint64(g.replica)), To: new(uint64(f.id)), Term: new(uint64(g.last.term)),
			}}})
		}
	}
	return out
}
