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

// opened is a world and a client of it, which has heard of a timestamp.
func opened(tb testing.TB, opts ...client.Option) (*world, *client.Client) {
	tb.Helper()
	w := newWorld(tb, 3)
	c := w.open(tb, opts...)
	if _, err := c.Get(tb.Context(), []byte("none")); !errors.Is(err, client.ErrNotFound) {
		tb.Fatal(err)
	}
	return w, c
}

func update(tb testing.TB, c *client.Client, fn func(ctx context.Context, tx *client.Tx) error, opts ...client.TxOption) client.Commit {
	tb.Helper()
	return must[client.Commit](tb)(c.Update(tb.Context(), fn, opts...))
}

// text is a key's value as one sees it: "-" if it is absent.
func text(tb testing.TB, r client.Reader, key string) string {
	tb.Helper()
	p, err := r.Get(tb.Context(), []byte(key))
	if errors.Is(err, client.ErrNotFound) {
		return "-"
	}
	if err != nil {
		tb.Fatalf("%s: %v", key, err)
	}
	return string(p.Value)
}

// list is what a scan shows.
func list(tb testing.TB, r client.Reader, in client.Range, opts ...client.ScanOption) string {
	tb.Helper()
	var all []string
	for p, err := range r.Scan(tb.Context(), in, opts...) {
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s=%s", p.Key, p.Value))
	}
	return strings.Join(all, " ")
}

// commits collects what reaches the world.
func (w *world) commits() func() []*kv.Commit {
	var all []*kv.Commit
	w.do(func() {
		w.fault = func(_ *node, q *kv.Request) fault {
			if q.Commit != nil {
				all = append(all, q.Commit)
			}
			return none
		}
	})
	return func() []*kv.Commit {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Clone(all)
	}
}

func TestUpdate(t *testing.T) {
	w, c := opened(t)
	sent := w.commits()
	var called []client.Commit
	done := update(t, c, func(ctx context.Context, tx *client.Tx) error {
		if tx.Attempt() != 1 || tx.ID().IsZero() {
			t.Errorf("attempt %d of %s", tx.Attempt(), tx.ID())
		}
		tx.OnCommit(func(c client.Commit) { called = append(called, c) })
		tx.Put([]byte("a"), []byte("1"))
		tx.Put([]byte("b"), []byte("2"))
		if v := text(t, tx, "a"); v != "1" {
			t.Errorf("its own write: %q", v)
		}
		return nil
	})
	if done.Timestamp == 0 || len(called) != 1 || called[0] != done || len(sent()) != 1 || sent()[0].Start != 0 || sent()[0].ID != done.ID {
		t.Errorf("%+v, told of %+v, sent %+v", done, called, sent())
	}
	if s := done.Stats; s.Attempts != 1 || s.Partitions != 1 || s.RPCs != 1 || s.WrittenKeys != 2 || s.ReadKeys != 0 || !s.OnePhase || s.Elapsed <= 0 {
		t.Errorf("stats %+v", s)
	}
	if get(t, c, "a") != "1" || get(t, c, "b") != "2" {
		t.Error("not there")
	}
	done = update(t, c, func(ctx context.Context, tx *client.Tx) error {
		text(t, tx, "a")
		text(t, tx, "a")
		text(t, tx, "none")
		list(t, tx, client.Prefix([]byte("b")))
		tx.Put([]byte("c"), []byte("3"))
		return nil
	})
	q := sent()[1]
	if q.Start == 0 || len(q.Reads) != 2 || len(q.Spans) != 1 || q.Age.IsZero() || q.Parts != nil || done.Stats.ReadKeys != 2 || done.Stats.RPCs != 4 {
		t.Errorf("sent %+v, %+v", q, done.Stats)
	}
	mistake := errors.New("mine")
	_, err := c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error {
		tx.Put([]byte("a"), []byte("no"))
		tx.OnCommit(func(client.Commit) { t.Error("told of a commit that was none") })
		return mistake
	})
	if err != mistake || get(t, c, "a") != "1" || len(sent()) != 2 {
		t.Errorf("%v, %q", err, get(t, c, "a"))
	}
	n, _, err := client.UpdateValue(t.Context(), c, func(ctx context.Context, tx *client.Tx) (int, error) { return 7, nil })
	if n != 7 || err != nil || len(sent()) != 2 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestRepeatable: all reads are of one state, in all keyspaces.
func TestRepeatable(t *testing.T) {
	w, c := opened(t)
	names := keyspaces(t, c)
	all := func(v string) {
		for _, n := range names {
			for _, k := range []string{"a", "bb", "cc"} {
				put(t, c.In(n), k, v)
			}
		}
	}
	all("old")
	check := func(in func(string) client.Reader) {
		if v := text(t, in(names[0]), "a"); v != "old" {
			t.Errorf("the first read: %q", v)
		}
		all("new")
		for _, n := range names {
			r := in(n)
			pairs := must[[]client.Pair](t)(r.GetMany(t.Context(), []byte("a"), []byte("bb"), []byte("x")))
			if string(pairs[0].Value) != "old" || string(pairs[1].Value) != "old" || pairs[2].Version != 0 || text(t, r, "cc") != "old" {
				t.Errorf("%s: %v", n, pairs)
			}
			if got := list(t, r, client.All(), client.Reverse()); got != "cc=old bb=old a=old" {
				t.Errorf("%s: %s", n, got)
			}
		}
		all("old")
	}
	if err := c.View(t.Context(), func(_ context.Context, s *client.Snapshot) error {
		check(func(n string) client.Reader { return s.In(n) })
		return nil
	}); err != nil {
		t.Error(err)
	}
	tx := must[*client.Tx](t)(c.Begin(t.Context()))
	check(func(n string) client.Reader { return tx.In(n) })
	sent := w.commits()
	text(t, tx, "a")
	if done, err := tx.Commit(t.Context()); err != nil || len(sent()) != 0 || done.Timestamp == 0 {
		t.Errorf("a transaction that only read: %+v, %v, sent %v", done, err, sent())
	}
}

func TestSnapshot(t *testing.T) {
	_, c := opened(t)
	first := put(t, c, "k", "1")
	s := must[*client.Snapshot](t)(c.Snapshot(t.Context()))
	put(t, c, "k", "2")
	if at := s.Timestamp(); at <= first.Timestamp || text(t, s, "k") != "1" || s.Timestamp() != at {
		t.Errorf("at %s: %q", at, text(t, s, "k"))
	}
	then := must[*client.Snapshot](t)(c.Snapshot(t.Context(), client.WithSnapshotBound(client.At(s.Timestamp()))))
	if then.Timestamp() != s.Timestamp() || text(t, then, "k") != "1" {
		t.Errorf("at the same timestamp: %q", text(t, then, "k"))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), []byte("k")); !errors.Is(err, client.ErrTxDone) {
		t.Errorf("closed: %v", err)
	}
	for _, err := range s.Scan(t.Context(), client.All()) {
		if !errors.Is(err, client.ErrTxDone) {
			t.Errorf("closed: %v", err)
		}
	}
	n, err := client.ViewValue(t.Context(), c, func(_ context.Context, s *client.Snapshot) (string, error) {
		if s.Timestamp() <= then.Timestamp() {
			t.Errorf("a later view is at %s", s.Timestamp())
		}
		for _, err := range s.Scan(t.Context(), client.All(), client.WithBound(client.At(1))) {
			if kv.KindOf(err) != kv.Invalid {
				t.Errorf("a bound in a snapshot: %v", err)
			}
		}
		return text(t, s, "k"), nil
	})
	if n != "2" || err != nil {
		t.Errorf("%q, %v", n, err)
	}
	if err := c.View(t.Context(), nil, client.WithSnapshotBound(client.StaleBy(-time.Second))); kv.KindOf(err) != kv.Invalid {
		t.Errorf("a negative bound: %v", err)
	}
}

// TestConflict: what was overtaken runs again, with its age, under another id.
//
// Shows A7, I5.
func TestConflict(t *testing.T) {
	w, c := opened(t)
	sent := w.commits()
	put(t, c, "k", "1")
	var ids []client.TxID
	done := update(t, c, func(ctx context.Context, tx *client.Tx) error {
		ids = append(ids, tx.ID())
		v := text(t, tx, "k")
		if tx.Attempt() < 3 {
			put(t, c, "k", v+"'")
		}
		tx.Put([]byte("k"), []byte(v+"!"))
		return nil
	})
	q := sent()
	if get(t, c, "k") != "1''!" || done.Stats.Attempts != 3 || len(ids) != 3 || ids[0] == ids[1] || ids[2] != done.ID {
		t.Errorf("%q, %+v, %v", get(t, c, "k"), done, ids)
	}
	if n := len(q); n != 6 || q[2].Age != q[4].Age || q[4].Age != q[5].Age || q[2].Start >= q[4].Start || !q[1].Age.IsZero() {
		t.Errorf("%d commits: %+v", n, q)
	}
	var e *client.ConflictError
	lose := func(ctx context.Context, tx *client.Tx) error {
		list(t, tx, client.Prefix([]byte("k")))
		put(t, c, "k9", "x")
		tx.Put([]byte("z"), nil)
		return nil
	}
	_, err := c.Update(t.Context(), lose, client.WithMaxAttempts(2))
	if !errors.As(err, &e) || !errors.Is(err, client.ErrConflict) || e.Attempts != 2 || string(e.Key) != "k9" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err = c.Update(ctx, lose); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	tx := must[*client.Tx](t)(c.Begin(t.Context()))
	if err := lose(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); !errors.As(err, &e) || e.Attempts != 1 {
		t.Errorf("%v", err)
	}
	if text(t, snapshot(t, c), "z") != "-" {
		t.Error("an overtaken transaction wrote")
	}
}

func snapshot(tb testing.TB, c *client.Client) *client.Snapshot {
	tb.Helper()
	return must[*client.Snapshot](tb)(c.Snapshot(tb.Context()))
}

// TestSwallowed: a function that ignores that its reads are too old runs again.
func TestSwallowed(t *testing.T) {
	w, c := opened(t)
	put(t, c, "k", "1")
	w.do(func() { w.tooOld = 1 })
	done := update(t, c, func(ctx context.Context, tx *client.Tx) error {
		p, _ := tx.Get(ctx, []byte("k"))
		tx.Put([]byte("copy"), p.Value)
		return nil
	})
	if done.Stats.Attempts != 2 || get(t, c, "copy") != "1" {
		t.Errorf("%+v, %q", done, get(t, c, "copy"))
	}
}

func TestPanic(t *testing.T) {
	var ends []error
	_, c := opened(t, client.WithHooks(client.Hooks{TxEnd: func(_ context.Context, _ client.Commit, err error) { ends = append(ends, err) }}))
	var kept *client.Tx
	func() {
		defer func() {
			if r := recover(); r != "mine" {
				t.Errorf("recovered %v", r)
			}
		}()
		c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error {
			kept = tx
			tx.Put([]byte("k"), nil)
			panic("mine")
		})
	}()
	if _, err := kept.Get(t.Context(), []byte("k")); !errors.Is(err, client.ErrTxDone) || len(ends) != 1 || ends[0] == nil {
		t.Errorf("%v, %v", err, ends)
	}
	if text(t, snapshot(t, c), "k") != "-" {
		t.Error("it wrote")
	}
}

func TestBegin(t *testing.T) {
	_, c := opened(t)
	tx := must[*client.Tx](t)(c.Begin(t.Context()))
	tx.Put([]byte("k"), []byte("v"))
	done := must[client.Commit](t)(tx.Commit(t.Context()))
	if done.ID != tx.ID() || done.Stats.Attempts != 1 {
		t.Errorf("%+v", done)
	}
	tx.Put([]byte("late"), nil)
	_, err := tx.Commit(t.Context())
	_, err2 := tx.GetMany(t.Context(), []byte("k"))
	if !errors.Is(err, client.ErrTxDone) || !errors.Is(err2, client.ErrTxDone) || !errors.Is(tx.Rollback(t.Context()), client.ErrTxDone) {
		t.Errorf("after the end: %v, %v", err, err2)
	}
	for _, err := range tx.Scan(t.Context(), client.All()) {
		if !errors.Is(err, client.ErrTxDone) {
			t.Errorf("a scan after the end: %v", err)
		}
	}
	tx = must[*client.Tx](t)(c.Begin(t.Context()))
	tx.Put([]byte("k"), []byte("no"))
	if err := tx.Rollback(t.Context()); err != nil || get(t, c, "k") != "v" {
		t.Errorf("%v, %q", err, get(t, c, "k"))
	}
	update(t, c, func(ctx context.Context, tx *client.Tx) error {
		if _, err := tx.Commit(ctx); kv.KindOf(err) != kv.Invalid {
			t.Errorf("Commit in Update: %v", err)
		}
		if err := tx.Rollback(ctx); kv.KindOf(err) != kv.Invalid {
			t.Errorf("Rollback in Update: %v", err)
		}
		return nil
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Begin(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestInvalidWrites(t *testing.T) {
	_, c := opened(t)
	put(t, c, "word", "x")
	for name, do := range map[string]func(tx *client.Tx){
		"no key":         func(tx *client.Tx) { tx.Put(nil, nil) },
		"delete of none": func(tx *client.Tx) { tx.Delete(nil) },
		"long key":       func(tx *client.Tx) { tx.Add(make([]byte, kv.KeyBytesMax+1), 1) },
		"long value":     func(tx *client.Tx) { tx.Put([]byte("k"), make([]byte, kv.ValueBytesMax+1)) },
		"no number":      func(tx *client.Tx) { tx.Put([]byte("k"), []byte("x")); tx.Add([]byte("k"), 1) },
		"too many added": func(tx *client.Tx) { tx.Add([]byte("k"), 1<<62); tx.Add([]byte("k"), 1<<62) },
		"late condition": func(tx *client.Tx) {
			tx.Delete([]byte("k"))
			tx.Put([]byte("k"), nil, client.If(client.Absent()))
		},
	} {
		_, err := c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error {
			tx.Put([]byte("good"), nil)
			do(tx)
			return nil
		})
		if k := kv.KindOf(err); k != kv.Invalid && k != kv.Limit {
			t.Errorf("%s: %v", name, err)
		}
	}
	update(t, c, func(ctx context.Context, tx *client.Tx) error {
		tx.Add([]byte("word"), 1)
		if _, err := tx.Get(ctx, []byte("word")); kv.KindOf(err) != kv.Invalid {
			t.Errorf("a sum with a word: %v", err)
		}
		tx.Delete([]byte("word"))
		return nil
	})
	if text(t, snapshot(t, c), "good") != "-" {
		t.Error("an invalid transaction wrote")
	}
}

func TestConditions(t *testing.T) {
	_, c := opened(t)
	put(t, c, "k", "1")
	set := func(want client.Expect) error {
		_, err := c.Update(t.Context(), func(_ context.Context, tx *client.Tx) error {
			tx.Put([]byte("other"), []byte("x"))
			tx.Put([]byte("k"), []byte("5"), client.If(want))
			tx.Add([]byte("k"), 2)
			return nil
		})
		return err
	}
	var e *client.ExpectationError
	if err := set(client.Absent()); !errors.As(err, &e) || string(e.Key) != "k" && e.Key != nil || string(e.Actual.Value) != "1" || string(e.Actual.Key) != "k" {
		t.Errorf("%v, %+v", err, e)
	}
	if text(t, snapshot(t, c), "other") != "-" {
		t.Error("a failed condition wrote")
	}
	if err := set(client.ValueIs([]byte("1"))); err != nil || get(t, c, "k") != "7" {
		t.Errorf("%v, %q", err, get(t, c, "k"))
	}
}
