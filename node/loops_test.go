package node

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
)

// TestLowWaterIsTheLowest: a segment goes when every loop has said that it needs nothing below it.
func TestLowWaterIsTheLowest(t *testing.T) {
	w := NewLowWater(3)
	for i, step := range []struct {
		loop    int
		segment uint64
		want    uint64
	}{{0, 9, 0}, {1, 5, 0}, {2, 7, 5}, {1, 8, 7}, {1, 3, 7}, {2, 20, 8}, {1, 12, 9}} {
		if got := w.Raise(step.loop, step.segment); got != step.want {
			t.Errorf("step %d: released below %d, want %d", i, got, step.want)
		}
	}
	if got := NewLowWater(1).Raise(0, 4); got != 4 {
		t.Errorf("one loop alone releases below %d", got)
	}
}

// TestLoopsOfMessagesAndRequests: what is about a partition goes to its loop, the core's business to
// loop 0, an answer to the loop that has asked.
func TestLoopsOfMessagesAndRequests(t *testing.T) {
	if got := kv.SystemPartition.Loop(kv.LoopsMax); got != 0 {
		t.Fatalf("the core is in loop %d", got)
	}
	want := map[int][]Message{
		EveryLoop: {{Heartbeat: &replication.Heartbeat{}}, {Ack: &replication.HeartbeatAck{Loop: 2, Loops: 3}}},
		0: {
			{Raft: &replication.Frame{Partition: 1}},
			{Draw: &core.Draw{Loop: 2}},
			{Grant: &core.Grant{Loop: 9}},
			{Report: &core.Report{Loop: 2, Loops: 3}},
			{OrderDone: &core.OrderDone{Partition: 6}},
			{CoreHint: &CoreHint{}},
			{Call: &Call{Loop: 2, Find: 3}},
			{CallDone: &CallDone{Loop: 9}},
			{Registry: &Registry{}},
			{Order: &core.Order{MoveLeader: &core.LeaderMove{Partition: 4}}},
		},
		1: {{Grant: &core.Grant{Loop: 1}}, {CallDone: &CallDone{Loop: 1}}, {Order: &core.Order{Create: &kv.Descriptor{Partition: 2}}}, {Order: &core.Order{Drop: &core.DropOrder{Partition: 5}}}},
		2: {
			{Raft: &replication.Frame{Partition: 3}},
			{Digest: &Digest{Partition: 6}},
			{Call: &Call{Loop: 1, Request: &kv.Request{Partition: 6}}},
			{Order: &core.Order{ChangeReplicas: &core.ReplicaChange{Partition: 3}}},
			{Order: &core.Order{Join: &core.JoinOrder{Descriptor: &kv.Descriptor{Partition: 3}}}},
		},
	}
	for loop, messages := range want {
		for _, m := range messages {
			if got := m.Loop(3); got != loop {
				t.Errorf("%+v goes to loop %d, want %d", m, got, loop)
			}
		}
	}
	for loop, requests := range map[int][]kv.AdminRequest{
		EveryLoop: {{NodeStatus: &kv.NodeQuery{}}},
		0:         {{Status: &kv.StatusQuery{}}, {Topology: &kv.TopologyQuery{Local: true}}, {Check: &kv.CheckQuery{Partition: 4}}},
		1:         {{MoveLeader: &kv.MoveLeader{Partition: 5}}},
		2:         {{ChangeReplicas: &kv.ChangeReplicas{Partition: 3}}, {Transactions: &kv.TransactionsQuery{Partition: 3}}},
	} {
		for _, r := range requests {
			if got := AdminLoop(&r, 3); got != loop {
				t.Errorf("%+v goes to loop %d, want %d", r, got, loop)
			}
		}
	}
}

// TestOtherLoopsHearOfTheCore: a loop without the system partition asks whom loop 0 names, and reports its
// own replicas only.
func TestOtherLoopsHearOfTheCore(t *testing.T) {
	cfg := Config{Replication: replication.DefaultParams(), LogKeepBytes: 1 << 20, EntryCacheBytes: 1 << 20}
	n, err := New(0, cfg, Identity{Node: 3, Incarnation: 1, Fresh: true, Loop: 1, Loops: 2, Founders: []kv.NodeInfo{{ID: 3}}}, Boot{})
	if err != nil {
		t.Fatal(err)
	}
	sent := func(at kv.Instant) (all []Send) {
		n.Tick(at, 0)
		return n.Flush(at).Sends
	}
	if s := sent(kv.Instant(time.Second)); len(s) != 0 || n.has(kv.SystemPartition) {
		t.Errorf("loop 1 knows nobody, has founded nothing, and sends %+v", s)
	}
	n.CoreLeader(kv.Instant(time.Second), CoreLeader{Node: 2, Term: 4})
	s := sent(kv.Instant(2 * time.Second))
	if len(s) != 1 || s[0].To != 2 || s[0].Message.Report == nil || s[0].Message.Report.Loop != 1 || s[0].Message.Report.Loops != 2 || !s[0].Message.Report.Complete {
		t.Fatalf("loop 1 sends %+v", s)
	}
	n.CoreLeader(kv.Instant(2*time.Second), CoreLeader{Node: 2, Term: 5}) // the same node, in another term, has forgotten all
	if s = sent(kv.Instant(2100 * time.Millisecond)); len(s) != 1 || !s[0].Message.Report.Complete {
		t.Errorf("loop 1 sends %+v", s)
	}
	if to, find := n.whereIs(9); to != 2 || !find {
		t.Errorf("a partition of which it knows nothing is looked for on node %d, %v", to, find)
	}
	n.Hear(kv.Instant(3*time.Second), 77)
	if n.Heard() != 77 {
		t.Errorf("it has heard of %d", n.Heard())
	}
}

// TestIdleLoopHoldsNoLog: a loop with nothing in the log holds nothing back, once it knows how far the log is.
func TestIdleLoopHoldsNoLog(t *testing.T) {
	cfg := Config{Replication: replication.DefaultParams(), LogKeepBytes: 1 << 20, EntryCacheBytes: 1 << 20}
	n, err := New(0, cfg, Identity{Node: 3, Incarnation: 1, Fresh: true, Loop: 1, Loops: 2}, Boot{})
	if err != nil {
		t.Fatal(err)
	}
	n.Tick(kv.Instant(2*time.Second), 0)
	if e := n.Flush(kv.Instant(2 * time.Second)); e.ReleaseLog != 0 {
		t.Errorf("released below %d, and the log is not known", e.ReleaseLog)
	}
	n.LogGrew(kv.Instant(3*time.Second), 17)
	n.Tick(kv.Instant(4*time.Second), 0)
	if e := n.Flush(kv.Instant(4 * time.Second)); e.ReleaseLog != 17 {
		t.Errorf("released below %d, want 17", e.ReleaseLog)
	}
}

// TestReplicaIsNotMadeOverAnother: the applier sees the keys of all replicas, whichever loop has them.
func TestReplicaIsNotMadeOverAnother(t *testing.T) {
	w := newTrio(t)
	w.run(4 * time.Second)
	n := w.nodes[0]
	var holder *kv.Descriptor
	for _, g := range n.set.Groups() {
		if g.Partition() != kv.SystemPartition {
			holder = g.Descriptor()
		}
	}
	order := func(p kv.PartitionID, span kv.Span) (done *core.OrderDone) {
		d := &kv.Descriptor{Partition: p, Generation: 1, Span: span, NextReplica: 2, Replicas: []kv.Replica{{ID: 1, Node: 1, Role: kv.RoleVoter}}}
		n.Receive(w.now, 2, Message{Order: &core.Order{Create: d}})
		w.mail = nil
		w.turn(0)
		for _, m := range w.mail {
			if msg, err := DecodeMessage(m.m); err == nil && msg.OrderDone != nil && m.to == 1 {
				done = msg.OrderDone
			}
		}
		return done
	}
	inside := kv.Span{Start: append(slices.Clone(holder.Span.Start), 'x'), End: holder.Span.End}
	if d := order(900, inside); d == nil || d.Replica != 1 || !strings.Contains(d.Err, "some of the same keys") || n.has(900) {
		t.Errorf("a replica over the keys of partition %d: answer %+v, made %v", holder.Partition, d, n.has(900))
	}
	free := kv.Keyspace{ID: 77}.Span()
	if d := order(901, free); d == nil || d.Err != "" || !n.has(901) {
		t.Errorf("a replica of keys that nobody has: answer %+v, made %v", d, n.has(901))
	}
	if d := order(902, free); d == nil || d.Err == "" || n.has(902) {
		t.Errorf("once more under another name: answer %+v", d)
	}
}
