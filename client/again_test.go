package client_test

import (
	"context"
	"errors"
	"testing"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// TestAgain: the next attempt reads anew, under another id and with the same age.
//
// Shows A2, A7.
func TestAgain(t *testing.T) {
	w, c := opened(t)
	sent := w.commits()
	put(t, c, "a", "1")
	tx := must[*client.Tx](t)(c.Begin(t.Context()))
	text(t, tx, "a")
	tx.Put([]byte("b"), []byte("x"))
	put(t, c, "a", "2")
	if _, err := tx.Commit(t.Context()); !errors.Is(err, client.ErrConflict) {
		t.Fatalf("a was overtaken: %v", err)
	}
	next := must[*client.Tx](t)(tx.Again(t.Context()))
	if got := text(t, next, "a"); got != "2" || next.Attempt() != 2 || next.ID() == tx.ID() {
		t.Errorf("attempt %d, %s after %s, reads %q", next.Attempt(), next.ID(), tx.ID(), got)
	}
	if got := text(t, next, "b"); got != "-" {
		t.Errorf("a write of the attempt before is there: %q", got)
	}
	next.Put([]byte("b"), []byte("y"))
	done := must[client.Commit](t)(next.Commit(t.Context()))
	all := sent()
	first, last := all[len(all)-2], all[len(all)-1]
	if _, err := next.Again(t.Context()); !errors.Is(err, client.ErrTxDone) {
		t.Errorf("another attempt after the commit: %v", err)
	}
	if done.Stats.Attempts != 2 || first.Age != last.Age || last.Age.IsZero() || first.ID == last.ID {
		t.Errorf("%+v; ages %x and %x", done, first.Age, last.Age)
	}
}

func TestAgainEndsWhatIsOpen(t *testing.T) {
	_, c := opened(t)
	tx := must[*client.Tx](t)(c.Begin(t.Context()))
	tx.Put([]byte("a"), []byte("1"))
	must[*client.Tx](t)(tx.Again(t.Context()))
	if _, err := tx.Commit(t.Context()); !errors.Is(err, client.ErrTxDone) {
		t.Errorf("the attempt before commits: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tx.Again(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("under an ended context: %v", err)
	}
	update(t, c, func(ctx context.Context, tx *client.Tx) error {
		if _, err := tx.Again(ctx); kv.KindOf(err) != kv.Invalid {
			t.Errorf("in Update: %v", err)
		}
		return nil
	})
}
