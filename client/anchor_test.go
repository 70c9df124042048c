package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// anchored is a world in which a transaction writes a (first), b and h of two keyspaces, and the leader of b's partition
// leads the core, or is believed to.
func anchored(t *testing.T) (w *world, c *client.Client, write func(context.Context) (client.Commit, error)) {
	t.Helper()
	w = newWorld(t, 3)
	names := keyspaces(t, w.open(t))
	var first, best kv.NodeID
	w.do(func() {
		first, best = w.partOf(names[1], "a").leader, w.partOf(names[1], "b").leader
		w.core = best
		w.partOf(names[0], "h").leader = first
	})
	if first == best {
		t.Fatal("the first write is as good as the other")
	}
	c = w.open(t)
	write = func(ctx context.Context) (client.Commit, error) {
		return c.Update(ctx, func(_ context.Context, tx *client.Tx) error {
			tx.In(names[1]).Put([]byte("a"), []byte("first"))
			tx.In(names[1]).Put([]byte("b"), []byte("anchor"))
			tx.In(names[0]).Put([]byte("h"), []byte("third"))
			return nil
		})
	}
	return w, c, write
}

// TestAnchorAtTheOracle: the anchor is the write whose partition is led where timestamps are drawn, and stays it.
func TestAnchorAtTheOracle(t *testing.T) {
	w, c, write := anchored(t)
	sent := w.commits()
	done := must[client.Commit](t)(write(t.Context()))
	if q := sent()[0]; len(sent()) != 1 || string(q.Writes[0].Value) != "anchor" || len(q.Writes) != 1 || len(q.Parts) != 2 {
		t.Errorf("%d were sent: %+v", len(sent()), q)
	}
	if done.Stats.Partitions != 3 || done.Stats.WrittenKeys != 3 {
		t.Errorf("%+v", done.Stats)
	}
	for k, want := range map[string]string{"a": "first", "b": "anchor"} {
		if got := get(t, c.In("ranges"), k); got != want {
			t.Errorf("%s is %q", k, got)
		}
	}
	// The leader that was chosen goes while the commit is under way, and its partition is cut: under each name the same
	// key is the anchor.
	before, moves := len(sent()), 2
	ids := map[kv.TxID]bool{}
	w.do(func() {
		count := w.fault
		w.fault = func(n *node, q *kv.Request) fault {
			if q.Commit == nil {
				return none
			}
			if moves--; moves >= 0 {
				w.elect(w.partOf("ranges", "b"))
			}
			if moves == 0 {
				w.split(w.keyspaces[1].FullKey([]byte("aa")))
			}
			ids[q.Commit.ID] = true
			return count(n, q)
		}
	})
	must[client.Commit](t)(write(t.Context()))
	all := sent()[before:]
	if len(all) < 3 || len(ids) < 2 {
		t.Errorf("%d copies under %d names", len(all), len(ids))
	}
	for _, q := range all {
		if string(q.Writes[0].Value) != "anchor" {
			t.Errorf("the anchor has become %q", q.Writes[0].Value)
		}
	}
}

// TestWrongCoreLeader: to believe in the wrong node is harmless, and so is to believe in none that exists.
func TestWrongCoreLeader(t *testing.T) {
	for _, core := range []kv.NodeID{1, 2, 3, 77} {
		w, c := opened(t)
		w.do(func() { w.core = core })
		c = c.In(keyspaces(t, c)[1])
		for range 3 {
			update(t, c, func(ctx context.Context, tx *client.Tx) error {
				if _, err := tx.GetMany(ctx, []byte("a"), []byte("b"), []byte("c")); err != nil {
					return err
				}
				for _, k := range []string{"a", "b", "c"} {
					tx.Add([]byte(k), 1)
				}
				return nil
			})
			w.do(func() { w.elect(w.partOf("ranges", "b")) })
		}
		for _, k := range []string{"a", "b", "c"} {
			if got := get(t, c, k); got != "3" {
				t.Errorf("core %d: %s is %q", core, k, got)
			}
		}
	}
}

// TestOutcomeOfChosenAnchor: the outcome of a commit is asked for at the key that was its anchor, wherever its first
// write is, by the client and by a token.
func TestOutcomeOfChosenAnchor(t *testing.T) {
	for _, x := range []struct {
		f    fault
		want client.Outcome
	}{{silent, client.Committed}, {loseBoth, client.Aborted}} {
		w, c, write := anchored(t)
		var asked []kv.Key
		w.do(func() {
			w.fault = func(_ *node, q *kv.Request) fault {
				switch {
				case q.Commit != nil:
					return x.f
				case q.Outcome != nil:
					asked = append(asked, q.Outcome.Anchor)
				}
				return none
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := write(ctx)
		cancel()
		var e *client.AmbiguousError
		if !errors.As(err, &e) {
			t.Fatalf("%v: %v", x.want, err)
		}
		if got, err := c.Outcome(t.Context(), e.ID); got != x.want || err != nil {
			t.Errorf("outcome %v, %v; want %v", got, err, x.want)
		}
		// Another client, which believes that another node is the best one to draw at.
		w.do(func() { w.core = w.core%3 + 1 })
		if got, err := w.open(t).OutcomeOf(t.Context(), e.Token); got != x.want || err != nil {
			t.Errorf("outcome by token %v, %v; want %v", got, err, x.want)
		}
		var anchor kv.Key
		w.do(func() { anchor = w.keyspaces[1].FullKey([]byte("b")) })
		w.do(func() {
			if len(asked) < 2 { // the first may have to be sent again: connections were cut
				t.Errorf("asked %d times", len(asked))
			}
			for _, k := range asked {
				if string(k) != string(anchor) {
					t.Errorf("asked at %v, the anchor is %v", k, anchor)
				}
			}
		})
	}
}
