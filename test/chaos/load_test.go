package chaos

import (
	"errors"
	"testing"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// TestBooks: the books notice what must not be.
func TestBooks(t *testing.T) {
	const key = "register-0-0"
	for _, c := range []struct {
		name    string
		known   int64 // when the reader began
		started int64 // when it ended
		value   []byte
		good    bool
	}{
		{"the acknowledged write", 3, 3, value(key, 3), true},
		{"a write under way", 3, 5, value(key, 5), true},
		{"an older write", 3, 3, value(key, 2), false},
		{"a write that was not begun", 3, 5, value(key, 6), false},
		{"a value of another key", 3, 3, value("register-0-1", 3), false},
		{"a damaged value", 3, 3, append(value(key, 3)[:99], '!'), false},
		{"nothing", 3, 6, nil, false},
		{"nothing, which a delete may have left", 3, 7, nil, true},
		{"nothing, before the first write", 0, 0, nil, true},
		{"a large value", 51, 51, value(key, 51), true},
	} {
		l, r := &Load{crew: crew{t: t}}, &register{key: key, seen: map[int64]bool{}}
		r.started.Store(c.started)
		r.read(l, c.known, c.value, c.value != nil)
		if (len(l.failures) == 0) != c.good {
			t.Errorf("%s: %q", c.name, l.failures)
		}
	}
}

// TestSettle: an error that no fault explains is a failure, and never counts as a write.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		err  error
		want fate
		good bool
	}{
		{nil, happened, true},
		{kv.Errorf(kv.Unavailable, "no leader"), didNot, true},
		{kv.Errorf(kv.Corruption, "a bad sum"), didNot, false},
		{kv.Errorf(kv.NotFound, "no keyspace"), didNot, false},
		{errors.New("anything"), didNot, false},
		{client.ErrCAS, didNot, false},
	} {
		l := &Load{crew: crew{t: t}}
		if got := l.settle(nil, "a write", c.err); got != c.want || (len(l.failures) == 0) != c.good {
			t.Errorf("%v: fate %d, %q", c.err, got, l.failures)
		}
		if (l.committed.Load() == 1) != (c.err == nil) {
			t.Errorf("%v: %d writes counted", c.err, l.committed.Load())
		}
	}
}

func TestSteps(t *testing.T) {
	if n, who, err := parseStep([]byte("12 climber-1-3")); n != 12 || who != "climber-1-3" || err != nil {
		t.Errorf("%d, %q, %v", n, who, err)
	}
	for _, bad := range []string{"", "12", "x climber", " 12"} {
		if _, _, err := parseStep([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
