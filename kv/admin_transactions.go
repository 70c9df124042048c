package kv

import "time"

// TransactionsQuery asks a partition's leader which transactions over several partitions are
// under way there.
type TransactionsQuery struct{ Partition PartitionID }

// TransactionsAnswer is what one leader knows, at one moment: at most TransactionsMax transactions.
type TransactionsAnswer struct {
	Partition    PartitionID
	Node         NodeID // who leads the partition
	Transactions []TransactionStatus
	More         int // transactions that are left out: the youngest
}

// TransactionStatus is one transaction as one partition sees it.
type TransactionStatus struct {
	Role  string // coordinator, participant; resolver: it is committed, and participants are being told
	State string // preparing, drawing, proposed, committed; locking, locked; resolving
	ID    TxID
	Age   Age
	// Anchor is the partition that decides, AnchorKey the first write of the commit.
	Anchor    PartitionID
	AnchorKey Key
	// Since is for how long it has been here, to a millisecond or so: after a change of leader only since that, and for a
	// resolver since the commit.
	Since   time.Duration
	Waiters int // requests that wait for its locks here
	// Missing is whose answer the anchor still waits for: acknowledgements, or confirmations.
	Missing []PartitionID
	Locks   []LockStatus // in key order
	// MoreLocks is how many are left out: all together have at most TransactionsBytesMax bytes of keys.
	MoreLocks int
}

// LockStatus is one lock. A key has no End.
type LockStatus struct {
	Span      Span
	Exclusive bool
	Waiters   int // requests whose first obstacle it is
}

// Timestamp is the time part of the age.
func (a Age) Timestamp() Timestamp {
	t := Timestamp(0)
	for _, b := range a[:8] {
		t = t<<8 | Timestamp(b)
	}
	return t
}
