package client

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/kvd-db/kvd/client/router"
	"github.com/kvd-db/kvd/kv"
)

// Reader is what code that only reads should accept: a Tx and a Snapshot are both one.
type Reader interface {
	// Get reads one key. An absent one is ErrNotFound.
	Get(ctx context.Context, key []byte) (Pair, error)
	// GetMany reads keys: a Pair for each, in their order. That of an absent key has Version 0.
	GetMany(ctx context.Context, keys ...[]byte) ([]Pair, error)
	// Scan goes over a range in key order. An error is the last element.
	Scan(ctx context.Context, r Range, opts ...ScanOption) iter.Seq2[Pair, error]
}

var (
	_ Reader = (*Tx)(nil)
	_ Reader = (*Snapshot)(nil)
)

// Snapshot reads the whole cluster at one timestamp. It takes no locks, and nothing that others
// write can make it fail, as long as the timestamp is not older than the versions that are kept.
// Any number of goroutines may use it.
type Snapshot struct {
	*frozen
	keyspace string
}

// frozen is what the views of one snapshot in all keyspaces share.
type frozen struct {
	view   *view
	drawIn context.Context // for a timestamp that is asked for before the first read
	closed atomic.Bool
}

// View runs fn with a snapshot, which is closed when fn returns; its error is returned as it is.
func (c *Client) View(ctx context.Context, fn func(ctx context.Context, s *Snapshot) error, opts ...SnapshotOption) error {
	s, err := c.snapshot(ctx, opts)
	if err != nil {
		return typed(err)
	}
	defer s.end()
	return fn(ctx, s)
}

// ViewValue is View for a function that also returns a value.
func ViewValue[T any](ctx context.Context, c *Client, fn func(ctx context.Context, s *Snapshot) (T, error), opts ...SnapshotOption) (T, error) {
	var value, zero T
	err := c.View(ctx, func(ctx context.Context, s *Snapshot) (err error) {
		value, err = fn(ctx, s)
		return err
	}, opts...)
	if err != nil {
		return zero, err
	}
	return value, nil
}

// Snapshot makes a snapshot that the caller closes. Its timestamp is drawn at once. Until it is closed
// the cluster keeps the old versions that it reads, for a day at most.
func (c *Client) Snapshot(ctx context.Context, opts ...SnapshotOption) (*Snapshot, error) {
	s, err := c.snapshot(ctx, opts)
	if err != nil {
		return nil, typed(err)
	}
	if err = s.view.loosen().draw(ctx, c.keyspace); err != nil {
		s.end()
		return nil, typed(err)
	}
	return s, nil
}

func (c *Client) snapshot(ctx context.Context, opts []SnapshotOption) (*Snapshot, *kv.Error) {
	var b FixedBound
	for _, o := range opts {
		o(&b)
	}
	at, err := c.resolve(ctx, b)
	if err != nil {
		return nil, err
	}
	v := newView(c.router, nil, at)
	v.stale = at != 0
	return &Snapshot{keyspace: c.keyspace, frozen: &frozen{view: v, drawIn: ctx}}, nil
}

// In is the same snapshot looking at another keyspace.
func (s *Snapshot) In(keyspace string) *Snapshot {
	return &Snapshot{frozen: s.frozen, keyspace: keyspace}
}

// Timestamp is the one that is read. In View it is drawn by the first read; before that, by this
// call: 0 if that fails, and then the next read says why.
func (s *Snapshot) Timestamp() Timestamp {
	if s.view.timestamp() == 0 && !s.closed.Load() {
		_ = s.view.draw(s.drawIn, s.keyspace) // a failure leaves 0
	}
	return s.view.timestamp()
}

// Close ends the snapshot; further reads are ErrTxDone. It never fails. One that is not closed
// keeps what it reads from being collected, until the garbage collector of Go finds it.
func (s *Snapshot) Close() error {
	s.end()
	return nil
}

func (f *frozen) end() {
	f.closed.Store(true)
	f.view.close()
}

// Get reads one key. An absent one is ErrNotFound.
func (s *Snapshot) Get(ctx context.Context, key []byte) (Pair, error) {
	pairs, err := s.GetMany(ctx, key)
	if err != nil {
		return Pair{}, err
	}
	if pairs[0].Version == 0 {
		return Pair{}, ErrNotFound
	}
	return pairs[0], nil
}

// GetMany reads keys: a Pair for each key, in the order of the keys. That of an absent key has
// Version 0.
func (s *Snapshot) GetMany(ctx context.Context, keys ...[]byte) ([]Pair, error) {
	for _, k := range keys {
		if err := checkKey(k); err != nil {
			return nil, typed(err)
		}
	}
	switch {
	case s.closed.Load():
		return nil, ErrTxDone
	case len(keys) == 0:
		return nil, nil
	}
	ks, err := s.view.keyspace(ctx, s.keyspace)
	if err != nil {
		return nil, typed(err)
	}
	found, err := s.view.getMany(ctx, ks, keys, kv.Age{})
	if err != nil {
		return nil, typed(err)
	}
	pairs := make([]Pair, len(keys))
	for i, k := range keys {
		pairs[i] = pairOf(k, found[i].value, found[i].version)
	}
	return pairs, nil
}

// Scan goes over a range in key order, over all partitions. An error is the last element; breaking
// off ends the scan.
func (s *Snapshot) Scan(ctx context.Context, r Range, opts ...ScanOption) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		settings := scanSettingsOf(opts)
		if s.closed.Load() {
			yield(Pair{}, ErrTxDone)
			return
		}
		q, err := s.query(ctx, r, &settings)
		var found *rows
		if err == nil {
			found, err = s.view.scan(ctx, q)
		}
		if err != nil {
			yield(Pair{}, typed(err))
			return
		}
		defer found.close()
		var copies arena
		for found.more {
			row := found.next
			if !yield(copies.pair(q.Keyspace.UserKey(row.Key), row.Value, row.Version), nil) {
				return
			}
			if err = found.advance(); err != nil {
				yield(Pair{}, typed(err))
			}
		}
	}
}

func (s *Snapshot) query(ctx context.Context, r Range, settings *scanSettings) (router.ScanQuery, *kv.Error) {
	ks, err := s.view.keyspace(ctx, s.keyspace)
	if err != nil {
		return router.ScanQuery{}, err
	}
	return queryOf(ks, r, settings)
}
