package client

import (
	"context"
	"fmt"
	"strings"

	"github.com/kvd-db/kvd/kv"
)

type sentinel string

// Error says what happened.
func (e sentinel) Error() string { return string(e) }

// What errors.Is finds. The error itself says more; kv.KindOf gives its kind.
const (
	ErrNotFound    = sentinel("kv: key not found")
	ErrNoKeyspace  = sentinel("kv: no such keyspace")
	ErrConflict    = sentinel("kv: transaction conflict")
	ErrAmbiguous   = sentinel("kv: commit outcome unknown")
	ErrUnavailable = sentinel("kv: partition unavailable")
	ErrTooOld      = sentinel("kv: timestamp older than retention")
	ErrReadOnly    = sentinel("kv: write in read-only transaction") // for layers above: a Snapshot has no writes
	ErrTxDone      = sentinel("kv: transaction already finished")
	ErrLimit       = sentinel("kv: limit exceeded")
	ErrClosed      = sentinel("kv: client closed")
	ErrCAS         = sentinel("kv: expectation failed")
	ErrNotSent     = sentinel("kv: batch not sent")
)

// Error is any error that has no type of its own.
type Error struct{ cause *kv.Error }

// Error says what happened.
func (e *Error) Error() string { return "kv: " + e.cause.Error() }

// Unwrap gives the *kv.Error.
func (e *Error) Unwrap() error { return e.cause }

// Is finds the sentinel, or the context's error, that fits the kind.
func (e *Error) Is(target error) bool {
	switch e.cause.Kind {
	case kv.NotFound:
		return target == ErrNoKeyspace
	case kv.Unavailable, kv.NotLeader:
		return target == ErrUnavailable
	case kv.Closed:
		return target == ErrClosed
	case kv.Timeout:
		return target == context.DeadlineExceeded
	case kv.Canceled:
		return target == context.Canceled
	case kv.Ambiguous:
		return target == ErrAmbiguous
	}
	return false
}

// ConflictError is a transaction that another one overtook; it did not happen.
type ConflictError struct {
	Key      []byte // what was overtaken; empty: not known
	Reason   string // what happened to it, and what to do
	Holder   TxID   // zero: not known
	Attempts int
	cause    *kv.Error
}

// Error says what happened.
func (e *ConflictError) Error() string {
	at := ""
	if len(e.Key) > 0 {
		at = fmt.Sprintf(" on key %q", e.Key)
	}
	return fmt.Sprintf("%s%s: %s", ErrConflict, at, e.Reason)
}

// reason is what happened to the key of an error, without the key.
func reason(e *kv.Error) string {
	return strings.TrimPrefix(e.Message, fmt.Sprintf("key %q: ", []byte(e.Key)))
}

// Is finds ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Unwrap gives the *kv.Error.
func (e *ConflictError) Unwrap() error { return e.cause }

// AmbiguousError is a commit of which it is not known whether it happened.
type AmbiguousError struct {
	ID TxID // for Client.Outcome, of the same Client
	// Token holds all that is needed to ask for the outcome, for Client.OutcomeOf of any client.
	Token string
	Cause error
}

// Error says what happened.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("kv: commit %s may or may not have happened, ask for its outcome: %v", e.ID, e.Cause)
}

// Is finds ErrAmbiguous.
func (e *AmbiguousError) Is(target error) bool { return target == ErrAmbiguous }

// Unwrap gives the *kv.Error.
func (e *AmbiguousError) Unwrap() error { return e.Cause }

// LimitError is a limit exceeded; nothing was done.
type LimitError struct {
	What       string
	Limit, Got int64
	cause      *kv.Error
}

// Error says what happened.
func (e *LimitError) Error() string { return "kv: " + e.cause.Message }

// Is finds ErrLimit.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// Unwrap gives the *kv.Error.
func (e *LimitError) Unwrap() error { return e.cause }

// TooOldError is a read, or a commit of what was read, at a timestamp whose versions are not kept any more.
type TooOldError struct {
	Oldest Timestamp // that can be read there; 0: not known
	cause  *kv.Error
}

// Error says what happened.
func (e *TooOldError) Error() string { return "kv: " + e.cause.Error() }

// Is finds ErrTooOld.
func (e *TooOldError) Is(target error) bool { return target == ErrTooOld }

// Unwrap gives the *kv.Error.
func (e *TooOldError) Unwrap() error { return e.cause }

// ExpectationError is a conditional write that found something else; nothing was done.
type ExpectationError struct {
	Key    []byte
	Found  bool
	Actual Pair // if Found
	cause  *kv.Error
}

// Error says what happened.
func (e *ExpectationError) Error() string {
	if !e.Found {
		return fmt.Sprintf("kv: expectation failed: key %q is absent", e.Key)
	}
	return fmt.Sprintf("kv: expectation failed: key %q has version %s", e.Key, e.Actual.Version)
}

// Is finds ErrCAS.
func (e *ExpectationError) Is(target error) bool { return target == ErrCAS }

// Unwrap gives the *kv.Error.
func (e *ExpectationError) Unwrap() error { return e.cause }

// typed is an error of the layers below as this package shows it; nil stays nil.
func typed(e *kv.Error) error {
	if e == nil {
		return nil
	}
	switch e.Kind {
	case kv.Limit:
		return &LimitError{What: e.What, Limit: e.LimitValue, Got: e.Got, cause: e}
	case kv.TooOld:
		return &TooOldError{Oldest: e.Oldest, cause: e}
	case kv.Conflict:
		return &ConflictError{Key: e.Key, Reason: reason(e), cause: e}
	}
	return &Error{cause: e}
}
