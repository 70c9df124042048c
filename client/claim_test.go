package client_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// claiming is a world with the keys a and z in two partitions, and what reads by key it has seen: "a!" is a claim.
func claiming(t *testing.T) (w *world, c *client.Client, reads func() string) {
	w, c = opened(t)
	w.do(func() { w.split(w.keyspaces[0].FullKey([]byte("m"))) })
	for _, k := range []string{"a", "z"} {
		if _, err := c.Put(t.Context(), []byte(k), []byte("0")); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	var ages []kv.Age
	w.do(func() {
		w.fault = func(_ *node, q *kv.Request) fault {
			if q.Read != nil {
				s := ""
				for _, k := range q.Read.Keys {
					s += string(w.keyspaces[0].UserKey(k))
				}
				if !q.Read.Claim.IsZero() {
					s += "!"
					ages = append(ages, q.Read.Claim)
				}
				seen = append(seen, s)
			}
			if q.Commit != nil {
				ages = append(ages, q.Commit.Age)
				if ages = slices.Compact(ages); len(ages) != 1 {
					t.Errorf("a claim is of its transaction's age: %v", ages)
				}
				ages = nil
			}
			return none
		}
	})
	return w, c, func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		s := fmt.Sprint(seen)
		seen = nil
		return s
	}
}

// both adds one to a and z; before is called in each attempt, after the reads.
func both(t *testing.T, c *client.Client, before func(attempt int)) client.Commit {
	t.Helper()
	return update(t, c, func(ctx context.Context, tx *client.Tx) error {
		found, err := tx.GetMany(ctx, []byte("z"), []byte("a"))
		if err != nil {
			return err
		}
		before(tx.Attempt())
		for _, p := range found {
			tx.Put(p.Key, append(p.Value, '+'))
		}
		return nil
	})
}

func TestOvertakenTransactionsClaim(t *testing.T) {
	w, c, reads := claiming(t)
	other := w.open(t)
	overtake := func(key string) {
		if _, err := other.Put(t.Context(), []byte(key), []byte("1")); err != nil {
			t.Error(err)
		}
	}
	done := both(t, c, func(attempt int) {
		if attempt == 1 {
			overtake("z")
		}
	})
	// In the order of the keys, not of the reads; what the second partition has is newer than nothing of the first.
	if got := reads(); got != "[z a a! z!]" || done.Stats.Attempts != 2 || done.Stats.Backoff != 0 {
		t.Errorf("read %s, %+v", got, done.Stats)
	}
	if get(t, c, "a") != "0+" || get(t, c, "z") != "1+" {
		t.Error("not there")
	}
	reads()
	// The next one claims the key at which that one was overtaken, and the other not.
	if done = both(t, c, func(int) {}); done.Stats.Attempts != 1 {
		t.Errorf("%+v", done.Stats)
	}
	if got := reads(); got != "[z! a]" {
		t.Errorf("read %s", got)
	}
	// A snapshot claims nothing.
	if err := c.View(t.Context(), func(_ context.Context, s *client.Snapshot) error {
		text(t, s, "z")
		return nil
	}); err != nil {
		t.Error(err)
	}
	if got := reads(); got != "[z]" {
		t.Errorf("read %s", got)
	}
}

// TestClaimsAreOneState: what was claimed first is read again if what was claimed last is newer.
func TestClaimsAreOneState(t *testing.T) {
	w, c, reads := claiming(t)
	other := w.open(t)
	put := func(key, value string) {
		if _, err := other.Put(t.Context(), []byte(key), []byte(value)); err != nil {
			t.Error(err)
		}
	}
	between := make(chan struct{})
	w.do(func() {
		next := w.fault
		w.fault = func(n *node, q *kv.Request) fault {
			f := next(n, q)
			if q.Read != nil && !q.Read.Claim.IsZero() && string(w.keyspaces[0].UserKey(q.Read.Keys[0])) == "z" {
				select {
				case <-between:
				default: // both change once a was claimed and read
					close(between)
					for _, p := range w.parts {
						for _, k := range []string{"a", "z"} {
							if full := w.keyspaces[0].FullKey([]byte(k)); p.d.Keyspace == w.keyspaces[0].ID && p.d.Span.Contains(full) {
								p.rows[string(full)] = append(p.rows[string(full)], kv.Row{Key: full, Value: []byte("2"), Version: w.draw()})
							}
						}
					}
				}
			}
			return f
		}
	})
	states := ""
	done := both(t, c, func(attempt int) {
		if attempt == 1 {
			put("a", "1")
		}
	})
	for _, k := range []string{"a", "z"} {
		states += get(t, c, k) + " "
	}
	if got := reads(); got != "[z a a! z! a a z]" || states != "2+ 2+ " || done.Stats.Attempts != 2 {
		t.Errorf("read %s, then there was %s, %+v", got, states, done.Stats)
	}
}

func TestGetForUpdateClaims(t *testing.T) {
	_, c, reads := claiming(t)
	update(t, c, func(ctx context.Context, tx *client.Tx) error {
		text(t, tx, "z")
		p, err := tx.GetForUpdate(ctx, []byte("a"))
		if err != nil {
			return err
		}
		tx.Put([]byte("a"), append(p.Value, '+'))
		return nil
	})
	if got := reads(); got != "[z a!]" {
		t.Errorf("read %s", got)
	}
}

// TestManyWritesClaimNothing: a transaction that writes more keys than may be claimed runs again with the claim of the
// hot key alone.
func TestManyWritesClaimNothing(t *testing.T) {
	w, c, reads := claiming(t)
	other := w.open(t)
	var keys [][]byte
	for i := range 17 {
		keys = append(keys, fmt.Appendf(nil, "b%02d", i))
	}
	done := update(t, c, func(ctx context.Context, tx *client.Tx) error {
		if _, err := tx.GetMany(ctx, keys...); err != nil {
			return err
		}
		if tx.Attempt() == 1 {
			if _, err := other.Put(t.Context(), keys[3], []byte("1")); err != nil {
				return err
			}
		}
		for _, k := range keys {
			tx.Put(k, []byte("+"))
		}
		return nil
	})
	got := strings.Fields(strings.Trim(reads(), "[]"))
	if done.Stats.Attempts != 2 || len(got) != 3 || got[1] != "b03!" || strings.HasSuffix(got[2], "!") {
		t.Errorf("read %q in %d attempts", got, done.Stats.Attempts)
	}
}
