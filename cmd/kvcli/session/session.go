package session

import (
	"context"
	"time"

	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// StepsMax is how many commands one transaction may have.
const StepsMax = kv.CommitKeysMax

// Session is one transaction, or one snapshot.
type Session struct {
	tx       store.Tx       // nil: read-only
	snapshot store.Snapshot // nil: it reads and writes
	steps    []step
	written  bool // there is something to commit
	failed   bool
	ended    bool
}

// Begin opens a transaction that reads and writes.
func Begin(ctx context.Context, s store.Store) (*Session, error) {
	tx, err := s.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &Session{tx: tx}, nil
}

// BeginReadOnly opens a view of one state.
func BeginReadOnly(ctx context.Context, s store.Store, b store.Bound) (*Session, error) {
	snapshot, err := s.Snapshot(ctx, b)
	if err != nil {
		return nil, err
	}
	return &Session{snapshot: snapshot}, nil
}

// ID names the attempt; it is zero for a view.
func (s *Session) ID() kv.TxID {
	if s.tx == nil {
		return kv.TxID{}
	}
	return s.tx.ID()
}

// Timestamp is the one that a view reads; it is 0 for a transaction that writes.
func (s *Session) Timestamp() kv.Timestamp {
	if s.snapshot == nil {
		return 0
	}
	return s.snapshot.Timestamp()
}

// ReadOnly reports whether writes are refused.
func (s *Session) ReadOnly() bool { return s.tx == nil }

// Ended reports whether there is nothing left to commit or to roll back.
func (s *Session) Ended() bool { return s.ended }

// Failed reports whether the commit was refused.
func (s *Session) Failed() bool { return s.failed }

// idDigitsShown are enough to tell a person's transactions apart.
const idDigitsShown = 4

// Name is the transaction in a few characters, for prompts and sentences.
func (s *Session) Name() string {
	if s.tx == nil {
		return "ro " + time.UnixMilli(s.Timestamp().UnixMillis()).UTC().Format("15:04:05.000")
	}
	return "tx " + s.ID().String()[:idDigitsShown] + "…"
}

// Mark is the transaction's part of a prompt: * is that there are writes to commit, ! that it failed.
func (s *Session) Mark() string {
	mark := "(" + s.Name() + ")"
	switch {
	case s.failed:
		return mark + "!"
	case s.written:
		return mark + "*"
	}
	return mark
}

// usable is an error unless commands can run.
func (s *Session) usable() error {
	switch {
	case s.ended:
		return kv.Errorf(kv.Invalid, "the transaction has ended")
	case s.failed:
		return kv.Errorf(kv.Aborted, "the transaction (%s) has failed: retry runs its commands again, rollback gives it up", s.Name())
	}
	return nil
}

// Commit ends the transaction. If it is refused, nothing was written, the transaction counts as
// failed and may be tried again. If the outcome is unknown, it has ended: another attempt could
// do it twice.
func (s *Session) Commit(ctx context.Context) (store.Commit, error) {
	if err := s.usable(); err != nil {
		return store.Commit{}, err
	}
	if s.tx == nil {
		s.ended = true
		return store.Commit{Version: s.Timestamp()}, s.snapshot.Close()
	}
	done, err := s.tx.Commit(ctx)
	switch kv.KindOf(err) {
	case 0, kv.Ambiguous, kv.Expired, kv.Internal, kv.Corruption: // what leaves the client without an outcome
		s.ended = true
	default:
		s.failed = true
	}
	return done, err
}

// Rollback ends the transaction without effect.
func (s *Session) Rollback(ctx context.Context) error {
	if s.ended {
		return s.usable()
	}
	s.ended = true
	switch {
	case s.tx == nil:
		return s.snapshot.Close()
	case s.failed:
		return nil // its attempt is over
	}
	return s.tx.Rollback(ctx)
}

// Retry runs all commands again on a new attempt, touch after each of them. If one shows
// something else than the first time, that is the error, and nothing of the attempt is left: the commands
// behind it may have been meant for what was shown before.
func (s *Session) Retry(ctx context.Context, touch func()) (steps int, err error) {
	switch {
	case s.ended:
		return 0, s.usable()
	case s.tx == nil:
		return 0, kv.Errorf(kv.Invalid, "a read-only transaction has no conflicts: there is nothing to retry")
	}
	next, err := s.tx.Again(ctx)
	if err != nil {
		return 0, err
	}
	s.tx, s.failed = next, true
	for i := range s.steps {
		if err = s.steps[i].again(ctx, next); err != nil {
			_ = next.Rollback(ctx) // nothing was sent: what cannot be rolled back is gone already
			return i, err
		}
		touch()
	}
	s.failed = false
	return len(s.steps), nil
}
