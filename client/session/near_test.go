package session_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// byNearness is a session that knows which nodes are near; 0 ends the list.
func byNearness(nodes ...kv.NodeID) *session.Session {
	s := session.New(rand.NewPCG(1, 1))
	s.Map.Learn("", newModel(1).topology())
	s.Nearest = func(_ *session.Place, _ kv.Timestamp, tried []kv.NodeID) kv.NodeID {
		for _, n := range nodes {
			if !slices.Contains(tried, n) {
				return n
			}
		}
		return 0
	}
	return s
}

func readOf(stale kv.Stale, at kv.Timestamp) session.Op {
	return session.Op{Key: key, Anywhere: stale != kv.Stale{}, Request: kv.Request{Read: &kv.Read{Keys: []kv.Key{key}, Timestamp: at, Stale: stale}}}
}

// path is to which nodes a call goes, without a wait between them, if nobody answers.
func path(c *session.Call, a session.Action, refusal func(*session.Call) session.Action) (nodes []kv.NodeID) {
	for a.Kind == session.Send && len(nodes) < 10 {
		nodes = append(nodes, a.Node)
		a = refusal(c)
	}
	return nodes
}

func refusedBy(e kv.Error) func(*session.Call) session.Action {
	return func(c *session.Call) session.Action { return c.Refused(&e) }
}

// TestNearestFirst: a read that any replica may answer goes to the near ones, in their order and at once, and then to
// the leader, whatever came of that; others go to the leader.
func TestNearestFirst(t *testing.T) {
	for what, refusal := range map[string]func(*session.Call) session.Action{
		"behind":       refusedBy(kv.Error{Kind: kv.NotLeader, Leader: 1, Term: 5, Closed: 6}),
		"nobody known": refusedBy(kv.Error{Kind: kv.NotLeader}),
		"overloaded":   refusedBy(kv.Error{Kind: kv.Unavailable}),
		"silent":       refusedBy(kv.Error{Kind: kv.Timeout}),
		"down":         func(c *session.Call) session.Action { return c.Lost(&kv.Error{Kind: kv.Unavailable}) },
	} {
		for _, op := range []session.Op{
			readOf(kv.Stale{Follower: true}, 7), readOf(kv.Stale{NotBefore: 7}, 0),
			{Key: key, Anywhere: true, Request: kv.Request{Scan: &kv.Scan{Timestamp: 7, Stale: kv.Stale{Follower: true}}}},
		} {
			s, c := byNearness(3, 2), session.Call{}
			bound := kv.Timestamp(0)
			near := s.Nearest
			s.Nearest = func(p *session.Place, b kv.Timestamp, tried []kv.NodeID) kv.NodeID {
				bound = b
				return near(p, b, tried)
			}
			if got := path(&c, c.Begin(s, op), refusal); !slices.Equal(got[:3], []kv.NodeID{3, 2, 1}) || bound != 7 {
				t.Errorf("%s: a read at %v goes to %v", what, bound, got)
			}
			if c.Near() {
				t.Errorf("%s: the leader is asked for being near", what)
			}
		}
	}
	var c session.Call
	if a := c.Begin(byNearness(3, 2), readOf(kv.Stale{}, 0)); a.Node != 1 || c.Near() || c.Node() != 1 {
		t.Errorf("a strong read goes to %+v", a)
	}
}

// TestNearLeader: a leader that is nearer than others is asked when it is its turn; when it is lost, those others are.
func TestNearLeader(t *testing.T) {
	var c session.Call
	var brief []bool // whether little patience is needed with the copy
	got := path(&c, c.Begin(byNearness(3, 1, 2), readOf(kv.Stale{Follower: true}, 7)), func(c *session.Call) session.Action {
		brief = append(brief, c.Brief())
		return c.Lost(&kv.Error{Kind: kv.Unavailable})
	})
	if !slices.Equal(got[:3], []kv.NodeID{3, 1, 2}) {
		t.Errorf("it goes to %v", got)
	}
	if !slices.Equal(brief[:3], []bool{true, false, true}) || slices.Contains(brief[3:], true) || c.NearTries() != 3 {
		t.Errorf("of the copies to %v those are taken for brief: %v; %d for near", got, brief, c.NearTries())
	}
}

// TestNearTriesEnd: the tries at near replicas are bounded, however many there are, and how often the read goes on.
func TestNearTriesEnd(t *testing.T) {
	for what, refusal := range map[string]func(*session.Call) session.Action{
		"behind": refusedBy(kv.Error{Kind: kv.NotLeader, Leader: 1, Term: 5}),
		"down":   func(c *session.Call) session.Action { return c.Lost(&kv.Error{Kind: kv.Unavailable}) },
	} {
		s, c, near := byNearness(), session.Call{}, 0
		s.Nearest = func(_ *session.Place, _ kv.Timestamp, tried []kv.NodeID) kv.NodeID {
			near++
			return kv.NodeID(9 + len(tried))
		}
		a := c.Begin(s, readOf(kv.Stale{Follower: true}, 7))
		for range 20 {
			switch a.Kind {
			case session.Send:
				a = refusal(&c)
			case session.Wait:
				a = c.Woke()
			case session.Refresh:
				a = c.Refreshed(nil)
			case session.Done:
				t.Fatalf("%s: it ends with %+v", what, a)
			}
		}
		if near != session.NearTriesMax {
			t.Errorf("%s: %d near replicas were looked for", what, near)
		}
	}
}

// TestLocksSendToTheLeader: who has all that is needed and still does not answer has met a lock, as all other replicas
// would.
func TestLocksSendToTheLeader(t *testing.T) {
	var c session.Call
	c.Begin(byNearness(3, 2), readOf(kv.Stale{NotBefore: 7}, 0))
	if a := c.Refused(&kv.Error{Kind: kv.NotLeader, Leader: 1, Term: 5, Closed: 7}); a.Kind != session.Send || a.Node != 1 {
		t.Errorf("it goes to %+v", a)
	}
}

// TestNearRefusalsThatEnd: what is true of all replicas is not asked of another.
func TestNearRefusalsThatEnd(t *testing.T) {
	for _, kind := range []kv.Kind{kv.TooOld, kv.Invalid, kv.Limit, kv.Corruption} {
		var c session.Call
		c.Begin(byNearness(3, 2), readOf(kv.Stale{Follower: true}, 7))
		if a := c.Refused(&kv.Error{Kind: kind}); a.Kind != session.Done || a.Err.Kind != kind {
			t.Errorf("%v: %+v", kind, a)
		}
	}
}

// TestNobodyIsNear: without a preference the leader is asked.
func TestNobodyIsNear(t *testing.T) {
	var c session.Call
	if a := c.Begin(byNearness(), readOf(kv.Stale{Follower: true}, 7)); a.Kind != session.Send || a.Node != 1 {
		t.Errorf("it goes to %+v", a)
	}
}
