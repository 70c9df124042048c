package core

import (
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// A node that was replaced is no dead node. It is forgotten once nothing names it and it was silent
// for ReplacedKeep, which survives the leaders of the core.
func TestReplacedNodeIsForgotten(t *testing.T) {
	f := newFakeCluster(t, Options{Self: 1, DeadAfter: 10 * time.Second, ReplacedKeep: 60 * time.Second})
	f.found(3, 3, func(int) string { return "" })
	f.run(4 * time.Second)
	f.nodes[2].alive = false
	f.run(4 * time.Second)
	id := f.admin(&kv.AdminRequest{Join: &kv.JoinCluster{Address: "n2:1", Nonce: 900}})
	f.commit()
	if r := f.replies[id]; r.err != nil || r.resp.Join.Node != 4 {
		t.Fatalf("joined %+v, %v", r.resp, r.err)
	}
	f.run(30 * time.Second) // node 4 is not there yet: what node 2 has cannot be moved
	status := f.m.status()
	if n := status.Nodes[1]; n.Info.ID != 2 || n.Liveness != kv.NodeReplaced {
		t.Errorf("node 2 is %v", n.Liveness)
	}
	for _, s := range status.Unhealthy {
		if strings.Contains(s, "node 2") && strings.Contains(s, "silent") {
			t.Errorf("a replaced node is called sick: %s", s)
		}
	}
	f.run(60 * time.Second)
	if _, ok := f.m.Node(2); !ok {
		t.Fatal("node 2 was forgotten while partitions name it")
	}
	f.addNode(4)
	f.run(20 * time.Second)
	if _, ok := f.m.Node(2); ok {
		t.Error("node 2 is in the registry still")
	}
	for k := range f.keys {
		if k == nodeKey(2) || k == replacedKey(2) {
			t.Errorf("the key %s was left", k)
		}
	}
	if again := f.admin(&kv.AdminRequest{Join: &kv.JoinCluster{Address: "n5:1", Nonce: 901}}); true {
		f.commit()
		if r := f.replies[again]; r.err != nil || r.resp.Join.Node != 5 {
			t.Errorf("the next node is %+v, %v", r.resp, r.err)
		}
	}
}

// A replaced node that is heard of stays, and so does one whose time is not over, whoever leads.
func TestReplacedNodeStays(t *testing.T) {
	f := newFakeCluster(t, Options{Self: 1, DeadAfter: 10 * time.Second, ReplacedKeep: 60 * time.Second})
	f.found(3, 3, func(int) string { return "" })
	f.run(4 * time.Second)
	f.nodes[2].alive = false
	f.run(4 * time.Second)
	id := f.admin(&kv.AdminRequest{Join: &kv.JoinCluster{Address: "n2:1", Nonce: 900}})
	f.commit()
	f.addNode(f.replies[id].resp.Join.Node)
	f.run(30 * time.Second)
	f.elect()
	f.run(20 * time.Second)
	if _, ok := f.m.Node(2); !ok {
		t.Fatal("node 2 was forgotten too early")
	}
	for range 12 {
		f.m.Report(2, &Report{}) // it haunts the cluster
		f.run(5 * time.Second)
	}
	if _, ok := f.m.Node(2); !ok {
		t.Fatal("node 2 was forgotten while it is heard of")
	}
	f.elect() // a new leader does not know when it was heard, but listens for DeadAfter
	f.run(8 * time.Second)
	if _, ok := f.m.Node(2); !ok {
		t.Fatal("node 2 was forgotten by a leader that has not listened")
	}
	f.run(10 * time.Second)
	if _, ok := f.m.Node(2); ok {
		t.Error("node 2 is in the registry still")
	}
}
