package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/client/session"
)

// startServer starts a PostgreSQL of its own for a test.
func startServer(t *testing.T) *postgresSide {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts PostgreSQL")
	}
	binary, err := exec.LookPath("postgres")
	if err != nil {
		t.Skip("there is no postgres on PATH:", err)
	}
	dir, err := os.MkdirTemp("", "kvd-duel-test-") // that of t lies in one that other users cannot pass
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := startPostgres(t.Context(), binary, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	if err := s.makeSpace(t.Context(), "", 0); err != nil {
		t.Fatal(err)
	}
	return s
}

// A PostgreSQL serves what is asked of a target with transactions, and the bank.
func TestPostgres(t *testing.T) {
	s := startServer(t)
	target := &postgresTarget{pool: s.pool}
	t.Run("records", func(t *testing.T) { testRecords(t, target) })
	t.Run("update", func(t *testing.T) { testPostgresUpdate(t, target) })
	t.Run("serializable", func(t *testing.T) { testSerializable(t, target) })
	t.Run("settings", func(t *testing.T) { testSettings(t, target) })
	t.Run("turns", func(t *testing.T) { testTurns(t, s, target) })
	for _, o := range []bench.Options{
		{Workload: "bank", Bank: bench.BankOptions{Accounts: 5, StaleBy: -1}},
		{Workload: "ycsb-f", Keys: 100, Ordered: true},
		{Workload: "scan", Keys: 200},
	} {
		o.Workers, o.Duration, o.Warmup = 4, 500*time.Millisecond, -1
		r, err := bench.Run(t.Context(), newWitness(target), o)
		if err != nil || r.Verdict == bench.VerdictInvalid || r.Total.Ops == 0 {
			t.Errorf("%s: %+v, %v", o.Workload, r, err)
		}
	}
}

func testRecords(t *testing.T, target *postgresTarget) {
	key, ctx := []byte("r1"), t.Context()
	if _, err := target.Get(ctx, key); !errors.Is(err, bench.ErrNotFound) {
		t.Errorf("%v; want that there is no such key", err)
	}
	if err := target.CompareAndSet(ctx, key, 7, []byte("x")); !errors.Is(err, bench.ErrConflict) {
		t.Errorf("%v; want a conflict: it is not there", err)
	}
	if err := target.CompareAndSet(ctx, key, 0, []byte("one")); err != nil {
		t.Error(err)
	}
	if err := target.CompareAndSet(ctx, key, 0, []byte("x")); !errors.Is(err, bench.ErrConflict) {
		t.Errorf("%v; want a conflict: it is there", err)
	}
	first, err := target.Get(ctx, key)
	if err != nil || string(first.Value) != "one" || first.Version == 0 {
		t.Errorf("%+v, %v", first, err)
	}
	if err := target.CompareAndSet(ctx, key, first.Version, []byte("two")); err != nil {
		t.Error(err)
	}
	if err := target.CompareAndSet(ctx, key, first.Version, []byte("x")); !errors.Is(err, bench.ErrConflict) {
		t.Errorf("%v; want a conflict: it has changed", err)
	}
	if err := target.Put(ctx, []byte("r2"), []byte("three")); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		start, end string
		limit      int
		want       string
	}{{"r", "s", 9, "two three"}, {"r", "s", 1, "two"}, {"r2", "", 9, "three"}, {"r", "r2", 9, "two"}} {
		var end []byte
		if c.end != "" {
			end = []byte(c.end)
		}
		found, err := target.Scan(ctx, []byte(c.start), end, c.limit)
		var values []string
		for _, r := range found {
			values = append(values, string(r.Value))
		}
		if got := strings.Join(values, " "); err != nil || got != c.want {
			t.Errorf("scan of %q..%q, %d at most: %q, %v; want %q", c.start, c.end, c.limit, got, err, c.want)
		}
	}
}

func testPostgresUpdate(t *testing.T, target *postgresTarget) {
	a, b, ctx := []byte("u1"), []byte("u2"), t.Context()
	if err := target.Put(ctx, a, []byte("old")); err != nil {
		t.Fatal(err)
	}
	overtaken := false
	took, err := target.Update(ctx, func(ctx context.Context, tx bench.Tx) error {
		tx.Put(b, []byte("1"))
		found, err := tx.GetMany(ctx, a, b)
		if err != nil {
			return err
		}
		if string(found[1].Value) != "1" || found[1].Version == 0 {
			t.Errorf("its own put is %+v", found[1])
		}
		if !overtaken {
			overtaken = true
			if err := target.Put(ctx, a, []byte("x")); err != nil {
				return err
			}
		}
		tx.Put(a, append(found[0].Value, 'y'))
		return nil
	})
	if took != (bench.Attempts{Made: 2, Aborted: 1}) || err != nil {
		t.Errorf("%+v, %v; want two attempts", took, err)
	}
	before, found, err := target.View(ctx, [][]byte{a, b, []byte("none")}, time.Second)
	if err != nil || string(found[0].Value) != "xy" || string(found[1].Value) != "1" || found[2].Version != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	own := errors.New("own")
	if _, err := target.Update(ctx, func(ctx context.Context, tx bench.Tx) error {
		_, _ = tx.GetMany(ctx, a)
		tx.Put(a, []byte("never"))
		return own
	}); !errors.Is(err, own) {
		t.Errorf("%v; want the function's own error", err)
	}
	if r, err := target.Get(ctx, a); err != nil || string(r.Value) != "xy" {
		t.Errorf("%+v, %v; nothing should have changed", r, err)
	}
	if took, err := target.Update(ctx, func(context.Context, bench.Tx) error { return nil }); err != nil || took.Made != 1 {
		t.Errorf("a transaction that does nothing: %+v, %v", took, err)
	}
	if err := target.Put(ctx, b, []byte("2")); err != nil {
		t.Fatal(err)
	}
	if after, _, err := target.View(ctx, [][]byte{a}, 0); err != nil || after <= before {
		t.Errorf("at %d, and later at %d, %v", before, after, err)
	}
	ended, cancel := context.WithCancel(ctx)
	_, err = target.Update(ended, func(context.Context, bench.Tx) error {
		cancel()
		return &pgconn.PgError{Code: stateSerialization}
	})
	if !errors.Is(err, bench.ErrConflict) || newWitness(target).ErrorKind(err) != "conflict" {
		t.Errorf("%v; want a conflict, as the time is up", err)
	}
}

// Two transactions that each read both rows and write one of them are not both committed in their first attempt.
func testSerializable(t *testing.T, target *postgresTarget) {
	a, b, ctx := []byte("s1"), []byte("s2"), t.Context()
	for _, k := range [][]byte{a, b} {
		if err := target.Put(ctx, k, []byte("0")); err != nil {
			t.Fatal(err)
		}
	}
	inner := false
	outer, err := target.Update(ctx, func(ctx context.Context, tx bench.Tx) error {
		found, err := tx.GetMany(ctx, a, b)
		if err != nil {
			return err
		}
		if !inner {
			inner = true
			if _, err := target.Update(ctx, func(ctx context.Context, tx bench.Tx) error {
				_, err := tx.GetMany(ctx, a, b)
				tx.Put(b, []byte("1"))
				return err
			}); err != nil {
				return err
			}
		}
		tx.Put(a, found[1].Value)
		return nil
	})
	if err != nil || outer.Aborted != 1 {
		t.Errorf("%+v, %v: a write skew was committed", outer, err)
	}
	if r, err := target.Get(ctx, a); err != nil || string(r.Value) != "1" {
		t.Errorf("%+v, %v", r, err)
	}
}

// What the comparison claims is so.
func testSettings(t *testing.T, target *postgresTarget) {
	for name, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "enable_seqscan": "off", "transaction_isolation": "serializable",
	} {
		var got string
		if err := target.pool.QueryRow(t.Context(), "select current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	rows, _ := target.pool.Query(t.Context(), "explain "+postgresRead, [][]byte{[]byte("s1"), []byte("s2")})
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if text := strings.Join(plan, "\n"); err != nil || strings.Contains(text, "Seq Scan") {
		t.Errorf("%v; the plan is\n%s", err, text)
	}
	var e *pgconn.PgError
	_, err = target.pool.Exec(t.Context(), "no such statement")
	if !errors.As(err, &e) || target.ErrorKind(err) != "sqlstate 42601" {
		t.Errorf("%v is %q", err, target.ErrorKind(err))
	}
}

// A suspended server has no process that works, and one that was resumed takes writes.
func testTurns(t *testing.T, s *postgresSide, target *postgresTarget) {
	pid := s.cluster.pids()[0]
	if len(childrenOf(pid)) == 0 {
		t.Skip("no /proc here")
	}
	s.cluster.suspend()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		states := ""
		for _, p := range append(childrenOf(pid), pid) {
			states += stateOf(p)
		}
		if strings.Trim(states, "T") == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server's processes are in states %q", states)
		}
	}
	s.cluster.resume()
	if err := settleRound(t.Context(), target); err != nil {
		t.Error(err)
	}
}

// A server that cannot start says why.
func TestPostgresFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "postgres"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := startPostgres(t.Context(), "/does/not/exist", dir); err == nil {
		s.stop()
		t.Error("a directory that is taken was used")
	}
}

func TestJitter(t *testing.T) {
	for n := range 100 {
		if d := jitter(n); d < 0 || d > session.BackoffMax || n == 0 && d > session.BackoffMin {
			t.Errorf("after %d failures: %v", n+1, d)
		}
	}
}

func TestOvertaken(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("x"), false},
		{&pgconn.PgError{Code: "40001"}, true},
		{&pgconn.PgError{Code: "40P01"}, true},
		{&pgconn.PgError{Code: "23505"}, false},
	} {
		if got := overtaken(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
