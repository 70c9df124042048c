package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

func TestTranslate(t *testing.T) {
	key := []byte("k")
	if translate(key, nil) != nil {
		t.Error("no error became one")
	}
	for _, c := range []struct {
		err  error
		kind kv.Kind
	}{
		{client.ErrNotFound, kv.NotFound},
		{fmt.Errorf("wrapped: %w", client.ErrNotFound), kv.NotFound},
		{kv.Errorf(kv.Unavailable, "x"), kv.Unavailable},
		{context.DeadlineExceeded, kv.Timeout},
		{context.Canceled, kv.Canceled},
		{errors.New("x"), kv.Internal},
		{&client.AmbiguousError{ID: kv.TxID{1}, Token: "tok", Cause: kv.Errorf(kv.Ambiguous, "lost")}, kv.Ambiguous},
	} {
		if got := kv.KindOf(translate(key, c.err)); got != c.kind {
			t.Errorf("%v became %s, want %s", c.err, got, c.kind)
		}
	}
	var missing *kv.Error
	if !errors.As(translate(key, client.ErrNotFound), &missing) || string(missing.Key) != "k" {
		t.Errorf("a missing key is %+v, want its name in it", missing)
	}
	var a *AmbiguousError
	err := translate(key, &client.AmbiguousError{ID: kv.TxID{1}, Token: "tok", Cause: kv.Errorf(kv.Ambiguous, "lost")})
	if !errors.As(err, &a) || a.Token != "tok" || a.Cause.ID != (kv.TxID{1}) || !strings.Contains(a.Error(), "lost") {
		t.Errorf("an unknown outcome is %+v", err)
	}
}

// Nobody listens: the error comes in time and says so.
func TestOpenWithoutCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, "127.0.0.1:1", Options{Log: slog.New(slog.DiscardHandler)}); kv.KindOf(err) != kv.Unavailable && kv.KindOf(err) != kv.Timeout {
		t.Errorf("%v, want unavailable or timeout", err)
	}
	if _, err := Open(ctx, "no port", Options{Log: slog.New(slog.DiscardHandler)}); kv.KindOf(err) != kv.Invalid {
		t.Errorf("%v, want invalid", err)
	}
}
