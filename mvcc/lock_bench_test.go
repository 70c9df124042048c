package mvcc

import (
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// BenchmarkLockOn asks for locks beside many versions; few keys are locked, or none.
func BenchmarkLockOn(b *testing.B) {
	for _, flushed := range []bool{false, true} {
		for _, locks := range []int{0, 1000, 100_000} {
			e := benchStore(b, benchKeys, 1, flushed)
			batch := e.NewBatch()
			for i := range locks {
				must(b, batch.PutLock(exclusive(append(benchKey(i*benchKeys/max(locks, 1)), 'l'), 1)))
			}
			must(b, batch.Commit())
			if flushed {
				must(b, e.Flush())
			}
			r, err := e.NewReader()
			must(b, err)
			keys := make([]kv.Key, 4096)
			for i := range keys {
				keys[i] = benchKey(i * 7919 % benchKeys)
			}
			b.Run(fmt.Sprintf("flushed=%v/locks=%d/absent", flushed, locks), func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					if _, ok, err := r.LockOn(keys[i%len(keys)]); ok || err != nil {
						b.Fatal(ok, err)
					}
				}
			})
			b.Run(fmt.Sprintf("flushed=%v/locks=%d/get and absent", flushed, locks), func(b *testing.B) {
				for i := range b.N {
					if _, ok, err := r.Get(keys[i%len(keys)], MaxTimestamp); !ok || err != nil {
						b.Fatal(ok, err)
					}
					if _, ok, err := r.LockOn(keys[i%len(keys)]); ok || err != nil {
						b.Fatal(ok, err)
					}
				}
			})
			r.Close()
		}
	}
}

// BenchmarkTakeLock takes locks that were put lately, long ago, in the same batch, and none.
func BenchmarkTakeLock(b *testing.B) {
	for _, from := range []string{"recent", "store", "batch", "nowhere"} {
		b.Run(from, func(b *testing.B) {
			e := benchStore(b, benchKeys, 1, true)
			l := exclusive(benchKey(77), 1)
			batch := e.NewBatch()
			if from == "recent" || from == "store" {
				must(b, batch.PutLock(l))
			}
			must(b, batch.Commit())
			if from == "store" {
				e.recent.forget()
			}
			must(b, e.Flush())
			batch = e.NewBatch()
			b.ReportAllocs()
			for range b.N {
				if from == "batch" {
					must(b, batch.PutLock(l))
				} else {
					batch.locks = pendingRows{}
				}
				if _, ok, err := batch.TakeLock(l.Key, Exclusive, l.ID); err != nil || ok == (from == "nowhere") {
					b.Fatal(ok, err)
				}
				if batch.Len() > 1<<20 {
					batch.Discard()
					batch = e.NewBatch()
				}
			}
			batch.Discard()
		})
	}
}

// BenchmarkLockOnHotKey asks for the lock of a key that was locked and unlocked many times by many transactions.
func BenchmarkLockOnHotKey(b *testing.B) {
	for _, flushed := range []bool{false, true} {
		for _, times := range []int{10, 1000, 10_000} {
			e := benchStore(b, benchKeys, 1, true)
			k := benchKey(77)
			for i := range times {
				l := exclusive(k, 1)
				l.ID = kv.TxID{byte(i >> 16), byte(i >> 8), byte(i)}
				batch := e.NewBatch()
				must(b, batch.PutLock(l))
				must(b, batch.Commit())
				batch = e.NewBatch()
				_, _, err := batch.TakeLock(k, Exclusive, l.ID)
				must(b, err)
				must(b, batch.Commit())
			}
			if flushed {
				must(b, e.Flush())
			}
			b.Run(fmt.Sprintf("flushed=%v/times=%d", flushed, times), func(b *testing.B) {
				r, err := e.NewReader()
				must(b, err)
				defer r.Close()
				for range b.N {
					if _, ok, err := r.LockOn(k); ok || err != nil {
						b.Fatal(ok, err)
					}
				}
			})
		}
	}
}
