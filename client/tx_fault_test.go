package client_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// TestTxAmbiguous: the answer is lost, and the time is up before anything more is heard.
func TestTxAmbiguous(t *testing.T) {
	w, c := opened(t)
	names := keyspaces(t, c)
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
		told := false
		_, err := c.Update(ctx, func(_ context.Context, tx *client.Tx) error {
			tx.In(names[1]).Put([]byte("a"), []byte("1"))
			tx.In(names[2]).Put([]byte("b"), []byte("1"))
			tx.OnCommit(func(client.Commit) { told = true })
			return nil
		})
		cancel()
		w.do(func() { w.fault = nil })
		var e *client.AmbiguousError
		if !errors.As(err, &e) || !errors.Is(err, client.ErrAmbiguous) || told {
			t.Fatalf("%v: %v", x.want, err)
		}
		if got, err := c.Outcome(t.Context(), e.ID); got != x.want || err != nil {
			t.Errorf("outcome %v, %v; want %v", got, err, x.want)
		}
		if got, err := w.open(t).OutcomeOf(t.Context(), e.Token); got != x.want || err != nil {
			t.Errorf("outcome by token %v, %v; want %v", got, err, x.want)
		}
	}
}

// TestTxSettled: the answer to a commit is lost and its keys move apart, so that it cannot be sent
// again. Its outcome is asked for, and is the transaction's: it has committed, or it runs again.
func TestTxSettled(t *testing.T) {
	for _, executed := range []bool{true, false} {
		w, c := opened(t)
		ranges := keyspaces(t, c)[1]
		commits, outcomes := 0, 0
		w.do(func() {
			w.fault = func(_ *node, q *kv.Request) fault {
				switch {
				case q.Outcome != nil:
					outcomes++
				case q.Commit == nil:
				case commits == 0 && executed:
					commits++
					return loseAnswer
				case commits == 0:
					commits++
					return loseBoth
				case commits == 1:
					commits++
					w.split(w.keyspaces[1].FullKey([]byte("a5")))
				}
				return none
			}
		})
		in := c.In(ranges)
		told, runs := 0, 0
		done := update(t, in, func(_ context.Context, tx *client.Tx) error {
			runs++
			tx.OnCommit(func(client.Commit) { told++ })
			tx.Add([]byte("a1"), 1)
			tx.Add([]byte("a9"), 1)
			return nil
		})
		p := must[client.Pair](t)(in.Get(t.Context(), []byte("a9")))
		asked := 0
		w.do(func() { asked = outcomes })
		if string(p.Value) != "1" || p.Version != done.Timestamp || told != 1 || asked != 1 || executed != (runs == 1) {
			t.Errorf("executed %t: %+v, %+v, told %d times, asked %d times, run %d times", executed, p, done, told, asked, runs)
		}
	}
}

func TestTxLimits(t *testing.T) {
	_, c := opened(t)
	for name, fn := range map[string]func(tx *client.Tx){
		"bytes of one commit": func(tx *client.Tx) {
			for i := range 10 * kv.CommitBytesMax / kv.ValueBytesMax {
				tx.Put(fmt.Appendf(nil, "k%d", i), make([]byte, kv.ValueBytesMax))
			}
		},
		"keys and ranges of one commit": func(tx *client.Tx) {
			for i := range uint32(kv.CommitKeysMax + 1) {
				tx.Delete(binary.BigEndian.AppendUint32(nil, i))
			}
		},
	} {
		_, err := c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error { fn(tx); return nil })
		var e *client.LimitError
		if !errors.As(err, &e) || e.What != name || e.Got <= e.Limit || e.Got > 2*e.Limit || !errors.Is(err, client.ErrLimit) || !strings.Contains(err.Error(), "in one transaction") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range 20 {
		put(t, c, fmt.Sprintf("x%02d", i), "v")
	}
	_, err := c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error {
		for i := range uint32(kv.CommitKeysMax - 19) {
			tx.Delete(binary.BigEndian.AppendUint32(nil, i))
		}
		tx.DeleteRange(client.Prefix([]byte("x")))
		return nil
	})
	var e *client.LimitError
	if !errors.As(err, &e) || e.Limit != kv.CommitKeysMax || e.Got != kv.CommitKeysMax+1 {
		t.Errorf("a long range: %v", err)
	}
}

func TestTxHooks(t *testing.T) {
	var mu sync.Mutex
	var story []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		story = append(story, fmt.Sprintf(format, args...))
	}
	type mark struct{}
	w := newWorld(t, 3)
	c := w.open(t, client.WithHooks(client.Hooks{
		TxStart: func(ctx context.Context, id client.TxID, tag string) context.Context {
			note("start %t %s", id.IsZero(), tag)
			return context.WithValue(ctx, mark{}, true)
		},
		TxRetry: func(ctx context.Context, id client.TxID, attempt int, err error, wait time.Duration) {
			note("retry %d %t %v", attempt, errors.Is(err, client.ErrConflict), ctx.Value(mark{}))
		},
		TxEnd: func(ctx context.Context, done client.Commit, err error) {
			note("end %t %v %v", done.Timestamp > 0, err, ctx.Value(mark{}))
		},
	}))
	other := w.open(t)
	put(t, other, "k", "1")
	var trace client.Trace
	done := update(t, c, func(ctx context.Context, tx *client.Tx) error {
		if ctx.Value(mark{}) == nil {
			t.Error("the function runs in another context")
		}
		text(t, tx, "k")
		if tx.Attempt() == 1 {
			put(t, other, "k", "2")
		}
		tx.Put([]byte("k"), []byte("3"))
		return nil
	}, client.WithTag("mine"), client.WithTrace(&trace))
	if got := strings.Join(story, ", "); got != "start false mine, retry 1 true true, end true <nil> true" {
		t.Error(got)
	}
	if trace.Attempts != 2 || len(trace.Spans) != done.Stats.RPCs || trace.Spans[0].Method != "read" || trace.Spans[0].Node == "" || done.Stats.Backoff > done.Stats.Elapsed {
		t.Errorf("%+v, %+v", trace, done.Stats)
	}
	story = nil
	tx := must[*client.Tx](t)(c.Begin(t.Context(), client.WithTag("hand")))
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(story, ", "); got != "start false hand, end false kv: transaction rolled back true" {
		t.Error(got)
	}
}

// TestPriority: a priority is so many hours of age.
func TestPriority(t *testing.T) {
	w, c := opened(t)
	sent := w.commits()
	for _, p := range []client.Priority{client.PriorityNormal, client.PriorityHigh, client.PriorityLow} {
		update(t, c, func(_ context.Context, tx *client.Tx) error {
			tx.Put([]byte("k"), nil)
			return nil
		}, client.WithPriority(p))
	}
	normal, high, low := sent()[0].Age, sent()[1].Age, sent()[2].Age
	if !high.OlderThan(normal) || !normal.OlderThan(low) {
		t.Errorf("%x, %x, %x", high, normal, low)
	}
}

// TestTxKeyspaceMadeAgain: a keyspace that was dropped and made again behind the client's back.
func TestTxKeyspaceMadeAgain(t *testing.T) {
	w, c := opened(t)
	names := keyspaces(t, c)
	put(t, c.In(names[1]), "k", "old")
	other := w.open(t).Admin()
	remake := func() {
		if err := other.DropKeyspace(t.Context(), names[1]); err != nil {
			t.Fatal(err)
		}
		if err := other.CreateKeyspace(t.Context(), names[1], client.ByRange()); err != nil {
			t.Fatal(err)
		}
	}
	for _, blind := range []bool{false, true} {
		remake()
		done := update(t, c.In(names[1]), func(ctx context.Context, tx *client.Tx) error {
			if !blind {
				if _, err := tx.Get(ctx, []byte("k")); !errors.Is(err, client.ErrNotFound) {
					return err
				}
			}
			tx.Put([]byte("k"), []byte("new"))
			return nil
		})
		if done.Stats.Attempts != 2 || get(t, c.In(names[1]), "k") != "new" {
			t.Errorf("blind %t: %+v", blind, done.Stats)
		}
	}
	_, err := c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error {
		tx.In("none").Put([]byte("k"), nil)
		return nil
	})
	if !errors.Is(err, client.ErrNoKeyspace) {
		t.Errorf("no keyspace: %v", err)
	}
}

// TestTxParallel: several goroutines share a transaction, and all read one state.
func TestTxParallel(t *testing.T) {
	w, c := opened(t)
	_ = keyspaces(t, c)
	sent := w.commits()
	for i := range 20 {
		put(t, c, fmt.Sprint("k", i), "v")
	}
	before := len(sent())
	update(t, c, func(_ context.Context, tx *client.Tx) error {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				v := text(t, tx, fmt.Sprint("k", i))
				tx.In("hashes").Put(fmt.Append(nil, i), []byte(v))
				list(t, tx.In("ranges"), client.All())
			})
		}
		wg.Wait()
		return nil
	})
	all := sent()
	if q := all[len(all)-1]; len(all) != before+1 || q.Start == 0 {
		t.Errorf("%d commits, %+v", len(all)-before, q)
	}
	if n, err := c.In("hashes").Count(t.Context(), client.All()); n != 20 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
