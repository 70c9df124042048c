package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// heldBy waits for the cluster to be told of timestamps, and forgets what it was told before.
func (w *world) heldBy(t *testing.T, what string, ok func(held []kv.Timestamp) bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var held []kv.Timestamp
		w.do(func() { held = slices.Clone(w.held) })
		if ok(held) {
			w.do(func() { w.held = nil })
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: held are %v", what, held)
		}
	}
}

// TestHolds: what is old and open is held, the oldest of it, until it ends.
func TestHolds(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	put(t, c, "k", "v")
	ago := func(d time.Duration) client.SnapshotOption { return client.WithSnapshotBound(client.StaleBy(d)) }
	young, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer young.Close()
	ten, err := c.Snapshot(t.Context(), ago(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	only := func(at client.Timestamp) func(held []kv.Timestamp) bool {
		return func(held []kv.Timestamp) bool {
			return len(held) > 0 && !slices.ContainsFunc(held, func(h kv.Timestamp) bool { return h != at })
		}
	}
	w.heldBy(t, "ten minutes ago", only(ten.Timestamp()))
	err = c.View(t.Context(), func(_ context.Context, s *client.Snapshot) error {
		w.heldBy(t, "twenty minutes ago", func(held []kv.Timestamp) bool { return slices.Contains(held, s.Timestamp()) })
		return nil
	}, ago(20*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	w.heldBy(t, "ten minutes ago again", func(held []kv.Timestamp) bool { return slices.Contains(held, ten.Timestamp()) })
	ten.Close()
	w.heldBy(t, "what was drawn just now, after ten seconds", only(young.Timestamp()))
}

// TestHoldLost: what the cluster cannot keep any more does not keep it from holding what is newer.
func TestHoldLost(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	put(t, c, "k", "v")
	old, err := c.Snapshot(t.Context(), client.WithSnapshotBound(client.StaleBy(2*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	w.do(func() { w.oldest = old.Timestamp() + 1 })
	newer, err := c.Snapshot(t.Context(), client.WithSnapshotBound(client.StaleBy(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	defer newer.Close()
	w.heldBy(t, "an hour ago", func(held []kv.Timestamp) bool { return slices.Contains(held, newer.Timestamp()) })
	w.do(func() { w.tooOld = 1 })
	var lost *client.TooOldError
	if _, err := old.Get(t.Context(), []byte("k")); !errors.Is(err, client.ErrTooOld) || !errors.As(err, &lost) {
		t.Errorf("a snapshot that is lost: %v", err)
	}
}

// TestShortReadsHoldNothing: they tell the cluster nothing, and leave nothing behind.
func TestShortReadsHoldNothing(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	for range 50 {
		_, err := c.Update(t.Context(), func(ctx context.Context, tx *client.Tx) error {
			if _, err := tx.Get(ctx, []byte("k")); err != nil && !errors.Is(err, client.ErrNotFound) {
				return err
			}
			tx.Put([]byte("k"), []byte("v"))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range c.Scan(t.Context(), client.All()) {
		}
		if _, err := c.Count(t.Context(), client.All()); err != nil {
			t.Fatal(err)
		}
		tx, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Get(t.Context(), []byte("k")); err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := client.Holds(c); n != 0 {
		t.Errorf("%d timestamps are still open", n)
	}
	w.do(func() {
		if len(w.held) > 0 {
			t.Errorf("the cluster was told of %v", w.held)
		}
	})
}

// TestForgottenSnapshotEnds: one that nobody can reach is ended by the garbage collector of Go.
func TestForgottenSnapshotEnds(t *testing.T) {
	w := newWorld(t, 1)
	c := w.open(t)
	put(t, c, "k", "v")
	func() {
		if _, err := c.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Snapshot(t.Context(), client.WithSnapshotBound(client.StaleBy(time.Minute))); err != nil {
			t.Fatal(err)
		}
		tx, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Get(t.Context(), []byte("k")); err != nil {
			t.Fatal(err)
		}
		if n := client.Holds(c); n != 3 {
			t.Errorf("%d timestamps are open, not three", n)
		}
	}()
	client.CollectUntil(t, func() bool { return client.Holds(c) == 0 })
}

func TestSetRetention(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	if err := c.Admin().CreateKeyspace(t.Context(), "k", client.ByHash(2), client.WithRetention(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := c.Admin().SetRetention(t.Context(), "default", 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	all, err := c.Admin().Keyspaces(t.Context())
	if err != nil || len(all) != 2 || all[0].Retention != 30*time.Minute || all[1].Retention != time.Hour {
		t.Errorf("%+v, %v", all, err)
	}
	if err := c.Admin().SetRetention(t.Context(), "none", time.Hour); kv.KindOf(err) != kv.NotFound {
		t.Errorf("of no keyspace: %v", err)
	}
}
