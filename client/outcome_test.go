package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// TestOutcomeIsRemembered: of what has ended the client need not ask.
func TestOutcomeIsRemembered(t *testing.T) {
	_, c := opened(t)
	check := func(what string, id client.TxID, want client.Outcome) {
		t.Helper()
		if got, err := c.Outcome(t.Context(), id); got != want || err != nil {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	w := must[client.Commit](t)(c.Put(t.Context(), []byte("a"), []byte("1")))
	check("a put", w.ID, client.Committed)
	w, err := c.CompareAndSet(t.Context(), []byte("a"), client.Absent(), nil)
	if !errors.Is(err, client.ErrCAS) {
		t.Fatal(err)
	}
	check("a condition that did not hold", w.ID, client.Aborted)

	var ids []client.TxID
	done, err := c.Update(t.Context(), func(ctx context.Context, tx *client.Tx) error {
		if ids = append(ids, tx.ID()); len(ids) == 1 {
			text(t, tx, "a")
			put(t, c, "a", "2")
		}
		tx.Put([]byte("b"), []byte("x"))
		return nil
	})
	if err != nil || len(ids) != 2 {
		t.Fatalf("%d attempts, %v", len(ids), err)
	}
	check("the attempt that was overtaken", ids[0], client.Aborted)
	check("the one after it", done.ID, client.Committed)

	failed := errors.New("failed")
	done, err = c.Update(t.Context(), func(context.Context, *client.Tx) error { return failed })
	if err != failed {
		t.Fatal(err)
	}
	check("a function that failed", done.ID, client.Aborted)
	tx := must[*client.Tx](t)(c.Begin(t.Context()))
	tx.Put([]byte("b"), []byte("y"))
	if o, err := c.Outcome(t.Context(), tx.ID()); o != client.Unknown || kv.KindOf(err) != kv.Invalid {
		t.Errorf("one under way: %v, %v", o, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("one rolled back", tx.ID(), client.Aborted)
	tx = must[*client.Tx](t)(c.Begin(t.Context()))
	check("one without writes", must[client.Commit](t)(tx.Commit(t.Context())).ID, client.Committed)
	if o, err := c.Outcome(t.Context(), client.TxID{1}); o != client.Unknown || kv.KindOf(err) != kv.Invalid {
		t.Errorf("one that never was: %v, %v", o, err)
	}
}

// TestOutcomeForgets: the oldest goes first, and the zero id is nobody's.
func TestOutcomeForgets(t *testing.T) {
	_, c := opened(t)
	first := must[client.Commit](t)(c.Put(t.Context(), []byte("a"), nil))
	for range client.SettledMax - 1 {
		tx := must[*client.Tx](t)(c.Begin(t.Context()))
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if o, err := c.Outcome(t.Context(), first.ID); o != client.Committed {
		t.Errorf("the oldest that is remembered: %v, %v", o, err)
	}
	put(t, c, "a", "1")
	if o, err := c.Outcome(t.Context(), first.ID); o != client.Unknown || kv.KindOf(err) != kv.Invalid {
		t.Errorf("one more: %v, %v", o, err)
	}
	if o, _ := c.Outcome(t.Context(), client.TxID{}); o != client.Unknown {
		t.Errorf("the zero id: %v", o)
	}
}

func TestConflictNamesItsKeyOnce(t *testing.T) {
	_, c := opened(t)
	tx := must[*client.Tx](t)(c.Begin(t.Context()))
	text(t, tx, "a")
	tx.Put([]byte("b"), nil)
	put(t, c, "a", "1")
	_, err := tx.Commit(t.Context())
	var conflict *client.ConflictError
	if !errors.As(err, &conflict) || string(conflict.Key) != "a" || conflict.Reason == "" || conflict.Attempts != 1 {
		t.Fatalf("%#v", err)
	}
	if strings.Count(err.Error(), `"a"`) != 1 || strings.Contains(conflict.Reason, `"a"`) || !strings.HasSuffix(err.Error(), conflict.Reason) {
		t.Errorf("%v; the reason is %q", err, conflict.Reason)
	}
}

// TestMisuse: what cannot be is said at once.
func TestMisuse(t *testing.T) {
	_, c := opened(t)
	if _, err := c.Get(t.Context(), []byte("a"), client.WithBound(client.At(0))); kv.KindOf(err) != kv.Invalid {
		t.Errorf("a read at timestamp 0: %v", err)
	}
	if _, err := c.Snapshot(t.Context(), client.WithSnapshotBound(client.At(0))); kv.KindOf(err) != kv.Invalid {
		t.Errorf("a snapshot at timestamp 0: %v", err)
	}
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := client.Open(soon, l.Addr().String()); !errors.Is(err, client.ErrUnavailable) || strings.HasSuffix(err.Error(), ": ") {
		t.Errorf("nobody is there: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Begin(t.Context()); !errors.Is(err, client.ErrClosed) {
		t.Errorf("begin after close: %v", err)
	}
}
