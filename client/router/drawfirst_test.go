package router

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/kvd-db/kvd/kv"
)

// threeLeaders is a router that knows keyspace 1, cut at h and p, and keyspace 2 of three buckets: the partitions of
// each are led by nodes 1, 2 and 3, of which one leads the core.
func threeLeaders(t *testing.T, core kv.NodeID) *Router {
	r := New(Config{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = r.Close() })
	ranges, hashes := kv.Keyspace{ID: 1, Name: "ranges", Scheme: kv.SchemeRange}, kv.Keyspace{ID: 2, Name: "hashes", Scheme: kv.SchemeHash, Partitions: 3}
	m := &kv.Topology{CoreLeader: core, Keyspaces: []kv.Keyspace{ranges, hashes}}
	cuts := [][]kv.Key{
		{ranges.Span().Start, kv.MakeKey(1, []byte("h")), kv.MakeKey(1, []byte("p")), ranges.Span().End},
		{hashes.Span().Start, kv.MakeHashKey(2, 1, nil), kv.MakeHashKey(2, 2, nil), hashes.Span().End},
	}
	for k, at := range cuts {
		for i := range 3 {
			d := &kv.Descriptor{Partition: kv.PartitionID(10*(k+1) + i), Keyspace: kv.KeyspaceID(k + 1), Generation: 1, Span: kv.Span{Start: at[i], End: at[i+1]}}
			for n := range 3 {
				d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(n + 1), Node: kv.NodeID(n + 1), Role: kv.RoleVoter})
			}
			m.Partitions = append(m.Partitions, kv.PartitionInfo{Descriptor: d, Leader: kv.NodeID(i + 1), Term: 3})
		}
	}
	r.session.Learn("", m)
	return r
}

// TestFirstGroup: who draws the timestamp for all groups.
func TestFirstGroup(t *testing.T) {
	keys := []kv.Key{kv.MakeKey(1, []byte("a")), kv.MakeKey(1, []byte("q")), kv.MakeKey(1, []byte("b")), kv.MakeKey(1, []byte("i"))}
	for _, x := range []struct {
		about string
		core  kv.NodeID
		from  From
		at    kv.Timestamp
		keys  []int
		want  [][]int
	}{
		{about: "nobody knows: by size", keys: []int{0, 1, 2, 3}, want: [][]int{{0, 2}, {1}, {3}}},
		{about: "of three nodes the oracle's, whose group is small", core: 2, keys: []int{0, 1, 2, 3}, want: [][]int{{3}, {0, 2}, {1}}},
		{about: "of three nodes the oracle's, whose group is large", core: 1, keys: []int{1, 0, 2, 3}, want: [][]int{{0, 2}, {1}, {3}}},
		{about: "of two nodes the other one, whose group is small", core: 1, keys: []int{0, 2, 3}, want: [][]int{{3}, {0, 2}}},
		{about: "of two nodes the other one, whose group is large", core: 2, keys: []int{3, 0, 2}, want: [][]int{{0, 2}, {3}}},
		{about: "the oracle's node alone", core: 1, keys: []int{0, 2}, want: [][]int{{0, 2}}},
		{about: "no group is there", core: 2, keys: []int{1, 0, 2}, want: [][]int{{0, 2}, {1}}},
		{about: "there is nothing to draw", core: 2, at: 7, keys: []int{0, 1, 2, 3}, want: [][]int{{0, 2}, {1}, {3}}},
		{about: "who answers chooses", core: 2, from: From{Stale: kv.Stale{NotBefore: 5}}, keys: []int{0, 1, 2, 3}, want: [][]int{{0, 2}, {1}, {3}}},
	} {
		m := &many{router: threeLeaders(t, x.core), keys: keys, from: x.from, at: x.at}
		if got := m.group(x.keys); !slices.EqualFunc(got, x.want, slices.Equal) {
			t.Errorf("%s: %v, not %v", x.about, got, x.want)
		}
	}
}

// TestFirstSpan: the same for scans and counts over several partitions.
func TestFirstSpan(t *testing.T) {
	for _, x := range []struct {
		about string
		core  kv.NodeID
		from  From
		want  []uint16 // buckets
	}{
		{about: "nobody knows", want: []uint16{0, 1, 2}},
		{about: "the last one draws", core: 3, want: []uint16{2, 0, 1}},
		{about: "the first one draws", core: 1, want: []uint16{0, 1, 2}},
		{about: "no partition is there", core: 4, want: []uint16{0, 1, 2}},
		{about: "the timestamp is known", core: 3, from: From{At: 9}, want: []uint16{0, 1, 2}},
	} {
		q := ScanQuery{Keyspace: kv.Keyspace{ID: 2, Scheme: kv.SchemeHash, Partitions: 3}, Start: []byte("a"), From: x.from}
		spans := threeLeaders(t, x.core).spans(&q)
		if len(spans) != len(x.want) {
			t.Fatalf("%s: %d spans", x.about, len(spans))
		}
		for i, b := range x.want {
			if !slices.Equal(spans[i].Start, kv.MakeHashKey(2, b, []byte("a"))) {
				t.Errorf("%s: span %d is %v, not of bucket %d", x.about, i, spans[i], b)
			}
		}
	}
}

func TestAnchorOfOneWrite(t *testing.T) {
	r := threeLeaders(t, 2)
	one, two := kv.Write{Key: kv.MakeKey(1, []byte("a"))}, kv.Write{Key: kv.MakeKey(1, []byte("i"))}
	if a, b, c := r.Anchor([]kv.Write{one}), r.Anchor([]kv.Write{one, two}), r.Anchor([]kv.Write{two, one}); a != 0 || b != 1 || c != 0 {
		t.Errorf("%d, %d, %d", a, b, c)
	}
}

// TestCoreIsAskedFor: a partition that has left the node that led the core makes the router ask for the map, once, and
// nobody waits for that.
func TestCoreIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLone(t)
		var core atomic.Uint64
		core.Store(1)
		l.topology = func() (*kv.Topology, *kv.Error) {
			m, err := whole()
			m.CoreLeader = kv.NodeID(core.Load())
			return m, err
		}
		term := kv.Term(3)
		l.answer = func(*kv.Request) (*kv.Response, *kv.Error) { return &kv.Response{Timestamp: 100, Term: term}, nil }
		if _, err, _ := r.put(context.Background()); err != nil || l.refreshs != 1 {
			t.Fatalf("%v, asked for %d times", err, l.refreshs)
		}
		core.Store(2)
		r.mu.Lock()
		r.session.Map.LearnLeader(2, 2, 4)
		r.session.Map.ForgetLeader(2, 2)
		r.mu.Unlock()
		term = 5
		for range 3 {
			if _, err, _ := r.put(context.Background()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if core := r.session.Map.CoreLeader(); l.refreshs != 2 || core != 2 {
			t.Errorf("asked for %d times, node %d leads the core", l.refreshs, core)
		}
	})
}
