package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// kvdTarget drives package client.
type kvdTarget struct {
	client *client.Client
	gets   []client.ReadOption
}

// staleBy implements stalePlace: any replica may answer.
func (t *kvdTarget) staleBy(d time.Duration) bench.Target {
	return &kvdTarget{client: t.client, gets: []client.ReadOption{client.WithBound(client.StaleBy(d))}}
}

// Describe implements bench.Describer.
func (t *kvdTarget) Describe() bench.Description {
	return bench.Description{
		Name: "kvd", Facts: map[string]string{"keyspace": t.client.Keyspace()}, StaleReads: len(t.gets) > 0,
	}
}

// Get implements bench.Target.
func (t *kvdTarget) Get(ctx context.Context, key []byte) (bench.Record, error) {
	p, err := t.client.Get(ctx, key, t.gets...)
	if errors.Is(err, client.ErrNotFound) && !errors.Is(err, client.ErrNoKeyspace) {
		return bench.Record{}, bench.ErrNotFound
	}
	return bench.Record{Key: p.Key, Value: p.Value, Version: uint64(p.Version)}, err
}

// Put implements bench.Target.
func (t *kvdTarget) Put(ctx context.Context, key, value []byte) error {
	_, err := t.client.Put(ctx, key, value)
	return err
}

// Scan implements bench.Target.
func (t *kvdTarget) Scan(ctx context.Context, start, end []byte, limit int) ([]bench.Record, error) {
	found := make([]bench.Record, 0, limit)
	for p, err := range t.client.Scan(ctx, client.Range{Start: start, End: end}, client.Limit(limit)) {
		if err != nil {
			return nil, err
		}
		found = append(found, bench.Record{Key: p.Key, Value: p.Value, Version: uint64(p.Version)})
	}
	return found, nil
}

// scanAll implements snapshotter.
func (t *kvdTarget) scanAll(ctx context.Context) (rows int, err error) {
	err = t.client.View(ctx, func(ctx context.Context, s *client.Snapshot) error {
		for _, err := range s.Scan(ctx, client.Range{}) {
			if err != nil {
				return err
			}
			rows++
		}
		return nil
	})
	return rows, err
}

// CompareAndSet implements bench.Target.
func (t *kvdTarget) CompareAndSet(ctx context.Context, key []byte, version uint64, value []byte) error {
	want := client.Absent()
	if version != 0 {
		want = client.VersionIs(kv.Timestamp(version))
	}
	_, err := t.client.CompareAndSet(ctx, key, want, value)
	if errors.Is(err, client.ErrCAS) {
		return bench.ErrConflict
	}
	return err
}

// Update implements bench.Transactor.
func (t *kvdTarget) Update(ctx context.Context, fn func(ctx context.Context, tx bench.Tx) error) (bench.Attempts, error) {
	done, err := t.client.Update(ctx, func(ctx context.Context, tx *client.Tx) error { return fn(ctx, kvdTx{tx}) })
	took := bench.Attempts{Made: done.Stats.Attempts, Aborted: max(0, done.Stats.Attempts-1)}
	if errors.Is(err, client.ErrConflict) {
		took.Aborted = took.Made
		err = fmt.Errorf("%w: %w", bench.ErrConflict, err)
	}
	return took, err
}

// View implements bench.Transactor.
func (t *kvdTarget) View(ctx context.Context, keys [][]byte, staleBy time.Duration) (at uint64, found []bench.Record, err error) {
	var opts []client.SnapshotOption
	if staleBy > 0 {
		opts = append(opts, client.WithSnapshotBound(client.StaleBy(staleBy)))
	}
	err = t.client.View(ctx, func(ctx context.Context, s *client.Snapshot) error {
		pairs, err := s.GetMany(ctx, keys...)
		at, found = uint64(s.Timestamp()), recordsOf(pairs)
		return err
	}, opts...)
	return at, found, err
}

// kvdTx is an attempt of a transaction.
type kvdTx struct{ tx *client.Tx }

// GetMany implements bench.Tx.
func (t kvdTx) GetMany(ctx context.Context, keys ...[]byte) ([]bench.Record, error) {
	found, err := t.tx.GetMany(ctx, keys...)
	return recordsOf(found), err
}

// Put implements bench.Tx.
func (t kvdTx) Put(key, value []byte) { t.tx.Put(key, value) }

func recordsOf(found []client.Pair) []bench.Record {
	all := make([]bench.Record, len(found))
	for i, p := range found {
		all[i] = bench.Record{Key: p.Key, Value: p.Value, Version: uint64(p.Version)}
	}
	return all
}

// kvdHashTarget knows in which partition a key lies: buckets are never split here.
type kvdHashTarget struct {
	*kvdTarget
	buckets int
}

// Partition implements bench.Partitioner.
func (t *kvdHashTarget) Partition(key []byte) int { return int(kv.Bucket(key, t.buckets)) }
