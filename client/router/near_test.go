package router

import (
	"slices"
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

// order is in which order replicas are tried.
func order(r *Router, bound kv.Timestamp) (nodes []kv.NodeID) {
	for {
		n := r.nearest(threeZones(), bound, nodes)
		if n == 0 {
			return nodes
		}
		nodes = append(nodes, n)
	}
}

// TestNearestByLocality: the most tiers in common win; what is equally near is decided by what was measured.
func TestNearestByLocality(t *testing.T) {
	for locality, want := range map[string][]kv.NodeID{
		"region=b,zone=2": {3, 2, 1}, "region=a": {1, 2, 3}, "region=a, zone=9": {1, 2, 3}, "region=b,zone=1,rack=7": {2, 3, 1},
	} {
		if got := order(routerIn(t, locality), 1); !slices.Equal(got, want) {
			t.Errorf("in %q the order is %v, want %v", locality, got, want)
		}
	}
}

// TestNearestByLatency: each replica is measured once, then the fastest is asked.
func TestNearestByLatency(t *testing.T) {
	r := routerIn(t, "")
	took := map[kv.NodeID]time.Duration{1: 9 * time.Millisecond, 2: 2 * time.Millisecond, 3: 5 * time.Millisecond}
	asked := map[kv.NodeID]int{}
	for range 20 {
		n := r.nearest(threeZones(), 1, nil)
		asked[n]++
		r.measured(n, took[n])
	}
	if asked[1] != 1 || asked[2] != 18 || asked[3] != 1 {
		t.Errorf("asked %v", asked)
	}
	if got := order(r, 1); !slices.Equal(got, []kv.NodeID{2, 3, 1}) {
		t.Errorf("the order is %v", got)
	}
	for _, l := range r.near.nodes {
		l.at = l.at.Add(-2 * latencyAge)
	}
	again := map[kv.NodeID]bool{}
	for range 3 {
		n := r.nearest(threeZones(), 1, nil)
		again[n] = true
		r.measured(n, took[n])
	}
	if len(again) != 3 {
		t.Errorf("measured anew: %v", again)
	}
}

// TestWhoDoesNotAnswerIsAvoided: for a while; then one read finds out, and the others still go elsewhere.
func TestWhoDoesNotAnswerIsAvoided(t *testing.T) {
	r := routerIn(t, "region=b,zone=2")
	r.missed(3)
	if got := order(r, 1); !slices.Equal(got, []kv.NodeID{2, 1}) {
		t.Errorf("the order is %v", got)
	}
	r.near.of(3).lost = time.Now().Add(-lostAge)
	if got := r.nearest(threeZones(), 1, nil); got != 3 {
		t.Errorf("after a while node %d is asked", got)
	}
	if got := r.nearest(threeZones(), 1, nil); got != 2 {
		t.Errorf("then node %d is asked", got)
	}
	r.measured(3, time.Millisecond)
	if got := r.nearest(threeZones(), 1, nil); got != 3 {
		t.Errorf("when it answers again node %d is asked", got)
	}
	r.missed(1)
	if got := order(r, 1); !slices.Equal(got, []kv.NodeID{3, 2}) {
		t.Errorf("the leader, which does not answer either, comes before it is its turn: %v", got)
	}
}

// TestWhoIsBehindIsAvoided: a replica that has refused a read is not asked for what is newer than it can have by now.
func TestWhoIsBehindIsAvoided(t *testing.T) {
	ms := func(at int64) kv.Timestamp { return kv.MakeTimestamp(1_000_000+at, 0) }
	start := time.Unix(1000, 0)
	after := func(d int64) time.Time { return start.Add(time.Duration(d) * time.Millisecond) }
	r := routerIn(t, "region=b,zone=2")
	next := func(bound kv.Timestamp, now time.Time) kv.NodeID {
		return r.near.next(&search{place: threeZones(), bound: bound, now: now, node: r.session.Map.Node})
	}
	three := lagging{2, 3}
	r.near.behind(three, ms(-2000), ms(0), start) // it is two seconds behind
	for _, x := range []struct {
		bound, now int64
		want       kv.NodeID
	}{
		{-1999, 0, 2},
		{-2000, 0, 3},
		{-1000, 999, 2},
		{-1000, 1000, 3}, // time has gone on, and it with it
		{0, 1999, 2},
		{0, 2000, 3},    // it is time to ask: perhaps it has caught up
		{2000, 2000, 2}, // one read does
		{2000, 3999, 2},
		{2001, 4000, 3},
	} {
		if got := next(ms(x.bound), after(x.now)); got != x.want {
			t.Errorf("after %d ms a read at %d goes to node %d, not %d", x.now, x.bound, got, x.want)
		}
	}
	r.near.ahead(three, ms(2000), after(4001))
	if next(ms(3000), after(4001)) != 2 {
		t.Error("an answer that it was known to have makes it ahead")
	}
	r.near.ahead(three, ms(2002), after(4001))
	if next(ms(3000), after(4001)) != 3 {
		t.Error("it has caught up, and is avoided")
	}
	r.near.behind(three, 0, ms(0), start) // it has nothing, or does not say
	if next(ms(0), after(lagAgainMax.Milliseconds()-1)) != 2 || next(ms(0), start.Add(lagAgainMax)) != 3 {
		t.Error("nothing is closed there: it is not avoided, or for ever")
	}
	r.near.behind(lagging{2, 1}, 0, ms(0), start)
	if got := r.near.next(&search{place: threeZones(), bound: ms(0), now: start, tried: []kv.NodeID{2, 3}, node: r.session.Map.Node}); got != 1 {
		t.Errorf("the leader is avoided for being behind: %d", got)
	}
	for i := range kv.PartitionID(3 * lagsMax) {
		r.near.behind(lagging{i, 3}, 0, ms(0), start)
	}
	if n := len(r.near.lags); n > lagsMax {
		t.Errorf("%d replicas are known to be behind", n)
	}
}

// TestWhoStandsStillIsAvoided: a replica that has closed nothing more since the refusal before is not taken to go on.
func TestWhoStandsStillIsAvoided(t *testing.T) {
	ms := func(at int64) kv.Timestamp { return kv.MakeTimestamp(1_000_000+at, 0) }
	start := time.Unix(1000, 0)
	after := func(d int64) time.Time { return start.Add(time.Duration(d) * time.Millisecond) }
	r := routerIn(t, "region=b,zone=2")
	want := func(now int64, node kv.NodeID) {
		t.Helper()
		if got := r.near.next(&search{place: threeZones(), bound: ms(0), now: after(now), node: r.session.Map.Node}); got != node {
			t.Errorf("after %d ms the read goes to node %d, not %d", now, got, node)
		}
	}
	refused := func(closed, now int64) { r.near.behind(lagging{2, 3}, ms(closed), ms(60_000), after(now)) }
	refused(-100, 0)
	want(99, 2)
	want(100, 3)
	refused(-100, 101)
	want(102, 3) // that is too soon to tell
	refused(-100, 600)
	want(600, 2)
	want(5599, 2)
	want(5600, 3) // it is asked anew
	refused(-50, 5601)
	want(5650, 2)
	want(5651, 3) // it goes on
	refused(-9000, 5700)
	want(5700, 3) // that was said before
	refused(-9000, 6700)
	want(6700, 2) // that was not: it is another replica, or has lost what it had
}

// TestRefusalsTell: what a refusal says of its replica is kept, unless the replica had all that was asked for.
func TestRefusalsTell(t *testing.T) {
	r := routerIn(t, "region=b,zone=2")
	r.hear(kv.MakeTimestamp(1_000_000, 0))
	q := &kv.Request{Partition: 2}
	bound := kv.MakeTimestamp(999_000, 0)
	r.noteRefusal(q, bound, 3, &kv.Error{Kind: kv.NotLeader, Closed: bound}) // a lock
	r.noteRefusal(q, bound, 3, &kv.Error{Kind: kv.Conflict})
	if got := order(r, bound); !slices.Equal(got, []kv.NodeID{3, 2, 1}) {
		t.Errorf("the order is %v", got)
	}
	r.noteRefusal(q, bound, 3, &kv.Error{Kind: kv.NotLeader, Closed: bound - 1<<30})
	if got := order(r, bound); !slices.Equal(got, []kv.NodeID{2, 1}) {
		t.Errorf("with node 3 behind the order is %v", got)
	}
	r.noteAnswer(q, 3, kv.MakeTimestamp(2_000_000, 0))
	if got := order(r, bound); !slices.Equal(got, []kv.NodeID{3, 2, 1}) {
		t.Errorf("when it has caught up the order is %v", got)
	}
	for _, k := range []kv.Kind{kv.Unavailable, kv.WrongPartition} {
		r.noteRefusal(q, bound, 3, &kv.Error{Kind: k})
		if got := order(r, bound); !slices.Equal(got, []kv.NodeID{2, 1}) {
			t.Errorf("after %v the order is %v", k, got)
		}
		r.noteAnswer(q, 3, kv.MakeTimestamp(2_000_000, 0))
	}
}

// TestWhatTellsThatANodeIsGone: no answer does, of a wait that was long enough; any word of it tells the contrary.
func TestWhatTellsThatANodeIsGone(t *testing.T) {
	r := routerIn(t, "")
	gone := func() bool { return !r.near.of(3).lost.IsZero() }
	unavailable := kv.Errorf(kv.Unavailable, "gone")
	for _, x := range []struct {
		how  how
		took time.Duration
		err  *kv.Error
		want bool
	}{
		{lost, time.Millisecond, unavailable, true},
		{responded, time.Millisecond, nil, false},
		{0, nearPatience - 1, kv.Errorf(kv.Timeout, "the caller's deadline was short"), false},
		{refused, 2 * nearPatience, unavailable, false},
		{0, nearPatience, kv.Errorf(kv.Timeout, "nothing came"), true},
		{errored, time.Millisecond, unavailable, false},
	} {
		if r.noteNear(3, x.how, x.took, x.err); gone() != x.want {
			t.Errorf("%v after %v, %v: gone is %v", x.how, x.took, x.err, gone())
		}
	}
	if took := r.near.of(3).smooth; took != time.Millisecond {
		t.Errorf("a read takes %v there: refusals are not measured", took)
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

// TestPatience: a near replica is waited for briefly, and near tries do not make the waits after them longer.
func TestPatience(t *testing.T) {
	r := routerIn(t, "region=b,zone=2")
	d := threeZones().Descriptor
	d.Span = kv.Span{Start: kv.Key("a"), End: kv.Key("z")}
	r.session.Map.LearnDescriptor(d)
	r.session.Map.LearnLeader(d.Partition, 1, 5)
	c := &Call{router: r}
	op := session.Op{Key: kv.Key("k"), Anywhere: true, Request: kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}, Timestamp: 1, Stale: kv.Stale{Follower: true}}}}
	a := c.machine.Begin(r.session, op)
	for _, want := range []struct {
		node     kv.NodeID
		patience time.Duration
	}{{3, nearPatience}, {2, nearPatience}, {1, patienceMin}} {
		if a.Kind != session.Send || a.Node != want.node || c.patience() != want.patience {
			t.Fatalf("%+v, for which %v is waited: want node %d and %v", a, c.patience(), want.node, want.patience)
		}
		a = c.machine.Lost(&kv.Error{Kind: kv.Unavailable})
	}
	for a.Kind != session.Send {
		switch a.Kind {
		case session.Wait:
			a = c.machine.Woke()
		case session.Refresh:
			a = c.machine.Refreshed(nil)
		default:
			t.Fatalf("after the leader was lost: %+v", a)
		}
	}
	if got := c.patience(); got != patienceMin {
		t.Errorf("the first copy that goes where all reads go is given %v, want %v", got, patienceMin)
	}
}
