package replication

import (
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/kv"
)

func TestElectReplicateLease(t *testing.T) {
	w := newWorld(t, 3)
	w.open(1, 3)
	w.run(3 * time.Second)
	w.propose(1, "a")
	w.propose(1, "b")
	w.run(100 * time.Millisecond)
	w.wantApplied(1, "a", "b")
	g := w.leader(1).set.Group(1)
	left := time.Duration(g.LeaseUntil() - w.now)
	if p := DefaultParams(); left <= 0 || left > p.SupportDuration-p.Margin() {
		t.Errorf("the lease ends in %s, want within (0, %s]", left, p.SupportDuration-p.Margin())
	}
	guard, ok := g.Guard()
	if !ok || !guard.Holds(w.now) || guard.Holds(g.LeaseUntil()) {
		t.Error("a guard holds up to the end of the lease, and not at it")
	}
}

// TestIsolatedLeaderLosesLeaseFirst: the others elect only after the old leader's lease ended.
func TestIsolatedLeaderLosesLeaseFirst(t *testing.T) {
	w := newWorld(t, 3)
	w.open(1, 3)
	w.run(3 * time.Second)
	old := w.leader(1)
	w.isolate(old.id, true)
	for range 400 {
		w.run(5 * time.Millisecond)
		if l := w.leader(1); l != old {
			if until := old.set.Group(1).LeaseUntil(); until > w.now {
				t.Fatalf("node %d leads while node %d's lease runs for %s more", l.id, old.id, time.Duration(until-w.now))
			}
			w.propose(1, "x")
			w.isolate(old.id, false)
			w.run(2 * time.Second)
			w.wantApplied(1, "x")
			return
		}
	}
	t.Fatal("nobody took over within 2 s")
}

// TestSleepAndWake: an idle group sends nothing, and a dead leader's idle groups are taken over.
func TestSleepAndWake(t *testing.T) {
	w := newWorld(t, 3)
	for p := range kv.PartitionID(30) {
		w.open(p+1, 3)
	}
	w.run(5 * time.Second)
	for _, m := range w.nodes {
		if n := m.set.AwakeCount(); n != 0 {
			t.Errorf("node %d ticks %d groups that are idle", m.id, n)
		}
		m.sent = 0
	}
	w.run(time.Second)
	for _, m := range w.nodes {
		if m.sent > 2*2*11 { // heartbeats and their answers to two peers
			t.Errorf("node %d sent %d messages in an idle second", m.id, m.sent)
		}
	}
	dead := w.leader(1)
	dead.paused = true
	w.run(1500 * time.Millisecond)
	for p := range kv.PartitionID(30) {
		if w.leader(p+1) == dead {
			t.Errorf("partition %d still follows the dead node", p+1)
		}
		w.propose(p+1, "after")
	}
	dead.paused = false
	w.run(2 * time.Second)
	w.wantApplied(1, "after")
}

// TestTransferGivesUpLease: the lease of the term never comes back (L37), and the new leader gets one.
func TestTransferGivesUpLease(t *testing.T) {
	w := newWorld(t, 3)
	w.open(1, 3)
	w.run(3 * time.Second)
	old := w.leader(1)
	g := old.set.Group(1)
	guard, _ := g.Guard()
	to := kv.ReplicaID(old.id%3 + 1)
	if !g.Transfer(to) {
		t.Fatal("the transfer was refused")
	}
	if g.LeaseUntil() != 0 || guard.Holds(w.now) {
		t.Error("a leader that hands over has a lease")
	}
	w.run(time.Second)
	if l := w.leader(1); kv.ReplicaID(l.id) != to || l.set.Group(1).LeaseUntil() <= w.now {
		t.Errorf("node %d leads, lease %v; want node %d with a lease", l.id, l.set.Group(1).LeaseUntil(), to)
	}
}

// TestFailedTransferTakesANewTerm: a deaf target costs the lease for one election timeout only (L38).
func TestFailedTransferTakesANewTerm(t *testing.T) {
	w := newWorld(t, 3)
	w.open(1, 3)
	w.run(3 * time.Second)
	old := w.leader(1)
	term := old.set.Group(1).Term()
	deaf := old.id%3 + 1
	w.isolate(deaf, true)
	old.set.Group(1).Transfer(kv.ReplicaID(deaf))
	w.run(3 * time.Second)
	g := w.leader(1).set.Group(1)
	if g.Term() <= term || g.LeaseUntil() <= w.now {
		t.Errorf("term %d (was %d), lease until %d at %d: want a newer term with a lease", g.Term(), term, g.LeaseUntil(), w.now)
	}
}

// TestStepDown pins the way to step down without a fork of raft (L41).
func TestStepDown(t *testing.T) {
	w := newWorld(t, 3)
	w.open(1, 3)
	w.run(3 * time.Second)
	g := w.leader(1).set.Group(1)
	g.StepDown()
	if g.Leads() {
		t.Fatal("still leader")
	}
	w.run(time.Second)
	w.leader(1)
	one := newWorld(t, 1)
	one.open(1, 1)
	one.run(3 * time.Second)
	if g := one.leader(1).set.Group(1); g.LeaseUntil() != forever {
		t.Error("the lease of a single voter never ends")
	}
}

func TestReadIndex(t *testing.T) {
	w := newWorld(t, 3)
	w.open(1, 3)
	w.run(3 * time.Second)
	w.propose(1, "a")
	w.run(100 * time.Millisecond)
	m := w.leader(1)
	for ctx := range uint64(5) {
		if !m.set.Group(1).ReadIndex(ctx) {
			t.Fatal("refused")
		}
	}
	w.run(200 * time.Millisecond)
	if len(m.reads) != 5 || m.reads[3] < m.set.Group(1).Commit() {
		t.Errorf("answers %v, want 5 at or above %d", m.reads, m.set.Group(1).Commit())
	}
	cutOff := m
	w.isolate(m.id, true)
	cutOff.set.Group(1).ReadIndex(99)
	w.run(300 * time.Millisecond)
	if _, ok := cutOff.reads[99]; ok {
		t.Error("a leader that hears nobody proved its leadership")
	}
}

// TestReplaceReplica: a learner is added, catches up, and takes the place of a voter in one joint change.
func TestReplaceReplica(t *testing.T) {
	w := newWorld(t, 4)
	w.open(1, 3)
	w.run(3 * time.Second)
	w.propose(1, "a")
	w.run(100 * time.Millisecond)
	lead := w.leader(1)
	g := lead.set.Group(1)
	next := g.Descriptor().Clone()
	next.Replicas = append(next.Replicas, kv.Replica{ID: 4, Node: 4, Role: kv.RoleLearner})
	next.Generation, next.NextReplica = 2, 5
	if err := g.ProposeConf(AddLearner(4, next)); err != nil {
		t.Fatal(err)
	}
	lead.turn()
	w.run(200 * time.Millisecond)
	if d := g.Descriptor(); d.Generation != 2 || d.NodeOf(4) != 4 || d.Replicas[3].Role != kv.RoleLearner {
		t.Fatalf("descriptor after the learner: %+v", d)
	}
	w.nodes[3].open(next, 4, raftpb.EnsureConfState(&raftpb.ConfState{Voters: []uint64{1, 2, 3}}), 1) // as if it had the first state
	w.run(time.Second)
	remove := lead.id%3 + 1
	joint := g.Descriptor().Clone()
	joint.Generation++
	if err := g.ProposeConf(Swap(4, kv.ReplicaID(remove), joint)); err != nil {
		t.Fatal(err)
	}
	lead.turn()
	w.run(time.Second)
	d := g.Descriptor()
	if len(d.Replicas) != 3 || d.NodeOf(kv.ReplicaID(remove)) != 0 || d.Generation != 4 || g.joint() {
		t.Fatalf("descriptor after the swap: %+v, joint %v", d, g.joint())
	}
	w.propose(1, "b")
	w.run(200 * time.Millisecond)
	if got := w.nodes[3].applied[1]; len(got) != 2 {
		t.Errorf("the new voter applied %q", got)
	}
}

// TestSlowDiskHandsOver: a node whose disk hangs gives its leaderships away (L9).
func TestSlowDiskHandsOver(t *testing.T) {
	w := newWorld(t, 3)
	w.open(1, 3)
	w.run(3 * time.Second)
	old := w.leader(1)
	old.set.DiskSlow(true)
	w.run(300 * time.Millisecond)
	if l := w.leader(1); l == old {
		t.Error("it still leads")
	}
}

// TestStalledLoopHandsOver: loop 0 gives its leaderships away while another loop of its node stands still (docs/adr/0024).
func TestStalledLoopHandsOver(t *testing.T) {
	w := newWorld(t, 3)
	w.open(1, 3)
	w.run(3 * time.Second)
	old := w.leader(1)
	old.set.LoopStalled(true)
	w.run(300 * time.Millisecond)
	if l := w.leader(1); l == old {
		t.Error("it still leads")
	}
}

// TestSickNodeCampaignsLast: a node with a loop that stands still campaigns if nobody else has the whole log, and then gives the
// leadership to whom it has brought it (docs/adr/0024).
func TestSickNodeCampaignsLast(t *testing.T) {
	w := newWorld(t, 3)
	w.open(1, 3)
	w.run(3 * time.Second)
	dies := w.leader(1)
	sick, behind := w.nodes[dies.id%3], w.nodes[(dies.id+1)%3]
	w.isolate(behind.id, true)
	w.propose(1, "what one lacks")
	w.run(200 * time.Millisecond)
	sick.set.LoopStalled(true)
	dies.paused = true
	w.isolate(behind.id, false)
	for range 20 {
		w.run(500 * time.Millisecond)
		if behind.set.Group(1).Leads() {
			break
		}
	}
	if !behind.set.Group(1).Leads() {
		t.Fatalf("the healthy node does not lead; it has applied %q", behind.applied[1])
	}
	w.run(200 * time.Millisecond)
	if got := behind.applied[1]; len(got) != 1 || got[0] != "what one lacks" {
		t.Errorf("it has applied %q", got)
	}
}

func TestParams(t *testing.T) {
	p := DefaultParams()
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if m := p.Margin(); m < 12*time.Millisecond || m > 13*time.Millisecond {
		t.Errorf("margin %s, the design computes 12.9 ms", m)
	}
	p.SupportDuration = time.Second
	if p.Validate() == nil {
		t.Error("an election timeout below the support duration was taken")
	}
}

// BenchmarkIdle is one second of a node with 10,000 idle groups, a third of them led by it.
func BenchmarkIdle(b *testing.B) {
	w := newWorld(b, 3)
	for p := range kv.PartitionID(10_000) {
		w.open(p+1, 3)
	}
	w.run(20 * time.Second)
	b.ResetTimer()
	for range b.N {
		w.run(time.Second)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/3/1e7, "%core/node")
}
