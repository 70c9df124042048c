package replication

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/wal"
)

// Role is what a replica is at the moment.
type Role uint8

// The roles.
const (
	Follower Role = iota
	Candidate
	Leader
)

func (r Role) String() string {
	switch r {
	case Leader:
		return "leader"
	case Candidate:
		return "candidate"
	}
	return "follower"
}

// standing is what raft said of this replica when it was last asked.
type standing struct {
	role   Role
	pre    bool // pre-candidate
	term   kv.Term
	leader kv.ReplicaID
}

// Group is one replica of one partition: a raft RawNode with the rules around it.
type Group struct {
	id      kv.PartitionID
	replica kv.ReplicaID
	set     *Set
	rn      *raft.RawNode
	log     *logStore
	desc    *kv.Descriptor // as of the newest configuration in force; names the nodes of replicas
	conf    *raftpb.ConfState
	last    standing
	bind    binding
	lead    leading
	elect   election
	state   lifecycle
}

// lifecycle is what concerns the existence of the replica and its place in the Set's lists.
type lifecycle struct {
	applied     kv.LogIndex // by the state machine, as heard by Applied
	appliedTerm kv.Term     // of the entry at applied
	listed      bool        // in the Set's awake list
	dirty       bool        // in the Set's list of groups whose raft may have something to say
	gone        bool        // stopped; whatever still arrives for it is dropped
	strangers   []stranger  // nodes of replicas that the descriptor does not name yet
}

type stranger struct {
	replica kv.ReplicaID
	node    kv.NodeID
}

// OpenGroup is what a replica starts from (rule 52).
type OpenGroup struct {
	Descriptor  *kv.Descriptor
	Replica     kv.ReplicaID
	View        *wal.View
	HardState   wal.HardState
	Applied     kv.LogIndex // as flushed
	AppliedTerm kv.Term
	Conf        *raftpb.ConfState // as of Applied
}

// Open starts a replica and adds it to the Set.
func (s *Set) Open(o OpenGroup) (*Group, error) {
	g := &Group{id: o.Descriptor.Partition, replica: o.Replica, set: s, desc: o.Descriptor, conf: o.Conf}
	g.state.applied, g.state.appliedTerm = o.Applied, o.AppliedTerm
	g.log = newLogStore(g, o)
	p, f := s.params, s.flow
	rn, err := raft.NewRawNode(&raft.Config{
		ID: uint64(o.Replica), ElectionTick: p.ElectionTicks, HeartbeatTick: p.HeartbeatTicks,
		Storage: g.log, Applied: uint64(o.Applied), AsyncStorageWrites: true,
		MaxSizePerMsg: f.MessageBytesMax, MaxCommittedSizePerReady: f.ApplyBytesMax, MaxUncommittedEntriesSize: f.UncommittedBytesMax,
		MaxInflightMsgs: f.InflightMessagesMax, MaxInflightBytes: f.InflightBytesMax,
		CheckQuorum: !invariant.Mutated(invariant.NoCheckQuorum), PreVote: true, ReadOnlyOption: raft.ReadOnlySafe,
		DisableProposalForwarding: true, StepDownOnRemoval: true, Logger: s.logger,
	})
	if err != nil {
		return nil, kv.Errorf(kv.Internal, "partition %d: raft refuses to start: %v", g.id, err)
	}
	g.rn = rn
	g.refresh()
	s.insert(g)
	s.consider(g)
	g.campaignAfterOpen()
	return g, nil
}

// Close stops the replica; it answers nothing any more.
func (g *Group) Close() {
	g.releaseHeld()
	g.state.gone = true
	g.lead.revoke()
	g.set.remove(g)
}

// Partition is the partition of the group.
func (g *Group) Partition() kv.PartitionID { return g.id }

// Replica is this replica's id, the raft peer id.
func (g *Group) Replica() kv.ReplicaID { return g.replica }

// Term is raft's current term.
func (g *Group) Term() kv.Term { return g.last.term }

// Role is the replica's role.
func (g *Group) Role() Role { return g.last.role }

// Leads reports whether the replica is the leader of its term.
func (g *Group) Leads() bool { return g.last.role == Leader }

// LeaderNode is the node of the known leader, 0 if none is known.
func (g *Group) LeaderNode() kv.NodeID {
	if g.last.leader == 0 {
		return 0
	}
	return g.nodeOf(g.last.leader)
}

// Descriptor is the newest one in force here; it must not be changed.
func (g *Group) Descriptor() *kv.Descriptor { return g.desc }

// Conf is raft's configuration in force; it must not be changed.
func (g *Group) Conf() *raftpb.ConfState { return g.conf }

// Applied is the last index that the state machine has applied.
func (g *Group) Applied() kv.LogIndex { return g.state.applied }

// Commit is raft's commit index.
func (g *Group) Commit() kv.LogIndex { return kv.LogIndex(g.rn.BasicStatus().GetCommit()) }

// LastIndex is the last log index that is durable here.
func (g *Group) LastIndex() kv.LogIndex { return g.log.view.LastIndex() }

// LastProposed is the index of the newest entry that was handed to the log here, durable or not. Once
// the Set is drained, a leader has proposed none above it.
func (g *Group) LastProposed() kv.LogIndex {
	for i := len(g.log.queue) - 1; i >= 0; i-- {
		if es := g.log.queue[i].Log.Entries; len(es) > 0 {
			return es[len(es)-1].Index
		}
	}
	return g.LastIndex()
}

// View is the group's index of the log.
func (g *Group) View() *wal.View { return g.log.view }

// Idle reports whether no log write of the group is under way.
func (g *Group) Idle() bool { return len(g.log.queue) == 0 && g.log.snapshot == nil }

// Serves reports whether the replica leads and has applied an entry of its own term, so
// that it has applied everything that any earlier leader committed (A6, L16).
func (g *Group) Serves() bool {
	return g.last.role == Leader && (g.state.appliedTerm == g.last.term || invariant.Mutated(invariant.NoOwnTerm))
}

// NodeOf is the node of a replica, 0 if it is not known.
func (g *Group) NodeOf(id kv.ReplicaID) kv.NodeID { return g.nodeOf(id) }

// nodeOf is the node of a replica: by the descriptor, else as learnt from its messages.
func (g *Group) nodeOf(id kv.ReplicaID) kv.NodeID {
	if n := g.desc.NodeOf(id); n != 0 {
		return n
	}
	for _, s := range g.state.strangers {
		if s.replica == id {
			return s.node
		}
	}
	return 0
}

// meet remembers the node of a replica that the descriptor does not name.
func (g *Group) meet(id kv.ReplicaID, n kv.NodeID) {
	if g.nodeOf(id) != 0 {
		return
	}
	const strangersMax = 16
	if len(g.state.strangers) == strangersMax {
		g.state.strangers = g.state.strangers[1:]
	}
	g.state.strangers = append(g.state.strangers, stranger{id, n})
}

func (g *Group) hasReplicaOn(n kv.NodeID) bool {
	_, ok := g.desc.ReplicaOn(n)
	return ok
}

// voters calls fn for every voter of both halves of the configuration in force.
func (g *Group) isVoter(id kv.ReplicaID) bool {
	return slices.Contains(g.conf.Voters, uint64(id)) || slices.Contains(g.conf.VotersOutgoing, uint64(id))
}

// joint reports whether the group is between two configurations.
func (g *Group) joint() bool { return len(g.conf.VotersOutgoing) > 0 }

// refresh looks at what raft has become, and does what a change asks for.
func (g *Group) refresh() {
	s := g.rn.BasicStatus()
	now := standing{term: kv.Term(s.GetTerm()), leader: kv.ReplicaID(s.Lead), pre: s.RaftState == raft.StatePreCandidate}
	switch s.RaftState {
	case raft.StateLeader:
		now.role = Leader
	case raft.StateCandidate, raft.StatePreCandidate:
		now.role = Candidate
	}
	was := g.last
	if now == was {
		return
	}
	g.last = now
	if was.role == Leader && (now.role != Leader || now.term != was.term) {
		g.releaseHeld()
		g.lead.end()
		if now.role == Follower && now.leader == 0 {
			g.elect.at = g.set.env.Now().Add(g.set.params.CampaignWait) // L33: our own pre-vote releases those bound to us
		}
	}
	if now.role == Leader && (was.role != Leader || now.term != was.term) {
		g.lead.begin(now.term)
		g.bind = binding{}
		g.elect.at = 0
		g.set.elected(g)
	}
	if now.role == Candidate && !now.pre && (was.role != Candidate || was.pre) {
		g.elect.at = g.set.env.Now().Add(g.set.params.CandidateRetry) + kv.Instant(g.set.env.Rand(int64(2*g.set.params.CandidateRetry))) // L35
	}
	g.set.plan(g)
	g.set.consider(g)
	g.set.env.Changed(g)
}

// Propose appends data as one entry. An error means that it was not proposed: the group
// does not lead, hands over, or has too much uncommitted.
func (g *Group) Propose(data []byte) error {
	if !g.Leads() {
		return kv.Errorf(kv.NotLeader, "partition %d is not led here", g.id)
	}
	if err := g.rn.Propose(data); err != nil {
		return kv.Errorf(kv.Unavailable, "partition %d takes no proposals now: %v", g.id, err)
	}
	g.lead.uncommitted.add(1, len(data))
	g.proposed()
	return nil
}

// ProposeConf proposes a change of the configuration. The change's Context carries the new descriptor.
func (g *Group) ProposeConf(cc *raftpb.ConfChangeV2) error {
	if !g.Leads() {
		return kv.Errorf(kv.NotLeader, "partition %d is not led here", g.id)
	}
	if g.joint() {
		return kv.Errorf(kv.Unavailable, "partition %d is changing its replicas already", g.id)
	}
	if err := g.rn.ProposeConfChange(cc); err != nil {
		return kv.Errorf(kv.Unavailable, "partition %d takes no proposals now: %v", g.id, err)
	}
	g.proposed()
	return nil
}

func (g *Group) proposed() {
	if g.lead.oldest == 0 {
		g.lead.oldest = g.set.env.Now()
	}
	g.wake()
	g.touch()
}

// ReadIndex asks for a proof of leadership without a clock (L19); ctx comes back by Env.ReadReady.
// It is dropped, to be asked again, when the leadership ends first.
func (g *Group) ReadIndex(ctx uint64) bool {
	if !g.Serves() {
		return false
	}
	g.lead.reads = append(g.lead.reads, ctx)
	g.wake()
	g.touch()
	return true
}
