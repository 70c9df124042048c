package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/kvd-db/kvd/client/router"
	"github.com/kvd-db/kvd/kv"
)

// Why a transaction ended, for the hooks.
const (
	errRolledBack = sentinel("kv: transaction rolled back")
	errPanicked   = sentinel("kv: the transaction's function panicked")
)

// Update runs fn in a transaction and commits it: all that fn writes happens, at one time, or
// nothing. If what it read has changed in the meantime, fn is called again, with a new Tx, until
// the commit succeeds, the context ends or WithMaxAttempts is reached: so fn should have no effect
// but through the Tx (see OnCommit). An error of fn rolls back and is returned as it is; so does a panic go on.
// If the context ends while the answer to the commit is lost, the error is an *AmbiguousError.
func (c *Client) Update(ctx context.Context, fn func(ctx context.Context, tx *Tx) error, opts ...TxOption) (Commit, error) {
	r, id := newRun(c, opts, true)
	ctx = r.start(ctx, id)
	for {
		r.attempts++
		tx := newAttempt(c, r, id, r.attempts)
		done, why, err := r.try(ctx, tx, fn)
		if why == nil {
			return r.end(ctx, tx.attempt, done, err)
		}
		if r.settings.attemptsMax > 0 && r.attempts >= r.settings.attemptsMax {
			return r.end(ctx, tx.attempt, done, err)
		}
		if gone := r.pause(ctx, tx, err); gone != nil {
			return r.end(ctx, tx.attempt, done, fmt.Errorf("%w: attempt %d of the transaction failed before: %w", gone, r.attempts, err))
		}
		id = c.router.NewID()
	}
}

// UpdateValue is Update for a function that also returns a value: that of the attempt that
// committed.
func UpdateValue[T any](ctx context.Context, c *Client, fn func(ctx context.Context, tx *Tx) (T, error), opts ...TxOption) (T, Commit, error) {
	var value, zero T
	done, err := c.Update(ctx, func(ctx context.Context, tx *Tx) (err error) {
		value, err = fn(ctx, tx)
		return err
	}, opts...)
	if err != nil {
		return zero, done, err
	}
	return value, done, nil
}

// Begin starts a transaction whose end is the caller's business: exactly one of Commit and
// Rollback. Nothing is retried. Update is the better choice wherever a function can be given.
func (c *Client) Begin(ctx context.Context, opts ...TxOption) (*Tx, error) {
	switch {
	case ctx.Err() != nil:
		return nil, typed(ended(ctx))
	case c.closed.Load():
		return nil, typed(kv.Errorf(kv.Closed, "the client is closed"))
	}
	r, id := newRun(c, opts, false)
	r.hooked = r.start(ctx, id)
	r.attempts = 1
	tx := newAttempt(c, r, id, 1)
	tx.view.loosen()
	return tx, nil
}

// run is one transaction through all its attempts.
type run struct {
	client   *Client
	settings txSettings
	managed  bool            // by Update
	hooked   context.Context // of Begin: what TxStart made of its context
	meter    *router.Meter
	spans    []router.RPC // if there is a Trace
	age      kv.Age
	began    time.Time
	attempts int
	backoff  time.Duration
	claims   []claimed // what the last attempt has written, for the next one
	over     bool      // committed, or it may have been: no attempt may follow
}

func newRun(c *Client, opts []TxOption, managed bool) (*run, TxID) {
	r := &run{client: c, managed: managed, began: time.Now()}
	for _, o := range opts {
		o(&r.settings)
	}
	var trace *[]router.RPC
	if r.settings.trace != nil {
		trace = &r.spans
	}
	r.meter = router.NewMeter(trace)
	r.age = newAge(c.router, r.settings.priority, r.began)
	return r, c.router.NewID()
}

// priorityStep is by how much a priority makes a transaction older than it is.
const priorityStep = time.Hour

// newAge is a transaction's place among those that wait for each other: its birth, by the newest timestamp heard of.
func newAge(r *router.Router, p Priority, now time.Time) (age kv.Age) {
	at, _ := r.Heard()
	if at == 0 {
		at = kv.MakeTimestamp(now.UnixMilli(), 0)
	}
	millis := max(at.UnixMillis()-int64(p)*priorityStep.Milliseconds(), 1)
	binary.BigEndian.PutUint64(age[:8], uint64(kv.MakeTimestamp(millis, at.Counter())))
	id := r.NewID()
	copy(age[8:], id[:])
	return age
}

// start tells the hooks of the transaction.
func (r *run) start(ctx context.Context, id TxID) context.Context {
	if h := r.client.hooks.TxStart; h != nil {
		return h(ctx, id, r.settings.tag)
	}
	return ctx
}

// try is one attempt: fn and the commit. why is set if another one may succeed; err is its error then.
func (r *run) try(ctx context.Context, tx *Tx, fn func(context.Context, *Tx) error) (done Commit, why *kv.Error, err error) {
	returned := false
	defer tx.view.close()
	defer func() {
		if tx.close(); !returned {
			_, _ = r.end(ctx, tx.attempt, Commit{ID: tx.id}, errPanicked) // for the hooks alone
		}
	}()
	err = fn(ctx, tx)
	returned = true
	tx.close()
	done.ID = tx.id
	if tx.overtaken != nil {
		return done, tx.overtaken, tx.shown(tx.overtaken)
	}
	if err != nil {
		if tx.remade(ctx, err) {
			why = kv.AsError(err)
		}
		return done, why, err
	}
	done, why = tx.commit(ctx)
	if why == nil {
		return done, nil, nil
	}
	err = tx.shown(why)
	switch why.Kind {
	case kv.Conflict, kv.Aborted, kv.TooOld:
		return done, why, err
	}
	if !tx.remade(ctx, err) {
		why = nil
	}
	return done, why, err
}

// remade reports whether the attempt failed because a keyspace was dropped and made again.
func (a *attempt) remade(ctx context.Context, err error) bool {
	if kv.KindOf(err) != kv.NotFound {
		return false
	}
	for _, ks := range a.view.known() {
		if a.client.In(ks.Name).changed(ctx, ks, kv.AsError(err)) {
			return true
		}
	}
	return false
}

// pause waits before the next attempt; its error is why there will be none.
func (r *run) pause(ctx context.Context, tx *Tx, err error) error {
	wait := r.jitter(err)
	if h := r.client.hooks.TxRetry; h != nil {
		h(ctx, tx.id, r.attempts, err, wait)
	}
	r.client.settle(tx.id, err)
	r.backoff += wait
	r.claims = tx.written()
	switch {
	case wait == 0 && ctx.Err() == nil:
		return nil
	case r.client.router.Wait(ctx, wait):
		return nil
	case ctx.Err() != nil:
		return typed(ended(ctx))
	}
	return typed(kv.Errorf(kv.Closed, "the client is closed"))
}

// jitter is how long to wait before the next attempt. One that was overtaken once goes on at once: who overtook
// it is gone, and what it claims it has to wait for.
func (r *run) jitter(err error) time.Duration {
	overtaken := errors.Is(err, ErrConflict)
	switch {
	case overtaken && r.attempts == 1:
		return 0
	case overtaken:
		return r.client.router.Jitter(r.attempts - 2)
	}
	return r.client.router.Jitter(r.attempts - 1)
}

// end is the end of the transaction: its figures, its callbacks, its hooks.
func (r *run) end(ctx context.Context, a *attempt, done Commit, err error) (Commit, error) {
	done.Stats.Attempts, done.Stats.RPCs = r.attempts, r.meter.Sends()
	done.Stats.Backoff, done.Stats.Elapsed = r.backoff, time.Since(r.began)
	if t := r.settings.trace; t != nil {
		t.Attempts, t.Spans = r.attempts, nil
		for _, s := range r.spans {
			t.add(rpcInfo(s))
		}
	}
	r.client.settle(done.ID, err)
	r.over = r.over || fate(err) != Aborted
	if err == nil {
		for _, fn := range a.onCommit {
			fn(done)
		}
	}
	if h := r.client.hooks.TxEnd; h != nil {
		if r.hooked != nil {
			ctx = r.hooked
		}
		h(ctx, done, err)
	}
	return done, err
}
