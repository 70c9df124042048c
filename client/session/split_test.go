package session_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// user is a key of keyspace 1.
func user(k string) kv.Key { return kv.MakeKey(1, []byte(k)) }

func writes(keys ...string) (all []kv.Write) {
	for _, k := range keys {
		all = append(all, kv.Write{Kind: kv.WritePut, Key: user(k), Value: []byte(k)})
	}
	return all
}

func marks(keys ...string) (all []kv.ReadMark) {
	for _, k := range keys {
		all = append(all, kv.ReadMark{Key: user(k)})
	}
	return all
}

func between(start, end string) kv.Span { return kv.Span{Start: user(start), End: user(end)} }

// cut is the topology of keyspace 1 in partitions 11, 12, ... that begin at the given keys, all led
// by node 1 in term 5.
func cut(generation kv.Generation, at ...string) *kv.Topology {
	t := &kv.Topology{Keyspaces: []kv.Keyspace{{ID: 1, Name: "a", Scheme: kv.SchemeRange}}}
	at = append([]string{""}, at...)
	for i, k := range at {
		end := kv.Key{0, 0, 0, 2}
		if i+1 < len(at) {
			end = user(at[i+1])
		}
		d := descriptor(kv.PartitionID(11+i), generation, user(k), end)
		t.Partitions = append(t.Partitions, kv.PartitionInfo{Descriptor: d, Leader: 1, Term: 5})
	}
	return t
}

func knowing(t *kv.Topology) *session.Session {
	s := session.New(rand.New(rand.NewPCG(1, 1)))
	s.Hear(100)
	s.Map.Learn("a", t)
	return s
}

func split(c *kv.Commit) session.Op {
	return session.Op{Split: true, Request: kv.Request{Commit: c}}
}

// sent insists on an action that sends a commit.
func sent(t *testing.T, a session.Action) *kv.Commit {
	t.Helper()
	if a.Kind != session.Send || a.Request.Commit == nil {
		t.Fatalf("no commit is sent: %+v, %v", a, a.Err)
	}
	return a.Request.Commit
}

// TestSplit: each partition gets what lies in it, the anchor first.
//
// Shows H1.
func TestSplit(t *testing.T) {
	s := knowing(cut(3, "f", "m", "t"))
	var c session.Call
	whole := &kv.Commit{
		Start: 9, Age: kv.Age{1}, Reads: marks("a", "n", "z"), Spans: []kv.Span{between("g", "h"), between("e", "n")},
		Writes: writes("n", "b", "o"),
	}
	a := c.Begin(s, split(whole))
	got := sent(t, a)
	want := &kv.Commit{
		ID: got.ID, Term: 5, AsOf: 100, Start: 9, Age: kv.Age{1},
		Reads: marks("n"), Spans: []kv.Span{between("m", "n")}, Writes: writes("n", "o"),
		Parts: []kv.Part{
			{Partition: 11, Generation: 3, Reads: marks("a"), Spans: []kv.Span{between("e", "f")}, Writes: writes("b")},
			{Partition: 14, Generation: 3, Reads: marks("z")},
			{Partition: 12, Generation: 3, Spans: []kv.Span{between("g", "h"), between("f", "m")}},
		},
	}
	if !reflect.DeepEqual(got, want) || got.ID.IsZero() || a.Request.Partition != 13 || a.Request.Generation != 3 {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if len(whole.Writes) != 3 || whole.Parts != nil || !whole.ID.IsZero() {
		t.Errorf("the caller's commit was changed: %+v", whole)
	}
	got = sent(t, c.Begin(s, split(&kv.Commit{Writes: writes("n", "o"), Start: 9, Reads: marks("p")})))
	if got.Parts != nil || len(got.Writes) != 2 || len(got.Reads) != 1 {
		t.Errorf("in one partition: %+v", got)
	}
	without := session.Op{Key: user("n"), Request: kv.Request{Commit: whole}}
	if a := c.Begin(s, without); a.Kind != session.Done || a.Err.Kind != kv.WrongPartition {
		t.Errorf("one that may not be parted: %+v", a)
	}
}

// TestSplitWithoutMap: the map is asked for as far as it is needed.
func TestSplitWithoutMap(t *testing.T) {
	s := session.New(rand.New(rand.NewPCG(1, 1)))
	var c session.Call
	a := c.Begin(s, split(&kv.Commit{Writes: writes("n", "b")}))
	if a.Kind != session.Refresh {
		t.Fatalf("%+v", a)
	}
	s.Map.Learn("a", cut(1, "f"))
	if got := sent(t, c.Refreshed(nil)); len(got.Parts) != 1 {
		t.Errorf("%+v", got)
	}
	elsewhere := &kv.Commit{Start: 9, Writes: writes("n"), Reads: []kv.ReadMark{{Key: kv.MakeKey(2, []byte("x"))}}}
	if a = c.Begin(s, split(elsewhere)); a.Kind != session.Refresh || a.Keyspace != "" {
		t.Fatalf("a key of another keyspace is missing: %+v", a)
	}
	if a = c.Refreshed(nil); a.Kind != session.Done || a.Err.Kind != kv.NotFound {
		t.Errorf("and is not there: %+v, %v", a, a.Err)
	}
	if a = c.Begin(s, split(&kv.Commit{Start: 9, Writes: writes("n"), Spans: []kv.Span{{Start: user("x"), End: kv.MakeKey(3, nil)}}})); a.Kind != session.Refresh || a.Keyspace != "a" {
		t.Errorf("a span beyond the map: %+v", a)
	}
}

// TestSplitFinal: which answers let the same transaction go on, and which do not (rules I4, I5).
//
// Shows I4, I5.
func TestSplitFinal(t *testing.T) {
	two, one := writes("b", "n"), writes("b", "c")
	for _, x := range []struct {
		name   string
		writes []kv.Write
		lost   bool // a copy was lost before
		answer kv.Error
		again  bool // it goes on under a new name
	}{
		{"stale term", two, false, kv.Error{Kind: kv.StaleTerm, Term: 6}, true},
		{"stale term, lost", two, true, kv.Error{Kind: kv.StaleTerm, Term: 6}, true},
		{"aborted", two, false, kv.Error{Kind: kv.Aborted}, true},
		{"aborted, lost", two, true, kv.Error{Kind: kv.Aborted}, true},
		{"aborted in one partition", one, false, kv.Error{Kind: kv.Aborted}, true},
		{"conflict", two, true, kv.Error{Kind: kv.Conflict}, false},
		{"too old", two, true, kv.Error{Kind: kv.TooOld}, false},
		{"expectation", two, true, kv.Error{Kind: kv.Expectation}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := knowing(cut(1, "f"))
			var c session.Call
			a := c.Begin(s, split(&kv.Commit{Start: 9, Age: kv.Age{7}, Reads: marks("a"), Writes: x.writes}))
			first := sent(t, a)
			if x.lost {
				c.Lost(kv.Errorf(kv.Unavailable, "cut"))
				if same := sent(t, c.Woke()); !reflect.DeepEqual(same, first) {
					t.Fatalf("the copies differ: %+v, %+v", first, same)
				}
			}
			a = c.Refused(&x.answer)
			if !x.again {
				if a.Kind != session.Done || a.Err.Kind != x.answer.Kind {
					t.Errorf("%+v, %v", a, a.Err)
				}
				return
			}
			next := sent(t, a)
			if next.ID == first.ID || next.Start != 9 || next.Age != first.Age || len(next.Parts) != len(first.Parts) || c.Stats().Attempts != 2 {
				t.Errorf("first %+v, then %+v", first, next)
			}
		})
	}
}

// TestSplitMoved: keys have moved since the commit was parted.
func TestSplitMoved(t *testing.T) {
	wrong := &kv.Error{Kind: kv.WrongPartition, Descriptors: []*kv.Descriptor{
		descriptor(12, 2, user("f"), user("p")), descriptor(15, 1, user("p"), kv.Key{0, 0, 0, 2}),
	}}
	commit := func() session.Op { return split(&kv.Commit{Writes: writes("g", "a", "q")}) }

	s := knowing(cut(1, "f"))
	var c session.Call
	first := sent(t, c.Begin(s, commit()))
	next := sent(t, c.Refused(wrong)) // nothing was done, and no copy was lost
	if next.ID == first.ID || len(first.Parts) != 1 || len(next.Parts) != 2 || next.Parts[1].Partition != 15 {
		t.Errorf("first %+v, then %+v", first, next)
	}

	// One copy was lost: it may be executed yet, so only its own name may go on, which has no place now.
	s = knowing(cut(1, "f"))
	sent(t, c.Begin(s, commit()))
	c.Lost(kv.Errorf(kv.Unavailable, "cut"))
	first = sent(t, c.Woke())
	if a := c.Refused(wrong); a.Kind != session.Done || a.Err.Kind != kv.Ambiguous || a.Err.ID != first.ID {
		t.Errorf("%+v, %v", a, a.Err)
	}

	// So does one that a partition is nowhere to be found.
	s = knowing(cut(1, "f"))
	first = sent(t, c.Begin(s, commit()))
	if a := c.Refused(kv.Errorf(kv.NotFound, "no partition 11")); a.Kind != session.Refresh {
		t.Fatalf("%+v", a)
	}
	if next = sent(t, c.Refreshed(nil)); next.ID == first.ID {
		t.Errorf("%+v", next)
	}

	// A refusal without news asks for the map.
	s = knowing(cut(1, "f"))
	first = sent(t, c.Begin(s, commit()))
	if a := c.Refused(&kv.Error{Kind: kv.WrongPartition}); a.Kind != session.Refresh {
		t.Fatalf("%+v", a)
	}
	s.Map.Learn("a", cut(2, "f", "p"))
	if next = sent(t, c.Refreshed(nil)); next.ID == first.ID || len(next.Parts) != 2 {
		t.Errorf("%+v", next)
	}
}

// TestSplitQuestion: to the anchor's new partition goes a question, with the anchor alone.
func TestSplitQuestion(t *testing.T) {
	s := knowing(cut(1, "f"))
	var c session.Call
	first := sent(t, c.Begin(s, split(&kv.Commit{Start: 9, Writes: writes("q", "g", "a"), Reads: marks("g"), Spans: []kv.Span{between("g", "h")}})))
	c.Lost(kv.Errorf(kv.Unavailable, "cut"))
	s.Map.LearnDescriptor(descriptor(12, 2, user("f"), user("p")))
	s.Map.LearnDescriptor(descriptor(15, 1, user("p"), kv.Key{0, 0, 0, 2}))
	a := c.Woke()
	q := sent(t, a)
	if a.Request.Partition != 15 || q.ID != first.ID || q.Term != 0 || len(q.Writes) != 1 || string(q.Writes[0].Key) != string(user("q")) {
		t.Fatalf("%+v in %d", q, a.Request.Partition)
	}
	if q.Parts != nil || q.Reads != nil || q.Spans != nil || len(first.Writes) != 2 {
		t.Errorf("a question names more than the anchor: %+v; %+v", q, first)
	}
	next := sent(t, c.Refused(&kv.Error{Kind: kv.StaleTerm, Term: 7}))
	if next.ID == first.ID || next.Term != 7 || len(next.Parts) != 2 {
		t.Errorf("then %+v", next)
	}
}

// TestSplitRandom: whatever the bounds, the parts together are the commit.
func TestSplitRandom(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		key := func() string { return fmt.Sprintf("%c", 'b'+rng.IntN(24)) }
		seen := map[string]bool{}
		var bounds []string
		for b := 'c'; b < 'z'; b++ {
			if rng.IntN(4) == 0 {
				bounds = append(bounds, string(b))
			}
		}
		whole := &kv.Commit{Start: 1}
		for range 1 + rng.IntN(6) {
			if k := key(); !seen[k] {
				seen[k] = true
				whole.Writes = append(whole.Writes, writes(k)...)
			}
			whole.Reads = append(whole.Reads, marks(key())...)
			whole.Spans = append(whole.Spans, between(key(), key()))
		}
		top := cut(1, bounds...)
		var c session.Call
		a := c.Begin(knowing(top), split(whole))
		m := sent(t, a)
		parts := append([]kv.Part{{Partition: a.Request.Partition, Reads: m.Reads, Spans: m.Spans, Writes: m.Writes}}, m.Parts...)
		covered := map[string]int{}
		var allReads, allWrites int
		for _, p := range parts {
			span := top.Partitions[p.Partition-11].Descriptor.Span
			for _, w := range p.Writes {
				if !span.Contains(w.Key) {
					t.Fatalf("seed %d: %+v", seed, m)
				}
			}
			for _, r := range p.Spans {
				if r.IsEmpty() || !span.ContainsSpan(r) {
					t.Fatalf("seed %d: %+v", seed, m)
				}
				for b := byte('a'); b <= 'z'; b++ {
					if r.Contains(user(string(b))) {
						covered[string(b)]++
					}
				}
			}
			allReads, allWrites = allReads+len(p.Reads), allWrites+len(p.Writes)
		}
		want := map[string]int{}
		for _, r := range whole.Spans {
			for b := byte('a'); b <= 'z'; b++ {
				if r.Contains(user(string(b))) {
					want[string(b)]++
				}
			}
		}
		if string(m.Writes[0].Key) != string(whole.Writes[0].Key) || allReads != len(whole.Reads) || allWrites != len(whole.Writes) || !reflect.DeepEqual(covered, want) {
			t.Fatalf("seed %d: %+v of %+v", seed, m, whole)
		}
	}
}
