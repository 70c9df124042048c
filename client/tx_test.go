package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
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

// TestReadYourWrites compares a transaction with a map, in keyspaces of each scheme.
func TestReadYourWrites(t *testing.T) {
	_, c := opened(t)
	for _, name := range keyspaces(t, c) {
		for seed := range uint64(30) {
			ownWrites(t, c.In(name), rand.New(rand.NewPCG(seed, 1)))
			if t.Failed() {
				t.Fatalf("keyspace %s, seed %d", name, seed)
			}
		}
	}
}

func ownWrites(t *testing.T, c *client.Client, rng *rand.Rand) {
	key := func() string { return string(rune('a'+rng.IntN(4))) + fmt.Sprint(rng.IntN(6)) }
	model := map[string]string{}
	for p, err := range c.Scan(t.Context(), client.All()) {
		if err != nil {
			t.Fatal(err)
		}
		model[string(p.Key)] = string(p.Value)
	}
	in := func() client.Range {
		r := client.Range{Start: []byte(key()), End: []byte(key())}
		if rng.IntN(3) == 0 {
			r.End = nil
		}
		if rng.IntN(3) == 0 {
			r.Start = nil
		}
		return r
	}
	update(t, c, func(_ context.Context, tx *client.Tx) error {
		for range 40 {
			k := key()
			switch rng.IntN(9) {
			case 0, 1:
				model[k] = fmt.Sprint(rng.IntN(100))
				tx.Put([]byte(k), []byte(model[k]))
			case 2:
				delete(model, k)
				tx.Delete([]byte(k))
			case 3, 4:
				n := 0
				fmt.Sscan(model[k], &n)
				d := rng.IntN(9) - 4
				model[k] = fmt.Sprint(n + d)
				tx.Add([]byte(k), int64(d))
			case 5:
				if rng.IntN(4) > 0 {
					break
				}
				r := in()
				for k := range model {
					if rangeHas(r, k) {
						delete(model, k)
					}
				}
				tx.DeleteRange(r)
			case 6:
				want, ok := model[k]
				if !ok {
					want = "-"
				}
				if got := text(t, tx, k); got != want {
					t.Fatalf("%s is %q, not %q", k, got, want)
				}
			case 7:
				keys := [][]byte{[]byte(key()), []byte(key()), []byte(key())}
				for i, p := range must[[]client.Pair](t)(tx.GetMany(t.Context(), keys...)) {
					want, ok := model[string(keys[i])]
					if string(p.Value) != want || ok != (p.Version != 0) || !bytes.Equal(p.Key, keys[i]) {
						t.Fatalf("%s is %+v, not %q", keys[i], p, want)
					}
				}
			default:
				r, n, reverse := in(), rng.IntN(5), rng.IntN(2) == 0
				opts := []client.ScanOption{client.Limit(n)}
				if reverse {
					opts = append(opts, client.Reverse())
				}
				if got, want := list(t, tx, r, opts...), expected(model, r, n, reverse); got != want {
					t.Fatalf("scan %s, limit %d, reverse %t:\n%s, not\n%s", r, n, reverse, got, want)
				}
			}
		}
		return nil
	})
	if got, want := strings.Join(scan(t, c, client.All()), " "), expected(model, client.All(), 0, false); got != want {
		t.Fatalf("committed\n%s, not\n%s", got, want)
	}
}

func rangeHas(r client.Range, k string) bool {
	return k >= string(r.Start) && (len(r.End) == 0 || k < string(r.End))
}

func expected(model map[string]string, r client.Range, limit int, reverse bool) string {
	var all []string
	for k, v := range model {
		if rangeHas(r, k) {
			all = append(all, k+"="+v)
		}
	}
	slices.Sort(all)
	if reverse {
		slices.Reverse(all)
	}
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return strings.Join(all, " ")
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

// TestScanMarks: only what was gone over counts as read.
func TestScanMarks(t *testing.T) {
	w, c := opened(t)
	for i := range 30 {
		put(t, c, fmt.Sprintf("k%02d", i), "v")
	}
	sent := w.commits()
	for _, x := range []struct {
		name string
		do   func(tx *client.Tx)
		want string
	}{
		{"all", func(tx *client.Tx) { list(t, tx, client.Prefix([]byte("k"))) }, "[k l)"},
		{"limit", func(tx *client.Tx) { list(t, tx, client.Prefix([]byte("k")), client.Limit(3)) }, "[k k02\x00)"},
		{"limit above", func(tx *client.Tx) { list(t, tx, client.Prefix([]byte("k")), client.Limit(31)) }, "[k l)"},
		{"reverse", func(tx *client.Tx) { list(t, tx, client.Prefix([]byte("k")), client.Limit(3), client.Reverse()) }, "[k27 l)"},
		{"broken off", func(tx *client.Tx) {
			for p := range tx.Scan(t.Context(), client.Prefix([]byte("k"))) {
				if string(p.Key) == "k05" {
					break
				}
			}
		}, "[k k05\x00)"},
		{"twice", func(tx *client.Tx) {
			list(t, tx, client.Prefix([]byte("k0")))
			text(t, tx, "k15")
			list(t, tx, client.Prefix([]byte("k1")))
			list(t, tx, client.Prefix([]byte("kx")))
		}, "[k0 k2) [kx ky)"},
		{"empty", func(tx *client.Tx) { list(t, tx, client.Range{Start: []byte("b"), End: []byte("a")}) }, ""},
		{"own", func(tx *client.Tx) {
			tx.Put([]byte("k00x"), nil)
			tx.Delete([]byte("k01"))
			list(t, tx, client.Prefix([]byte("k")), client.Limit(3))
		}, "[k k02\x00)"},
		{"delete range", func(tx *client.Tx) {
			tx.DeleteRange(client.Prefix([]byte("k1")))
			text(t, tx, "k15")
		}, "[k1 k2)"},
	} {
		tx := must[*client.Tx](t)(c.Begin(t.Context()))
		x.do(tx)
		tx.Put([]byte("z"), nil)
		must[client.Commit](t)(tx.Commit(t.Context()))
		all := sent()
		q := all[len(all)-1]
		var got []string
		for _, s := range q.Spans {
			got = append(got, fmt.Sprintf("[%s %s)", s.Start[kv.KeyspacePrefixBytes:], s.End[kv.KeyspacePrefixBytes:]))
		}
		if g := strings.Join(got, " "); g != x.want || len(q.Reads) != 0 {
			t.Errorf("%s: spans %q, reads %v", x.name, g, q.Reads)
		}
	}
	if got := list(t, snapshot(t, c), client.Prefix([]byte("k1"))); got != "" {
		t.Errorf("a deleted range has %s", got)
	}
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

// TestSeveralPartitions looks at the commit that is sent.
func TestSeveralPartitions(t *testing.T) {
	w, c := opened(t)
	names := keyspaces(t, c)
	ranges, hashes := names[1], names[2]
	sent := w.commits()
	done := update(t, c.In(ranges), func(_ context.Context, tx *client.Tx) error {
		text(t, tx, "a1")
		list(t, tx, client.Range{Start: []byte("a5"), End: []byte("c5")})
		text(t, tx.In(hashes), "h")
		tx.Put([]byte("bb"), []byte("first"))
		tx.Put([]byte("aa"), []byte("2"))
		tx.Put([]byte("k2"), []byte("3"))
		tx.In(hashes).Add([]byte("n"), 4)
		return nil
	})
	q := sent()[0]
	var anchor *part
	w.do(func() { anchor = w.partOf(ranges, "bb") })
	if string(q.Writes[0].Value) != "first" || len(q.Writes) != 1 || len(q.Reads) != 0 || len(q.Spans) != 1 {
		t.Errorf("the anchor's part: %+v", q)
	}
	if q.Term != anchor.term || q.AsOf == 0 || q.Start == 0 || done.Stats.OnePhase || done.Stats.Partitions != 1+len(q.Parts) || done.Stats.WrittenKeys != 4 {
		t.Errorf("%+v, %+v", q, done.Stats)
	}
	seen := map[kv.PartitionID]bool{anchor.d.Partition: true}
	reads, spans, writes := 0, 1, 1
	for _, p := range q.Parts {
		if seen[p.Partition] || p.Generation != 1 {
			t.Errorf("part %+v", p)
		}
		seen[p.Partition] = true
		reads, spans, writes = reads+len(p.Reads), spans+len(p.Spans), writes+len(p.Writes)
	}
	if reads != 2 || spans != 3 || writes != 4 {
		t.Errorf("%d reads, %d spans, %d writes: %+v", reads, spans, writes, q)
	}
	if get(t, c.In(ranges), "k2") != "3" || get(t, c.In(hashes), "n") != "4" {
		t.Error("not all of it is there")
	}
	update(t, c.In(hashes), func(_ context.Context, tx *client.Tx) error {
		list(t, tx, client.All(), client.Limit(1))
		tx.Put([]byte("x"), nil)
		return nil
	})
	if q := sent()[1]; len(q.Parts) != 6 || len(q.Spans) != 1 {
		t.Errorf("a scan of a hash keyspace reads all its partitions: %+v", q)
	}
}

// TestOldMap: the keys have moved, at the anchor and elsewhere, since the client asked.
func TestOldMap(t *testing.T) {
	w, c := opened(t)
	names := keyspaces(t, c)
	c = c.In(names[1])
	write := func() client.Commit {
		return update(t, c, func(_ context.Context, tx *client.Tx) error {
			for _, k := range []string{"k1", "k2", "a1", "a2"} {
				tx.Add([]byte(k), 1)
			}
			list(t, tx, client.All())
			return nil
		})
	}
	write()
	splitAt := func(k string) {
		w.do(func() {
			ks := w.keyspaces[slices.IndexFunc(w.keyspaces, func(k kv.Keyspace) bool { return k.Name == names[1] })]
			w.split(ks.FullKey([]byte(k)))
		})
	}
	for i, at := range []string{"a2", "k2", "k19"} {
		splitAt(at)
		done := write()
		if n := done.Stats.Partitions; n != 5+i || done.Stats.Attempts != 1 {
			t.Errorf("after the split at %s: %+v", at, done.Stats)
		}
	}
	if got := strings.Join(scan(t, c, client.All()), " "); got != "a1=4 a2=4 k1=4 k2=4" {
		t.Error(got)
	}
}

// TestTxExactlyOnce moves money between accounts in several partitions, through lost answers,
// refusals, elections and splits: none is lost and no id is executed twice.
func TestTxExactlyOnce(t *testing.T) {
	w, c := opened(t)
	names := keyspaces(t, c)
	rng := rand.New(rand.NewPCG(5, 6))
	var mu sync.Mutex
	w.do(func() {
		w.fault = func(_ *node, q *kv.Request) fault {
			if q.Commit != nil && rng.IntN(40) == 0 {
				w.elect(w.parts[rng.IntN(len(w.parts))])
			}
			if f := fault(rng.IntN(60)); f <= notLeader {
				return f
			}
			return none
		}
	})
	account := func(tx *client.Tx, rng *rand.Rand) (*client.Tx, []byte) {
		return tx.In(names[rng.IntN(3)]), fmt.Appendf(nil, "%c", "abck"[rng.IntN(4)])
	}
	var wg sync.WaitGroup
	told := map[client.TxID]bool{}
	for worker := range uint64(6) {
		wg.Go(func() {
			for i := range uint64(25) {
				done, err := c.Update(t.Context(), func(ctx context.Context, tx *client.Tx) error {
					rng := rand.New(rand.NewPCG(worker, i))
					from, a := account(tx, rng)
					to, b := account(tx, rng)
					p, err := from.Get(ctx, a)
					if err != nil && !errors.Is(err, client.ErrNotFound) {
						return err
					}
					n := 0
					fmt.Sscan(string(p.Value), &n)
					from.Put(a, fmt.Append(nil, n-1))
					to.Add(b, 1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				told[done.ID] = true
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		for _, k := range []string{"aa", "bb"} {
			time.Sleep(20 * time.Millisecond)
			w.do(func() { w.split(kv.MakeKey(w.keyspaces[1].ID, []byte(k))) })
		}
	})
	wg.Wait()
	w.do(func() { w.fault = nil })
	total := 0
	for _, n := range names {
		for _, pair := range scan(t, c.In(n), client.All()) {
			_, v, _ := strings.Cut(pair, "=")
			n := 0
			fmt.Sscan(v, &n)
			total += n
		}
	}
	if total != 0 || len(told) != 150 {
		t.Errorf("the sum is %d, %d commits", total, len(told))
	}
	for id, n := range w.executed {
		if n > 1 || !told[id] {
			t.Errorf("%s was executed %d times, told: %t", id, n, told[id])
		}
	}
}
