package storetest

import (
	"context"

	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// Update implements store.Updater.
func (f *Fake) Update(ctx context.Context, fn func(ctx context.Context, a store.Attempt) error) (e store.Effort, err error) {
	for {
		tx, err := f.Begin(ctx)
		if err != nil {
			return e, err
		}
		e.Attempts++
		if err := fn(ctx, fakeAttempt{tx}); err != nil {
			return e, err
		}
		if _, err = tx.Commit(ctx); kv.KindOf(err) != kv.Conflict {
			return e, err
		}
		e.Aborted++
	}
}

// View implements store.Updater.
func (f *Fake) View(ctx context.Context, keys [][]byte, b store.Bound) (kv.Timestamp, []store.Pair, error) {
	s, err := f.Snapshot(ctx, b)
	if err != nil {
		return 0, nil, err
	}
	found, err := getMany(ctx, s, keys)
	return s.Timestamp(), found, err
}

type fakeAttempt struct{ tx store.Tx }

func (a fakeAttempt) GetMany(ctx context.Context, keys ...[]byte) ([]store.Pair, error) {
	return getMany(ctx, a.tx, keys)
}

func (a fakeAttempt) Put(key, value []byte) { a.tx.Put(key, value) }

func getMany(ctx context.Context, r store.Reader, keys [][]byte) ([]store.Pair, error) {
	found := make([]store.Pair, len(keys))
	for i, k := range keys {
		p, err := r.Get(ctx, k)
		if err != nil && kv.KindOf(err) != kv.NotFound {
			return nil, err
		}
		found[i] = p
	}
	return found, nil
}
