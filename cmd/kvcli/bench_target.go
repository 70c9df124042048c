package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// benchTarget drives a store for package bench.
type benchTarget struct {
	store       store.Store
	description bench.Description
	keyspace    kv.Keyspace
	starts      []kv.Key // of the partitions, as they were when the target was made
}

// newBenchTarget also asks what the cluster looks like, for the result.
func newBenchTarget(ctx context.Context, s store.Store, target, keyspace string) (*benchTarget, error) {
	if keyspace == "" {
		keyspace = "default"
	}
	t, err := s.Topology(ctx, keyspace)
	if err != nil {
		return nil, err
	}
	if len(t.Keyspaces) == 0 {
		return nil, kv.Errorf(kv.NotFound, "keyspace %q does not exist; kvcli keyspace list shows those that do", keyspace)
	}
	replicas := 0
	var starts []kv.Key
	for _, p := range t.Partitions {
		replicas = max(replicas, len(p.Descriptor.Replicas))
		starts = append(starts, p.Descriptor.Span.Start)
	}
	slices.SortFunc(starts, func(a, b kv.Key) int { return bytes.Compare(a, b) })
	return &benchTarget{store: s, keyspace: t.Keyspaces[0], starts: starts, description: bench.Description{Name: "kvd", Facts: map[string]string{
		"target": target, "keyspace": keyspace, "scheme": t.Keyspaces[0].Scheme.String(),
		"nodes": fmt.Sprint(len(t.Nodes)), "partitions": fmt.Sprint(len(t.Partitions)), "replicas": fmt.Sprint(replicas),
	}}}, nil
}

func (b *benchTarget) Describe() bench.Description { return b.description }

func (b *benchTarget) Get(ctx context.Context, key []byte) (bench.Record, error) {
	p, err := b.store.Get(ctx, key, store.Bound{})
	var e *kv.Error
	if errors.As(err, &e) && e.Kind == kv.NotFound && e.Key != nil {
		return bench.Record{}, bench.ErrNotFound
	}
	return bench.Record{Key: p.Key, Value: p.Value, Version: uint64(p.Version)}, err
}

func (b *benchTarget) Put(ctx context.Context, key, value []byte) error {
	_, err := b.store.Put(ctx, key, value)
	return err
}

func (b *benchTarget) Scan(ctx context.Context, start, end []byte, limit int) ([]bench.Record, error) {
	var found []bench.Record
	for p, err := range b.store.Scan(ctx, store.Range{Start: start, End: end, Limit: limit}) {
		if err != nil {
			return nil, err
		}
		found = append(found, bench.Record{Key: p.Key, Value: p.Value, Version: uint64(p.Version)})
	}
	return found, nil
}

func (b *benchTarget) CompareAndSet(ctx context.Context, key []byte, version uint64, value []byte) error {
	want := kv.Expect{Kind: kv.ExpectVersion, Version: kv.Timestamp(version)}
	if version == 0 {
		want = kv.Expect{Kind: kv.ExpectAbsent}
	}
	_, err := b.store.CompareAndSet(ctx, key, want, value)
	if kv.KindOf(err) == kv.Expectation {
		return bench.ErrConflict
	}
	return err
}

// Partition implements bench.Partitioner.
func (b *benchTarget) Partition(key []byte) int {
	full := b.keyspace.FullKey(key)
	after, _ := slices.BinarySearchFunc(b.starts, full, func(start, k kv.Key) int {
		if bytes.Compare(start, k) <= 0 {
			return -1
		}
		return 1
	})
	return max(0, after-1)
}

func (b *benchTarget) Update(ctx context.Context, fn func(ctx context.Context, tx bench.Tx) error) (bench.Attempts, error) {
	e, err := b.store.Update(ctx, func(ctx context.Context, a store.Attempt) error { return fn(ctx, benchTx{a}) })
	if e.Undone {
		err = fmt.Errorf("%w: %w", bench.ErrConflict, err)
	}
	return bench.Attempts{Made: e.Attempts, Aborted: e.Aborted}, err
}

func (b *benchTarget) View(ctx context.Context, keys [][]byte, staleBy time.Duration) (uint64, []bench.Record, error) {
	at, found, err := b.store.View(ctx, keys, store.Bound{StaleBy: staleBy})
	return uint64(at), recordsOf(found), err
}

// benchTx is an attempt of a transaction.
type benchTx struct{ attempt store.Attempt }

func (t benchTx) GetMany(ctx context.Context, keys ...[]byte) ([]bench.Record, error) {
	found, err := t.attempt.GetMany(ctx, keys...)
	return recordsOf(found), err
}

func (t benchTx) Put(key, value []byte) { t.attempt.Put(key, value) }

func recordsOf(found []store.Pair) []bench.Record {
	all := make([]bench.Record, len(found))
	for i, p := range found {
		all[i] = bench.Record{Key: p.Key, Value: p.Value, Version: uint64(p.Version)}
	}
	return all
}
