package node

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
)

// begin has the leader begin a commit of a key; the answer is looked for in replies.
func (f *followed) begin(key kv.Key, v string) RequestID {
	f.commits++
	f.nextID++
	n := f.nodes[f.leader]
	n.Request(f.now, f.nextID, &kv.Request{Partition: f.p, Commit: &kv.Commit{
		ID: txid(f.commits), Term: f.term, AsOf: n.Heard(), Writes: []kv.Write{f.write(key, v)},
	}})
	return f.nextID
}

// grantAll answers every request to the oracle that is under way with 1000 timestamps more than it asked for. It
// returns the first and the last of all.
func (f *followed) grantAll() (first, last kv.Timestamp) {
	f.t.Helper()
	n := f.nodes[f.leader]
	if len(n.draws.asked) == 0 {
		f.t.Fatal("the oracle is asked for nothing")
	}
	first = n.Heard() + 1000
	last = first - 1
	for _, a := range append([]asked(nil), n.draws.asked...) {
		g := &core.Grant{Seq: a.seq, First: last + 1, Count: uint32(len(a.draws)) + 1000}
		last += kv.Timestamp(g.Count)
		n.draws.answer(n, n.oracle(), g)
	}
	return first, last
}

// committed is the commit timestamp of a commit, once there is time for it; 0: it has none.
func (f *followed) committed(id RequestID) kv.Timestamp {
	f.t.Helper()
	f.turn(f.leader)
	for f.deliver() {
	}
	r, ok := f.replies[id]
	if !ok {
		return 0
	}
	if r.Err != nil {
		f.t.Fatal(r.Err)
	}
	return r.Response.Timestamp
}

func noGrants(m *Message) bool { return m.Grant != nil }

// TestDrawsDoNotRide: what is asked for while a request to the oracle is under way is not served by it, though it
// brings more than it asked for.
//
// Shows B1.
func TestDrawsDoNotRide(t *testing.T) { drawsDoNotRide(t) }

func drawsDoNotRide(t testing.TB) {
	f := newFollowed(t)
	f.lose = noGrants
	early := f.begin(f.key, "early")
	f.turn(f.leader)
	late := f.begin(f.key.Next(), "late")
	first, last := f.grantAll()
	if c := f.committed(early); c < first || c > last {
		t.Errorf("the first commit is at %d, not between %d and %d", c, first, last)
	}
	if c := f.committed(late); c != 0 {
		t.Fatalf("the second commit is at %d, of a grant between %d and %d that it was too late for", c, first, last)
	}
	next, _ := f.grantAll()
	if c := f.committed(late); c < next || next <= last {
		t.Errorf("the second commit is at %d, and the second grant begins at %d", c, next)
	}
}

// TestGrantOfAnEarlierLife: what an earlier life of the node has asked for is nobody's in this one.
//
// Shows B1.
func TestGrantOfAnEarlierLife(t *testing.T) { grantOfAnEarlierLife(t) }

func grantOfAnEarlierLife(t testing.TB) {
	f := newFollowed(t)
	n := f.nodes[f.leader]
	earlier := n.Heard()
	f.lose = noGrants
	id := f.begin(f.key, "v")
	f.turn(f.leader)
	under := len(n.draws.asked)
	for seq := range uint64(10_000) {
		n.draws.answer(n, n.oracle(), &core.Grant{Seq: seq, First: earlier + 1, Count: 100})
	}
	if c := f.committed(id); c != 0 || len(n.draws.asked) != under {
		t.Errorf("a commit is at %d, by a grant of an earlier life; %d of %d requests are left", c, len(n.draws.asked), under)
	}
}

// TestServesWhatEarlierLeadersCommitted: a new leader that cannot commit the first entry of its term does not know
// what earlier ones have committed, and serves nothing.
//
// Shows A6.
func TestServesWhatEarlierLeadersCommitted(t *testing.T) { servesWhatEarlierLeadersCommitted(t) }

func servesWhatEarlierLeadersCommitted(t testing.TB) {
	f := newFollowed(t)
	f.put("v")
	f.lose = func(m *Message) bool {
		x := m.Raft
		return x != nil && x.Partition == f.p && x.Message.GetType().String() == "MsgAppResp"
	}
	f.tell(f.leader, &kv.AdminRequest{MoveLeader: &kv.MoveLeader{Partition: f.p, To: kv.NodeID(f.other + 1)}})
	n := f.nodes[f.other]
	r := n.replicas[f.p]
	for range 100 {
		if r.group.Leads() {
			break
		}
		f.run(10 * time.Millisecond)
	}
	if !r.group.Leads() || r.group.Serves() {
		t.Fatalf("the new leader leads: %t, and serves: %t", r.group.Leads(), r.group.Serves())
	}
	f.nextID++
	id := f.nextID
	n.Request(f.now, id, &kv.Request{Partition: f.p, Read: &kv.Read{Keys: []kv.Key{f.key}}})
	f.turn(f.other)
	f.run(100 * time.Millisecond)
	if _, leads := r.part.Leading(); leads {
		t.Error("the partition leads before its first entry is applied")
	}
	if r, ok := f.replies[id]; ok && r.Err == nil {
		t.Errorf("answered before that: %+v", r.Response)
	}
	f.lose = nil
	f.run(time.Second)
	f.leader, f.term = f.leads(f.p)
	f.want(f.get(f.leader, kv.Read{}), "v")
}

// closes lets time pass until the leader has asked for the timestamp of a round of closing.
func (f *followed) closes() {
	f.t.Helper()
	for range 200 {
		if f.nodes[f.leader].closed.drawing {
			return
		}
		f.run(10 * time.Millisecond)
	}
	f.t.Fatal("no round of closing has begun")
}

// toOther are the messages that the leader has sent to a follower and that are on their way; they are taken off it.
func (f *followed) toOther() (all []Message) {
	f.t.Helper()
	for _, m := range f.mail {
		if m.from != f.leader || m.to != f.other {
			continue
		}
		msg, err := DecodeMessage(m.m)
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, msg)
	}
	f.mail = nil
	return all
}

// closedAtOther delivers to a follower what the leader has closed, and nothing else.
func (f *followed) closedAtOther() kv.Timestamp {
	n := f.nodes[f.other]
	for _, m := range f.toOther() {
		if m.Closed != nil {
			n.hearClosed(kv.NodeID(f.leader+1), m.Closed)
		}
	}
	return n.closedOn(n.replicas[f.p])
}

// TestClosedNamesWhatIsProposed: a commit that has drawn before a round of closing is in the entries that the round
// names, though it is not in the log yet when the timestamps come.
//
// Shows G1.
func TestClosedNamesWhatIsProposed(t *testing.T) { closedNamesWhatIsProposed(t) }

func closedNamesWhatIsProposed(t testing.TB) {
	f := newFollowed(t)
	f.put("old")
	f.run(300 * time.Millisecond)
	f.lose = noGrants
	id := f.begin(f.key, "new")
	f.closes()
	g := f.nodes[f.leader].replicas[f.p].group
	before := g.LastProposed()
	_, last := f.grantAll()
	f.turn(f.leader)
	if now := g.LastProposed(); now != before+1 {
		t.Fatalf("%d entries are proposed, want the commit's", now-before)
	}
	old := f.nodes[f.other].closedOn(f.nodes[f.other].replicas[f.p])
	if ts := f.closedAtOther(); ts != old {
		t.Errorf("closed at %d, it was at %d: the entry of the commit has not come", ts, old)
	}
	n := f.nodes[f.other]
	x := n.closed.heard.partitions[f.p]
	if at := x.current(); at.index != before+1 || at.t <= old || at.t > last {
		t.Errorf("closed at %d with entry %d, want a timestamp between %d and %d with entry %d", at.t, at.index, old, last, before+1)
	}
	f.lose = nil
	f.run(time.Second)
	f.want(f.at(f.other, f.committed(id)), "new")
}

// TestClosedUnderTheLease: a leader that was cut off gets its timestamp late. Others may have written below it by then,
// and it publishes nothing.
//
// Shows G1, G3.
func TestClosedUnderTheLease(t *testing.T) { closedUnderTheLease(t) }

func closedUnderTheLease(t testing.TB) {
	f := newFollowed(t)
	f.put("v")
	f.run(300 * time.Millisecond)
	f.lose = noGrants
	f.closes()
	n := f.nodes[f.leader]
	r := n.replicas[f.p]
	old := f.closedAtOther()
	for range 200 {
		if _, ok := r.group.Guard(); !ok {
			break
		}
		f.alone(f.leader, 10*time.Millisecond)
	}
	if _, ok := r.group.Guard(); ok || !r.leading {
		t.Fatalf("the lease holds: %t; it leads: %t", ok, r.leading)
	}
	if first, _ := f.grantAll(); first <= old {
		t.Fatalf("%d is granted, and %d was closed", first, old)
	}
	f.turn(f.leader)
	if n.closed.drawing || n.closed.t != 0 {
		t.Fatal("the round is not over")
	}
	if ts := f.closedAtOther(); ts != old {
		t.Errorf("closed at %d without a lease, it was at %d", ts, old)
	}
}

// without lets time pass while node i is gone, and nobody hears of what it has sent.
func (w *trio) without(i int, d time.Duration) {
	for end := w.now + kv.Instant(d); w.now < end; {
		w.now += kv.Instant(10 * time.Millisecond)
		for j, n := range w.nodes {
			if j != i {
				n.Tick(w.now, 1_700_000_000_000+int64(w.now)/1e6)
				w.turn(j)
			}
		}
		for len(w.mail) > 0 {
			var kept []mail
			for _, m := range w.mail {
				if m.from != i && m.to != i {
					kept = append(kept, m)
				}
			}
			w.mail = kept
			w.deliver()
		}
	}
}

// TestClosedWithALostIndex: the entry that a closed timestamp names is lost with its leader. Others take its place, all
// drawn later: so who believes the timestamp once it has applied as many reads what there was.
//
// Shows G4.
func TestClosedWithALostIndex(t *testing.T) {
	f := newFollowed(t)
	f.put("old")
	f.run(300 * time.Millisecond)
	f.lose = noGrants
	f.begin(f.key, "lost")
	f.closes()
	f.grantAll()
	f.turn(f.leader)
	f.closedAtOther()
	n := f.nodes[f.other]
	at := n.closed.heard.partitions[f.p].current()
	if at.index <= n.replicas[f.p].group.Applied() {
		t.Fatalf("entry %d is applied already", at.index)
	}
	f.lose = nil
	gone := f.leader
	f.without(gone, 4*time.Second)
	for i := range f.nodes {
		if i != gone && f.nodes[i].replicas[f.p].leading {
			f.leader, f.term = i, f.nodes[i].replicas[f.p].term
		}
	}
	if f.leader == gone {
		t.Fatal("nobody leads")
	}
	for range 3 {
		id := f.begin(f.key, "later")
		f.without(gone, time.Second)
		if r := f.replies[id]; r.Err != nil || r.Response == nil || r.Response.Timestamp <= at.t {
			t.Errorf("a later commit: %+v %v, want one above %d", r.Response, r.Err, at.t)
		}
	}
	if ts := n.closedOn(n.replicas[f.p]); ts < at.t {
		t.Fatalf("closed at %d, want %d at least", ts, at.t)
	}
	f.want(f.at(f.other, at.t), "old")
	f.want(f.at(f.leader, at.t), "old")
}

// TestReadsAreCheckedAfterwards: a read that was begun under a lease is not answered when that has ended by the time
// it is done, whatever it has read.
//
// Shows D5.
func TestReadsAreCheckedAfterwards(t *testing.T) {
	f := newFollowed(t)
	f.put("v")
	n := f.nodes[f.leader]
	guard, ok := n.replicas[f.p].group.Guard()
	if !ok {
		t.Fatal("no lease")
	}
	n.Request(f.now, 900, &kv.Request{Partition: f.p, Read: &kv.Read{Keys: []kv.Key{f.key}}})
	reads := n.Flush(f.now).Reads
	if len(reads) != 1 || reads[0].Guard != guard {
		t.Fatalf("%d reads under %+v, want one under %+v", len(reads), reads, guard)
	}
	reads[0].Run(f.engines[f.leader])
	if r, ok := reads[0].Finish(guard.Until - 1); !ok || r.Err != nil || len(r.Response.Rows) != 1 {
		t.Errorf("under the lease: %t, %+v %v", ok, r.Response, r.Err)
	}
	if r, ok := reads[0].Finish(guard.Until); ok {
		t.Errorf("answered when the lease had ended: %+v", r.Response)
	}
	f.tell(f.leader, &kv.AdminRequest{MoveLeader: &kv.MoveLeader{Partition: f.p, To: kv.NodeID(f.other + 1)}})
	f.run(time.Second)
	if r, ok := reads[0].Finish(guard.Until - 1); ok {
		t.Errorf("answered in another term: %+v", r.Response)
	}
}
