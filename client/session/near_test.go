package session_test

import (
	"math/rand/v2"
	"testing"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// TestNearestFirst: a read that any replica may answer goes to the nearest one first, and then to the leader, whatever came
// of that; others go to the leader at once.
func TestNearestFirst(t *testing.T) {
	m := newModel(1)
	for what, refusal := range map[string]func(*session.Call) session.Action{
		"not covered": func(c *session.Call) session.Action {
			return c.Refused(&kv.Error{Kind: kv.NotLeader, Leader: 1, Term: 5})
		},
		"nobody known": func(c *session.Call) session.Action { return c.Refused(&kv.Error{Kind: kv.NotLeader}) },
		"down":         func(c *session.Call) session.Action { return c.Lost(&kv.Error{Kind: kv.Unavailable}) },
	} {
		s := session.New(rand.NewPCG(1, 1))
		s.Map.Learn("", m.topology())
		s.Nearest = func(p *session.Place) kv.NodeID { return p.Descriptor.Replicas[2].Node }
		read := session.Op{Key: key, Request: kv.Request{Read: &kv.Read{Keys: []kv.Key{key}}}}
		var c session.Call
		if a := c.Begin(s, read); a.Kind != session.Send || a.Node != 1 {
			t.Fatalf("%s: a strong read goes to %+v", what, a)
		}
		read.Anywhere = true
		c = session.Call{}
		if a := c.Begin(s, read); a.Kind != session.Send || a.Node != 3 {
			t.Fatalf("%s: it goes to %+v", what, a)
		}
		a := refusal(&c)
		if a.Kind == session.Wait {
			a = c.Woke()
		}
		if a.Kind != session.Send || a.Node != 1 {
			t.Errorf("%s: then it goes to %+v", what, a)
		}
	}
}

// TestNobodyIsNear: without a preference the leader is asked.
func TestNobodyIsNear(t *testing.T) {
	s := session.New(rand.NewPCG(1, 1))
	s.Map.Learn("", newModel(1).topology())
	s.Nearest = func(*session.Place) kv.NodeID { return 0 }
	var c session.Call
	a := c.Begin(s, session.Op{Key: key, Anywhere: true, Request: kv.Request{Read: &kv.Read{Keys: []kv.Key{key}}}})
	if a.Kind != session.Send || a.Node != 1 {
		t.Errorf("it goes to %+v", a)
	}
}
