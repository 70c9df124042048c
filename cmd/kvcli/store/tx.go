package store

import (
	"context"
	"iter"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// Transactions begins what reads and writes many keys at one time.
type Transactions interface {
	// Begin makes a transaction. It asks nobody: its first read or its commit does.
	Begin(ctx context.Context) (Tx, error)
	// Snapshot makes a view of one state.
	Snapshot(ctx context.Context, b Bound) (Snapshot, error)
}

// Reader reads one state of one keyspace. A Range with a Bound is refused.
type Reader interface {
	Get(ctx context.Context, key []byte) (Pair, error)
	Scan(ctx context.Context, r Range) iter.Seq2[Pair, error]
}

// Tx is one attempt of a transaction, looking at one keyspace. Writes are kept until the commit,
// which fails if anything that was read has changed; what cannot be written is the error of the
// commit. Commit and Rollback end the attempt for all keyspaces.
type Tx interface {
	Reader
	// In is the same attempt looking at another keyspace.
	In(keyspace string) Tx
	ID() kv.TxID
	Put(key, value []byte)
	Delete(key []byte)
	Add(key []byte, delta int64)
	Commit(ctx context.Context) (Commit, error)
	Rollback(ctx context.Context) error
	// Again is the transaction's next attempt. It ends this one without effect, unless it has ended.
	Again(ctx context.Context) (Tx, error)
}

// Snapshot is one state of the cluster, looking at one keyspace.
type Snapshot interface {
	Reader
	// In is the same state looking at another keyspace.
	In(keyspace string) Snapshot
	Timestamp() kv.Timestamp
	Close() error
}

// Begin implements Transactions.
func (c *Client) Begin(ctx context.Context) (Tx, error) {
	t, err := c.client.Begin(ctx)
	if err != nil {
		return nil, translate(nil, err)
	}
	return clientTx{clientReader{t}, t}, nil
}

func (b Bound) snapshotOptions() []client.SnapshotOption {
	var opts []client.SnapshotOption
	switch {
	case b.At != 0:
		opts = append(opts, client.WithSnapshotBound(client.At(b.At)))
	case b.StaleBy != 0:
		opts = append(opts, client.WithSnapshotBound(client.StaleBy(b.StaleBy)))
	}
	return opts
}

// Snapshot implements Transactions.
func (c *Client) Snapshot(ctx context.Context, b Bound) (Snapshot, error) {
	s, err := c.client.Snapshot(ctx, b.snapshotOptions()...)
	if err != nil {
		return nil, translate(nil, err)
	}
	return clientSnapshot{clientReader{s}, s}, nil
}

type clientReader struct{ reader client.Reader }

func (r clientReader) Get(ctx context.Context, key []byte) (Pair, error) {
	p, err := r.reader.Get(ctx, key)
	return Pair(p), translate(key, err)
}

func (r clientReader) Scan(ctx context.Context, in Range) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		for p, err := range r.reader.Scan(ctx, client.Range{Start: in.Start, End: in.End}, in.options()...) {
			if !yield(Pair(p), translate(nil, err)) {
				return
			}
		}
	}
}

type clientTx struct {
	clientReader
	tx *client.Tx
}

func (t clientTx) In(keyspace string) Tx {
	in := t.tx.In(keyspace)
	return clientTx{clientReader{in}, in}
}

func (t clientTx) ID() kv.TxID                 { return t.tx.ID() }
func (t clientTx) Put(key, value []byte)       { t.tx.Put(key, value) }
func (t clientTx) Delete(key []byte)           { t.tx.Delete(key) }
func (t clientTx) Add(key []byte, delta int64) { t.tx.Add(key, delta) }

func (t clientTx) Commit(ctx context.Context) (Commit, error) {
	d, err := t.tx.Commit(ctx)
	return commitOf(d), translate(nil, err)
}

func (t clientTx) Rollback(ctx context.Context) error { return translate(nil, t.tx.Rollback(ctx)) }

func (t clientTx) Again(ctx context.Context) (Tx, error) {
	next, err := t.tx.Again(ctx)
	if err != nil {
		return nil, translate(nil, err)
	}
	return clientTx{clientReader{next}, next}, nil
}

type clientSnapshot struct {
	clientReader
	snapshot *client.Snapshot
}

func (s clientSnapshot) In(keyspace string) Snapshot {
	in := s.snapshot.In(keyspace)
	return clientSnapshot{clientReader{in}, in}
}

func (s clientSnapshot) Timestamp() kv.Timestamp { return s.snapshot.Timestamp() }
func (s clientSnapshot) Close() error            { return s.snapshot.Close() }
