// Package store is what kvcli needs of a cluster: one narrow contract, and the adapter that
// fulfils it with package client.
//
//	commands, transfer, bench ──► Store ◄── Client (package client)
//	                                   ◄── storetest.Fake (tests)
//
// Invariants:
//   - Every error is or wraps a *kv.Error: an exit code is chosen by its Kind.
//   - A missing key is kv.NotFound, with the key in the error.
//   - What a Store returns belongs to the caller.
//
// The package retries nothing and prints nothing.
package store

import (
	"context"
	"iter"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// Pair is one version of one key.
type Pair struct {
	Key, Value []byte
	Version    kv.Timestamp
}

// Buffered is the Version of what a transaction has written itself and not committed.
const Buffered = client.Buffered

// Commit is an acknowledged write. In a transaction that is not committed, Version is Buffered.
type Commit struct {
	Version kv.Timestamp
	ID      kv.TxID
	Stats   Stats
}

// Stats is what the commit of a transaction took.
type Stats struct {
	Reads, Writes, Partitions int // keys that were read by name, keys written, partitions with any of them
	OnePhase                  bool
}

// Bound says how old a read may be. The zero value is the newest state.
type Bound struct {
	At       kv.Timestamp  // exactly then
	StaleBy  time.Duration // so long ago
	MaxStale time.Duration // at most so long ago, whatever a replica nearby has
}

// Range is the keys [Start, End) in one order; an empty End is no upper bound.
type Range struct {
	Start, End []byte
	Limit      int // 0: no limit
	Reverse    bool
	KeysOnly   bool
	Bound      Bound
}

// Store is one keyspace of a cluster, and the cluster's administration.
type Store interface {
	Data
	Outcomes
	Transactions
	Updater
	Admin
	// In is the same cluster with another keyspace; it shares connections.
	In(keyspace string) Store
	Close() error
}

// Data is reading and writing in a keyspace. All of it is safe for concurrent use.
type Data interface {
	Get(ctx context.Context, key []byte, b Bound) (Pair, error)
	Scan(ctx context.Context, r Range) iter.Seq2[Pair, error]
	Count(ctx context.Context, r Range) (int64, error)
	Put(ctx context.Context, key, value []byte) (Commit, error)
	Delete(ctx context.Context, key []byte) (Commit, error)
	CompareAndSet(ctx context.Context, key []byte, want kv.Expect, value []byte) (Commit, error)
	Add(ctx context.Context, key []byte, delta int64) (int64, Commit, error)
}

// Outcomes tells what became of writes whose answer was lost.
type Outcomes interface {
	// Outcome asks how a write of this Store ended whose answer was lost. The answer is final.
	Outcome(ctx context.Context, id kv.TxID) (kv.Outcome, error)
	// OutcomeOf is Outcome for the Token of an AmbiguousError, whoever's it was.
	OutcomeOf(ctx context.Context, token string) (kv.Outcome, error)
}

// Admin is looking at the cluster and changing it.
type Admin interface {
	CreateKeyspace(ctx context.Context, q kv.CreateKeyspace) error
	DropKeyspace(ctx context.Context, name string) error
	SetKeyspace(ctx context.Context, q kv.SetKeyspace) error
	// Topology is the map of one keyspace, or of all for the empty name.
	Topology(ctx context.Context, keyspace string) (*kv.Topology, error)
	Status(ctx context.Context) (*kv.Status, error)
	// NodeStatus is what one node knows of itself.
	NodeStatus(ctx context.Context, n kv.NodeID) (*kv.NodeStatus, error)
	Check(ctx context.Context, p kv.PartitionID) (*kv.CheckAnswer, error)
	// Transactions is what a partition's leader knows of those over several partitions.
	Transactions(ctx context.Context, p kv.PartitionID) (*kv.TransactionsAnswer, error)
	// MoveLeader hands a partition's leadership over; to = 0: to any other voter.
	MoveLeader(ctx context.Context, p kv.PartitionID, to kv.NodeID) error
}

// NotFound is the error for a key that is not there.
func NotFound(key []byte) error {
	return &kv.Error{Kind: kv.NotFound, Message: "key not found", Key: key}
}

// AmbiguousError is a write of which it is not known whether it happened.
type AmbiguousError struct {
	Cause *kv.Error // of Kind Ambiguous, with the ID of the write
	Token string    // for OutcomeOf, in any process
}

func (e *AmbiguousError) Error() string { return e.Cause.Error() }

// Unwrap gives the cause.
func (e *AmbiguousError) Unwrap() error { return e.Cause }
