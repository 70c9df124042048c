package kv

import (
	"errors"
	"fmt"
)

// Kind classifies an Error. Numbers cross the wire: do not reorder.
type Kind uint8

// The kinds, each with what a caller may do about it.
const (
	Internal       Kind = 1  // a bug or an invariant broken; report it
	Invalid        Kind = 2  // the request is malformed; do not retry
	NotFound       Kind = 3  // keyspace, node or partition unknown (a missing key is no error below the client)
	Exists         Kind = 4  // keyspace exists
	Limit          Kind = 5  // a limit exceeded; What, LimitValue and Got are set
	NotLeader      Kind = 6  // ask Leader, if set; nothing was done
	WrongPartition Kind = 7  // the key is elsewhere; Descriptors has the news; nothing was done
	StaleTerm      Kind = 8  // the id names another term: finally aborted (rule C1); Term has the leader's
	Conflict       Kind = 9  // a read was overtaken, finally aborted; read again and retry under a new id
	Expectation    Kind = 10 // compare-and-set found something else; nothing was done
	Expired        Kind = 11 // older than the outcome horizon: not executed, outcome not known any more
	Aborted        Kind = 12 // finally not executed, and never will be under this id
	Unavailable    Kind = 13 // no quorum, no leader yet, draining, overloaded: nothing was done
	Ambiguous      Kind = 14 // it may or may not have happened; ask for the outcome
	TooOld         Kind = 15 // timestamp below retention
	Future         Kind = 16 // timestamp beyond the oracle's bound
	Corruption     Kind = 17 // a checksum failed; never retried, never served
	Timeout        Kind = 18 // the deadline passed
	Canceled       Kind = 19
	Denied         Kind = 20
	DiskFull       Kind = 21
	Closed         Kind = 22
)

var kindNames = [...]string{
	Internal: "internal", Invalid: "invalid", NotFound: "not found", Exists: "exists", Limit: "limit", NotLeader: "not leader",
	WrongPartition: "wrong partition", StaleTerm: "stale term", Conflict: "conflict", Expectation: "expectation failed",
	Expired: "expired", Aborted: "aborted", Unavailable: "unavailable", Ambiguous: "ambiguous", TooOld: "too old", Future: "future",
	Corruption: "corruption", Timeout: "timeout", Canceled: "canceled", Denied: "denied", DiskFull: "disk full", Closed: "closed",
}

// KindMax is the largest Kind: tests range over all.
const KindMax = Closed

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is the one error type of kvd. Only the fields that a Kind names are set.
type Error struct {
	Kind    Kind
	Message string // names the thing, the limit and the remedy

	Key         Key           // Conflict, Expectation, WrongPartition
	Leader      NodeID        // NotLeader: the node to ask; 0 = not known
	Partition   PartitionID   // whose answer this is; 0 = none
	Term        Term          // StaleTerm, NotLeader: the newest term heard of
	Descriptors []*Descriptor // WrongPartition: what the answering node knows
	What        string        // Limit: the name of the limit
	LimitValue  int64         // Limit
	Got         int64         // Limit
	Actual      *Row          // Expectation: what was found; nil = absent
	Timing      *Timing       // of a request that was refused, as far as it is known; nil unless Request.Trace
	ID          TxID          // Ambiguous: ask for its outcome; Conflict: who was in the way, if it is known
	Oldest      Timestamp     // TooOld: what can be read begins here
	Closed      Timestamp     // NotLeader, of a read that any replica may answer: up to where this one could; 0 = nothing
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Kind.String()
	}
	return e.Kind.String() + ": " + e.Message
}

// Errorf makes an Error of a kind.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// LimitError says which limit was exceeded, and by how much.
func LimitError(what string, limit, got int64, remedy string) *Error {
	return &Error{
		Kind: Limit, What: what, LimitValue: limit, Got: got,
		Message: fmt.Sprintf("%s is %d, the limit is %d: %s", what, got, limit, remedy),
	}
}

// UserError is an error about a full key of the keyspace as its users shall see it: with their
// own part of the key, which the message names as well. Other errors it returns as they are.
func (k Keyspace) UserError(e *Error) *Error {
	if e == nil || e.Key.Keyspace() != k.ID || k.UserKey(e.Key) == nil {
		return e
	}
	u := *e
	u.Key = k.UserKey(e.Key)
	u.Message = fmt.Sprintf("key %q: %s", []byte(u.Key), e.Message)
	if a := e.Actual; a != nil {
		row := *a
		row.Key = k.UserKey(a.Key)
		u.Actual = &row
	}
	return &u
}

// KindOf is the Kind of an error; Internal for one that is not of this type, 0 for nil.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// AsError is err as an *Error; a foreign one becomes Internal. nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Message: err.Error()}
}
