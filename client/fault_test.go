package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// TestExactlyOnce adds up under lost answers, cut connections, refusals, elections and
// splits: the sum is that of the additions, and no id is executed twice.
func TestExactlyOnce(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	rng := rand.New(rand.NewPCG(1, 2))
	faults := map[fault]int{}
	w.do(func() {
		w.fault = func(_ *node, q *kv.Request) fault {
			if q.Commit != nil && rng.IntN(60) == 0 {
				w.elect(w.partOf("default", "a"))
			}
			f := fault(rng.IntN(40))
			if f > notLeader {
				return none
			}
			faults[f]++
			return f
		}
	})
	const workers, each = 8, 60
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range each {
				if _, _, err := c.Add(t.Context(), fmt.Appendf(nil, "%c", 'a'+i%3), 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() { // a split under load
		for _, at := range []string{"b", "c"} {
			time.Sleep(30 * time.Millisecond)
			w.do(func() { w.split(kv.MakeKey(1, []byte(at))) })
		}
	})
	wg.Wait()
	w.do(func() { w.fault = nil })
	total := 0
	for _, k := range []string{"a", "b", "c"} {
		var n int
		fmt.Sscan(get(t, c, k), &n)
		total += n
	}
	if total != workers*each {
		t.Errorf("the sum is %d, not %d", total, workers*each)
	}
	for id, n := range w.executed {
		if n > 1 {
			t.Errorf("%s was executed %d times", id, n)
		}
	}
	if len(faults) != 5 || faults[loseAnswer] < 5 {
		t.Errorf("the faults were not tried: %v", faults)
	}
}

// TestReads goes on through the same faults.
func TestReadsThroughFaults(t *testing.T) {
	w := newWorld(t, 3)
	all := w.open(t)
	for _, name := range keyspaces(t, all) {
		c := all.In(name)
		for i := range 30 {
			put(t, c, fmt.Sprintf("k%02d", i), "v")
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	w.do(func() {
		w.fault = func(*node, *kv.Request) fault {
			if f := fault(rng.IntN(30)); f <= notLeader {
				return f
			}
			return none
		}
	})
	for _, name := range []string{"default", "ranges", "hashes"} {
		c := all.In(name)
		if got := scan(t, c, client.All()); len(got) != 30 {
			t.Errorf("%s: scan found %d", name, len(got))
		}
		var keys [][]byte
		for i := range 30 {
			keys = append(keys, fmt.Appendf(nil, "k%02d", i))
		}
		for _, p := range must[[]client.Pair](t)(c.GetMany(t.Context(), keys)) {
			if p.Version == 0 {
				t.Errorf("%s: %s is missing", name, p.Key)
			}
		}
	}
}

func TestAmbiguous(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	put(t, c, "k", "0")
	for _, x := range []struct {
		f    fault
		want client.Outcome
	}{{silent, client.Committed}, {loseBoth, client.Aborted}} {
		w.do(func() {
			w.fault = func(_ *node, q *kv.Request) fault {
				if q.Commit != nil {
					return x.f
				}
				return none
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := c.Put(ctx, []byte("k"), []byte("1"))
		cancel()
		w.do(func() { w.fault = nil })
		var e *client.AmbiguousError
		if !errors.As(err, &e) || !errors.Is(err, client.ErrAmbiguous) || kv.KindOf(err) != kv.Ambiguous || e.ID.IsZero() {
			t.Fatalf("%v: %v", x.want, err)
		}
		if got, err := c.Outcome(t.Context(), e.ID); got != x.want || err != nil {
			t.Errorf("outcome %v, %v; want %v", got, err, x.want)
		}
		other := w.open(t)
		if got, err := other.OutcomeOf(t.Context(), e.Token); got != x.want || err != nil {
			t.Errorf("outcome by token %v, %v; want %v", got, err, x.want)
		}
		if _, err := other.Outcome(t.Context(), e.ID); kv.KindOf(err) != kv.Invalid {
			t.Errorf("another client's id: %v", err)
		}
	}
	if _, err := c.OutcomeOf(t.Context(), "nonsense"); kv.KindOf(err) != kv.Invalid {
		t.Errorf("a bad token: %v", err)
	}
}

func TestEndsByContext(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	put(t, c, "k", "v")
	all := func(f fault) {
		w.do(func() { w.fault = func(*node, *kv.Request) fault { return f } })
	}
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Put(dead, []byte("k"), nil); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrAmbiguous) {
		t.Errorf("canceled before it began: %v", err)
	}
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	all(silent)
	if _, err := c.Get(soon(), []byte("k")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a read without an answer: %v", err)
	}
	all(unavailable)
	if _, err := c.Put(soon(), []byte("k"), nil); !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrAmbiguous) {
		t.Errorf("a write that every node refused: %v", err)
	}
	for _, err := range c.Scan(soon(), client.All()) {
		if !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("a scan that every node refuses: %v", err)
		}
	}
	all(silent)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(30*time.Millisecond, cancel)
	if _, err := c.Put(ctx, []byte("k"), nil); !errors.Is(err, client.ErrAmbiguous) {
		t.Errorf("canceled under way: %v", err)
	}
	time.AfterFunc(30*time.Millisecond, func() { c.Close() })
	if _, err := c.Get(t.Context(), []byte("k")); !errors.Is(err, client.ErrClosed) {
		t.Errorf("closed under way: %v", err)
	}
}

func TestNodeGone(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	put(t, c, "k", "v")
	w.do(func() {
		n := w.nodes[w.partOf("default", "k").leader-1]
		w.elect(w.partOf("default", "k"))
		n.listener.Close()
		n.listener.cut()
	})
	put(t, c, "k", "v2")
	if v := get(t, c, "k"); v != "v2" {
		t.Errorf("%q", v)
	}
}

// TestSilentNode: a node that stops without closing its connections is given up.
func TestSilentNode(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a silent stream to be cut")
	}
	w := newWorld(t, 3)
	c := w.open(t)
	put(t, c, "k", "v")
	var once sync.Once
	w.do(func() {
		w.fault = func(n *node, q *kv.Request) fault {
			f := none
			once.Do(func() {
				w.elect(w.partOf("default", "k"))
				f = silent
				n.stuck.Store(true)
			})
			return f
		}
	})
	if v := get(t, c, "k"); v != "v" {
		t.Errorf("%q", v)
	}
}

// TestSilentRequest: a request that a live node does not answer goes on with another copy.
func TestSilentRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until a copy counts as lost")
	}
	w := newWorld(t, 3)
	c := w.open(t)
	put(t, c, "k", "1")
	first := true
	w.do(func() {
		w.fault = func(_ *node, q *kv.Request) fault {
			if first && q.Commit != nil {
				first = false
				return silent
			}
			return none
		}
	})
	sum, done, err := c.Add(t.Context(), []byte("k"), 1)
	if err != nil || sum != 2 || done.Stats.RPCs < 2 || done.Stats.Attempts != 1 {
		t.Errorf("%d, %+v, %v", sum, done, err)
	}
}

func TestHooks(t *testing.T) {
	w := newWorld(t, 3)
	var mu sync.Mutex
	var story []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		story = append(story, fmt.Sprintf(format, args...))
	}
	type mark struct{}
	var maps atomic.Int64
	c := w.open(t, client.WithHooks(client.Hooks{
		TxStart: func(ctx context.Context, id client.TxID, _ string) context.Context {
			note("start %t", id.IsZero())
			return context.WithValue(ctx, mark{}, true)
		},
		TxRetry: func(ctx context.Context, _ client.TxID, attempt int, err error, _ time.Duration) {
			note("retry %d %v %v", attempt, kv.KindOf(err), ctx.Value(mark{}))
		},
		TxEnd: func(ctx context.Context, done client.Commit, err error) {
			note("end %t %v %v", done.Timestamp > 0, err, ctx.Value(mark{}))
		},
		RPC: func(_ context.Context, i client.RPCInfo) {
			note("rpc %s %v %t", i.Method, kv.KindOf(i.Err), i.Node != "")
		},
		Topology: func(e client.TopologyEvent) { maps.Add(1) },
	}))
	first := true
	w.do(func() {
		w.fault = func(*node, *kv.Request) fault {
			if first {
				first = false
				return unavailable
			}
			return none
		}
	})
	put(t, c, "k", "v")
	if len(story) < 5 || story[0] != "start false" || story[1] != "rpc commit unavailable true" ||
		story[2] != "retry 1 unavailable true" || story[len(story)-1] != "end true <nil> true" {
		t.Errorf("the story:\n%s", strings.Join(story, "\n"))
	}
	if !slices.Contains(story, "rpc commit kind 0 true") || maps.Load() == 0 {
		t.Errorf("%d maps, the story:\n%s", maps.Load(), strings.Join(story, "\n"))
	}
}

// TestLeavesNothing counts goroutines around a busy client's and server's life.
func TestLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("life", func(t *testing.T) {
		w := newWorld(t, 3)
		c := w.open(t)
		for _, name := range keyspaces(t, c) {
			put(t, c.In(name), "k", "v")
			scan(t, c.In(name), client.All())
		}
		w.do(func() { w.fault = func(*node, *kv.Request) fault { return silent } })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		c.Put(ctx, []byte("k"), nil)
	})
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b := make([]byte, 1<<20)
	t.Fatalf("%d goroutines were there before, %d are now:\n%s", before, runtime.NumGoroutine(), b[:runtime.Stack(b, true)])
}

// TestFirstCommitIsSentOnce: the map comes with a timestamp, so that the first commit of a client is not taken for
// one that is older than what nodes remember.
func TestFirstCommitIsSentOnce(t *testing.T) {
	w := newWorld(t, 1)
	w.do(func() { w.oracle = kv.MakeTimestamp(60_000, 0) })
	var commits atomic.Int64
	c := w.open(t, client.WithHooks(client.Hooks{RPC: func(_ context.Context, i client.RPCInfo) {
		if i.Method == "commit" {
			commits.Add(1)
		}
	}}))
	put(t, c, "k", "v")
	if n := commits.Load(); n != 1 {
		t.Errorf("the first commit was sent %d times", n)
	}
}
