package node

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
)

// followed is a partition of a trio, one of its followers, and a key of it.
type followed struct {
	*trio
	p             kv.PartitionID
	leader, other int
	term          kv.Term
	key           kv.Key
	anchor        kv.PartitionID // another partition
	anchorKey     kv.Key
	anchorLeader  int
	anchorTerm    kv.Term
	commits       uint64
}

func newFollowed(t testing.TB) *followed {
	w, top := hashed(t, 2)
	f := &followed{trio: w, p: top.Partitions[0].Descriptor.Partition, anchor: top.Partitions[1].Descriptor.Partition}
	f.leader, f.term = w.leads(f.p)
	f.anchorLeader, f.anchorTerm = w.leads(f.anchor)
	f.other = (f.leader + 1) % 3
	f.key = kv.MakeHashKey(top.Keyspaces[0].ID, 0, []byte("k"))
	f.anchorKey = kv.MakeHashKey(top.Keyspaces[0].ID, 1, []byte("z"))
	return f
}

func (f *followed) write(key kv.Key, v string) kv.Write {
	return kv.Write{Kind: kv.WritePut, Key: key, Value: []byte(v)}
}

func (f *followed) put(v string) kv.Timestamp {
	f.t.Helper()
	f.commits++
	r := f.ask(f.leader, &kv.Request{Partition: f.p, Commit: &kv.Commit{
		ID: txid(f.commits), Term: f.term, AsOf: f.nodes[f.leader].Heard(), Writes: []kv.Write{f.write(f.key, v)},
	}})
	if r.Err != nil {
		f.t.Fatal(r.Err)
	}
	return r.Response.Timestamp
}

func (f *followed) get(node int, q kv.Read) Reply {
	q.Keys = []kv.Key{f.key}
	return f.ask(node, &kv.Request{Partition: f.p, Read: &q})
}

func (f *followed) at(node int, ts kv.Timestamp) Reply {
	return f.get(node, kv.Read{Timestamp: ts, Stale: kv.Stale{Follower: true}})
}

func (f *followed) want(r Reply, v string) {
	f.t.Helper()
	if r.Err != nil || len(r.Response.Rows) != 1 || string(r.Response.Rows[0].Value) != v {
		f.t.Errorf("read %+v %v, want %q", r.Response, r.Err, v)
	}
}

func (f *followed) wantLeader(r Reply) {
	f.t.Helper()
	if r.Err == nil || r.Err.Kind != kv.NotLeader || int(r.Err.Leader) != f.leader+1 {
		f.t.Errorf("read %+v %v, want the leader named", r.Response, r.Err)
	}
}

// TestFollowersRead: what is closed any replica serves; what is not, or is asked of the leader alone, only the
// leader.
//
// Shows G5.
func TestFollowersRead(t *testing.T) {
	f := newFollowed(t)
	first := f.put("one")
	f.wantLeader(f.at(f.other, first))
	f.run(300 * time.Millisecond)
	f.want(f.at(f.other, first), "one")
	f.wantLeader(f.get(f.other, kv.Read{Timestamp: first}))
	f.wantLeader(f.get(f.other, kv.Read{}))

	second := f.put("two")
	f.wantLeader(f.at(f.other, second))
	bounded := f.get(f.other, kv.Read{Stale: kv.Stale{NotBefore: first}})
	f.want(bounded, "one")
	if ts := bounded.Response.Timestamp; ts < first || ts >= second {
		t.Errorf("served at %d, between %d and %d", ts, first, second)
	}
	f.wantLeader(f.get(f.other, kv.Read{Stale: kv.Stale{NotBefore: second}}))
	f.want(f.get(f.leader, kv.Read{Stale: kv.Stale{NotBefore: second}}), "two")
	f.run(300 * time.Millisecond)
	f.want(f.at(f.other, second), "two")
	f.want(f.at(f.other, first), "one")
	f.want(f.get(f.other, kv.Read{Stale: kv.Stale{NotBefore: second}}), "two")
	scan := f.ask(f.other, &kv.Request{Partition: f.p, Scan: &kv.Scan{Span: kv.Span{Start: f.key, End: f.key.Next()}, Timestamp: first, Stale: kv.Stale{Follower: true}}})
	f.want(scan, "one")
}

// TestRefusalsTellWhatIsClosed: a follower that is behind says so at once, with or without a leader that it knows; so
// it does when only the leader can decide on a lock.
func TestRefusalsTellWhatIsClosed(t *testing.T) {
	f := newFollowed(t)
	first := f.put("one")
	f.run(300 * time.Millisecond)
	closed := f.nodes[f.other].closedOn(f.nodes[f.other].replicas[f.p])
	if r := f.at(f.other, closed+1); r.Err == nil || r.Err.Kind != kv.NotLeader || r.Err.Closed != closed || closed < first {
		t.Errorf("at %d, with %d closed: %+v", closed+1, closed, r.Err)
	}
	if r := f.get(f.other, kv.Read{Stale: kv.Stale{NotBefore: closed + 1}}); r.Err == nil || r.Err.Closed != closed {
		t.Errorf("not before %d, with %d closed: %+v", closed+1, closed, r.Err)
	}
	if r := f.get(f.other, kv.Read{}); r.Err == nil || r.Err.Closed != 0 {
		t.Errorf("a strong read: %+v", r.Err)
	}
	f.alone(f.other, 2*time.Second)
	if n := f.nodes[f.other].set.Group(f.p).LeaderNode(); n != 0 {
		t.Fatalf("a node that is cut off knows of leader %d", n)
	}
	f.want(f.get(f.other, kv.Read{Stale: kv.Stale{NotBefore: first}}), "one")
	closed = f.nodes[f.other].closedOn(f.nodes[f.other].replicas[f.p])
	f.nextID++
	f.nodes[f.other].Request(f.now, f.nextID, &kv.Request{Partition: f.p, Read: &kv.Read{Keys: []kv.Key{f.key}, Timestamp: closed + 1, Stale: kv.Stale{Follower: true}}})
	f.turn(f.other)
	if r, ok := f.replies[f.nextID]; !ok || r.Err == nil || r.Err.Kind != kv.NotLeader || r.Err.Leader != 0 || r.Err.Closed != closed {
		t.Errorf("without a leader it does not say at once what is closed: %+v", r.Err)
	}
}

// TestElectedReplicaWaits: one that was elected and does not serve yet refuses no read of the past, naming itself: it is
// about to answer all.
func TestElectedReplicaWaits(t *testing.T) {
	f := newFollowed(t)
	ts := f.put("one") // not closed anywhere yet
	n, asked := f.nodes[f.other], RequestID(0)
	f.lose = func(*Message) bool {
		if r := n.replicas[f.p]; asked == 0 && r.group.Leads() && !r.leading {
			f.nextID++
			asked = f.nextID
			n.Request(f.now, asked, &kv.Request{Partition: f.p, Read: &kv.Read{Keys: []kv.Key{f.key}, Timestamp: ts, Stale: kv.Stale{Follower: true}}})
		}
		return false
	}
	f.tell(f.leader, &kv.AdminRequest{MoveLeader: &kv.MoveLeader{Partition: f.p, To: kv.NodeID(f.other + 1)}})
	f.run(time.Second)
	if asked == 0 {
		t.Fatal("it was never elected without serving")
	}
	f.want(f.replies[asked], "one")
}

// TestStatusTellsWhatIsClosed: leader and follower say up to where reads are answered at any replica.
func TestStatusTellsWhatIsClosed(t *testing.T) {
	f := newFollowed(t)
	closedOn := func(node int) kv.Timestamp {
		s := f.nodes[node].status()
		for _, r := range s.Replicas {
			if r.Partition != f.p {
				continue
			}
			if r.Closed > s.Heard {
				t.Errorf("node %d: closed at %d, heard of %d", node, r.Closed, s.Heard)
			}
			return r.Closed
		}
		t.Fatalf("node %d has no replica", node)
		return 0
	}
	ts := f.put("one")
	if now := closedOn(f.other); now >= ts {
		t.Errorf("closed at %d, before %d was", now, ts)
	}
	f.run(300 * time.Millisecond)
	led, followed := closedOn(f.leader), closedOn(f.other)
	if led < ts || followed < ts || followed > led {
		t.Errorf("closed at %d by the leader, at %d at its follower, after %d", led, followed, ts)
	}
	f.want(f.at(f.other, followed), "one")
	f.wantLeader(f.at(f.other, followed+1))
	two := []*kv.NodeStatus{f.nodes[f.leader].status(), f.nodes[f.other].status()}
	if all := JoinStatus(two); all.Heard != max(two[0].Heard, two[1].Heard) {
		t.Errorf("loops that heard of %d and %d have heard of %d", two[0].Heard, two[1].Heard, all.Heard)
	}
}

// TestFollowerAsksAnchors: the lock of a committed transaction counts, and of one without record only the
// leader knows what became.
//
// Shows D8, G5.
func TestFollowerAsksAnchors(t *testing.T) {
	f := newFollowed(t)
	f.put("old")
	f.lose = func(m *Message) bool {
		return m.Call != nil && m.Call.Request != nil && m.Call.Request.Resolve != nil
	}
	r := f.ask(f.anchorLeader, &kv.Request{Partition: f.anchor, Commit: &kv.Commit{
		ID: txid(100), Term: f.anchorTerm, AsOf: f.nodes[f.anchorLeader].Heard(), Age: kv.Age{1},
		Writes: []kv.Write{f.write(f.anchorKey, "a")},
		Parts:  []kv.Part{{Partition: f.p, Writes: []kv.Write{f.write(f.key, "new")}}},
	}})
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	c := r.Response.Timestamp
	f.run(300 * time.Millisecond)
	f.want(f.at(f.other, c), "new")
	f.want(f.at(f.other, c-1), "old")
	f.lose = nil
	f.run(2 * time.Second)

	prepared := f.ask(f.leader, &kv.Request{Partition: f.p, Prepare: &kv.Prepare{
		Attempt: kv.Attempt{ID: txid(101), Term: f.anchorTerm, AsOf: f.nodes[f.leader].Heard(), Partition: f.anchor, Anchor: f.anchorKey},
		Writes:  []kv.Write{f.write(f.key, "orphan")},
	}})
	if prepared.Err != nil {
		t.Fatal(prepared.Err)
	}
	f.run(300 * time.Millisecond)
	f.wantLeader(f.at(f.other, c))
	if n := len(f.nodes[f.other].follows.open); n != 0 {
		t.Errorf("%d reads are left", n)
	}
}

// TestClosedIsSentAgain: after a gap, and after a lost stream, everything comes again under a new epoch.
func TestClosedIsSentAgain(t *testing.T) {
	f := newFollowed(t)
	f.run(300 * time.Millisecond)
	lost := 0
	f.lose = func(m *Message) bool {
		if m.Closed != nil {
			lost++
		}
		return m.Closed != nil && lost == 1
	}
	ts := f.put("v")
	f.run(time.Second)
	f.want(f.at(f.other, ts), "v")
	to := f.nodes[f.leader].closed.peer(kv.NodeID(f.other + 1))
	epoch := to.epoch
	if lost < 2 || to.published == 0 {
		t.Fatalf("%d messages, %d partitions published", lost, to.published)
	}
	f.nodes[f.leader].PeerLost(f.now, kv.NodeID(f.other+1))
	f.run(300 * time.Millisecond)
	if to.epoch <= epoch {
		t.Errorf("epoch %d after the stream was lost, it was %d before", to.epoch, epoch)
	}
}

// TestClosedTable is the table of a receiver, message by message.
func TestClosedTable(t *testing.T) { closedTable(t) }

func closedTable(t testing.TB) {
	f := newFollowed(t)
	f.lose = func(m *Message) bool { return m.Closed != nil }
	f.run(300 * time.Millisecond)
	n := f.nodes[f.other]
	r := n.replicas[f.p]
	applied := r.group.Applied()
	hear := func(from kv.NodeID, epoch, seq uint64, ts kv.Timestamp, term kv.Term, index kv.LogIndex) {
		m := &Closed{Loops: 1, Epoch: epoch, Seq: seq, Timestamp: ts}
		if index != 0 {
			m.Changed = []ClosedPartition{{f.p, term, index}}
		}
		n.hearClosed(from, m)
	}
	base := n.Heard()
	n.closed.heard.partitions, n.closed.heard.sources = map[kv.PartitionID]*closedPartition{}, map[closedLoop]*closedSource{}
	steps := []struct {
		what string
		do   func()
		want kv.Timestamp
	}{
		{"an epoch begins with its first message", func() { hear(9, 5, 2, base+1, f.term, applied) }, 0},
		{"its index is applied", func() { hear(9, 6, 1, base+2, f.term, applied) }, base + 2},
		{"an idle partition", func() { hear(9, 6, 2, base+3, 0, 0) }, base + 3},
		{"twice the same", func() { hear(9, 6, 2, base+4, 0, 0) }, base + 3},
		{"more to apply", func() { hear(9, 6, 3, base+5, f.term, applied+1) }, base + 3},
		{"and more", func() { hear(9, 6, 4, base+6, f.term, applied+2) }, base + 3},
		{"a change without a timestamp", func() { hear(9, 6, 5, 0, f.term, applied) }, base + 6},
		{"an older term", func() { hear(8, 1, 1, base+9, f.term-1, applied) }, base + 6},
		{"a change that comes too late, of the leader that is believed", func() { hear(9, 6, 6, base+7, f.term-1, applied+9) }, base + 6},
		{"what it closes afterwards", func() { hear(9, 6, 7, base+8, 0, 0) }, base + 6},
		{"a gap", func() { hear(9, 6, 9, base+10, 0, 0) }, base + 6},
		{"a message after the gap", func() { hear(9, 6, 10, base+11, 0, 0) }, base + 6},
		{"a new leader", func() { hear(8, 2, 1, base+12, f.term+1, applied) }, base + 12},
		{"the old one again", func() { hear(9, 7, 1, base+13, f.term, applied) }, base + 12},
		{"removed", func() {
			n.hearClosed(8, &Closed{Loops: 1, Epoch: 2, Seq: 2, Timestamp: base + 14, Removed: []kv.PartitionID{f.p}})
		}, base + 12},
	}
	for _, s := range steps {
		s.do()
		if got := n.closedOn(r); got != s.want {
			t.Fatalf("%s: closed at base+%d, want base+%d", s.what, int64(got-base), int64(s.want-base))
		}
	}
	n.closed.heard.partitions[f.p].replica++ // what another replica of the partition had reached
	n.closed.heard.partitions[f.p].newest.index = applied + 5
	if got := n.closedOn(r); got != 0 {
		t.Errorf("a new replica has reached %d", got)
	}
}

// BenchmarkCloseIdle is one second of closing idle partitions on their leader, of which it has 1000. Their
// leases are looked for anew every second round.
func BenchmarkCloseIdle(b *testing.B) {
	w := newTrio(b)
	w.run(4 * time.Second)
	core, _ := w.leads(kv.SystemPartition)
	if r := w.tell(core, &kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "k", Scheme: kv.SchemeHash, Partitions: 3000}}); r.Err != nil {
		b.Fatal(r.Err)
	}
	w.run(5 * time.Second)
	n := w.nodes[core]
	for _, r := range n.replicas {
		r.active = false
	}
	n.keep.active = nil
	b.ResetTimer()
	for i := range b.N {
		for round := range 5 {
			if (i+round)%2 == 0 {
				for j := range n.closed.led {
					n.closed.led[j].guard = replication.Guard{}
				}
			}
			n.closed.t = n.Heard()
			n.closed.publish(n)
			n.out.Sends = n.out.Sends[:0]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(n.closed.led)), "ns/partition")
}
