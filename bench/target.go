package bench

import (
	"context"
	"errors"

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
