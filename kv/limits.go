package kv

import "time"

// Limits that hold everywhere; what exceeds one is answered with Kind Limit.
const (
	KeyBytesMax           = 8 << 10  // a user key
	ValueBytesMax         = 8 << 20  // a value
	CommitBytesMax        = 64 << 20 // keys and values of one commit
	CommitKeysMax         = 100_000  // keys read and written by one commit
	ScanPageBytesMax      = 4 << 20  // keys and values in one scan answer
	ScanPageKeysMax       = 100_000  // keys in one scan answer
	GetManyKeysMax        = 10_000   // keys of one GetMany in one partition
	HashPartitionsMax     = 4096     // buckets of a hash keyspace
	KeyspaceNameBytesMax  = 128
	TransactionsMax       = 1000    // transactions in one TransactionsAnswer
	TransactionsBytesMax  = 4 << 20 // keys of locks in one TransactionsAnswer
	RequestTimeoutDefault = 10 * time.Second
	// OutcomeHorizon is how long the outcome of a commit can be asked for (rule I2).
	OutcomeHorizon = 10 * time.Minute
	// RetentionMin is the shortest retention: outcomes are versions, so none goes before its outcome does (rule I9).
	RetentionMin = OutcomeHorizon
	RetentionMax = 10 * 365 * 24 * time.Hour
)

// CheckRetention refuses a retention that no keyspace can have; 0 is one: that of the nodes.
func CheckRetention(d time.Duration) *Error {
	switch {
	case d < 0 || d != 0 && d < RetentionMin:
		return Errorf(Invalid, "a retention of %v is too short: the least is %v, since that is how long outcomes of commits can be asked for; 0 is the default of the nodes", d, RetentionMin)
	case d > RetentionMax:
		return Errorf(Invalid, "a retention of %v is too long: the most is %v", d, RetentionMax)
	}
	return nil
}
