package kvtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/client/kvtest"
	"github.com/kvd-db/kvd/kv"
)

// until tries again until it is done, and fails the test if that takes too long.
func until(t *testing.T, what string, done func(ctx context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !done(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within a minute", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestHeldSnapshot: what open snapshots and transactions read is kept, over changes of all leaders, until they
// are closed. Older versions go.
func TestHeldSnapshot(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the core's leaders")
	}
	cluster := kvtest.NewCluster(t, 3)
	c := cluster.Client()
	ctx := t.Context()
	if err := c.Admin().CreateKeyspace(ctx, "kept", client.ByRange(), client.WithRetention(kv.RetentionMin)); err != nil {
		t.Fatal(err)
	}
	c = c.In("kept")
	first := put(t, c, "k", "first")
	cluster.Advance(2 * time.Minute)
	put(t, c, "k", "second")
	s, err := c.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := tx.Get(ctx, []byte("k")); err != nil || string(p.Value) != "second" {
		t.Fatal(p, err)
	}
	put(t, c, "k", "third")
	cluster.Advance(2 * time.Minute) // from this on they are old
	// A hold that is not renewed lapses after five minutes of the oracle's time. A step does not begin before the
	// hold outlasts it, with room for what the client takes to renew it once more.
	const step = 4 * time.Minute
	renewed := func(ctx context.Context) bool {
		now := put(t, c, "other", "x")
		status, err := c.Admin().Status(ctx)
		return err == nil && status.Held == s.Timestamp() &&
			time.Duration(status.HeldUntil.UnixMillis()-now.UnixMillis())*time.Millisecond > step+50*time.Second
	}
	until(t, "the snapshot is held", renewed)
	for range 5 {
		before := put(t, c, "other", "x")
		cluster.Advance(step)
		until(t, "the clocks are ahead", func(context.Context) bool {
			return put(t, c, "other", "x").UnixMillis()-before.UnixMillis() >= step.Milliseconds()
		})
		until(t, "the hold is renewed", renewed)
	}
	tooOld := func(at client.Timestamp) func(context.Context) bool {
		return func(ctx context.Context) bool {
			put(t, c, "k", "newer")
			_, err := c.Get(ctx, []byte("k"), client.WithBound(client.At(at)))
			var old *client.TooOldError
			return errors.Is(err, client.ErrTooOld) && errors.As(err, &old) && old.Oldest > at
		}
	}
	until(t, "the first version can be read no more", tooOld(first))
	cluster.Kill(0)
	cluster.Restart(0)
	if p, err := s.Get(ctx, []byte("k")); err != nil || string(p.Value) != "second" {
		t.Errorf("the snapshot reads %q, %v", p.Value, err)
	}
	if p, err := tx.Get(ctx, []byte("k")); err != nil || string(p.Value) != "second" {
		t.Errorf("the transaction reads %q, %v", p.Value, err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Error(err)
	}
	at := s.Timestamp()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	until(t, "what the snapshot read goes", func(ctx context.Context) bool {
		cluster.Advance(time.Minute)
		return tooOld(at)(ctx)
	})
	if err := c.Admin().SetRetention(ctx, "kept", time.Second); kv.KindOf(err) != kv.Invalid {
		t.Errorf("a retention of a second: %v", err)
	}
	if err := c.Admin().SetRetention(ctx, "kept", 48*time.Hour); err != nil {
		t.Error(err)
	}
	all, err := c.Admin().Keyspaces(ctx)
	if err != nil || all[1].Name != "kept" || all[1].Retention != 48*time.Hour || all[0].Retention != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

func put(t *testing.T, c *client.Client, key, value string) client.Timestamp {
	t.Helper()
	done, err := c.Put(t.Context(), []byte(key), []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return done.Timestamp
}
