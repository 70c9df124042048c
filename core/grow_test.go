package core

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// coreOf is how many voters the core has, and how many it wants.
func (f *fakeCluster) coreOf() (has, wants int) {
	return len(f.m.CoreVoters()), f.m.state.cluster.Voters
}

func (f *fakeCluster) joinNode(n int) {
	id := f.admin(&kv.AdminRequest{Join: &kv.JoinCluster{Address: "n" + string(rune('0'+n)) + ":1", Nonce: uint64(100 + n)}})
	f.commit()
	if r := f.replies[id]; r.err != nil || r.resp.Join.Node != kv.NodeID(n) {
		f.t.Fatalf("joined %+v, %v", r.resp, r.err)
	}
	f.addNode(kv.NodeID(n))
}

// The core of a cluster that was formed of one node follows the nodes that join, once they have
// been live for a while, and never shrinks.
func TestCoreGrows(t *testing.T) {
	f := newFakeCluster(t, Options{Self: 1, DeadAfter: 20 * time.Second})
	f.found(1, 3, func(int) string { return "" })
	f.run(4 * time.Second)
	for _, step := range []struct{ nodes, voters int }{{2, 1}, {3, 3}, {4, 3}, {5, 5}, {6, 5}} {
		before, _ := f.coreOf()
		f.joinNode(step.nodes)
		f.run(5 * time.Second)
		if has, wants := f.coreOf(); has != before || wants != before {
			t.Errorf("%d nodes, the newest of them 5 s old: %d voters, %d wanted", step.nodes, has, wants)
		}
		f.run(15 * time.Second)
		if has, wants := f.coreOf(); has != step.voters || wants != step.voters {
			t.Errorf("%d nodes: %d voters, %d wanted, not %d", step.nodes, has, wants, step.voters)
		}
	}
	dead := f.m.CoreVoters()[4]
	f.nodes[dead].alive = false
	f.elect()
	f.run(60 * time.Second)
	if has, wants := f.coreOf(); has != 5 || wants != 5 {
		t.Errorf("after the death of a voter, with a spare node: %d voters, %d wanted", has, wants)
	}
	if d, _ := f.m.Descriptor(kv.SystemPartition); d != nil {
		if _, still := d.ReplicaOn(dead); still {
			t.Errorf("the dead node %d is a voter still", dead)
		}
	}
	f.nodes[f.m.CoreVoters()[3]].alive = false
	f.run(60 * time.Second)
	if has, wants := f.coreOf(); has != 5 || wants != 5 {
		t.Errorf("after the death of a voter, without a spare node: %d voters, %d wanted", has, wants)
	}
}

// A node that comes and goes is no place for the core.
func TestCoreWaitsForSteadyNodes(t *testing.T) {
	f := newFakeCluster(t, Options{Self: 1, DeadAfter: 60 * time.Second})
	f.found(1, 3, func(int) string { return "" })
	f.run(4 * time.Second)
	f.joinNode(2)
	f.joinNode(3)
	for range 8 {
		f.run(5 * time.Second)
		f.nodes[3].alive = false
		f.run(5 * time.Second)
		f.nodes[3].alive = true
	}
	if has, wants := f.coreOf(); has != 1 || wants != 1 {
		t.Errorf("%d voters, %d wanted", has, wants)
	}
	f.run(15 * time.Second)
	if has, wants := f.coreOf(); has != 3 || wants != 3 {
		t.Errorf("once it stays: %d voters, %d wanted", has, wants)
	}
}

// A keyspace has as many replicas as there are nodes when it is made, at most 3, and an odd number.
func TestReplicasFollowNodes(t *testing.T) {
	f := newFakeCluster(t, Options{Self: 1})
	f.found(1, 3, func(int) string { return "" })
	f.run(4 * time.Second)
	for n, want := range []int{1, 1, 3, 3, 3} {
		if n > 0 {
			f.joinNode(n + 1)
			f.run(time.Second)
		}
		name := "k" + string(rune('0'+n))
		id := f.admin(&kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: name, Scheme: kv.SchemeRange}})
		f.run(2 * time.Second)
		if r := f.replies[id]; r.err != nil || len(r.resp.Topology.Partitions[0].Descriptor.Replicas) != want {
			t.Errorf("%d nodes: %+v, %v", n+1, r.resp, r.err)
		}
	}
}
