package replication

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/wal"
)

const ms = kv.Instant(time.Millisecond)

// world is a few Sets whose messages, disks and state machines are perfect but for what a
// test cuts. Time moves in steps of 5 ms.
type world struct {
	t     testing.TB
	nodes []*machine
	cut   map[[2]kv.NodeID]bool
	queue []envelope
	now   kv.Instant
}

type envelope struct {
	from, to kv.NodeID
	deliver  func(*machine)
}

// machine is one node.
type machine struct {
	w       *world
	id      kv.NodeID
	set     *Set
	now     kv.Instant
	paused  bool
	rng     *rand.Rand
	appends []*Append
	applies []func()
	entries map[wal.Position]wal.Entry
	offset  uint32
	applied map[kv.PartitionID][]string
	reads   map[uint64]kv.LogIndex
	sent    int
}

func newWorld(t testing.TB, nodes int) *world {
	w := &world{t: t, cut: map[[2]kv.NodeID]bool{}}
	for i := range nodes {
		m := &machine{w: w, id: kv.NodeID(i + 1), rng: rand.New(rand.NewPCG(7, uint64(i))), entries: map[wal.Position]wal.Entry{}, applied: map[kv.PartitionID][]string{}, reads: map[uint64]kv.LogIndex{}}
		m.set = NewSet(0, Options{Self: m.id, Incarnation: 1, Fresh: true, Params: DefaultParams(), Cache: wal.NewCache(64 << 20), Logger: quietLogger{}}, m)
		for j := range nodes {
			m.set.Connect(kv.NodeID(j + 1))
		}
		w.nodes = append(w.nodes, m)
	}
	return w
}

// open makes a group with one voter on each of the first n nodes.
func (w *world) open(p kv.PartitionID, n int) {
	d := &kv.Descriptor{Partition: p, Generation: 1, NextReplica: kv.ReplicaID(n + 1)}
	conf := raftpb.EnsureConfState(&raftpb.ConfState{})
	for i := range n {
		d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(i + 1), Node: kv.NodeID(i + 1), Role: kv.RoleVoter})
		conf.Voters = append(conf.Voters, uint64(i+1))
	}
	for i := range n {
		w.nodes[i].open(d, kv.ReplicaID(i+1), conf, 1)
	}
}

func (m *machine) open(d *kv.Descriptor, id kv.ReplicaID, conf *raftpb.ConfState, at kv.LogIndex) *Group {
	v := wal.NewView(d.Partition, m.set.Cache())
	h := wal.HardState{Term: kv.Term(at), Commit: at}
	v.Stored(&wal.Append{Group: d.Partition, Mark: wal.Mark{Kind: wal.MarkCreate, Replica: id, Index: at, Term: kv.Term(at)}, HardState: &h}, []wal.Position{{Segment: 1}})
	g, err := m.set.Open(OpenGroup{Descriptor: d.Clone(), Replica: id, View: v, HardState: h, Applied: at, AppliedTerm: kv.Term(at), Conf: conf})
	if err != nil {
		m.w.t.Fatal(err)
	}
	return g
}

func (m *machine) Now() kv.Instant    { return m.now }
func (m *machine) Rand(n int64) int64 { return m.rng.Int64N(max(n, 1)) }

func (m *machine) post(to kv.NodeID, deliver func(*machine)) {
	m.sent++
	m.w.queue = append(m.w.queue, envelope{m.id, to, deliver})
}

func (m *machine) Send(to kv.NodeID, f Frame) {
	from := m.id
	m.post(to, func(x *machine) { x.set.Receive(from, f) })
}

func (m *machine) SendHeartbeat(to kv.NodeID, h Heartbeat) {
	from := m.id
	m.post(to, func(x *machine) { x.set.Heartbeat(from, h) })
}

func (m *machine) SendHeartbeatAck(to kv.NodeID, a HeartbeatAck) {
	from := m.id
	m.post(to, func(x *machine) { x.set.HeartbeatAck(from, a) })
}

func (m *machine) SendSnapshot(*Group, kv.ReplicaID, *raftpb.Message) {
	m.w.t.Fatal("a snapshot is wanted, where everybody has the whole log")
}
func (m *machine) Append(a *Append) { m.appends = append(m.appends, a) }

func (m *machine) Apply(g *Group, es []*raftpb.Entry, _ []*raftpb.ConfState, done Responses) {
	m.applies = append(m.applies, func() {
		for _, e := range es {
			if e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0 {
				m.applied[g.Partition()] = append(m.applied[g.Partition()], string(e.GetData()))
			}
		}
		last := es[len(es)-1]
		m.set.Applied(g, kv.LogIndex(last.GetIndex()), kv.Term(last.GetTerm()), done)
	})
}

func (m *machine) Install(*Group, *raftpb.Snapshot) { m.w.t.Fatal("no snapshot was sent") }
func (m *machine) Changed(*Group)                   {}
func (m *machine) ReadReady(_ *Group, ctx uint64, index kv.LogIndex) {
	m.reads[ctx] = index
}

func (m *machine) ReadEntry(p wal.Position, e *wal.Entry) error {
	*e = m.entries[p]
	return nil
}

func (m *machine) Faulty(g *Group, err error) { m.w.t.Fatalf("partition %d: %v", g.Partition(), err) }

// turn does everything that the node wants done.
func (m *machine) turn() {
	m.set.Drain()
	for len(m.appends)+len(m.applies) > 0 {
		as, fs := m.appends, m.applies
		m.appends, m.applies = nil, nil
		for _, a := range as {
			pos := make([]wal.Position, len(a.Log.Entries)+1)
			for i := range pos {
				m.offset++
				pos[i] = wal.Position{Segment: 1, Offset: m.offset, Len: 64}
				if i < len(a.Log.Entries) {
					m.entries[pos[i]] = a.Log.Entries[i]
				}
			}
			m.set.Stored(a, pos)
		}
		for _, f := range fs {
			f()
		}
		m.set.Drain()
	}
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	for end := w.now + kv.Instant(d); w.now < end; {
		w.now += 5 * ms
		for _, m := range w.nodes {
			if m.paused {
				continue
			}
			m.now = w.now
			m.set.Advance()
			if w.now%(10*ms) == 0 {
				m.set.Tick()
			}
			m.turn()
		}
		for range 8 {
			w.deliver()
		}
	}
}

func (w *world) deliver() {
	q := w.queue
	w.queue = nil
	for _, e := range q {
		to := w.nodes[e.to-1]
		if w.cut[[2]kv.NodeID{e.from, e.to}] || to.paused {
			continue
		}
		to.now = w.now
		to.set.Advance()
		e.deliver(to)
		to.turn()
	}
}

// isolate cuts a node off in both directions, or heals it.
func (w *world) isolate(n kv.NodeID, cut bool) {
	for _, m := range w.nodes {
		w.cut[[2]kv.NodeID{n, m.id}] = cut
		w.cut[[2]kv.NodeID{m.id, n}] = cut
	}
}

// leader is the one node that leads p in the newest term.
func (w *world) leader(p kv.PartitionID) *machine {
	var best *machine
	for _, m := range w.nodes {
		g := m.set.Group(p)
		if g != nil && g.Leads() && !m.paused && (best == nil || g.Term() > best.set.Group(p).Term()) {
			best = m
		}
	}
	if best == nil {
		w.t.Fatalf("at %s: nobody leads partition %d", time.Duration(w.now), p)
	}
	return best
}

func (w *world) propose(p kv.PartitionID, what string) {
	m := w.leader(p)
	if err := m.set.Group(p).Propose([]byte(what)); err != nil {
		w.t.Fatal(err)
	}
	m.turn()
}

func (w *world) wantApplied(p kv.PartitionID, what ...string) {
	w.t.Helper()
	for _, m := range w.nodes {
		if g := m.set.Group(p); g != nil && fmt.Sprint(m.applied[p]) != fmt.Sprint(what) {
			w.t.Errorf("node %d applied %q, want %q", m.id, m.applied[p], what)
		}
	}
}

type quietLogger struct{}

func (quietLogger) Debug(...any)              {}
func (quietLogger) Debugf(string, ...any)     {}
func (quietLogger) Error(...any)              {}
func (quietLogger) Errorf(string, ...any)     {}
func (quietLogger) Info(...any)               {}
func (quietLogger) Infof(string, ...any)      {}
func (quietLogger) Warning(...any)            {}
func (quietLogger) Warningf(string, ...any)   {}
func (quietLogger) Fatal(v ...any)            { panic(fmt.Sprint(v...)) }
func (quietLogger) Fatalf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (quietLogger) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (quietLogger) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
