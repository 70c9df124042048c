package session

import (
	"strings"
	"testing"

	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/cmd/kvcli/store/storetest"
	"github.com/kvd-db/kvd/kv"
)

func put(t *testing.T, f *storetest.Fake, key, value string) {
	t.Helper()
	if _, err := f.Put(t.Context(), []byte(key), []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func begin(t *testing.T, f *storetest.Fake) *Session {
	t.Helper()
	s, err := Begin(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// firstRow scans and breaks off after one row.
func firstRow(t *testing.T, s *Session) {
	t.Helper()
	for _, err := range s.In("").Scan(t.Context(), store.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
}

// What a scan that was broken off did not show may change.
func TestScanThatIsBrokenOff(t *testing.T) {
	for _, c := range []struct {
		changed string
		again   bool
	}{{"b", true}, {"a", false}, {"0", false}} {
		f := storetest.New()
		put(t, f, "a", "1")
		put(t, f, "b", "1")
		s := begin(t, f)
		firstRow(t, s)
		put(t, f, c.changed, "2")
		if _, err := s.Retry(t.Context(), func() {}); (err == nil) != c.again || s.Failed() == c.again {
			t.Errorf("after a change of %s: %v, failed %v", c.changed, err, s.Failed())
		}
	}
}

// An error on the way leaves the transaction as failed; the next retry can succeed.
func TestRetryAfterAnErrorOnTheWay(t *testing.T) {
	f := storetest.New()
	put(t, f, "a", "1")
	s := begin(t, f)
	if _, err := s.In("").Get(t.Context(), []byte("a"), store.Bound{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.In("").Put(t.Context(), []byte("b"), []byte("2")); err != nil {
		t.Fatal(err)
	}
	f.FailWith(func(op string, _ []byte) error {
		if op == "get" {
			return kv.Errorf(kv.Unavailable, "no leader")
		}
		return nil
	})
	if n, err := s.Retry(t.Context(), func() {}); kv.KindOf(err) != kv.Unavailable || n != 0 || !s.Failed() || !strings.HasSuffix(s.Mark(), "!") {
		t.Errorf("%d commands, %v, %s", n, err, s.Mark())
	}
	if _, err := s.Commit(t.Context()); kv.KindOf(err) != kv.Aborted {
		t.Errorf("half of it was committed: %v", err)
	}
	f.FailWith(nil)
	touched := 0
	if n, err := s.Retry(t.Context(), func() { touched++ }); err != nil || n != 2 || touched != 2 || s.Failed() {
		t.Errorf("%d commands, %d touched, %v", n, touched, err)
	}
	done, err := s.Commit(t.Context())
	if err != nil || !s.Ended() || done.Stats.Writes != 1 || f.Writes() != 2 {
		t.Errorf("%+v, %v, %d writes", done, err, f.Writes())
	}
	for _, end := range []func() error{
		func() error { _, err := s.Commit(t.Context()); return err },
		func() error { return s.Rollback(t.Context()) },
		func() error { _, err := s.Retry(t.Context(), func() {}); return err },
		func() error { _, err := s.In("").Put(t.Context(), []byte("c"), nil); return err },
	} {
		if err := end(); kv.KindOf(err) != kv.Invalid {
			t.Errorf("after the end: %v", err)
		}
	}
}

// TestUnknownOutcomeEnds: after a commit that may have happened there is no other attempt; after one that was refused
// there may be.
func TestUnknownOutcomeEnds(t *testing.T) {
	unknown := map[kv.Kind]bool{kv.Ambiguous: true, kv.Expired: true, kv.Internal: true, kv.Corruption: true}
	for kind := kv.Kind(1); kind <= kv.KindMax; kind++ {
		f := storetest.New()
		s := begin(t, f)
		if _, err := s.In("").Put(t.Context(), []byte("a"), []byte("1")); err != nil {
			t.Fatal(err)
		}
		f.FailWith(func(op string, _ []byte) error {
			if op == "commit" {
				return kv.Errorf(kind, "no")
			}
			return nil
		})
		if _, err := s.Commit(t.Context()); kv.KindOf(err) != kind || s.Ended() != unknown[kind] || s.Failed() == unknown[kind] {
			t.Errorf("%v: %v, ended %v, failed %v", kind, err, s.Ended(), s.Failed())
		}
		if _, err := s.Retry(t.Context(), func() {}); (kv.KindOf(err) == kv.Invalid) != unknown[kind] || (err == nil) == unknown[kind] {
			t.Errorf("retry after %v: %v", kind, err)
		}
	}
}

func TestCommandsAreBounded(t *testing.T) {
	s := begin(t, storetest.New())
	s.steps = make([]step, StepsMax)
	if _, err := s.In("").Put(t.Context(), []byte("a"), nil); kv.KindOf(err) != kv.Limit {
		t.Errorf("one too many: %v", err)
	}
}
