package mvcc

import (
	"sync/atomic"

	"github.com/kvd-db/kvd/kv"
)

// unflushed is what was committed since a flush was last asked for. Flushes of full memtables do not count:
// at worst one more comes early.
type unflushed struct {
	bytes   atomic.Int64
	deletes atomic.Int64 // of single engine keys
}

// unflushedDeletesMax is how many deleted keys may be in memory before a flush is asked for. Until then all of them stand
// before whoever reads across them, 45 to 90 ns each: a scan behind a collection of garbage, a read
// of a key that is locked and unlocked all the time. Tables keep no deleted key for long.
const unflushedDeletesMax = 1 << 16

// perEntryBytes is above what the memtable adds to an entry.
const perEntryBytes = 128

func (u *unflushed) reset() {
	u.bytes.Store(0)
	u.deletes.Store(0)
}

// committed adds a batch that is in, and flushes if it is time. A full disk concerns the next batch.
func (e *Engine) committed(bytes, deletes int) error {
	u := &e.unflushed
	size, gone := u.bytes.Add(int64(bytes)), u.deletes.Add(int64(deletes))
	if !e.opts.Deterministic {
		if gone <= unflushedDeletesMax {
			return nil
		}
		return e.FlushAsync()
	}
	// A full memtable would be flushed in the background, at a time of its own choosing.
	if size <= int64(e.opts.MemTableBytes/8) && gone <= unflushedDeletesMax {
		return nil
	}
	if err := e.Flush(); kv.KindOf(err) != kv.DiskFull {
		return err
	}
	return nil
}
