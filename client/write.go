package client

import (
	"context"
	"time"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// Put sets a key.
func (c *Client) Put(ctx context.Context, key, value []byte, opts ...WriteOption) (Commit, error) {
	done, _, err := c.write(ctx, key, kv.Write{Kind: kv.WritePut, Value: value}, opts)
	return done, err
}

// Delete removes a key. It is no error if there is none.
func (c *Client) Delete(ctx context.Context, key []byte, opts ...WriteOption) (Commit, error) {
	done, _, err := c.write(ctx, key, kv.Write{Kind: kv.WriteDelete}, opts)
	return done, err
}

// CompareAndSet sets a key if it is as expected; else it does nothing and the error is an
// *ExpectationError (errors.Is ErrCAS).
func (c *Client) CompareAndSet(ctx context.Context, key []byte, want Expect, value []byte, opts ...WriteOption) (Commit, error) {
	done, _, err := c.write(ctx, key, kv.Write{Kind: kv.WritePut, Value: value, Expect: want.expect}, opts)
	return done, err
}

// Add adds to a key that holds a decimal integer, and returns the sum; an absent key counts as 0.
func (c *Client) Add(ctx context.Context, key []byte, delta int64, opts ...WriteOption) (int64, Commit, error) {
	done, sums, err := c.write(ctx, key, kv.Write{Kind: kv.WriteAdd, Delta: delta}, opts)
	if err != nil {
		return 0, done, err
	}
	if len(sums) != 1 {
		return 0, done, typed(kv.Errorf(kv.Internal, "an addition was committed at %s without its sum", done.Timestamp))
	}
	return sums[0], done, nil
}

// write is one transaction of one write.
func (c *Client) write(ctx context.Context, key []byte, w kv.Write, opts []WriteOption) (Commit, []int64, error) {
	if err := checkKey(key); err != nil {
		return Commit{}, nil, typed(err)
	}
	if len(w.Value) > kv.ValueBytesMax {
		return Commit{}, nil, typed(kv.LimitError("value bytes", kv.ValueBytesMax, int64(len(w.Value)), "store the value in parts"))
	}
	if len(opts) > 0 {
		s := writeSettings{expect: Expect{w.Expect}}
		for _, o := range opts {
			o(&s)
		}
		w.Expect = s.expect.expect
	}
	for {
		ks, err := c.router.Keyspace(ctx, c.keyspace)
		if err != nil {
			return Commit{}, nil, typed(err)
		}
		w.Key = ks.FullKey(key)
		done, sums, err := c.commitOne(ctx, ks, key, &w)
		if !c.changed(ctx, ks, err) {
			return done, sums, c.writeError(ks, key, err, done)
		}
	}
}

// commitOne brings one write to its end.
func (c *Client) commitOne(ctx context.Context, ks kv.Keyspace, key []byte, w *kv.Write) (Commit, []int64, *kv.Error) {
	start := time.Now()
	call := c.router.NewCall()
	defer call.Release()
	call.Writes[0] = *w
	call.Commit = kv.Commit{Writes: call.Writes[:]}
	call.Op = session.Op{Key: w.Key, Request: kv.Request{Commit: &call.Commit}}
	if c.hooks.TxStart != nil {
		call.Op.FirstID = c.router.NewID()
		ctx = c.hooks.TxStart(ctx, call.Op.FirstID, "")
	}
	if c.hooks.TxRetry != nil {
		call.OnRetry = func(id kv.TxID, sends int, why *kv.Error, wait time.Duration) {
			c.hooks.TxRetry(ctx, id, sends, typed(why), wait)
		}
	}
	a, err := call.Do(ctx)
	stats := call.Stats()
	done := Commit{Stats: TxStats{
		Attempts: stats.Attempts, Partitions: 1, RPCs: stats.Sends, WrittenKeys: 1, OnePhase: true,
		Backoff: stats.Backoff, Elapsed: time.Since(start),
	}}
	named, home := call.Named()
	if named != nil {
		done.ID = named.ID
	}
	var sums []int64
	switch {
	case err == nil:
		done.Timestamp, sums = a.Timestamp, a.Sums
	case err.Kind == kv.Ambiguous:
		c.unsettled.add(claim{id: named.ID, term: named.Term, asOf: named.AsOf, partition: home, keyspace: ks.Name, key: key})
	}
	if err == nil {
		c.settled.add(done.ID, Committed)
	} else {
		c.settle(done.ID, err)
	}
	if c.hooks.TxEnd != nil {
		c.hooks.TxEnd(ctx, done, c.writeError(ks, key, err, done))
	}
	return done, sums, err
}

// writeError is the error of a write as this package shows it.
func (c *Client) writeError(ks kv.Keyspace, key []byte, err *kv.Error, done Commit) error {
	if err == nil {
		return nil
	}
	switch err.Kind {
	case kv.Ambiguous:
		claim, _ := c.unsettled.find(done.ID)
		return &AmbiguousError{ID: done.ID, Token: claim.token(), Cause: err}
	case kv.Expectation:
		e := &ExpectationError{Key: append([]byte(nil), key...), cause: err}
		if a := err.Actual; a != nil {
			e.Found, e.Actual = true, Pair{Key: ks.UserKey(a.Key), Value: a.Value, Version: a.Version}
		}
		return e
	case kv.Conflict:
		return &ConflictError{Key: key, Reason: reason(err), Holder: err.ID, Attempts: done.Stats.Attempts, cause: err}
	}
	return typed(ks.UserError(err))
}
