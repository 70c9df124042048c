package client

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Option changes how Open makes a Client.
type Option func(*settings)

type settings struct {
	tls      *tls.Config
	log      *slog.Logger
	locality string
	hooks    Hooks
}

// WithTLS encrypts all connections.
func WithTLS(c *tls.Config) Option { return func(s *settings) { s.tls = c } }

// WithLogger is where the client says what is worth saying; the default is slog.Default().
func WithLogger(l *slog.Logger) Option { return func(s *settings) { s.log = l } }

// WithLocality is where the client runs, in the words of the nodes' --locality: "region=x,zone=y". Reads
// that any replica may answer go to the one with the most tiers in common that can serve.
func WithLocality(l string) Option { return func(s *settings) { s.locality = l } }

// WithHooks sets functions that hear of what the client does.
func WithHooks(h Hooks) Option { return func(s *settings) { s.hooks = h } }

// ScanOption changes one Scan or Count.
type ScanOption interface{ scan(*scanSettings) }

// ReadOption changes one read; every one is a ScanOption as well.
type ReadOption interface {
	ScanOption
	read(*anyBound)
}

type scanSettings struct {
	bound    anyBound
	limit    int
	reverse  bool
	keysOnly bool
}

type scanOption func(*scanSettings)

func (o scanOption) scan(s *scanSettings) { o(s) }

// Limit ends a scan after n pairs; 0 is no limit.
func Limit(n int) ScanOption { return scanOption(func(s *scanSettings) { s.limit = n }) }

// Reverse scans from the end of the range to its start.
func Reverse() ScanOption { return scanOption(func(s *scanSettings) { s.reverse = true }) }

// KeysOnly leaves out values.
func KeysOnly() ScanOption { return scanOption(func(s *scanSettings) { s.keysOnly = true }) }

// WriteOption changes one write.
type WriteOption func(*writeSettings)

type writeSettings struct{ expect Expect }

// If makes a Put or Delete conditional: it fails with an *ExpectationError and does
// nothing if the key is not as expected.
func If(e Expect) WriteOption { return func(s *writeSettings) { s.expect = e } }

// FixedBound says how old a state may be read: one state, the same for all keys.
type FixedBound struct {
	at    Timestamp
	stale time.Duration
	err   *kv.Error // why it cannot be kept
}

// Strong reads the newest state: all that was acknowledged before the read began is seen.
func Strong() FixedBound { return FixedBound{} }

// At reads the state at a timestamp, which must come from the cluster. Any replica that has all up to it
// may answer.
func At(t Timestamp) FixedBound {
	if t == 0 {
		return FixedBound{err: kv.Errorf(kv.Invalid, "at timestamp 0 there is nothing: Strong reads the newest state")}
	}
	return FixedBound{at: t}
}

// StaleBy reads the state a while ago, as of the newest timestamp that the client has heard of. Any
// replica may answer, also one that lags behind by no more than that.
func StaleBy(d time.Duration) FixedBound { return FixedBound{stale: d} }

// Bound says how old a state may be read at most; who answers chooses which: the nearest replica
// that has something new enough, or the leader.
type Bound struct {
	notBefore Timestamp
	stale     time.Duration
	err       *kv.Error // why it cannot be kept
}

// AtMostStale reads a state that is not older than d, by the newest timestamp that the client has heard of.
func AtMostStale(d time.Duration) Bound {
	if d < 0 {
		return Bound{err: kv.Errorf(kv.Invalid, "at most %v stale: it must not be negative", d)}
	}
	return Bound{stale: d}
}

// NotBefore reads a state that holds every commit up to a timestamp, which must come from
// the cluster: with that of one's own commit, one reads one's own writes.
func NotBefore(t Timestamp) Bound { return Bound{notBefore: t} }

// AnyBound is the bounds that WithBound takes.
type AnyBound interface{ Bound | FixedBound }

// anyBound is either; the zero value is Strong.
type anyBound struct {
	fixed FixedBound
	most  Bound
}

func (o anyBound) read(b *anyBound)     { *b = o }
func (o anyBound) scan(s *scanSettings) { s.bound = o }

// WithBound sets how old a state may be read; the default is Strong.
func WithBound[B AnyBound](b B) ReadOption {
	switch b := any(b).(type) {
	case FixedBound:
		return anyBound{fixed: b}
	case Bound:
		return anyBound{most: b}
	}
	return anyBound{}
}

// TxOption changes one transaction.
type TxOption func(*txSettings)

type txSettings struct {
	attemptsMax int
	tag         string
	priority    Priority
	trace       *Trace
}

// WithMaxAttempts ends Update with a *ConflictError after n attempts. The default, 0, is to go on
// until the context ends.
func WithMaxAttempts(n int) TxOption { return func(s *txSettings) { s.attemptsMax = n } }

// WithTag names a transaction for the hooks.
func WithTag(tag string) TxOption { return func(s *txSettings) { s.tag = tag } }

// WithPriority says who shall win when transactions wait for each other's locks.
func WithPriority(p Priority) TxOption { return func(s *txSettings) { s.priority = p } }

// WithTrace has t filled with all requests that the transaction makes, when it ends.
func WithTrace(t *Trace) TxOption { return func(s *txSettings) { s.trace = t } }

// Priority is by how many hours a transaction counts as older than it is. Of two that wait for
// each other's locks the older one wins; so nobody starves, whatever the priorities.
type Priority int8

// Usual priorities.
const (
	PriorityLow    Priority = -1
	PriorityNormal Priority = 0
	PriorityHigh   Priority = 1
)

// SnapshotOption changes one View or Snapshot.
type SnapshotOption func(*FixedBound)

// WithSnapshotBound sets how old a state is read; the default is Strong.
func WithSnapshotBound(b FixedBound) SnapshotOption { return func(s *FixedBound) { *s = b } }
