package store

import (
	"context"
	"errors"
	"iter"
	"log/slog"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// Client is a Store over package client.
type Client struct{ client *client.Client }

// Options is how a cluster is opened.
type Options struct {
	Log *slog.Logger
	// Traced lets a context of WithTrace note requests, which costs each of them a little.
	Traced bool
}

// Open connects to a cluster; target is what client.Open takes.
func Open(ctx context.Context, target string, o Options) (Store, error) {
	opts := []client.Option{client.WithLogger(o.Log)}
	if o.Traced {
		opts = append(opts, client.WithHooks(hooks()))
	}
	c, err := client.Open(ctx, target, opts...)
	if err != nil {
		return nil, translate(nil, err)
	}
	return &Client{client: c}, nil
}

// In implements Store.
func (c *Client) In(keyspace string) Store { return &Client{client: c.client.In(keyspace)} }

// Close implements Store.
func (c *Client) Close() error { return c.client.Close() }

// translate turns an error of package client into one that Store promises.
func translate(key []byte, err error) error {
	if err == nil {
		return nil
	}
	var expectation *client.ExpectationError
	var ambiguous *client.AmbiguousError
	switch {
	case errors.Is(err, client.ErrNotFound):
		return NotFound(key)
	case errors.As(err, &ambiguous):
		e := *kv.AsError(ambiguous.Cause)
		e.Kind, e.ID, e.Key = kv.Ambiguous, ambiguous.ID, key
		return &AmbiguousError{Cause: &e, Token: ambiguous.Token}
	case errors.As(err, &expectation):
		e := *kv.AsError(err)
		e.Key, e.Actual, e.Message = key, nil, "the key is absent"
		if expectation.Found {
			e.Message = "the key is not as expected"
			e.Actual = &kv.Row{Key: key, Value: expectation.Actual.Value, Version: expectation.Actual.Version}
		}
		return &e
	}
	e := kv.AsError(err)
	if e.Kind == kv.Internal {
		// The context's own errors carry no Kind.
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return kv.Errorf(kv.Timeout, "%v", err)
		case errors.Is(err, context.Canceled):
			return kv.Errorf(kv.Canceled, "%v", err)
		}
	}
	return e
}

// fixed is the bound as package client knows it; nil is the newest state. That also keeps
// a promise of "at most so stale".
func (b Bound) fixed() client.ReadOption {
	switch {
	case b.At != 0:
		return client.WithBound(client.At(b.At))
	case b.StaleBy != 0:
		return client.WithBound(client.StaleBy(b.StaleBy))
	}
	return nil
}

// Get implements Data.
func (c *Client) Get(ctx context.Context, key []byte, b Bound) (Pair, error) {
	var opts []client.ReadOption
	if o := b.fixed(); o != nil {
		opts = append(opts, o)
	}
	p, err := c.client.Get(ctx, key, opts...)
	return Pair(p), translate(key, err)
}

func (r Range) options() []client.ScanOption {
	var opts []client.ScanOption
	if o := r.Bound.fixed(); o != nil {
		opts = append(opts, o)
	}
	if r.Limit > 0 {
		opts = append(opts, client.Limit(r.Limit))
	}
	if r.Reverse {
		opts = append(opts, client.Reverse())
	}
	if r.KeysOnly {
		opts = append(opts, client.KeysOnly())
	}
	return opts
}

// Scan implements Data.
func (c *Client) Scan(ctx context.Context, r Range) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		for p, err := range c.client.Scan(ctx, client.Range{Start: r.Start, End: r.End}, r.options()...) {
			if !yield(Pair(p), translate(nil, err)) {
				return
			}
		}
	}
}

// Count implements Data.
func (c *Client) Count(ctx context.Context, r Range) (int64, error) {
	n, err := c.client.Count(ctx, client.Range{Start: r.Start, End: r.End}, r.options()...)
	return n, translate(nil, err)
}

func commitOf(d client.Commit) Commit {
	return Commit{Version: d.Timestamp, ID: d.ID, Stats: Stats{
		Reads: d.Stats.ReadKeys, Writes: d.Stats.WrittenKeys, Partitions: d.Stats.Partitions, OnePhase: d.Stats.OnePhase,
	}}
}

// Put implements Data.
func (c *Client) Put(ctx context.Context, key, value []byte) (Commit, error) {
	d, err := c.client.Put(ctx, key, value)
	return commitOf(d), translate(key, err)
}

// Delete implements Data.
func (c *Client) Delete(ctx context.Context, key []byte) (Commit, error) {
	d, err := c.client.Delete(ctx, key)
	return commitOf(d), translate(key, err)
}

// CompareAndSet implements Data.
func (c *Client) CompareAndSet(ctx context.Context, key []byte, want kv.Expect, value []byte) (Commit, error) {
	var e client.Expect
	switch want.Kind {
	case kv.ExpectAbsent:
		e = client.Absent()
	case kv.ExpectVersion:
		e = client.VersionIs(want.Version)
	case kv.ExpectValue:
		e = client.ValueIs(want.Value)
	default:
		return Commit{}, kv.Errorf(kv.Invalid, "nothing is expected of the key: put writes without a condition")
	}
	d, err := c.client.CompareAndSet(ctx, key, e, value)
	return commitOf(d), translate(key, err)
}

// Add implements Data.
func (c *Client) Add(ctx context.Context, key []byte, delta int64) (int64, Commit, error) {
	n, d, err := c.client.Add(ctx, key, delta)
	return n, commitOf(d), translate(key, err)
}

// Outcome implements Outcomes.
func (c *Client) Outcome(ctx context.Context, id kv.TxID) (kv.Outcome, error) {
	o, err := c.client.Outcome(ctx, id)
	return kv.Outcome(o), translate(nil, err)
}

// OutcomeOf implements Outcomes.
func (c *Client) OutcomeOf(ctx context.Context, token string) (kv.Outcome, error) {
	o, err := c.client.OutcomeOf(ctx, token)
	return kv.Outcome(o), translate(nil, err)
}

// CreateKeyspace implements Admin.
func (c *Client) CreateKeyspace(ctx context.Context, q kv.CreateKeyspace) error {
	scheme := client.ByRange(q.SplitAt...)
	if q.Scheme == kv.SchemeHash {
		scheme = client.ByHash(q.Partitions)
	}
	return translate(nil, c.client.Admin().CreateKeyspace(ctx, q.Name, scheme, client.WithRetention(q.Retention)))
}

// DropKeyspace implements Admin.
func (c *Client) DropKeyspace(ctx context.Context, name string) error {
	return translate(nil, c.client.Admin().DropKeyspace(ctx, name))
}

// SetKeyspace implements Admin.
func (c *Client) SetKeyspace(ctx context.Context, q kv.SetKeyspace) error {
	return translate(nil, c.client.Admin().SetRetention(ctx, q.Name, q.Retention))
}

// Topology implements Admin.
func (c *Client) Topology(ctx context.Context, keyspace string) (*kv.Topology, error) {
	t, err := c.client.Admin().Topology(ctx, keyspace)
	return t, translate(nil, err)
}

// Status implements Admin.
func (c *Client) Status(ctx context.Context) (*kv.Status, error) {
	s, err := c.client.Admin().Status(ctx)
	return s, translate(nil, err)
}

// NodeStatus implements Admin.
func (c *Client) NodeStatus(ctx context.Context, n kv.NodeID) (*kv.NodeStatus, error) {
	s, err := c.client.Admin().NodeStatus(ctx, n)
	return s, translate(nil, err)
}

// Check implements Admin.
func (c *Client) Check(ctx context.Context, p kv.PartitionID) (*kv.CheckAnswer, error) {
	a, err := c.client.Admin().Check(ctx, p)
	return a, translate(nil, err)
}

// Transactions implements Admin.
func (c *Client) Transactions(ctx context.Context, p kv.PartitionID) (*kv.TransactionsAnswer, error) {
	a, err := c.client.Admin().Transactions(ctx, p)
	return a, translate(nil, err)
}

// MoveLeader implements Admin.
func (c *Client) MoveLeader(ctx context.Context, p kv.PartitionID, to kv.NodeID) error {
	return translate(nil, c.client.Admin().MoveLeader(ctx, p, to))
}
