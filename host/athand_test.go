package host

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// turned is a loop whose turns a test takes one by one, with a node that has a replica of partition 2. Nobody works
// off what it hands out but the test; its clock stands still between steps.
type turned struct {
	*loop
	t      *testing.T
	engine *mvcc.Engine
	now    atomic.Int64
	log    map[kv.LogIndex]wal.Entry
}

const (
	turnedPartition kv.PartitionID = 2
	turnedTerm      kv.Term        = 1 // of what the log has at the start
)

// newTurned has a replica with so many voters and a log of some entries, of which the engine has the first.
func newTurned(t *testing.T, voters int, entries kv.LogIndex) *turned {
	t.Helper()
	e, err := mvcc.Open(mvcc.Options{Dir: "state", FS: mvcc.NewMemFS(), CacheBytes: 8 << 20, MemTableBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	x := &turned{t: t, engine: e, log: map[kv.LogIndex]wal.Entry{}}
	x.now.Store(1)
	state := x.replica(voters)
	n, err := node.New(1, node.Config{
		Replication: replication.DefaultParams(), LogKeepBytes: 1 << 30, EntryCacheBytes: 1 << 20,
		ReadEntry: func(p wal.Position, e *wal.Entry) error { *e = x.log[kv.LogIndex(p.Offset)]; return nil },
	}, node.Identity{Node: 1, Incarnation: 1, Fresh: true, Info: kv.NodeInfo{ID: 1}}, node.Boot{
		Log:      &wal.Recovered{Groups: []*wal.GroupState{{Group: turnedPartition, View: x.view(entries)}}},
		Replicas: []mvcc.ReplicaState{state},
	})
	if err != nil {
		t.Fatal(err)
	}
	x.surround(n)
	return x
}

// surround makes the loop of a node, and where its effects go.
func (x *turned) surround(n *node.Node) {
	m := newMetrics()
	clock := &Clock{source: func() kv.Instant { return kv.Instant(x.now.Load()) }}
	x.loop = &loop{
		node: n, self: 1, inbox: newInbox(0, &budget{max: 100, bytesMax: 1 << 20}), clock: clock, wall: time.Now,
		logger: hclog.NewNullLogger(), calls: callTable{metrics: &m.requests},
	}
	x.pulse = pulse{ticker: time.NewTicker(time.Hour), tickEvery: tickInterval}
	x.t.Cleanup(x.ticker.Stop)
	x.all = loops{x.loop}
	x.world = world{
		disk:     &disk{work: newQueue[diskWork]()},
		applier:  &applier{engine: x.engine, work: newQueue[*node.Apply](), collects: newQueue[*node.CollectTask](), wanted: make(chan struct{}, 1)},
		readers:  &readers{engine: x.engine, now: clock.Now},
		peers:    newPeers(handshake{}, func(kv.NodeID) {}, hclog.NewNullLogger()),
		registry: func(kv.NodeInfo, []kv.NodeInfo) {},
	}
	x.t.Cleanup(x.world.peers.close)
}

// replica writes the state of a replica that has applied its first log entry.
func (x *turned) replica(voters int) mvcc.ReplicaState {
	x.t.Helper()
	conf := raftpb.EnsureConfState(&raftpb.ConfState{})
	desc := kv.Descriptor{Partition: turnedPartition, Keyspace: 1, Span: kv.Span{Start: kv.Key("a"), End: kv.Key("z")}, Generation: 1}
	for i := 1; i <= voters; i++ {
		conf.Voters = append(conf.Voters, uint64(i))
		desc.Replicas = append(desc.Replicas, kv.Replica{ID: kv.ReplicaID(i), Node: kv.NodeID(i), Role: kv.RoleVoter})
	}
	desc.NextReplica = kv.ReplicaID(voters + 1)
	s := mvcc.ReplicaState{Replica: 1, Applied: 1, AppliedTerm: turnedTerm, Descriptor: desc}
	var err error
	if s.ConfState, err = proto.Marshal(conf); err != nil {
		x.t.Fatal(err)
	}
	b := x.engine.NewBatch()
	if err := b.SetReplicaState(turnedPartition, &s); err != nil {
		x.t.Fatal(err)
	}
	x.commit(b)
	return s
}

func (x *turned) commit(b *mvcc.Batch) {
	x.t.Helper()
	if err := b.Commit(); err != nil {
		x.t.Fatal(err)
	}
}

// view is the log of the replica: all of its entries are committed.
func (x *turned) view(entries kv.LogIndex) *wal.View {
	v := wal.NewView(turnedPartition, nil)
	hard := &wal.HardState{Term: turnedTerm, Commit: entries}
	x.append(v, wal.Append{Group: turnedPartition, Mark: wal.Mark{Kind: wal.MarkCreate, Replica: 1, Index: 1, Term: turnedTerm}, HardState: hard})
	a := wal.Append{Group: turnedPartition, HardState: hard}
	for i := kv.LogIndex(2); i <= entries; i++ {
		a.Entries = append(a.Entries, wal.Entry{Index: i, Term: turnedTerm})
	}
	x.append(v, a)
	return v
}

func (x *turned) append(v *wal.View, a wal.Append) { v.Stored(&a, x.positions(&a)) }

// positions are where the log has what is appended.
func (x *turned) positions(a *wal.Append) []wal.Position {
	all := make([]wal.Position, len(a.Entries)+1)
	for i, e := range a.Entries {
		x.log[e.Index] = e
		all[i] = wal.Position{Segment: 1, Offset: uint32(e.Index), Len: 1}
	}
	all[len(a.Entries)] = wal.Position{Segment: 1, Offset: 1, Len: 1}
	return all
}

// next takes a turn. The clock stands still: no tick.
func (x *turned) next() {
	x.t.Helper()
	select {
	case <-x.inbox.wake:
	default:
		x.inbox.awake = true
	}
	x.inbox.take(&x.in, x.calls.freed)
	x.calls.freed = x.calls.freed[:0]
	x.turn(x.clock.Now())
}

// tick takes a turn in which the node ticks.
func (x *turned) tick() {
	x.t.Helper()
	x.now.Add(int64(tickInterval))
	x.next()
}

// work does what a disk, an applier and readers would; the node answers what these have read.
func (x *turned) work() {
	x.t.Helper()
	for _, w := range x.pooled() {
		w.read.Run(x.engine)
		x.inbox.readsDone([]readDone{{read: w.read, call: w.call, back: true}})
	}
	for _, w := range x.world.disk.work.takeMore(nil) {
		if a := w.append; a != nil {
			x.inbox.storedNow(stored{appends: []*replication.Append{a}, positions: [][]wal.Position{x.positions(&a.Log)}})
		}
	}
	applies := x.world.applier.work.takeMore(nil)
	if err := node.RunApplies(x.engine, applies, nil); err != nil {
		x.t.Fatal(err)
	}
	if len(applies) > 0 {
		x.inbox.appliedNow(applies)
	}
}

// leads makes the only replica lead. "k" is at hand, "cold" is not.
func leads(t *testing.T) *turned {
	t.Helper()
	x := newTurned(t, 1, 1)
	b := x.engine.NewBatch()
	for _, k := range []string{"cold", "k"} {
		if err := b.Put(kv.Key(k), 10, kv.TxID{1}, []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	x.commit(b)
	r, err := x.engine.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Get(kv.Key("k"), mvcc.MaxTimestamp); err != nil {
		t.Fatal(err)
	}
	r.Close()
	var a keepingAsker
	x.ask(&a, get(turnedPartition, kv.Key("k")))
	for range 1000 {
		x.tick()
		x.work()
		if a.resp != nil {
			x.settle()
			return x
		}
	}
	t.Fatal("the only replica does not lead: ", &a)
	return nil
}

// settle takes turns, and does what they hand out, until nothing is left.
func (x *turned) settle() {
	x.t.Helper()
	for !x.rest() {
		x.next()
		x.work()
	}
}

// sleeps takes turns until the loop would sleep.
func (x *turned) sleeps() {
	x.t.Helper()
	for !x.rest() {
		x.next()
	}
}

// keepingAsker keeps its answer.
type keepingAsker struct {
	answers int
	resp    *kv.Response
	err     *kv.Error
}

func (k *keepingAsker) Answer(resp *kv.Response, err *kv.Error) {
	k.answers++
	k.resp, k.err = resp, err
}

func (k *keepingAsker) String() string {
	return fmt.Sprintf("%d answers, %+v, %v", k.answers, k.resp, k.err)
}

// ask adds a request to the inbox.
func (x *turned) ask(a Asker, req *kv.Request) (id uint64) {
	x.inbox.submit([]Ask{{Request: req, Asker: a, Handle: &id}})
	return id
}

// pooled takes what the pool of readers has.
func (x *turned) pooled() (all []lent) {
	r := x.world.readers
	for i := range r.queues {
		all = append(all, r.queues[i]...)
		r.queues[i] = nil
	}
	return all
}

// called makes a call, and so many serving reads of it whose guards do not hold.
func (x *turned) called(a Asker, reads int) (*call, []*node.Read) {
	x.t.Helper()
	const id = 1<<slotBits | 77
	term, c := x.term(), x.calls.add(id, a, nil, 0)
	c.req = get(turnedPartition, kv.Key("k"))
	all := make([]*node.Read, reads)
	for i := range all {
		all[i] = &node.Read{Task: &partition.ReadTask{
			Request: id, Partition: turnedPartition, Term: term, Serve: true, Read: c.req.Read, At: mvcc.MaxTimestamp,
		}}
	}
	return c, all
}

// term is the one in which the replica leads.
func (x *turned) term() kv.Term {
	x.t.Helper()
	var a keepingAsker
	x.ask(&a, get(turnedPartition, kv.Key("k")))
	x.next()
	if a.resp == nil {
		x.t.Fatal(&a)
	}
	return a.resp.Term
}

func isV(r *kv.Response) bool {
	return r != nil && len(r.Rows) == 1 && string(r.Rows[0].Value) == "v"
}

// TestReadAtHandIsAnsweredInItsTurn if the lease holds, and no reader hears of it.
func TestReadAtHandIsAnsweredInItsTurn(t *testing.T) {
	x := leads(t)
	var a keepingAsker
	id := x.ask(&a, get(turnedPartition, kv.Key("k")))
	x.next()
	if a.answers != 1 || !isV(a.resp) {
		t.Errorf("after the turn: %v", &a)
	}
	if p := x.pooled(); len(p) > 0 || !x.own.empty() {
		t.Errorf("the readers have %+v, the next turn %+v", p, x.own)
	}
	if x.calls.get(id) != nil || x.calls.open != 0 {
		t.Error("the call is still open")
	}
}

// TestReadOfWhatIsNotAtHandIsLent to the pool, with its call.
func TestReadOfWhatIsNotAtHandIsLent(t *testing.T) {
	x := leads(t)
	var a keepingAsker
	id := x.ask(&a, get(turnedPartition, kv.Key("cold")))
	x.next()
	c, p := x.calls.get(id), x.pooled()
	if a.answers != 0 || c == nil || c.lent != 1 || len(p) != 1 || p[0].call != c || !x.own.empty() {
		t.Fatalf("%v; the call is %+v, the readers have %+v, the next turn %+v", &a, c, p, x.own)
	}
	p[0].read.Run(x.engine)
	reply, ok := p[0].read.Finish(x.clock.Now())
	if !ok {
		t.Fatal("the lease does not hold")
	}
	c.answer(reply.Response, reply.Err)
	x.sleeps()
	x.inbox.readsDone([]readDone{{read: p[0].read, call: c}})
	if x.inbox.awake {
		t.Error("the loop is woken for what is answered")
	}
	x.next()
	if !isV(a.resp) || x.calls.open != 0 {
		t.Errorf("%v, %d calls are open", &a, x.calls.open)
	}
}

// TestReadAtHandComesBackWithoutALease in the next turn, which follows at once; the node answers it when it has a proof.
func TestReadAtHandComesBackWithoutALease(t *testing.T) {
	x := leads(t)
	var a keepingAsker
	c, reads := x.called(&a, 1)
	x.lend(&node.Effects{Reads: reads})
	if p := x.pooled(); a.answers != 0 || c.lent != 0 || len(p) > 0 || len(x.own.reads) != 1 || x.own.reads[0] != reads[0] {
		t.Fatalf("%v; the call is lent %d times, the readers have %+v, the next turn %+v", &a, c.lent, p, x.own)
	}
	if x.rest() {
		t.Error("the loop sleeps over it")
	}
	x.settle()
	if a.answers != 1 || !isV(a.resp) || !x.own.empty() || x.calls.open != 0 {
		t.Errorf("%v; %d calls are open, the next turn has %+v", &a, x.calls.open, x.own)
	}
}

// TestEvaluationAtHandComesBack in the next turn, which follows at once; the partition answers by what it says.
func TestEvaluationAtHandComesBack(t *testing.T) {
	x := leads(t)
	var a keepingAsker
	x.ask(&a, &kv.Request{Partition: turnedPartition, Commit: &kv.Commit{
		ID: kv.TxID{9}, Term: x.term(), AsOf: 5, Start: 5, Reads: []kv.ReadMark{{Key: kv.Key("k")}},
	}})
	x.next()
	if p := x.pooled(); a.answers != 0 || len(p) > 0 || len(x.own.reads) != 1 || x.own.reads[0].Task.Evaluation == nil {
		t.Fatalf("%v; the readers have %+v, the next turn %+v", &a, p, x.own)
	}
	if x.rest() {
		t.Error("the loop sleeps over it")
	}
	x.next()
	if a.answers != 1 || kv.KindOf(a.err) != kv.Conflict || !x.own.empty() {
		t.Errorf("%v; the next turn has %+v", &a, x.own)
	}
}

// TestCallEndsOnce though two reads at hand may answer it in one turn.
func TestCallEndsOnce(t *testing.T) {
	x := leads(t)
	var a keepingAsker
	_, reads := x.called(&a, 2)
	for _, r := range reads {
		r.Bare = true // answered by a proof, not under a lease
	}
	x.calls.freed = nil
	x.lend(&node.Effects{Reads: reads})
	if a.answers != 1 || x.calls.open != 0 || len(x.calls.freed) != 1 || !x.own.empty() {
		t.Errorf("%v, %d calls are open, freed are %+v, the next turn has %+v", &a, x.calls.open, x.calls.freed, x.own)
	}
}

// TestLazyAppliesWakeNobody: the applier gets what a follower has to apply after a while, and the loop does not wake when
// that is done.
func TestLazyAppliesWakeNobody(t *testing.T) {
	x := newTurned(t, 3, 5)
	q := x.world.applier.work
	ticks := 0
	for ; q.len() == 0 && ticks < 100; ticks++ {
		x.tick()
	}
	if ticks < 2 || q.len() != 1 || !q.items[0].Lazy() {
		t.Fatalf("after %d ticks a follower applies %+v", ticks, q.items)
	}
	x.sleeps()
	x.work()
	if x.inbox.awake || len(x.inbox.wake) > 0 || len(x.inbox.in.applied) != 1 {
		t.Errorf("the loop is woken for what nobody waits for; applied are %+v", x.inbox.in.applied)
	}
}

// TestAppliesOfALeaderWake the applier and the loop at once.
func TestAppliesOfALeaderWake(t *testing.T) {
	x := newTurned(t, 1, 1)
	q := x.world.applier.work
	for range 1000 {
		q.idle = true
		x.tick()
		x.sleeps()
		if q.len() > 0 {
			break
		}
		x.work()
	}
	if q.len() != 1 || q.items[0].Lazy() {
		t.Fatalf("the only replica applies %+v", q.items)
	}
	if q.idle {
		t.Error("the applier sleeps over what somebody waits for")
	}
	x.work()
	if !x.inbox.awake || len(x.inbox.wake) != 1 {
		t.Error("the loop sleeps over what somebody waits for")
	}
}
