package replication

import (
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// election is what a replica without a leader plans.
type election struct {
	at     kv.Instant // of the next campaign; 0 = none planned
	listed bool       // in the Set's list of campaigns
	wanted bool       // a request waits for a leader: goes ahead of others
}

// campaignAfterLapse plans the turn of this replica among the survivors (L32, L34).
func (g *Group) campaignAfterLapse(dead kv.NodeID) {
	p, env := g.set.params, g.set.env
	g.elect.at = env.Now().Add(p.CampaignWait+p.CampaignRank*time.Duration(g.rank(dead))) + kv.Instant(env.Rand(int64(p.CampaignJitter)+1))
	g.set.plan(g)
}

// campaignAfterOpen gives a group that just started a leader soon: in turns, as after a lapse.
func (g *Group) campaignAfterOpen() {
	if !g.isVoter(g.replica) {
		return
	}
	p, env := g.set.params, g.set.env
	from := max(env.Now(), g.set.clock.refuseUntil)
	g.elect.at = from.Add(p.CampaignWait+p.CampaignRank*time.Duration(g.rank(0))) + kv.Instant(env.Rand(int64(p.CampaignJitter)+1))
	g.set.plan(g)
}

// rank is this replica's place among the voters that are left, rotated by partition so that
// each survivor takes its share of a dead node's leaderships.
func (g *Group) rank(dead kv.NodeID) int {
	var left []uint64
	for _, id := range g.conf.Voters {
		if g.nodeOf(kv.ReplicaID(id)) != dead {
			left = append(left, id)
		}
	}
	slices.Sort(left)
	i := slices.Index(left, uint64(g.replica))
	if i < 0 {
		return len(left) + 2
	}
	return (i + int(g.id%1024)) % len(left)
}

// Wanted notes that a request waits for the group to have a leader (L34).
func (g *Group) Wanted() { g.elect.wanted = true }

// plan puts the group into the list of planned campaigns if it has one.
func (s *Set) plan(g *Group) {
	if g.elect.at != 0 && !g.elect.listed {
		g.elect.listed = true
		s.lists.campaigns = append(s.lists.campaigns, g)
	}
}

// campaigns starts those that are due, at most CampaignsPerTick: the system partition first,
// then groups that somebody waits for, then the rest.
func (s *Set) campaigns() {
	if s.env.Now() < s.clock.refuseUntil || s.clock.diskSlow || len(s.lists.campaigns) == 0 {
		return
	}
	left := s.params.CampaignsPerTick
	for pass := range 3 {
		for _, g := range s.lists.campaigns {
			if left > 0 && g.campaignClass() == pass && g.campaignDue() {
				left--
				g.campaign()
			}
		}
	}
	kept := s.lists.campaigns[:0]
	for _, g := range s.lists.campaigns {
		if g.elect.at != 0 && !g.state.gone {
			kept = append(kept, g)
		} else {
			g.elect.listed = false
		}
	}
	clear(s.lists.campaigns[len(kept):])
	s.lists.campaigns = kept
}

func (g *Group) campaignClass() int {
	switch {
	case g.id == kv.SystemPartition:
		return 0
	case g.elect.wanted:
		return 1
	}
	return 2
}

func (g *Group) campaignDue() bool {
	due := g.elect.at
	if g.set.sick() {
		due = due.Add(2 * g.set.params.SupportDuration) // after all others, who may lack the log for it
	}
	if g.state.gone || g.elect.at == 0 || g.set.env.Now() < due || g.bound() {
		return false
	}
	if g.last.leader != 0 || g.last.role == Leader || !g.isVoter(g.replica) {
		g.elect.at = 0
		return false
	}
	return true
}

func (g *Group) campaign() {
	p, env := g.set.params, g.set.env
	g.elect.wanted = false
	_ = g.rn.Campaign()
	g.elect.at = env.Now().Add(p.CampaignRetry) + kv.Instant(env.Rand(int64(p.CampaignRetry)))
	g.refresh()
	g.touch()
}

// Tick is called every 10 ms: heartbeats, campaigns, raft's ticks.
func (s *Set) Tick() {
	now := s.env.Now()
	s.clock.loopAt = now
	if s.renews() && now-s.clock.heartbeatAt >= kv.Instant(s.params.HeartbeatInterval) {
		s.clock.heartbeatAt = now
		for _, p := range s.support.pairs {
			s.env.SendHeartbeat(p.node, Heartbeat{Incarnation: s.support.incarnation, Sent: now})
		}
	}
	s.releaseHeld()
	s.campaigns()
	if now-s.clock.tickAt >= kv.Instant(s.params.RaftTick) {
		s.clock.tickAt = now
		s.tickAwake()
	}
}

// renews reports whether this loop asks for support: loop 0 does, for the whole node, unless
// something of the node does not work (L9).
func (s *Set) renews() bool {
	return s.support.loop == 0 && !s.clock.diskSlow && (!s.clock.loopStalled || invariant.Mutated(invariant.RenewWhileStalled))
}

// needsTick reports whether raft's clock of this replica runs (L22).
func (g *Group) needsTick() bool {
	if g.state.gone {
		return false
	}
	if g.last.role == Leader {
		return g.lead.awake
	}
	return !g.bound()
}

// consider puts the group into the awake list if its clock is to run.
func (s *Set) consider(g *Group) {
	if !g.state.listed && g.needsTick() {
		g.state.listed = true
		s.lists.awake = append(s.lists.awake, g)
	}
}

func (s *Set) tickAwake() {
	awake := s.lists.awake
	s.lists.awake = nil
	refuse := s.env.Now() < s.clock.refuseUntil
	kept := awake[:0]
	for _, g := range awake {
		if g.needsTick() {
			switch {
			case s.clock.diskSlow, s.sick() && g.last.role == Leader:
				g.tickSick()
			case g.last.role == Leader:
				g.tickLeader()
			case !refuse:
				g.rn.Tick()
				g.refresh()
				g.touch()
			}
		}
		if g.needsTick() {
			kept = append(kept, g)
		} else {
			g.state.listed = false
		}
	}
	s.lists.awake = append(kept, s.lists.awake...)
}

func (g *Group) tickLeader() {
	busy := g.state.dirty // something of this turn has not reached raft's outputs yet
	g.rn.Tick()
	g.refresh()
	g.touch()
	if g.last.role != Leader {
		return
	}
	now := g.set.env.Now()
	bs := g.rn.BasicStatus()
	switch {
	case g.lead.noLease == g.last.term && bs.LeadTransferee == 0: // L38: the transfer failed
		g.renewTerm()
	case g.lead.oldest != 0 && now-g.lead.oldest > kv.Instant(g.set.params.ProposalAgeMax): // L68
		g.lead.oldest = now
		g.HandOver()
	case !busy && g.canSleep(bs):
		g.lead.awake = false
	}
}

// renewTerm steps down and campaigns: a new term may have a lease again.
func (g *Group) renewTerm() {
	g.StepDown()
	if g.last.role != Leader {
		g.elect.at = g.set.env.Now()
		g.set.plan(g)
	}
}

// sick reports whether something of the node does not work, so that it should not lead (L9).
func (s *Set) sick() bool {
	return s.clock.diskSlow || s.clock.loopStalled && !invariant.Mutated(invariant.StalledLeads)
}

// tickSick gives leadership away: MsgTimeoutNow needs no disk (L9).
func (g *Group) tickSick() {
	if g.last.role != Leader {
		return
	}
	if g.lead.noLease != g.last.term {
		g.HandOver()
		return
	}
	g.StepDown()
}

// HandOver transfers leadership to the supporting voter that has most of the log, else steps down.
func (g *Group) HandOver() {
	if len(g.conf.Voters) == 1 && !g.joint() {
		return // there is nobody, and the only voter cannot step down: its lease must stay
	}
	best, most := kv.ReplicaID(0), uint64(0)
	g.rn.WithProgress(func(id uint64, t raft.ProgressType, pr tracker.Progress) {
		_, _, ok := g.set.support.supported(g.set.env.Now(), g.nodeOf(kv.ReplicaID(id)), g.id)
		if id != uint64(g.replica) && t == raft.ProgressTypePeer && slices.Contains(g.conf.Voters, id) && ok && (best == 0 || pr.Match > most) {
			best, most = kv.ReplicaID(id), pr.Match
		}
	})
	if best == 0 || !g.Transfer(best) {
		g.lead.noLease = g.last.term
		g.lead.revoke()
		g.StepDown()
	}
}

// Transfer hands leadership to a voter. The lease of the term is given up first and never
// comes back: the votes that a transfer causes pass every binding (L37).
func (g *Group) Transfer(to kv.ReplicaID) bool {
	if g.last.role != Leader || to == g.replica || !slices.Contains(g.conf.Voters, uint64(to)) {
		return false
	}
	g.lead.noLease = g.last.term
	if !invariant.Mutated(invariant.LeaseAfterTransfer) {
		g.lead.revoke()
	}
	g.wake()
	g.rn.TransferLeader(uint64(to))
	g.touch()
	return true
}

// StepDown makes a leader a follower of nobody: the first MsgCheckQuorum marks all inactive,
// the second finds no quorum (L41). A group of one voter cannot step down.
func (g *Group) StepDown() {
	for range 2 {
		_ = g.rn.Step(&raftpb.Message{Type: raftpb.MsgCheckQuorum.Enum(), From: new(uint64(raft.LocalAppendThread))})
	}
	g.refresh()
	g.touch()
}

// PeerLost says that the stream to a node broke or dropped something (L24).
func (s *Set) PeerLost(n kv.NodeID) {
	for _, g := range s.groups {
		if g.last.role != Leader || !g.hasReplicaOn(n) {
			continue
		}
		if r, ok := g.desc.ReplicaOn(n); ok {
			g.rn.ReportUnreachable(uint64(r.ID))
		}
		g.wake()
		g.touch()
	}
}

// SnapshotSent tells raft how the streaming of a snapshot ended.
func (g *Group) SnapshotSent(to kv.ReplicaID, ok bool) {
	status := raft.SnapshotFinish
	if !ok {
		status = raft.SnapshotFailure
	}
	g.rn.ReportSnapshot(uint64(to), status)
	g.wake()
	g.touch()
}

// DiskSlow says that the node's disk hangs, or does no more (L9).
func (s *Set) DiskSlow(slow bool) {
	s.clock.diskSlow = slow
	s.wakeSick()
}

// LoopStalled tells loop 0 that another loop of this node has not turned for a while, or that all turn again (L9). The
// node ceases to renew, which frees the followers of the loop that stands still: it keeps none by messages of
// its own. The leaders of loop 0 do send, and could keep theirs without ever having a lease again; so they are given
// away, the core's above all, since without a lease it grants no timestamps. Leaders of other loops go on
// without leases, or are replaced.
func (s *Set) LoopStalled(stalled bool) {
	s.clock.loopStalled = stalled
	s.wakeSick()
}

// wakeSick has all leaderships given away, if the node is sick.
func (s *Set) wakeSick() {
	for _, g := range s.groups {
		if s.sick() && g.last.role == Leader {
			g.wake()
		}
	}
}

// broken stops a group whose log cannot be read.
func (s *Set) broken(g *Group, err error) {
	if !g.state.gone {
		g.fail(err)
	}
}

func readContext(t kv.Term, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(t)), seq)
}

func parseReadContext(b []byte) (kv.Term, uint64, bool) {
	if len(b) != 16 {
		return 0, 0, false
	}
	return kv.Term(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:]), true
}
