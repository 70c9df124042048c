package bench

import (
	"context"
	"errors"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Record is one key with what was found there.
type Record struct {
	Key   []byte
	Value []byte
	// Version changes with every write of the key; 0 stands for "absent".
	Version uint64
}

// Target is a store under load. Its methods are called from many goroutines. Reads must
// see every write that was acknowledged before they began (see Description.StaleReads).
type Target interface {
	// Get reads a key; a missing one is ErrNotFound.
	Get(ctx context.Context, key []byte) (Record, error)
	// Put writes a key.
	Put(ctx context.Context, key, value []byte) error
	// Scan reads up to limit records from start on, in key order, and none at or after end
	// (nil: no end).
	Scan(ctx context.Context, start, end []byte, limit int) ([]Record, error)
	// CompareAndSet writes a key if it still has the version; otherwise ErrConflict.
	CompareAndSet(ctx context.Context, key []byte, version uint64, value []byte) error
}

// The two answers of a Target that are no failures.
var (
	ErrNotFound = errors.New("bench: no such key")
	ErrConflict = errors.New("bench: the version has changed")
)

// Transactor is a Target with transactions over several keys. They are strictly serializable.
type Transactor interface {
	// Update runs fn in a transaction and commits what it wrote; if another transaction has
	// overtaken it, again, until ctx ends. An error that is ErrConflict has changed nothing,
	// and so has one that fn returned; after any other one it is not known.
	Update(ctx context.Context, fn func(ctx context.Context, tx Tx) error) (Attempts, error)
	// View reads keys as they all were at one time: the newest, or staleBy ago. It gives a
	// Record for each key, in their order, with Version 0 where there is none. at grows with
	// that time; it is comparable with other results of View only.
	View(ctx context.Context, keys [][]byte, staleBy time.Duration) (at uint64, found []Record, err error)
}

// Tx is one attempt of a transaction; it belongs to one goroutine.
type Tx interface {
	// GetMany reads keys, as View does, and sees what this transaction has put.
	GetMany(ctx context.Context, keys ...[]byte) ([]Record, error)
	// Put writes a key if the transaction commits. It copies key and value.
	Put(key, value []byte)
}

// Attempts is what a transaction took.
type Attempts struct {
	Made    int // how many times it was tried
	Aborted int // how many of these another transaction overtook
}

// Partitioner is a Target that knows in which of its partitions keys live.
type Partitioner interface {
	// Partition numbers the partition of a key, always alike.
	Partition(key []byte) int
}

// Wrapper is a Target around another one, whose transactions and partitions are its own.
type Wrapper interface {
	Unwrap() Target
}

// transactorOf finds the transactions of a target.
func transactorOf(t Target) (Transactor, error) {
	if x, ok := as[Transactor](t); ok {
		return x, nil
	}
	return nil, kv.Errorf(kv.Invalid, "%s has no transactions: choose another workload", describe(t).Name)
}

// as finds an optional interface of a target, or of what it wraps.
func as[T any](t Target) (T, bool) {
	for {
		if x, ok := t.(T); ok {
			return x, true
		}
		w, ok := t.(Wrapper)
		if !ok {
			var none T
			return none, false
		}
		t = w.Unwrap()
	}
}

// Describer is a Target that can say what it is; the text goes into the result.
type Describer interface {
	Describe() Description
}

// Description is what a Target says of itself.
type Description struct {
	Name       string            `json:"name"`
	Facts      map[string]string `json:"facts,omitempty"`       // addresses, keyspace, replicas, durability ...
	StaleReads bool              `json:"stale_reads,omitempty"` // reads may miss acknowledged writes
}

// Classifier is a Target that names its own kinds of error, for the counts in the result.
type Classifier interface {
	ErrorKind(err error) string
}

// errorKind names the kind of an error.
func errorKind(t Target, err error) string {
	if c, ok := t.(Classifier); ok {
		if kind := c.ErrorKind(err); kind != "" {
			return kind
		}
	}
	switch {
	case errors.Is(err, ErrConflict):
		return "conflict"
	case errors.Is(err, ErrNotFound):
		return "not found"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	var e *kv.Error
	if errors.As(err, &e) {
		return e.Kind.String()
	}
	return "other"
}

func describe(t Target) Description {
	if d, ok := t.(Describer); ok {
		return d.Describe()
	}
	return Description{Name: "unnamed"}
}
