package bench

import "github.com/kvd-db/kvd/bench/ycsb"

// kind is the kind of one operation: those of ycsb, and transactions.
type kind uint8

// The kinds that ycsb does not have.
const (
	transaction kind = ycsb.KindCount + iota // reads and writes
	snapshot                                 // a transaction that only reads
	transfer                                 // of bank
	audit                                    // of bank: all accounts, as they are
	staleAudit                               // of bank: all accounts, as they were a while ago
	kindCount   = iota + ycsb.KindCount
)

var kindNames = [...]string{"transaction", "snapshot", "transfer", "audit", "audit_stale"}

func (k kind) String() string {
	if k < ycsb.KindCount {
		return ycsb.Kind(k).String()
	}
	return kindNames[k-ycsb.KindCount]
}
