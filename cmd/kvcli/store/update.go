package store

import (
	"context"
	"errors"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// Updater runs whole transactions, for those that put load on a cluster.
type Updater interface {
	// Update runs fn in a transaction and commits it; if another one has overtaken it, again,
	// until ctx ends. An error of fn is returned as it is.
	Update(ctx context.Context, fn func(ctx context.Context, a Attempt) error) (Effort, error)
	// View reads keys at one timestamp: a Pair for each, with Version 0 where there is none.
	View(ctx context.Context, keys [][]byte, b Bound) (kv.Timestamp, []Pair, error)
}

// Attempt is one attempt of a transaction of Update. Writes are kept until the commit.
type Attempt interface {
	// GetMany reads keys as View does, and sees what the attempt has put.
	GetMany(ctx context.Context, keys ...[]byte) ([]Pair, error)
	Put(key, value []byte)
}

// Effort is what a transaction of Update took.
type Effort struct {
	Attempts int
	Aborted  int // attempts that another transaction overtook
	// Undone: Update has failed, and the last attempt was overtaken as well: nothing has changed.
	Undone bool
}

// Update implements Updater.
func (c *Client) Update(ctx context.Context, fn func(ctx context.Context, a Attempt) error) (Effort, error) {
	var own error
	done, err := c.client.Update(ctx, func(ctx context.Context, tx *client.Tx) error {
		own = fn(ctx, clientAttempt{tx})
		return own
	})
	e := Effort{Attempts: done.Stats.Attempts, Aborted: max(0, done.Stats.Attempts-1)}
	switch {
	case err == nil:
		return e, nil
	case own != nil:
		return e, own
	}
	if e.Undone = errors.Is(err, client.ErrConflict); e.Undone {
		e.Aborted = e.Attempts
	}
	return e, translate(nil, err)
}

type clientAttempt struct{ tx *client.Tx }

func (a clientAttempt) GetMany(ctx context.Context, keys ...[]byte) ([]Pair, error) {
	found, err := a.tx.GetMany(ctx, keys...)
	return pairsOf(found), translate(nil, err)
}

func (a clientAttempt) Put(key, value []byte) { a.tx.Put(key, value) }

func pairsOf(found []client.Pair) []Pair {
	all := make([]Pair, len(found))
	for i, p := range found {
		all[i] = Pair(p)
	}
	return all
}

// View implements Updater.
func (c *Client) View(ctx context.Context, keys [][]byte, b Bound) (at kv.Timestamp, found []Pair, err error) {
	err = c.client.View(ctx, func(ctx context.Context, s *client.Snapshot) error {
		pairs, err := s.GetMany(ctx, keys...)
		at, found = s.Timestamp(), pairsOf(pairs)
		return err
	}, b.snapshotOptions()...)
	return at, found, translate(nil, err)
}
