package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// founded is a cluster of three nodes whose default keyspace, partition 2, is ready.
func founded(t *testing.T) *fakeCluster {
	f := newFakeCluster(t, Options{Self: 1, DeadAfter: 10 * time.Second})
	f.found(3, 3, func(int) string { return "" })
	f.run(4 * time.Second)
	f.trace = nil
	return f
}

func (f *fakeCluster) said(sub string) bool {
	return slices.ContainsFunc(f.trace, func(l string) bool { return strings.Contains(l, sub) })
}

// A leader that does not know yet that it was deposed reports on; that is not news.
func TestStaleLeaderIsIgnored(t *testing.T) {
	f := founded(t)
	for _, r := range []struct {
		from kv.NodeID
		term kv.Term
		want kv.NodeID
	}{{2, 7, 2}, {1, 6, 2}, {3, 8, 3}, {2, 7, 3}} {
		f.m.Report(r.from, &Report{Leaders: []LeaderReport{{Partition: 2, Term: r.term}}})
		if got := f.m.Topology(DefaultKeyspace).Partitions[0]; got.Leader != r.want {
			t.Errorf("after the report of node %d in term %d the leader is node %d, want %d", r.from, r.term, got.Leader, r.want)
		}
	}
	// A complete report that does not name the partition any more ends it.
	f.m.Report(3, &Report{Complete: true})
	if got := f.m.Topology(DefaultKeyspace).Partitions[0]; got.Leader != 0 {
		t.Errorf("the leader is node %d still", got.Leader)
	}
}

// Replicas that are newer than what the core heard of, or that can only be reported by
// mistake, are left alone; older ones, and those of unknown partitions, go.
func TestHeldReplicas(t *testing.T) {
	f := founded(t)
	cases := []struct {
		ref  ReplicaRef
		drop bool
	}{
		{ReplicaRef{2, 1}, false}, // on node 1, reported by node 2: a mistake
		{ReplicaRef{2, 4}, false}, // from a generation that the core did not hear of
		{ReplicaRef{9, 1}, false}, // an id that was not given yet
	}
	for _, c := range cases {
		f.trace = nil
		f.m.Report(2, &Report{Held: []ReplicaRef{c.ref}})
		if f.said("drop") {
			t.Errorf("%+v: %v", c.ref, f.trace)
		}
	}
	d, _ := f.m.Descriptor(2)
	news := d.Clone()
	news.Generation, news.NextReplica = 5, 9
	news.Replicas[1].ID, news.Replicas = 7, []kv.Replica{news.Replicas[0], news.Replicas[2], {ID: 7, Node: 2, Role: kv.RoleVoter}}
	f.m.Report(1, &Report{Leaders: []LeaderReport{{Partition: 2, Term: 50, Descriptor: news}}})
	f.commit()
	f.trace = nil
	f.m.Report(2, &Report{Held: []ReplicaRef{{2, 2}, {2, 7}, {2, 8}}})
	if !f.said("drop p2 replica 2") || f.said("replica 7") {
		t.Errorf("got %v", f.trace)
	}
	if !f.said("drop p2 replica 8") { // made and removed between generations 1 and 5
		t.Errorf("got %v", f.trace)
	}
}

// A first replica that was not made before its partition changed starts empty: the first
// configuration is history.
func TestLateFirstReplicaJoins(t *testing.T) {
	f := founded(t)
	f.nodes[3].alive = false
	f.admin(&kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "a", Scheme: kv.SchemeRange}})
	f.run(time.Second)
	d, _ := f.m.Descriptor(3)
	news := d.Clone()
	news.Generation++
	news.NextReplica++
	f.trace = nil
	leader := f.parts[3].leader
	f.parts[3].desc = news
	f.m.Report(leader, &Report{Leaders: []LeaderReport{{Partition: 3, Term: 50, Descriptor: news}}})
	f.commit()
	if !f.said("order to 3: join as") || f.said("create p3") {
		t.Errorf("got %v", f.trace)
	}
	if k, _ := f.m.state.keyspace(2); k.Phase != phaseCreating {
		t.Error("the keyspace is ready, but one of its replicas does not exist")
	}
	f.nodes[3].alive = true
	f.run(3 * time.Second)
	if k, _ := f.m.state.keyspace(2); k.Phase != phaseReady {
		t.Error("the keyspace is not ready, though all its replicas exist")
	}
}

// Answers of nodes that do not have the replica count for nothing.
func TestOrderDoneOfAnother(t *testing.T) {
	f := founded(t)
	f.admin(&kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "a", Scheme: kv.SchemeRange}})
	f.commit()
	f.m.Tick(f.now, f.wall)
	d, _ := f.m.Descriptor(3)
	for _, r := range d.Replicas {
		f.m.OrderDone(r.Node%3+1, OrderDone{Partition: 3, Replica: r.ID})
	}
	if left := len(f.m.part(3).orders); left != 3 {
		t.Errorf("%d orders left, want 3", left)
	}
	for _, r := range d.Replicas {
		f.m.OrderDone(r.Node, OrderDone{Partition: 3, Replica: r.ID, Err: "disk full"})
	}
	if left := len(f.m.part(3).orders); left != 3 {
		t.Errorf("%d orders left, want 3: none was done", left)
	}
	if s := f.m.status(); !slices.ContainsFunc(s.Unhealthy, func(u string) bool { return strings.Contains(u, "partition 3: disk full") }) {
		t.Errorf("the status does not say why: %v", s.Unhealthy)
	}
	for _, r := range d.Replicas {
		f.m.OrderDone(r.Node, OrderDone{Partition: 3, Replica: r.ID})
	}
	if left := len(f.m.part(3).orders); left != 0 {
		t.Errorf("%d orders left, want none", left)
	}
}

// A descriptor of the same generation is no news, whatever it says.
func TestDescriptorNeedsHigherGeneration(t *testing.T) {
	f := founded(t)
	d, _ := f.m.Descriptor(2)
	same := d.Clone()
	same.NextReplica = 77
	revision := f.m.Revision()
	if w := f.apply(PackCommands([][]byte{encodeCommand(proposed{command: &putDescriptor{Descriptor: same}})})); len(w) != 0 || f.m.Revision() != revision {
		t.Errorf("generation %d replaced itself: %v", d.Generation, w)
	}
	foreign := d.Clone()
	foreign.Generation, foreign.Keyspace = 9, 8
	if w := f.apply(PackCommands([][]byte{encodeCommand(proposed{command: &putDescriptor{Descriptor: foreign}})})); len(w) != 0 {
		t.Errorf("the partition changed its keyspace: %v", w)
	}
}

// What an older term proposed answers nobody and moves no limit, even if its number is that of a
// proposal of this term.
func TestOldTermAnswersNobody(t *testing.T) {
	f := founded(t)
	f.elect()
	limit := f.m.lead.oracle.limit
	id := f.admin(&kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "a", Scheme: kv.SchemeRange}})
	f.term--
	f.apply(PackCommands([][]byte{
		encodeCommand(proposed{number: 1, command: &createKeyspace{Name: "a", Scheme: kv.SchemeRange, Placement: [][]kv.NodeID{{1}}}}),
		encodeCommand(proposed{command: &extendBound{Bound: f.m.Bound() + 1}}),
	}))
	f.term++
	if r, ok := f.replies[id]; ok {
		t.Errorf("answered %v", r)
	}
	if f.m.lead.oracle.limit != limit {
		t.Errorf("the limit went from %v to %v", limit, f.m.lead.oracle.limit)
	}
	f.commit()
	if r := f.replies[id]; kv.KindOf(r.err) != kv.Exists {
		t.Errorf("answered %v, want exists", r)
	}
}

// An operator that fails, or stands still, is given up; the waiting administrator is told,
// and the partition is left alone for a while.
func TestOperatorGivenUp(t *testing.T) {
	f := founded(t)
	leader := f.parts[2].leader
	id := f.admin(&kv.AdminRequest{Join: &kv.JoinCluster{Address: "n4:1", Nonce: 44}})
	f.commit()
	if f.replies[id].err != nil {
		t.Fatal(f.replies[id].err)
	}
	f.m.Report(4, &Report{Complete: true}) // live, but it obeys no orders
	change := func() RequestID {
		return f.admin(&kv.AdminRequest{ChangeReplicas: &kv.ChangeReplicas{Partition: 2, Add: 4, Remove: leader%3 + 1}})
	}
	failed := change()
	if busy := change(); kv.KindOf(f.replies[busy].err) != kv.Unavailable {
		t.Errorf("a second change at once: %v", f.replies[busy].err)
	}
	f.m.OrderDone(leader%3+1, OrderDone{Partition: 2, Err: "not the leader's word"})
	if _, answered := f.replies[failed]; answered {
		t.Error("a node that was not asked failed the operator")
	}
	f.m.OrderDone(leader, OrderDone{Partition: 2, Err: "no room"})
	if r := f.replies[failed]; kv.KindOf(r.err) != kv.Unavailable || !strings.Contains(r.err.Message, "no room") {
		t.Errorf("answered %v", r)
	}
	if until := f.m.part(2).setback.until; until <= f.m.lead.now {
		t.Error("the partition is not left alone")
	}
	dead := change()
	f.run(11 * time.Second) // node 4 says nothing more
	if r := f.replies[dead]; kv.KindOf(r.err) != kv.Unavailable || !strings.Contains(r.err.Message, "dead") {
		t.Errorf("answered %v", r)
	}
}

// An operator whose orders are never obeyed is given up after OperatorMax.
func TestOperatorStandsStill(t *testing.T) {
	f := newFakeCluster(t, Options{Self: 1, OperatorMax: 20 * time.Second})
	f.found(4, 3, func(int) string { return "" })
	f.run(4 * time.Second)
	f.lossy = 1
	id := f.admin(&kv.AdminRequest{ChangeReplicas: &kv.ChangeReplicas{Partition: 2, Add: 4}})
	f.run(15 * time.Second)
	if r, answered := f.replies[id]; answered {
		t.Fatalf("answered %v too early", r.err)
	}
	f.run(10 * time.Second)
	if r := f.replies[id]; kv.KindOf(r.err) != kv.Unavailable || !strings.Contains(r.err.Message, "no progress") {
		t.Errorf("answered %v", r.err)
	}
}

// Orders go out at a bounded rate, and all of them in the end; the request is answered once
// every partition is led.
func TestManyPartitions(t *testing.T) {
	f := founded(t)
	id := f.admin(&kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "big", Scheme: kv.SchemeHash, Partitions: kv.HashPartitionsMax}})
	f.commit()
	for range 400 {
		f.trace = nil
		f.step()
		orders := 0
		for _, l := range f.trace {
			if strings.HasPrefix(l, "order") && strings.Contains(l, "create") {
				orders++
			}
		}
		if orders > ordersPerTickMax {
			t.Fatalf("%d orders in one tick", orders)
		}
		if r, ok := f.replies[id]; ok {
			if r.err != nil || len(r.resp.Topology.Partitions) != kv.HashPartitionsMax {
				t.Fatalf("answered %v", r.err)
			}
			return
		}
	}
	t.Fatal("not answered in 20 s")
}

// Every admin request is answered exactly once, whatever happens to the leader (the fake
// cluster fails the test at a second answer), and there is a limit to those that wait.
func TestAdminLimit(t *testing.T) {
	f := founded(t)
	for i := range AdminWaitingMax + 5 {
		id := f.admin(&kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: fmt.Sprintf("k%d", i), Scheme: kv.SchemeRange}})
		if r, answered := f.replies[id]; answered != (i >= AdminWaitingMax) || answered && kv.KindOf(r.err) != kv.Unavailable {
			t.Fatalf("request %d: answered %v: %v", i, answered, r.err)
		}
	}
	f.elect()
	for id := range f.nextID {
		if _, answered := f.replies[id+1]; !answered {
			t.Fatalf("request %d was not answered", id+1)
		}
	}
}
