package node

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// loadSystem takes over the store's system keys: the core's state, and this loop's tombstones.
func (n *Node) loadSystem(b Boot) error {
	if b.System == nil {
		return nil
	}
	b.System(func(key string, value []byte) bool {
		if p, ok := strings.CutPrefix(key, tombstonePrefix); ok && len(p) == 8 && len(value) == 8 {
			if id := kv.PartitionID(binary.BigEndian.Uint64([]byte(p))); n.mine(id) {
				n.system.tombstones[id] = kv.ReplicaID(binary.BigEndian.Uint64(value))
			}
		}
		return true
	})
	if !n.mine(kv.SystemPartition) {
		return nil
	}
	return n.core.Load(func(yield func(string, []byte) bool) {
		b.System(func(key string, value []byte) bool {
			k, ok := strings.CutPrefix(key, corePrefix)
			return !ok || yield(k, value)
		})
	})
}

// boot reconciles what the log and the engine say of each replica of this loop (rules 50, 52-56), and
// opens those that kept what they acknowledged. Whose loop had them in the life before does not matter.
func (n *Node) boot(b Boot) error {
	if b.Log == nil {
		b.Log = &wal.Recovered{}
	}
	known := map[kv.PartitionID]bool{}
	for i := range b.Replicas {
		s := &b.Replicas[i]
		if !n.mine(s.Descriptor.Partition) {
			continue
		}
		known[s.Descriptor.Partition] = true
		if err := n.bootReplica(b.Log, s); err != nil {
			return err
		}
	}
	for _, g := range b.Log.Groups {
		if !n.mine(g.Group) {
			continue
		}
		if t := g.View.Tombstone(); t != 0 {
			n.system.tombstones[g.Group] = max(n.system.tombstones[g.Group], t)
		}
		if n.replicas[g.Group] == nil && n.system.resetting[g.Group] == nil {
			n.system.others[g.Group] = g.View
		}
		if !known[g.Group] && g.View.ReplicaID() == 0 {
			n.system.graves = append(n.system.graves, grave{g.Group, g.View.Tombstone()}) // the engine has forgotten it already
		}
	}
	return nil
}

func (n *Node) bootReplica(log *wal.Recovered, s *mvcc.ReplicaState) error {
	p := s.Descriptor.Partition
	g := log.Find(p)
	if g == nil {
		n.damage(s, kv.Errorf(kv.Corruption, "the engine has replica %d, and the log has no record of it: log records are lost", s.Replica))
		return nil
	}
	if g.View.Tombstone() >= s.Replica { // its removal was cut short
		n.system.tombstones[p] = max(n.system.tombstones[p], g.View.Tombstone())
		n.apply(&Apply{kind: applyDestroy, state: s})
		return nil
	}
	g.View.UseCache(n.set.Cache())
	h, reset, err := reconcile(g, s)
	if err != nil {
		n.damage(s, err)
		return nil
	}
	if reset { // rule 50: the engine took the snapshot in, the log has yet to restart after it
		m := wal.Mark{Kind: wal.MarkReset, Index: s.Applied, Term: s.AppliedTerm}
		a := replication.MarkAppend(p, m, &h)
		n.system.resetting[p] = &resetting{state: s, view: g.View, hard: h, mark: a}
		n.out.Appends = append(n.out.Appends, a)
		return nil
	}
	_, err = n.openReplica(s, g.View, h)
	return err
}

// resetting is a replica whose log restarts after a snapshot before it is opened.
type resetting struct {
	state *mvcc.ReplicaState
	view  *wal.View
	hard  wal.HardState
	mark  *replication.Append
}

func (n *Node) resetStored(a *replication.Append, pos []wal.Position) {
	p := a.Partition()
	r := n.system.resetting[p]
	if r == nil || r.mark != a {
		return
	}
	delete(n.system.resetting, p)
	r.view.Stored(&a.Log, pos)
	if _, err := n.openReplica(r.state, r.view, r.hard); err != nil {
		n.damage(r.state, err)
	}
}

// reconcile decides whether a replica may run again, and with which hard state. An error
// says that something it acknowledged is gone: it must never answer under its id again
// (rules 54, 56). reset says that step 3 of a snapshot's installation is missing.
func reconcile(g *wal.GroupState, s *mvcc.ReplicaState) (h wal.HardState, reset bool, err error) {
	v := g.View
	h = v.HardState()
	if g.Fault != nil && !invariant.Mutated(invariant.FaultyRejoins) {
		return h, false, g.Fault
	}
	if !invariant.Mutated(invariant.CommitAboveLog) {
		h.Commit = max(h.Commit, s.Applied)
	}
	h.Term = max(h.Term, s.AppliedTerm)
	if at, _, ok := v.Install(); ok && at == s.Applied {
		return h, true, nil // entries above it, appended before the snapshot came, go with the restart
	}
	if s.Applied > v.LastIndex() && invariant.Mutated(invariant.PebbleAheadAccepted) {
		return h, true, nil
	}
	switch {
	case v.ReplicaID() != s.Replica:
		err = kv.Errorf(kv.Corruption, "the engine has replica %d, the log replica %d", s.Replica, v.ReplicaID())
	case s.Applied > v.LastIndex():
		err = kv.Errorf(kv.Corruption, "the engine has applied log index %d, the log ends at %d: synced log records are gone", s.Applied, v.LastIndex())
	case v.FirstIndex() > s.Applied+1:
		err = kv.Errorf(kv.Corruption, "the engine has applied log index %d, the log begins at %d: log records in between are gone", s.Applied, v.FirstIndex())
	case h.Commit > max(v.LastIndex(), s.Applied):
		err = kv.Errorf(kv.Corruption, "log index %d is known to be committed, the log ends at %d: synced log records are gone", h.Commit, v.LastIndex())
	default:
		err = agree(v, s)
	}
	return h, false, err
}

// agree insists that log and engine name the same entry at the applied index.
func agree(v *wal.View, s *mvcc.ReplicaState) error {
	if s.Applied == 0 {
		return nil
	}
	t, err := v.Term(s.Applied)
	if err != nil {
		return v.Rebase(s.Applied, s.AppliedTerm) // the term before the first entry is not known any more
	}
	if t != s.AppliedTerm {
		return kv.Errorf(kv.Corruption, "log index %d has term %d in the log and term %d in the engine", s.Applied, t, s.AppliedTerm)
	}
	return nil
}

// damage reports a replica that is not opened.
func (n *Node) damage(s *mvcc.ReplicaState, err error) {
	n.system.damaged = append(n.system.damaged, s)
	n.fault(s.Descriptor.Partition, kv.Errorf(kv.KindOf(err), "replica %d is damaged and stays stopped; it is replaced from its peers, or, if it is the only one, restored by hand: %v", s.Replica, err))
}

// damagedReplica is the damaged replica of a partition that the node holds, nil if there is none.
func (n *Node) damagedReplica(p kv.PartitionID) *mvcc.ReplicaState {
	for _, s := range n.system.damaged {
		if s.Descriptor.Partition == p {
			return s
		}
	}
	return nil
}

// buryDamaged makes room for a new replica in place of a damaged one.
func (n *Node) buryDamaged(s *mvcc.ReplicaState) {
	n.system.damaged = slices.DeleteFunc(n.system.damaged, func(d *mvcc.ReplicaState) bool { return d == s })
	n.bury(s)
}
