package client_test

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// TestBoundsGoAnywhere: reads of older states go to any replica, and to the leader if that cannot answer; all
// others go to the leader at once.
func TestBoundsGoAnywhere(t *testing.T) {
	w := newWorld(t, 3)
	c := w.open(t)
	old := put(t, c, "k", "old")
	w.do(func() {
		w.closed = w.oracle
		w.oracle += kv.MakeTimestamp(time.Minute.Milliseconds(), 0)
	})
	put(t, c, "k", "new")
	type asked struct{ leader, others int }
	var seen asked
	w.do(func() {
		w.fault = func(n *node, q *kv.Request) fault {
			switch {
			case q.Read == nil && q.Scan == nil:
			case n.id == w.parts[0].leader:
				seen.leader++
			default:
				seen.others++
			}
			return none
		}
	})
	count := func(f func()) (got asked) {
		for range 3 { // each replica is measured once
			w.do(func() { seen = asked{} })
			f()
			w.do(func() { got.leader, got.others = got.leader+seen.leader, got.others+seen.others })
		}
		return got
	}
	read := func(b client.ReadOption, want string) func() {
		return func() {
			if v := get(t, c, "k", b); v != want {
				t.Errorf("read %q, want %q", v, want)
			}
		}
	}
	if got := count(read(client.WithBound(client.At(old.Timestamp)), "old")); got.others != 2 || got.leader != 1 {
		t.Errorf("at a timestamp of the past: %+v", got)
	}
	if got := count(read(client.WithBound(client.Strong()), "new")); got.others != 0 {
		t.Errorf("strong: %+v", got)
	}
	if got := count(func() {
		for _, err := range c.Scan(t.Context(), client.All(), client.WithBound(client.StaleBy(time.Second))) {
			if err != nil {
				t.Error(err)
			}
		}
	}); got.leader != 3 { // nobody else has closed so much
		t.Errorf("a scan of what is not closed: %+v", got)
	}
	if got := count(read(client.WithBound(client.NotBefore(old.Timestamp)), "new")); got.leader+got.others < 3 {
		t.Errorf("bounded: %+v", got)
	}
	if got := count(read(client.WithBound(client.AtMostStale(0)), "new")); got.others != 0 {
		t.Errorf("not stale at all: %+v", got)
	}
}
