package client

import (
	"context"
	"errors"
	"sync"
)

// batchParallelMax is how many operations of a Batch are under way at once.
const batchParallelMax = 128

// Batch collects operations that are independent of each other. It is not atomic, and they
// happen in no order.
type Batch struct {
	client *Client
	ops    []func(ctx context.Context) error
}

// Result is what one operation of a Batch gave.
type Result[T any] struct {
	value T
	err   error
}

// Value is the result; ErrNotSent before Do has returned.
func (r *Result[T]) Value() (T, error) { return r.value, r.err }

func add[T any](b *Batch, op func(ctx context.Context) (T, error)) *Result[T] {
	r := &Result[T]{err: ErrNotSent}
	b.ops = append(b.ops, func(ctx context.Context) error {
		r.value, r.err = op(ctx)
		return r.err
	})
	return r
}

// Get reads a key.
func (b *Batch) Get(key []byte) *Result[Pair] {
	return add(b, func(ctx context.Context) (Pair, error) { return b.client.Get(ctx, key) })
}

// Put sets a key.
func (b *Batch) Put(key, value []byte) *Result[Commit] {
	return add(b, func(ctx context.Context) (Commit, error) { return b.client.Put(ctx, key, value) })
}

// Delete removes a key.
func (b *Batch) Delete(key []byte) *Result[Commit] {
	return add(b, func(ctx context.Context) (Commit, error) { return b.client.Delete(ctx, key) })
}

// Do sends what fn puts into the batch and waits for all of it. Its error joins those of
// the operations that failed; a key that a Get does not find is no failure.
func (c *Client) Do(ctx context.Context, fn func(b *Batch)) error {
	b := &Batch{client: c}
	fn(b)
	errs := make([]error, len(b.ops))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(batchParallelMax, len(b.ops)) {
		workers.Go(func() {
			for i := range next {
				errs[i] = b.ops[i](ctx)
			}
		})
	}
	for i := range b.ops {
		next <- i
	}
	close(next)
	workers.Wait()
	for i, err := range errs {
		if errors.Is(err, ErrNotFound) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}
