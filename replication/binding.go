package replication

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// binding is a follower's promise to its leader (L10). It is sticky: it stands while the epoch
// runs, whatever raft thinks of terms and leaders meanwhile (L11).
type binding struct {
	leader kv.ReplicaID
	node   kv.NodeID // of the leader; 0 = not bound
	term   kv.Term
	epoch  uint64
}

// bound reports whether this replica has promised neither to vote nor to campaign.
func (g *Group) bound() bool {
	if g.bind.node == 0 || !g.set.support.runs(g.bind.node, g.bind.epoch) {
		return false
	}
	if invariant.Mutated(invariant.NotSticky) {
		return g.last.leader == g.bind.leader && g.last.term == g.bind.term
	}
	return true
}

// tag is the epoch of the binding to the receiver of an answer, decided at the moment of
// sending and for the term of this very message (L13).
func (g *Group) tag(m *raftpb.Message, to kv.NodeID) uint64 {
	if invariant.Mutated(invariant.FrameTag) {
		if p := g.set.support.pair(to); p != nil && p.active {
			return p.epoch
		}
		return 0
	}
	if g.bound() && g.bind.leader == kv.ReplicaID(m.GetTo()) && uint64(g.bind.term) == m.GetTerm() && g.rn.BasicStatus().GetTerm() == m.GetTerm() {
		return g.bind.epoch
	}
	return 0
}

// campaignTransfer is what raft puts into the Context of votes that a transfer of leadership causes.
const campaignTransfer = "CampaignTransfer"

// Receive is a raft message from another node. Messages to unknown replicas are dropped and
// create nothing (L39).
func (s *Set) Receive(from kv.NodeID, f Frame) {
	g := s.byID[f.Partition]
	if g == nil || uint64(g.replica) != f.Message.GetTo() {
		return
	}
	g.meet(kv.ReplicaID(f.Message.GetFrom()), from)
	if g.nodeOf(kv.ReplicaID(f.Message.GetFrom())) != from {
		return
	}
	g.receive(from, f)
}

func (g *Group) receive(from kv.NodeID, f Frame) {
	m := f.Message
	switch m.GetType() {
	case raftpb.MsgVote, raftpb.MsgPreVote:
		if !g.admitVote(m) {
			return
		}
	case raftpb.MsgTimeoutNow:
		if g.set.env.Now() < g.set.clock.refuseUntil {
			return
		}
	case raftpb.MsgHeartbeat:
		if g.lostLog(m) {
			return
		}
	case raftpb.MsgAppResp, raftpb.MsgHeartbeatResp:
		g.mark(f)
	}
	_ = g.rn.Step(m)
	g.refresh()
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		g.bindTo(from, m)
	case raftpb.MsgTimeoutNow:
		if g.last.role == Candidate && uint64(g.last.term) == m.GetTerm()+1 {
			g.bind = binding{}
		}
	}
	if g.last.role == Leader {
		g.wake() // L25: it may leave something to do; sleep is decided at the next tick
	}
	g.touch()
}

// lostLog stops a replica whose leader knows that it acknowledged more than it has: a
// heartbeat's commit index never exceeds what its receiver acknowledged. Damage to the very last
// synced batch looks like a torn tail to the log, and only this shows it (rule 56). raft itself would panic.
func (g *Group) lostLog(m *raftpb.Message) bool {
	last := g.log.view.LastIndex()
	if kv.LogIndex(m.GetCommit()) <= last || m.GetTerm() < uint64(g.last.term) || g.Installing() {
		return false
	}
	g.fail(kv.Errorf(kv.Corruption, "this replica has acknowledged log index %d, and its log ends at %d: synced log records are gone", m.GetCommit(), last))
	return true
}

// admitVote decides whether raft may see a vote request at all (L11, L12, L31).
func (g *Group) admitVote(m *raftpb.Message) bool {
	now, p := g.set.env.Now(), g.set.params
	if now < g.set.clock.refuseUntil {
		return false
	}
	force := string(m.GetContext()) == campaignTransfer
	fromLeader := kv.ReplicaID(m.GetFrom()) == g.bind.leader && !invariant.Mutated(invariant.NoReleaseByVote)
	if m.GetTerm() > uint64(g.bind.term) && (force || fromLeader) {
		g.bind = binding{} // the leader we are bound to has given up its term
		if !force && g.last.leader == kv.ReplicaID(m.GetFrom()) {
			_ = g.rn.ForgetLeader()
			g.refresh()
		}
		g.set.consider(g)
	}
	if g.bound() {
		return false
	}
	if m.GetType() == raftpb.MsgVote { // let the other one try first (L35)
		g.elect.at = now.Add(p.CandidateRetry) + kv.Instant(g.set.env.Rand(int64(2*p.CandidateRetry)))
		g.set.plan(g)
	} else if g.elect.at != 0 {
		g.elect.at = max(g.elect.at, now.Add(p.CampaignRank)+kv.Instant(g.set.env.Rand(int64(p.CampaignRetry))))
	}
	return g.last.role != Leader || force || g.LeaseUntil() <= now
}

// bindTo binds this replica to the leader whose message it just accepted (L10).
func (g *Group) bindTo(from kv.NodeID, m *raftpb.Message) {
	if g.last.role != Follower || uint64(g.last.term) != m.GetTerm() || uint64(g.last.leader) != m.GetFrom() {
		return
	}
	g.elect.at = 0
	g.bind = binding{}
	if p := g.set.support.pair(from); p != nil && p.active {
		g.bind = binding{leader: g.last.leader, node: from, term: g.last.term, epoch: p.epoch}
	}
	g.set.consider(g)
}

// promiseEnded releases everything that was bound by a promise, and plans campaigns of those
// whose leader is on that node (L4).
func (s *Set) promiseEnded(p *pair) {
	for _, g := range s.groups {
		bound := g.bind.node == p.node
		if bound {
			g.bind = binding{}
		}
		led := g.last.leader != 0 && g.nodeOf(g.last.leader) == p.node
		if g.last.role == Follower && (bound || led) {
			if led {
				_ = g.rn.ForgetLeader() // else raft's own vote lease would ignore votes
				g.refresh()
			}
			g.campaignAfterLapse(p.node)
		}
		s.consider(g)
	}
}

// reconfigure brings a configuration change into force.
func (g *Group) reconfigure(cc *raftpb.ConfChangeV2) *raftpb.ConfState {
	g.conf = g.rn.ApplyConfChange(cc)
	g.desc = NextDescriptor(g.desc, cc, g.conf)
	g.wake()
	if g.bind.node != 0 && !g.isVoter(g.bind.leader) { // L11: our leader is no member any more
		g.bind = binding{}
		g.elect.at = g.set.env.Now().Add(0) + kv.Instant(g.set.env.Rand(int64(g.set.params.CampaignRank)))
		g.set.plan(g)
	}
	g.set.consider(g)
	return g.conf
}

// confChange decodes an entry that changes the configuration.
func confChange(e *raftpb.Entry) (*raftpb.ConfChangeV2, bool, error) {
	switch e.GetType() {
	case raftpb.EntryConfChangeV2:
		cc := &raftpb.ConfChangeV2{}
		if err := unmarshal(e.GetData(), cc); err != nil {
			return nil, false, kv.Errorf(kv.Corruption, "the configuration change at log index %d cannot be read: %v", e.GetIndex(), err)
		}
		return cc, true, nil
	case raftpb.EntryConfChange:
		return nil, false, kv.Errorf(kv.Corruption, "log index %d holds a configuration change of a kind that is never written", e.GetIndex())
	}
	return nil, false, nil
}

var _ raft.Storage = (*logStore)(nil)
