package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/sim/check"
)

// TestCrossingsDoTheirWork: what the checkers of transactions find consistent is not nothing.
func TestCrossingsDoTheirWork(t *testing.T) {
	cfg := Find("crossing")
	cfg.Duration = 40 * time.Second
	w := newWorld(cfg, Config{Seed: 4})
	defer seedEntropy(4)()
	w.live()
	w.close()
	if w.phase.broken != nil {
		t.Fatal(w.phase.broken)
	}
	whole := func(names []string) (n int) { // reads that saw all keys at once
		for _, o := range w.hist.ops.Ops {
			found := 0
			for _, r := range o.Reads {
				if r.Found && slices.Contains(names, r.Key) {
					found++
				}
			}
			if o.Result == check.Done && o.Kind == check.Read && found == len(names) {
				n++
			}
		}
		return n
	}
	done := map[string]int{"audits": whole(slices.Concat(w.accounts()...)), "rings": whole(w.rings()[0]) + whole(w.rings()[1])}
	for _, pair := range w.pairs() {
		done["twins"] += whole(pair[:])
	}
	for _, o := range w.hist.ops.Ops {
		switch {
		case o.Result != check.Done:
		case len(o.Told) > 0:
			done["told"]++
		case o.Kind == check.Commit && len(o.Scanned) == 2:
			done["predicates"]++
		}
	}
	keys := map[string]bool{}
	for _, tx := range w.hist.lists {
		for _, m := range tx.Micros {
			if tx.Result == check.Done && m.Append != 0 {
				done["appends"]++
				keys[m.Key] = true
			}
		}
	}
	for what, least := range map[string]int{"audits": 8, "rings": 10, "twins": 10, "told": 10, "predicates": 10, "appends": 100} {
		if done[what] < least {
			t.Errorf("%d %s, expected are %d at least: %v", done[what], what, least, done)
		}
	}
	if w.hist.counts["transaction again"] == 0 {
		t.Error("no transaction met another one")
	}
}

// TestCommitsAreParted: what is in the partition of the first write goes into the commit, all else into parts, in the
// order of partitions, and the history has the writes in the order in which sums come.
func TestCommitsAreParted(t *testing.T) {
	w := &World{}
	c := &client{w: w, s: newClient(w, 1, 1).s}
	topology := &kv.Topology{ClusterID: 1, Keyspaces: []kv.Keyspace{{ID: 1, Name: "sim"}}}
	key := func(s string) kv.Key { return kv.MakeKey(1, []byte(s)) }
	for i, at := range []string{"", "b", "c"} {
		d := &kv.Descriptor{Partition: kv.PartitionID(10 + i), Generation: kv.Generation(3 + i), Keyspace: 1, Replicas: []kv.Replica{{ID: 1, Node: 1, Role: kv.RoleVoter}}}
		d.Span = kv.Span{Start: key(at), End: key(string(rune('b' + i)))}
		topology.Partitions = append(topology.Partitions, kv.PartitionInfo{Descriptor: d})
	}
	c.s.Map.Learn("", topology)
	put := func(k string) kv.Write { return kv.Write{Kind: kv.WritePut, Key: key(k)} }
	x := change{
		start: 7, age: kv.Age{1}, writes: []kv.Write{put("b1"), put("c1"), put("a1"), put("b2"), put("a2")},
		reads: []check.Seen{{Key: string(key("b1"))}, {Key: string(key("a7"))}},
		spans: []check.Scanned{{Span: kv.Span{Start: key("c5"), End: key("c6")}}},
	}
	q := c.parted(&x)
	got := fmt.Sprint(names(q.Writes), marks(q.Reads), len(q.Spans), q.Start, q.Age)
	for _, p := range q.Parts {
		got += fmt.Sprint(" ", p.Partition, p.Generation, names(p.Writes), marks(p.Reads), len(p.Spans))
	}
	want := fmt.Sprint([]string{"b1", "b2"}, []string{"b1"}, 0, kv.Timestamp(7), kv.Age{1}) +
		fmt.Sprint(" ", 10, 3, []string{"a1", "a2"}, []string{"a7"}, 0) + fmt.Sprint(" ", 12, 5, []string{"c1"}, []string{}, 1)
	if got != want {
		t.Errorf("the commit is\n%s, not\n%s", got, want)
	}
	if order := names(x.writes); !slices.Equal(order, []string{"b1", "b2", "a1", "a2", "c1"}) {
		t.Errorf("the history has the writes in the order %v", order)
	}
}

// TestAnchors: each write of a transaction is the anchor at times, the first one mostly, and no write is lost.
func TestAnchors(t *testing.T) {
	w := &World{scheduler: newScheduler(1)}
	w.rng = rand.New(rand.NewPCG(1, 1))
	writes := []kv.Write{{Key: kv.Key("a")}, {Key: kv.Key("b")}, {Key: kv.Key("c")}}
	first := map[string]int{}
	for range 300 {
		all := w.anchored(writes)
		first[string(all[0].Key)]++
		got := names(all)
		slices.Sort(got)
		if !slices.Equal(got, names(writes)) || string(writes[0].Key) != "a" {
			t.Fatalf("%v of %v", got, names(writes))
		}
	}
	if first["a"] < 200 || first["b"] < 10 || first["c"] < 10 {
		t.Errorf("the anchor was %v", first)
	}
}

func names(ws []kv.Write) []string {
	all := []string{}
	for _, w := range ws {
		all = append(all, printableKey(string(w.Key)))
	}
	return all
}

func marks(rs []kv.ReadMark) []string {
	all := []string{}
	for _, r := range rs {
		all = append(all, printableKey(string(r.Key)))
	}
	return all
}

// TestSites: transactions stay in one partition as long as nothing else is asked for, and else do not always.
func TestSites(t *testing.T) {
	w := &World{scheduler: newScheduler(1), cfg: Find("crossing")}
	w.rng = rand.New(rand.NewPCG(1, 1))
	c := &client{w: w}
	sizes := func(share float64) (n [4]int) {
		w.cfg.Load.Cross = share
		for range 400 {
			sites := c.sites()
			slices.Sort(sites)
			n[len(slices.Compact(sites))]++
		}
		return n
	}
	if n := sizes(0); n[1] != 400 {
		t.Errorf("with no share: %v", n)
	}
	if n := sizes(0.5); n[1] < 100 || n[2] < 100 || n[3] < 20 {
		t.Errorf("with half: %v", n)
	}
}
