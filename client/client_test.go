package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

func must[T any](tb testing.TB) func(T, error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func put(tb testing.TB, c *client.Client, key, value string) client.Commit {
	tb.Helper()
	return must[client.Commit](tb)(c.Put(tb.Context(), []byte(key), []byte(value)))
}

func get(tb testing.TB, c *client.Client, key string, opts ...client.ReadOption) string {
	tb.Helper()
	return string(must[client.Pair](tb)(c.Get(tb.Context(), []byte(key), opts...)).Value)
}

func TestPutGetDelete(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	done := put(t, c, "k", "v")
	p := must[client.Pair](t)(c.Get(t.Context(), []byte("k")))
	if string(p.Key) != "k" || string(p.Value) != "v" || p.Version != done.Timestamp || done.ID.IsZero() {
		t.Fatalf("put %+v, got %+v", done, p)
	}
	if done.Stats.RPCs < 1 || done.Stats.Attempts < 1 || !done.Stats.OnePhase || done.Stats.WrittenKeys != 1 {
		t.Fatalf("stats %+v", done.Stats)
	}
	put(t, c, "empty", "")
	if v := get(t, c, "empty"); v != "" {
		t.Fatalf("an empty value came back as %q", v)
	}
	must[client.Commit](t)(c.Delete(t.Context(), []byte("k")))
	if _, err := c.Get(t.Context(), []byte("k")); !errors.Is(err, client.ErrNotFound) {
		t.Fatalf("a deleted key: %v", err)
	}
	if v := get(t, c, "k", client.WithBound(client.At(done.Timestamp))); v != "v" {
		t.Fatalf("at its own timestamp: %q", v)
	}
	must[client.Commit](t)(c.Delete(t.Context(), []byte("never there")))
}

func TestCompareAndSet(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	key := []byte("k")
	first := must[client.Commit](t)(c.CompareAndSet(t.Context(), key, client.Absent(), []byte("1")))
	must[client.Commit](t)(c.CompareAndSet(t.Context(), key, client.VersionIs(first.Timestamp), []byte("2")))
	must[client.Commit](t)(c.CompareAndSet(t.Context(), key, client.ValueIs([]byte("2")), []byte("3")))
	_, err := c.CompareAndSet(t.Context(), key, client.ValueIs([]byte("2")), []byte("4"))
	var e *client.ExpectationError
	if !errors.As(err, &e) || !errors.Is(err, client.ErrCAS) || !e.Found || string(e.Actual.Value) != "3" || string(e.Actual.Key) != "k" {
		t.Fatalf("%v, %+v", err, e)
	}
	_, err = c.Delete(t.Context(), []byte("none"), client.If(client.ValueIs([]byte("x"))))
	if !errors.As(err, &e) || e.Found {
		t.Fatalf("%v, %+v", err, e)
	}
	if v := get(t, c, "k"); v != "3" {
		t.Fatalf("a failed expectation wrote: %q", v)
	}
}

func TestAdd(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	for i, want := range []int64{5, 3, 3} {
		sum, _, err := c.Add(t.Context(), []byte("n"), []int64{5, -2, 0}[i])
		if err != nil || sum != want {
			t.Fatalf("step %d: %d, %v", i, sum, err)
		}
	}
	if v := get(t, c, "n"); v != "3" {
		t.Fatalf("the counter holds %q", v)
	}
}

// keyspaces is one of each scheme, with several partitions each.
func keyspaces(t *testing.T, c *client.Client) []string {
	t.Helper()
	ranges := client.ByRange([]byte("b"), []byte("c"), []byte("k15"))
	if err := c.Admin().CreateKeyspace(t.Context(), "ranges", ranges); err != nil {
		t.Fatal(err)
	}
	if err := c.Admin().CreateKeyspace(t.Context(), "hashes", client.ByHash(7)); err != nil {
		t.Fatal(err)
	}
	return []string{"default", "ranges", "hashes"}
}

func scan(tb testing.TB, c *client.Client, r client.Range, opts ...client.ScanOption) []string {
	tb.Helper()
	var got []string
	for p, err := range c.Scan(tb.Context(), r, opts...) {
		if err != nil {
			tb.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s=%s", p.Key, p.Value))
	}
	return got
}

func TestScan(t *testing.T) {
	w := newWorld(t, 3)
	all := w.open(t)
	for _, name := range keyspaces(t, all) {
		t.Run(name, func(t *testing.T) {
			c := all.In(name)
			var want []string
			var last client.Commit
			for i := range 60 {
				k := fmt.Sprintf("k%02d", i)
				last = put(t, c, k, "v"+k)
				want = append(want, k+"=v"+k)
			}
			then := client.WithBound(client.At(last.Timestamp))
			put(t, c, "k99", "later")
			reversed := slices.Clone(want)
			slices.Reverse(reversed)
			span := client.Range{Start: []byte("k10"), End: []byte("k20")}
			tests := []struct {
				name string
				got  []string
				want []string
			}{
				{"all at a timestamp", scan(t, c, client.All(), then), want},
				{"reverse", scan(t, c, client.All(), then, client.Reverse()), reversed},
				{"range", scan(t, c, span), want[10:20]},
				{"range reverse", scan(t, c, span, client.Reverse()), reversed[40:50]},
				{"limit", scan(t, c, client.All(), client.Limit(13)), want[:13]},
				{"limit reverse", scan(t, c, client.All(), then, client.Limit(13), client.Reverse()), reversed[:13]},
				{"limit above", scan(t, c, span, client.Limit(1000)), want[10:20]},
				{"prefix", scan(t, c, client.Prefix([]byte("k3"))), want[30:40]},
				{"key", scan(t, c, client.Key([]byte("k33"))), want[33:34]},
				{"none", scan(t, c, client.Prefix([]byte("zz"))), nil},
				{"empty range", scan(t, c, client.Range{Start: []byte("k5"), End: []byte("k2")}), nil},
				{"keys only", scan(t, c, client.Key([]byte("k33")), client.KeysOnly()), []string{"k33="}},
			}
			for _, x := range tests {
				if !slices.Equal(x.got, x.want) {
					t.Errorf("%s: got %v\nwant %v", x.name, x.got, x.want)
				}
			}
			n, err := c.Count(t.Context(), client.All())
			if err != nil || n != 61 {
				t.Errorf("count %d, %v", n, err)
			}
			n, err = c.Count(t.Context(), span)
			if err != nil || n != 10 {
				t.Errorf("count of a range %d, %v", n, err)
			}
		})
	}
}

func TestScanHasOneTimestamp(t *testing.T) {
	w := newWorld(t, 3)
	all := w.open(t)
	for _, name := range keyspaces(t, all) {
		c := all.In(name)
		for i := range 40 {
			put(t, c, fmt.Sprintf("k%02d", i), "old")
		}
		seen := 0
		for p, err := range c.Scan(t.Context(), client.All()) {
			if err != nil {
				t.Fatal(err)
			}
			if seen == 0 {
				for i := range 40 {
					put(t, c, fmt.Sprintf("k%02d", i), "new")
				}
			}
			if string(p.Value) != "old" {
				t.Fatalf("%s: %s is newer than the scan", name, p.Key)
			}
			seen++
		}
		if seen != 40 {
			t.Fatalf("%s: %d pairs", name, seen)
		}
	}
}

func TestScanBrokenOff(t *testing.T) {
	w := newWorld(t, 3)
	all := w.open(t)
	for _, name := range keyspaces(t, all) {
		c := all.In(name)
		for i := range 40 {
			put(t, c, fmt.Sprintf("k%02d", i), "v")
		}
		for range c.Scan(t.Context(), client.All()) {
			break
		}
	}
}

func TestGetMany(t *testing.T) {
	w := newWorld(t, 3)
	all := w.open(t)
	for _, name := range keyspaces(t, all) {
		t.Run(name, func(t *testing.T) {
			c := all.In(name)
			var keys [][]byte
			for _, k := range []string{"a", "b", "bb", "c", "k20", "absent", "a"} {
				keys = append(keys, []byte(k))
				if k != "absent" {
					put(t, c, k, "v"+k)
				}
			}
			for n := 1; n <= len(keys); n++ {
				pairs := must[[]client.Pair](t)(c.GetMany(t.Context(), keys[:n]))
				if len(pairs) != n {
					t.Fatalf("%d pairs for %d keys", len(pairs), n)
				}
				for i, p := range pairs {
					k := string(keys[i])
					absent := k == "absent"
					if string(p.Key) != k || absent != (p.Version == 0) || !absent && string(p.Value) != "v"+k {
						t.Errorf("%s: %+v", k, p)
					}
				}
			}
			if pairs, err := c.GetMany(t.Context(), nil); err != nil || len(pairs) != 0 {
				t.Errorf("no keys: %v, %v", pairs, err)
			}
		})
	}
}

func TestStaleBy(t *testing.T) {
	w := newWorld(t, 1)
	c := w.open(t)
	put(t, c, "k", "old")
	w.do(func() { w.oracle += kv.MakeTimestamp(time.Hour.Milliseconds(), 0) })
	put(t, c, "k", "new")
	if v := get(t, c, "k", client.WithBound(client.StaleBy(time.Minute))); v != "old" {
		t.Fatalf("a minute ago: %q", v)
	}
	for _, now := range []client.ReadOption{
		client.WithBound(client.Strong()), client.WithBound(client.AtMostStale(time.Minute)), client.WithBound(client.NotBefore(1)),
	} {
		if v := get(t, c, "k", now); v != "new" {
			t.Fatalf("now: %q", v)
		}
	}
	for _, bad := range []client.ReadOption{client.WithBound(client.StaleBy(-1)), client.WithBound(client.AtMostStale(-1))} {
		if _, err := c.Get(t.Context(), []byte("k"), bad); kv.KindOf(err) != kv.Invalid {
			t.Errorf("a negative bound: %v", err)
		}
	}
	if _, err := c.Get(t.Context(), []byte("k"), client.WithBound(client.StaleBy(1<<62))); !errors.Is(err, client.ErrTooOld) {
		t.Errorf("before all time: %v", err)
	}
}

func TestDo(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	put(t, c, "gone", "x")
	var got, missing *client.Result[client.Pair]
	var set *client.Result[client.Commit]
	err := c.Do(t.Context(), func(b *client.Batch) {
		got = b.Get([]byte("gone"))
		missing = b.Get([]byte("missing"))
		set = b.Put([]byte("k"), []byte("v"))
		if _, err := set.Value(); !errors.Is(err, client.ErrNotSent) {
			t.Errorf("before Do: %v", err)
		}
		b.Put([]byte("k2"), []byte("v2"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := got.Value(); err != nil || string(p.Value) != "x" {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := missing.Value(); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	if done, err := set.Value(); err != nil || done.Timestamp == 0 {
		t.Errorf("%v, %v", done, err)
	}
	err = c.Do(t.Context(), func(b *client.Batch) {
		b.Delete([]byte("k"))
		b.Put(nil, nil)
	})
	if kv.KindOf(err) != kv.Invalid {
		t.Errorf("one of them is invalid: %v", err)
	}
}

func TestKeyspaces(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	a := c.Admin()
	in := c.In("a")
	if _, err := in.Put(t.Context(), []byte("k"), nil); !errors.Is(err, client.ErrNoKeyspace) {
		t.Fatalf("an unknown keyspace: %v", err)
	}
	if err := a.CreateKeyspace(t.Context(), "a", client.ByHash(4)); err != nil {
		t.Fatal(err)
	}
	if err := a.CreateKeyspace(t.Context(), "a", client.ByHash(4)); kv.KindOf(err) != kv.Exists {
		t.Fatalf("made twice: %v", err)
	}
	put(t, in, "k", "v")
	// Dropped and made again behind the client's back: its map is of the old one.
	other := w.open(t)
	if err := other.Admin().DropKeyspace(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Get(t.Context(), []byte("k")); !errors.Is(err, client.ErrNoKeyspace) {
		t.Fatalf("a dropped keyspace: %v", err)
	}
	if err := other.Admin().CreateKeyspace(t.Context(), "a", client.ByRange()); err != nil {
		t.Fatal(err)
	}
	put(t, in, "k", "v2")
	if err := other.Admin().DropKeyspace(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := other.Admin().CreateKeyspace(t.Context(), "a", client.ByRange()); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Get(t.Context(), []byte("k")); !errors.Is(err, client.ErrNotFound) {
		t.Fatalf("the new keyspace is empty: %v", err)
	}
	all := must[[]kv.Keyspace](t)(a.Keyspaces(t.Context()))
	if len(all) != 2 {
		t.Fatalf("%v", all)
	}
}

func TestAdmin(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	keyspaces(t, c)
	a := c.In("ranges").Admin()
	if nodes := must[[]kv.NodeInfo](t)(a.Nodes(t.Context())); len(nodes) != 3 {
		t.Errorf("nodes %v", nodes)
	}
	if parts := must[[]kv.PartitionInfo](t)(a.Partitions(t.Context())); len(parts) != 4 {
		t.Errorf("partitions %v", parts)
	}
	p := must[kv.PartitionInfo](t)(a.Locate(t.Context(), []byte("bx")))
	if p.Leader == 0 || !strings.HasSuffix(string(p.Descriptor.Span.Start), "b") {
		t.Errorf("locate %+v", p)
	}
	to := p.Leader%3 + 1
	if err := a.MoveLeader(t.Context(), p.Descriptor.Partition, to); err != nil {
		t.Fatal(err)
	}
	if now := must[kv.PartitionInfo](t)(a.Locate(t.Context(), []byte("bx"))); now.Leader != to || now.Term <= p.Term {
		t.Errorf("after the move %+v", now)
	}
	put(t, c.In("ranges"), "bx", "v") // the client's map is old now
	if s := must[*kv.Status](t)(a.Status(t.Context())); s.ClusterID != 7 {
		t.Errorf("status %+v", s)
	}
	if s := must[*kv.NodeStatus](t)(a.NodeStatus(t.Context(), 2)); s.Info.ID != 2 {
		t.Errorf("node status %+v", s)
	}
	if _, err := a.NodeStatus(t.Context(), 9); kv.KindOf(err) != kv.NotFound {
		t.Errorf("an unknown node: %v", err)
	}
	if k := must[*kv.CheckAnswer](t)(a.Check(t.Context(), p.Descriptor.Partition)); !k.Equal {
		t.Errorf("check %+v", k)
	}
	if x := must[*kv.TransactionsAnswer](t)(a.Transactions(t.Context(), p.Descriptor.Partition)); x.Partition != p.Descriptor.Partition || x.Node != to {
		t.Errorf("transactions %+v, want the answer of node %d", x, to)
	}
	if err := a.ChangeReplicas(t.Context(), p.Descriptor.Partition, 4, 0); err != nil {
		t.Errorf("change: %v", err)
	}
	if _, err := a.Check(t.Context(), 999); kv.KindOf(err) != kv.NotFound {
		t.Errorf("an unknown partition: %v", err)
	}
	if err := a.MoveLeader(t.Context(), 999, 1); kv.KindOf(err) != kv.NotFound {
		t.Errorf("the leader of an unknown partition: %v", err)
	}
}

// TestAdminFindsTheReplicas: most nodes know nothing of a partition that only the last one holds.
func TestAdminFindsTheReplicas(t *testing.T) {
	w := newWorld(t, 5)
	c := w.open(t)
	if err := c.Admin().CreateKeyspace(t.Context(), "k", client.ByRange()); err != nil {
		t.Fatal(err)
	}
	var id kv.PartitionID
	w.do(func() {
		p := w.partOf("k", "x")
		id, p.leader = p.d.Partition, 5
		p.d.Replicas = []kv.Replica{{ID: 1, Node: 5, Role: kv.RoleVoter}}
	})
	if k, err := c.Admin().Check(t.Context(), id); err != nil || !k.Equal {
		t.Errorf("check: %+v, %v", k, err)
	}
	if err := c.Admin().MoveLeader(t.Context(), id, 5); err != nil {
		t.Errorf("move leader: %v", err)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, 1)
	c := w.open(t)
	var e *client.LimitError
	_, err := c.Put(t.Context(), make([]byte, kv.KeyBytesMax+1), nil)
	if !errors.As(err, &e) || e.Limit != kv.KeyBytesMax || e.Got != kv.KeyBytesMax+1 || !errors.Is(err, client.ErrLimit) {
		t.Errorf("long key: %v", err)
	}
	_, err = c.Put(t.Context(), []byte("k"), make([]byte, kv.ValueBytesMax+1))
	if !errors.As(err, &e) || e.Limit != kv.ValueBytesMax {
		t.Errorf("long value: %v", err)
	}
	must[client.Commit](t)(c.Put(t.Context(), make([]byte, kv.KeyBytesMax), make([]byte, kv.ValueBytesMax)))
	if p := must[client.Pair](t)(c.Get(t.Context(), make([]byte, kv.KeyBytesMax))); len(p.Value) != kv.ValueBytesMax {
		t.Errorf("the longest value came back with %d bytes", len(p.Value))
	}
	if _, err := c.Get(t.Context(), nil); kv.KindOf(err) != kv.Invalid {
		t.Errorf("no key: %v", err)
	}
}

func TestOpen(t *testing.T) {
	w := newWorld(t, 1)
	address := w.target()
	for target, keyspace := range map[string]string{
		address: "default", "kvd://" + address: "default", "kvd://" + address + "/x%20y?tls=off": "x y",
		"127.0.0.1:1," + address: "default",
	} {
		c, err := client.Open(t.Context(), target)
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if c.Keyspace() != keyspace {
			t.Errorf("%s: keyspace %q", target, c.Keyspace())
		}
		c.Close()
		if _, err := c.Get(t.Context(), []byte("k")); !errors.Is(err, client.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	for _, target := range []string{"", "h", "h:1,", "http://h:1", "kvd://h:1/a/b", "kvd://h:1?x=y", "kvd://h:1?tls=maybe"} {
		if _, err := client.Open(t.Context(), target); kv.KindOf(err) != kv.Invalid {
			t.Errorf("%q: %v", target, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Open(ctx, "127.0.0.1:1"); !errors.Is(err, client.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody there: %v", err)
	}
}
