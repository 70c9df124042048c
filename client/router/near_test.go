package router

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

func threeZones() *session.Place {
	return &session.Place{Leader: 1, Descriptor: &kv.Descriptor{Partition: 2, Generation: 1, Replicas: []kv.Replica{
		{ID: 1, Node: 1, Role: kv.RoleVoter}, {ID: 2, Node: 2, Role: kv.RoleVoter}, {ID: 3, Node: 3, Role: kv.RoleVoter},
	}}}
}

func routerIn(t *testing.T, locality string) *Router {
	r := New(Config{Locality: locality})
	t.Cleanup(func() { _ = r.Close() })
	r.session.Map.Learn("", &kv.Topology{Nodes: []kv.NodeInfo{
		{ID: 1, Locality: "region=a,zone=1"}, {ID: 2, Locality: "region=b,zone=1"}, {ID: 3, Locality: "region=b,zone=2"},
	}})
	return r
}

// TestNearestByLocality: the most tiers in common win; what is equally near is decided by what was measured.
func TestNearestByLocality(t *testing.T) {
	for locality, want := range map[string]kv.NodeID{
		"region=b,zone=2": 3, "region=a": 1, "region=a, zone=9": 1, "region=b,zone=1,rack=7": 2,
	} {
		if got := routerIn(t, locality).nearest(threeZones()); got != want {
			t.Errorf("in %q node %d is the nearest, want %d", locality, got, want)
		}
	}
}

// TestNearestByLatency: each replica is measured once, then the fastest is asked; one that does not answer is not.
func TestNearestByLatency(t *testing.T) {
	r := routerIn(t, "")
	took := map[kv.NodeID]time.Duration{1: 9 * time.Millisecond, 2: 2 * time.Millisecond, 3: 5 * time.Millisecond}
	asked := map[kv.NodeID]int{}
	for range 20 {
		n := r.nearest(threeZones())
		asked[n]++
		r.measured(n, took[n])
	}
	if asked[1] != 1 || asked[2] != 18 || asked[3] != 1 {
		t.Errorf("asked %v", asked)
	}
	r.measured(2, latencyLost)
	if n := r.nearest(threeZones()); n != 3 {
		t.Errorf("after node 2 was lost node %d is asked", n)
	}
	for _, l := range r.near.nodes {
		l.at = l.at.Add(-2 * latencyAge)
	}
	again := map[kv.NodeID]bool{}
	for range 3 {
		n := r.nearest(threeZones())
		again[n] = true
		r.measured(n, took[n])
	}
	if len(again) != 3 {
		t.Errorf("measured anew: %v", again)
	}
}

// TestAnywhereIfOld: what no follower can have yet is asked of the leader.
func TestAnywhereIfOld(t *testing.T) {
	r := routerIn(t, "")
	now := kv.MakeTimestamp(1_000_000, 0)
	r.hear(now)
	old := kv.MakeTimestamp(1_000_000-closedLag.Milliseconds()-1, 0)
	if r.Anywhere(now+1000<<30) || r.Anywhere(0) || !r.Anywhere(old) {
		t.Error("what is new goes to a follower, or what is old does not")
	}
	from := From{Stale: kv.Stale{NotBefore: old}}
	if f := from.Known(now); f != (From{At: now, Stale: kv.Stale{Follower: true}}) {
		t.Errorf("the next pages are read from %+v", f)
	}
	if f := (From{}).Known(now); f != (From{At: now}) {
		t.Errorf("a strong scan goes on from %+v", f)
	}
}
