package client

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Timestamp is drawn from the cluster's oracle: milliseconds << 18 | counter.
type Timestamp = kv.Timestamp

// TxID names one attempt of a commit.
type TxID = kv.TxID

// Pair is one version of one key. Its slices belong to the caller.
type Pair struct {
	Key, Value []byte
	Version    Timestamp // of the commit that wrote it; 0: the key is absent
}

// Range is the keys [Start, End). An empty End means no upper bound.
type Range struct{ Start, End []byte }

// Prefix is all keys that begin with p.
func Prefix(p []byte) Range { return Range{Start: p, End: kv.PrefixEnd(p)} }

// Key is one key alone.
func Key(k []byte) Range { return Range{Start: k, End: kv.Key(k).Next()} }

// All is all keys.
func All() Range { return Range{} }

// Commit is a transaction that is done.
type Commit struct {
	Timestamp Timestamp // the Version of all that it has written; without writes, of the state that it read
	ID        TxID      // for Client.Outcome
	Stats     TxStats
}

// TxStats is what a transaction took, all attempts together: of keys and partitions, what the last one took.
type TxStats struct {
	Attempts    int
	Partitions  int // that the commit went to; 0: nothing was written
	RPCs        int // requests that were sent, copies of lost ones included
	ReadKeys    int // read by name; what scans found does not count
	WrittenKeys int
	OnePhase    bool          // all in one partition: one round of consensus
	AsyncCommit bool          // reserved: nodes do not tell whether they committed in parallel
	Backoff     time.Duration // waited before attempts, in Elapsed
	Elapsed     time.Duration
}

// Outcome is what became of a commit.
type Outcome uint8

// The outcomes.
const (
	Unknown   Outcome = iota // not to be had now: the partition of its anchor cannot be reached
	Committed                // it happened, once
	Aborted                  // it did not happen, and never will
)

// String is the outcome as a word.
func (o Outcome) String() string {
	switch o {
	case Committed:
		return "committed"
	case Aborted:
		return "aborted"
	}
	return "unknown"
}

// Expect is a condition on the newest value of a key.
type Expect struct{ expect kv.Expect }

// Absent expects that the key has no value.
func Absent() Expect { return Expect{kv.Expect{Kind: kv.ExpectAbsent}} }

// VersionIs expects that the newest version is the one of a timestamp.
func VersionIs(t Timestamp) Expect {
	return Expect{kv.Expect{Kind: kv.ExpectVersion, Version: t}}
}

// ValueIs expects that the newest value is v.
func ValueIs(v []byte) Expect { return Expect{kv.Expect{Kind: kv.ExpectValue, Value: v}} }
