package replication

import (
	"cmp"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/wal"
)

// Set is all groups of one loop of a node.
type Set struct {
	self    kv.NodeID
	params  Params
	flow    Flow
	env     Env
	support Support
	cache   *wal.Cache // of the newest entries, shared by all groups
	groups  []*Group   // sorted by partition
	byID    map[kv.PartitionID]*Group
	lists   lists
	clock   clock
	won     []Election
	logger  raft.Logger
}

// Election is one leadership that began on this node.
type Election struct {
	Partition kv.PartitionID
	Term      kv.Term
}

// Elections returns the leaderships that began since the last call. The simulator checks at
// each that no older leader still has a lease (L74).
func (s *Set) Elections() []Election {
	won := s.won
	s.won = nil
	return won
}

func (s *Set) elected(g *Group) {
	const wonMax = 1 << 16 // nobody asks in production
	if len(s.won) == wonMax {
		s.won = s.won[:0]
	}
	s.won = append(s.won, Election{Partition: g.id, Term: g.last.term})
}

// lists hold the few groups that something is due for, so that idle ones cost nothing (L22).
type lists struct {
	awake     []*Group // ticked at every raft tick; see needsTick
	campaigns []*Group // with a campaign planned
	dirty     []*Group // raft may have something to say
	holding   []*Group // have held back appends without entries
}

// clock is what the Set knows of time.
type clock struct {
	refuseUntil kv.Instant // L6: no votes, no campaigns before
	heartbeatAt kv.Instant // last sent
	tickAt      kv.Instant // last raft tick
	loopAt      kv.Instant // of the last Tick, for a planted bug
	diskSlow    bool       // L9
	loopStalled bool       // L9: another loop of this node does not turn
}

// Options of a Set.
type Options struct {
	Self        kv.NodeID
	Incarnation uint64
	Fresh       bool // the store was created by this process: it has promised nothing yet (L6)
	Loop, Loops int  // which of the node's loops this is, and how many there are; 0 of 0 is 0 of 1
	Params      Params
	Flow        Flow
	Cache       *wal.Cache
	Logger      raft.Logger
}

// NewSet makes the Set of a node that just started.
func NewSet(now kv.Instant, o Options, env Env) *Set {
	s := &Set{self: o.Self, params: o.Params, flow: o.Flow.WithDefaults(), env: env, cache: o.Cache, byID: map[kv.PartitionID]*Group{}, logger: o.Logger}
	s.support = Support{params: o.Params, incarnation: o.Incarnation, loop: o.Loop, loops: max(o.Loops, 1), onEnd: s.promiseEnded, onChange: s.wakeLed}
	const never = kv.Instant(-1 << 60)
	s.clock = clock{heartbeatAt: never, tickAt: never}
	if !o.Fresh && !invariant.Mutated(invariant.NoRestartRefusal) {
		s.clock.refuseUntil = now.Add(o.Params.SupportDuration)
	}
	return s
}

// Connect makes a node known: heartbeats go to it from now on.
func (s *Set) Connect(n kv.NodeID) {
	if n != s.self {
		s.support.add(n)
	}
}

// Cache is the cache of entries that the groups' views share.
func (s *Set) Cache() *wal.Cache { return s.cache }

// Group is the replica of a partition, nil if there is none.
func (s *Set) Group(id kv.PartitionID) *Group { return s.byID[id] }

// Groups are all replicas, sorted by partition; the slice must not be changed.
func (s *Set) Groups() []*Group { return s.groups }

// AwakeCount is the number of groups that are ticked.
func (s *Set) AwakeCount() int { return len(s.lists.awake) }

// Quiet reports whether a tick has nothing to do but to ask for support.
func (s *Set) Quiet() bool {
	return len(s.lists.awake)+len(s.lists.campaigns)+len(s.lists.dirty)+len(s.lists.holding) == 0
}

// Supported reports whether a node's promise to this one runs, for its replica of a partition.
func (s *Set) Supported(n kv.NodeID, p kv.PartitionID) bool {
	_, _, ok := s.support.supported(s.env.Now(), n, p)
	return ok
}

func (s *Set) insert(g *Group) {
	i, found := slices.BinarySearchFunc(s.groups, g.id, func(a *Group, id kv.PartitionID) int { return cmp.Compare(a.id, id) })
	invariant.Check(!found, "a node has one replica of partition %d", g.id)
	s.groups = slices.Insert(s.groups, i, g)
	s.byID[g.id] = g
}

func (s *Set) remove(g *Group) {
	s.groups = slices.DeleteFunc(s.groups, func(x *Group) bool { return x == g })
	if s.byID[g.id] == g {
		delete(s.byID, g.id)
	}
}

// Heartbeat is a request for support from another node.
func (s *Set) Heartbeat(from kv.NodeID, h Heartbeat) {
	if a, ok := s.support.heartbeat(s.env.Now(), from, h); ok {
		s.env.SendHeartbeatAck(from, a)
	}
}

// HeartbeatAck is another node's promise of support.
func (s *Set) HeartbeatAck(from kv.NodeID, a HeartbeatAck) { s.support.ack(s.env.Now(), from, a) }

// Advance brings the clock forward and lets promises lapse; every input begins with it.
func (s *Set) Advance() { s.support.lapse(s.env.Now()) }

// touch notes that raft may have something to say; Drain asks it.
func (g *Group) touch() {
	if !g.state.dirty && !g.state.gone {
		g.state.dirty = true
		g.set.lists.dirty = append(g.set.lists.dirty, g)
	}
}

// Drain asks every touched group for what it wants done. It is called once a turn, so that
// what was queued in the turn leaves together.
func (s *Set) Drain() {
	for len(s.lists.dirty) > 0 {
		g := s.lists.dirty[0]
		s.lists.dirty = s.lists.dirty[1:]
		g.state.dirty = false
		g.drain()
	}
	s.lists.dirty = s.lists.dirty[:0:0]
}

func (g *Group) drain() {
	g.refresh()
	g.askReads()
	for !g.state.gone && g.rn.HasReady() {
		rd := g.rn.Ready()
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				g.log.append(m)
			case raft.LocalApplyThread:
				g.apply(m)
			default:
				g.send(m)
			}
		}
		for _, rs := range rd.ReadStates {
			g.readReady(rs)
		}
		g.refresh()
	}
}

// apply hands committed entries to the state machine. Configuration changes come into force
// here, at commit: raft allows no second one before this one is applied.
func (g *Group) apply(m *raftpb.Message) {
	entries := m.GetEntries()
	var confs []*raftpb.ConfState
	for i, e := range entries {
		cc, ok, err := confChange(e)
		if err != nil {
			g.fail(err)
			return
		}
		if !ok {
			if g.last.role == Leader && kv.Term(e.GetTerm()) == g.last.term && len(e.GetData()) > 0 {
				g.lead.uncommitted.add(-1, -len(e.GetData()))
			}
			continue
		}
		if confs == nil {
			confs = make([]*raftpb.ConfState, len(entries))
		}
		confs[i] = g.reconfigure(cc)
	}
	if g.lead.oldest != 0 {
		g.lead.oldest = g.set.env.Now() // progress
		if kv.LogIndex(g.rn.BasicStatus().GetCommit()) == g.log.view.LastIndex() {
			g.lead.oldest = 0
		}
	}
	g.set.env.Apply(g, entries, confs, m.GetResponses())
}

func (g *Group) fail(err error) {
	g.Close()
	g.set.env.Faulty(g, err)
}

// send gives a raft message its frame.
func (g *Group) send(m *raftpb.Message) {
	to := g.nodeOf(kv.ReplicaID(m.GetTo()))
	if to == 0 {
		return // raft repeats itself; by then the descriptor is there
	}
	if m.GetType() == raftpb.MsgSnap {
		g.set.env.SendSnapshot(g, kv.ReplicaID(m.GetTo()), m)
		return
	}
	if m.GetType() == raftpb.MsgApp && !g.release(m) {
		return
	}
	g.transmit(to, m)
}

func (g *Group) transmit(to kv.NodeID, m *raftpb.Message) {
	f := Frame{Partition: g.id, Message: m}
	if t := m.GetType(); t == raftpb.MsgAppResp || t == raftpb.MsgHeartbeatResp {
		f.Tag = g.tag(m, to)
		f.Commit = g.Commit()
	}
	g.set.env.Send(to, f)
}

// Stored is called when a log write and all before it are processed and, if it asked for it, durable.
func (s *Set) Stored(a *Append, pos []wal.Position) {
	if a.group.state.gone {
		return
	}
	a.group.log.stored(a, pos)
}

// Applied is called when the state machine has applied everything up to index.
func (s *Set) Applied(g *Group, index kv.LogIndex, term kv.Term, done Responses) {
	if g.state.gone {
		return
	}
	if index > g.state.applied {
		g.state.applied, g.state.appliedTerm = index, term
	}
	for _, m := range done {
		_ = g.rn.Step(m)
	}
	g.touch()
}
