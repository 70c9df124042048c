package ycsb

import (
	"strconv"
	"sync"
	"sync/atomic"
)

// Records knows which records exist: those loaded before the run, and those inserted
// since. A number is readable once all inserts up to it are settled, so that "latest"
// never asks for a record that is still on its way.
type Records struct {
	loaded uint64
	next   atomic.Uint64 // the number of the next insert
	limit  atomic.Uint64 // all below are settled
	failed atomic.Int64  // number of members of lost, read without the lock

	mu      sync.Mutex
	settled map[uint64]struct{} // settled out of order, at or above limit
	lost    map[uint64]struct{} // inserts that failed or whose outcome is unknown
}

// NewRecords makes Records with the numbers 0..loaded-1 in it.
func NewRecords(loaded uint64) *Records {
	r := &Records{loaded: loaded, settled: map[uint64]struct{}{}, lost: map[uint64]struct{}{}}
	r.next.Store(loaded)
	r.limit.Store(loaded)
	return r
}

// Insert hands out the number of a new record; the caller must Settle it.
func (r *Records) Insert() uint64 { return r.next.Add(1) - 1 }

// Settle tells how an insert ended. A record whose insert did not surely succeed is never
// asked for.
func (r *Records) Settle(n uint64, inserted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !inserted {
		r.lost[n] = struct{}{}
		r.failed.Add(1)
	}
	r.settled[n] = struct{}{}
	limit := r.limit.Load()
	for {
		if _, ok := r.settled[limit]; !ok {
			break
		}
		delete(r.settled, limit)
		limit++
	}
	r.limit.Store(limit)
}

// Limit is the number below which all records are settled.
func (r *Records) Limit() uint64 { return r.limit.Load() }

// Readable reports whether record n surely exists.
func (r *Records) Readable(n uint64) bool {
	if n >= r.Limit() {
		return false
	}
	if n < r.loaded || r.failed.Load() == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, lost := r.lost[n]
	return !lost
}

// Order says how the numbers of records become keys.
type Order uint8

// The orders.
const (
	// Hashed spreads neighbours over the key space: "user" and the Hash in decimal. It is
	// the default of the original.
	Hashed Order = iota
	// Ordered keeps the order of the numbers: "user" and twelve digits.
	Ordered
)

// KeyPrefix is how the keys of all records begin.
const KeyPrefix = "user"

// AppendKey appends the key of record n to dst.
func AppendKey(dst []byte, n uint64, order Order) []byte {
	dst = append(dst, KeyPrefix...)
	if order == Hashed {
		return strconv.AppendUint(dst, Hash(n), 10)
	}
	start := len(dst)
	dst = strconv.AppendUint(dst, n, 10)
	for len(dst)-start < orderedDigits {
		dst = append(dst[:start], append([]byte{'0'}, dst[start:]...)...)
	}
	return dst
}

// orderedDigits is the width of an Ordered key's number: 10^12 records sort rightly.
const orderedDigits = 12
