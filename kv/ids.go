package kv

import (
	"encoding/hex"
	"fmt"
	"time"
)

// NodeID names one server of the cluster, from 1; a wiped server comes back under a new one.
type NodeID uint64

// PartitionID names one replicated partition, and with it its Raft group, from 1.
// It is never reused.
type PartitionID uint64

// LoopsMax is how many event loops a node may run.
const LoopsMax = 64

// Loop is the event loop that owns the partition's replica on a node of so many loops. The
// system partition belongs to loop 0. It is the same function on every node: leaders rest
// their leases on it.
func (p PartitionID) Loop(loops int) int {
	if loops <= 1 {
		return 0
	}
	return int((p - SystemPartition) % PartitionID(loops))
}

// SystemPartition is the group of the consistent core.
const SystemPartition PartitionID = 1

// SystemSpan is what the descriptor of the system partition says that it holds: keyspace 0, which
// no user has. Its state is kept apart from all keys.
func SystemSpan() Span { return Keyspace{ID: 0}.Span() }

// ReplicaID names one replica of a partition, unique per partition for ever. It is the
// Raft peer id.
type ReplicaID uint64

// KeyspaceID names a keyspace, from 1; it is the first part of every full key.
type KeyspaceID uint32

// Generation counts the changes of a partition's bounds or replicas.
type Generation uint64

// Term is a Raft term.
type Term uint64

// LogIndex is a position in a Raft log, from 1.
type LogIndex uint64

// Revision counts the changes of the consistent core, dense, from 1.
type Revision uint64

// Timestamp is drawn from the cluster's oracle: milliseconds since the Unix epoch << 18 | counter.
// 0 means none. Timestamps are ordered like the numbers.
type Timestamp uint64

// TimestampCounterBits is the width of the counter below the milliseconds.
const TimestampCounterBits = 18

// MakeTimestamp puts a timestamp together; counter must be below 1<<TimestampCounterBits.
func MakeTimestamp(unixMillis int64, counter uint32) Timestamp {
	return Timestamp(unixMillis)<<TimestampCounterBits | Timestamp(counter)
}

// UnixMillis is the time part, in milliseconds since the Unix epoch.
func (t Timestamp) UnixMillis() int64 { return int64(t >> TimestampCounterBits) }

// Counter is the part below the milliseconds.
func (t Timestamp) Counter() uint32 { return uint32(t & (1<<TimestampCounterBits - 1)) }

// String prints the decimal number with its time: "114689...@2026-11-24T10:00:00.123Z".
func (t Timestamp) String() string {
	if t == 0 {
		return "0"
	}
	return fmt.Sprintf("%d@%s", uint64(t), time.UnixMilli(t.UnixMillis()).UTC().Format("2006-01-02T15:04:05.000Z"))
}

// TxID is the 16 random bytes with which a client names one attempt of a commit; every
// copy and every resend carries the same (rule A1).
type TxID [16]byte

// IsZero reports whether the id is absent.
func (id TxID) IsZero() bool { return id == TxID{} }

// String prints 32 hexadecimal digits.
func (id TxID) String() string { return hex.EncodeToString(id[:]) }

// ParseTxID reads what String prints.
func ParseTxID(s string) (TxID, error) {
	var id TxID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("a transaction id has %d hexadecimal digits, not %d", 2*len(id), len(s))
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err
}

// Instant is a reading of a node's own monotonic clock in nanoseconds. Instants of two
// nodes are never compared.
type Instant int64

// Add is the instant d later.
func (t Instant) Add(d time.Duration) Instant { return t + Instant(d) }
