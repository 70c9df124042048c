package session

import (
	"math/rand/v2"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

func key(s string) kv.Key { return kv.MakeKey(1, []byte(s)) }

func place(p kv.PartitionID, g kv.Generation, start, end string) *kv.Descriptor {
	s := kv.Span{Start: key(start), End: key(end)}
	if end == "" {
		s.End = kv.PrefixEnd(key(""))
	}
	return &kv.Descriptor{
		Partition: p, Keyspace: 1, Span: s, Generation: g,
		Replicas: []kv.Replica{{ID: 1, Node: 1, Role: kv.RoleVoter}, {ID: 2, Node: 2, Role: kv.RoleLearner}, {ID: 3, Node: 3, Role: kv.RoleVoter}},
	}
}

func topology(ds ...*kv.Descriptor) *kv.Topology {
	t := &kv.Topology{ClusterID: 9, Keyspaces: []kv.Keyspace{{ID: 1, Name: "a"}}, Nodes: []kv.NodeInfo{{ID: 3}, {ID: 1, Address: "one"}}}
	for _, d := range ds {
		t.Partitions = append(t.Partitions, kv.PartitionInfo{Descriptor: d, Leader: 1, Term: 5})
	}
	return t
}

// at is the partition that the map finds; 0 = none.
func (m *Map) at(k kv.Key, before bool) kv.PartitionID {
	p, ok := m.Find(k, before)
	if !ok {
		return 0
	}
	return p.Descriptor.Partition
}

func TestMapFind(t *testing.T) {
	m := newMap()
	m.Learn("", topology(place(4, 1, "", "g"), place(5, 1, "g", "p"), place(6, 1, "s", "")))
	for _, x := range []struct {
		key    kv.Key
		before bool
		want   kv.PartitionID
	}{
		{key(""), false, 4},
		{key("f"), false, 4},
		{key("g"), false, 5},
		{key("p"), false, 0},
		{key("s"), false, 6},
		{kv.MakeKey(2, nil), false, 0},
		{kv.MakeKey(0, nil), false, 0},
		{key("g"), true, 4},
		{key("g\x00"), true, 5},
		{key("p"), true, 5},
		{key("q"), true, 0},
		{key("s"), true, 0},
		{kv.MakeKey(2, nil), true, 6},
		{key(""), true, 0},
		{nil, true, 0}, // the end of all keys: keyspace 1 does not reach it
	} {
		if got := m.at(x.key, x.before); got != x.want {
			t.Errorf("%q, before %t: %d, not %d", x.key, x.before, got, x.want)
		}
	}
	if n, ok := m.Node(1); !ok || n.Address != "one" || m.Nodes()[0].ID != 1 || m.Cluster() != 9 {
		t.Errorf("nodes %v", m.Nodes())
	}
	if _, ok := m.Node(2); ok {
		t.Error("node 2 is not in the registry")
	}
	if o := m.Overlapping(kv.Span{Start: key("f"), End: key("h")}); len(o) != 2 {
		t.Errorf("overlapping: %d", len(o))
	}
}

func TestMapNews(t *testing.T) {
	m := newMap()
	m.Learn("a", topology(place(4, 2, "", "")))
	if m.LearnDescriptor(place(4, 1, "", "z")) || m.LearnDescriptor(place(4, 2, "", "z")) {
		t.Error("old news was taken")
	}
	// A split: the right half comes first.
	if !m.LearnDescriptor(place(5, 1, "m", "")) || !m.LearnDescriptor(place(4, 3, "", "m")) {
		t.Error("news was not taken")
	}
	if m.at(key("a"), false) != 4 || m.at(key("m"), false) != 5 {
		t.Errorf("after the split: %d, %d", m.at(key("a"), false), m.at(key("m"), false))
	}
	if m.LearnLeader(5, 2, 3); m.byID[5].Leader != 2 || m.LearnLeader(5, 3, 2) || m.byID[5].Leader != 2 {
		t.Error("an older term's leader was believed")
	}
	if m.ForgetLeader(5, 1); m.byID[5].Leader != 2 {
		t.Error("another one was forgotten")
	}
	if m.ForgetLeader(5, 2); m.byID[5].Leader != 0 || m.byID[5].Term != 3 {
		t.Errorf("%+v", m.byID[5])
	}
	// A leader that has no replica any more does not lead.
	m.LearnLeader(5, 3, 4)
	d := place(5, 2, "m", "")
	d.Replicas = d.Replicas[:2]
	if m.LearnDescriptor(d); m.byID[5].Leader != 0 || m.byID[5].Term != 4 {
		t.Errorf("%+v", m.byID[5])
	}
	m.Forget("a")
	if len(m.places) != 0 || len(m.byID) != 0 {
		t.Error("the places of a dropped keyspace are still there")
	}
}

// TestMapNeverOverlaps throws random news at a map.
func TestMapNeverOverlaps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		m := newMap()
		m.Learn("", topology())
		for range 60 {
			a, b := string(rune('a'+rng.IntN(26))), string(rune('a'+rng.IntN(26)))
			m.LearnDescriptor(place(kv.PartitionID(2+rng.IntN(9)), kv.Generation(rng.IntN(60)), a, b))
			if len(m.places) != len(m.byID) {
				t.Fatal("the two indexes differ")
			}
			for i, p := range m.places {
				if m.byID[p.Descriptor.Partition] != p {
					t.Fatal("the two indexes differ")
				}
				if i > 0 && m.places[i-1].Descriptor.Span.Overlaps(p.Descriptor.Span) {
					t.Fatalf("%v overlaps %v", m.places[i-1].Descriptor, p.Descriptor)
				}
			}
		}
	}
}

func TestJitter(t *testing.T) {
	s := New(rand.NewPCG(1, 1))
	for n := range 100 {
		bound := min(BackoffMax, BackoffMin<<min(n, 20))
		if d := s.Jitter(n); d < 0 || d > bound {
			t.Errorf("after %d failures: %v", n, d)
		}
	}
	if a, b := s.NewID(), s.NewID(); a == b {
		t.Error("two ids are the same")
	}
}

func TestReadsAreRouted(t *testing.T) {
	s := New(rand.NewPCG(1, 1))
	s.Map.Learn("", topology(place(4, 7, "", "m"), place(5, 1, "m", "")))
	var c Call
	a := c.Begin(s, Op{Key: key("a"), Request: kv.Request{Read: &kv.Read{Keys: []kv.Key{key("a"), key("z")}}}})
	if a.Kind != Done || a.Err.Kind != kv.WrongPartition {
		t.Errorf("keys of two partitions: %+v", a)
	}
	a = c.Begin(s, Op{Key: key("z"), Before: true, Request: kv.Request{Scan: &kv.Scan{Span: kv.Span{Start: key("b"), End: key("z")}, Reverse: true}}})
	if a.Kind != Send || a.Node != 1 || a.Request.Partition != 5 || string(a.Request.Scan.Span.Start) != string(key("m")) {
		t.Errorf("a reverse scan: %+v", a)
	}
	a = c.Begin(s, Op{Key: key("b"), Request: kv.Request{Scan: &kv.Scan{Span: kv.Span{Start: key("b"), End: key("z")}}}})
	if a.Request.Partition != 4 || a.Request.Generation != 7 || string(a.Request.Scan.Span.End) != string(key("m")) {
		t.Errorf("a scan: %+v", a)
	}
	if a = c.Refused(&kv.Error{Kind: kv.TooOld}); a.Kind != Done || a.Err.Kind != kv.TooOld {
		t.Errorf("a final error: %+v", a)
	}
	a = c.Begin(s, Op{Key: key("b"), Request: kv.Request{Read: &kv.Read{Keys: []kv.Key{key("b")}}}})
	var asked []kv.NodeID
	for range 4 { // the leader is lost: the voters are asked in turn
		asked = append(asked, a.Node)
		if a = c.Lost(kv.Errorf(kv.Unavailable, "lost")); a.Kind != Wait {
			t.Fatalf("%+v", a)
		}
		if a = c.Woke(); a.Kind == Refresh {
			a = c.Refreshed(kv.Errorf(kv.Unavailable, "none"))
			a = c.Woke()
		}
	}
	if asked[0] != 1 || asked[1] != 3 || asked[2] != 1 || asked[3] != 3 {
		t.Errorf("asked %v", asked)
	}
	if a = c.Woke(); a.Kind != Done || a.Err.Kind != kv.Internal {
		t.Errorf("an event out of turn: %+v", a)
	}
}
