package mvcc

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// Engine is one open store. Its methods may be called from several goroutines at once; a
// Batch and a Reader belong to one. With Options.Deterministic everything belongs to one.
type Engine struct {
	opts    Options
	db      *pebble.DB
	pebble  *pebble.Options
	health  *health
	pace    *pace
	staging string // directory of tables being received
	memory
	stepped

	spans     *spans        // nil until the first claim
	receivers atomic.Uint64 // numbers the staged files
}

// memory is what is known of the store without looking into it.
type memory struct {
	retained  retained
	unflushed unflushed
	recent    recentLocks
	hand      *atHand
}

// stepped is of deterministic stores only.
type stepped struct {
	flushes int                  // since the last compaction
	readers map[*Reader]struct{} // open
	planted int                  // indexes written by the planted bug ApplyWithoutIndex
}

const (
	stagingDirName = "staging"
	// compactEvery is the number of flushes between two compactions of a deterministic store:
	// each flush is one more table to look into.
	compactEvery = 12
)

// Open opens the store in opts.Dir, or makes one in an empty directory.
func Open(opts Options) (*Engine, error) {
	opts.setDefaults()
	fs := opts.FS
	if err := checkFormat(fs, opts.Dir); err != nil {
		return nil, err
	}
	e := &Engine{opts: opts, health: newHealth(), pace: newPace(&opts), staging: fs.PathJoin(opts.Dir, stagingDirName)}
	e.readers = map[*Reader]struct{}{}
	e.retained.of = map[kv.PartitionID]Retained{}
	// What a crash left of a snapshot being received was never part of the store.
	if err := fs.RemoveAll(e.staging); err != nil {
		return nil, wrapError("removing "+e.staging, err)
	}
	if err := fs.MkdirAll(e.staging, 0o755); err != nil {
		return nil, wrapError("creating "+e.staging, err)
	}
	e.hand = newAtHand(opts.atHandBytes())
	e.pebble = opts.pebbleOptions(e.health, e.pace)
	defer e.pebble.Cache.Unref() // Pebble holds its own reference
	db, err := pebble.Open(opts.Dir, e.pebble)
	if err != nil {
		return nil, wrapError("opening the store "+opts.Dir, err)
	}
	e.db = db
	e.pace.db.Store(db)
	if err := e.loadRetained(); err != nil {
		_ = e.Abandon()
		return nil, err
	}
	return e, nil
}

// Close makes everything durable and closes the store. No Reader may be open.
func (e *Engine) Close() error {
	e.pace.end()
	err := e.Flush()
	if err2 := e.Abandon(); err == nil {
		err = err2
	}
	return err
}

// Abandon closes the store without a flush: what was not flushed is gone, as in a crash. A
// deterministic store closes the readers that its process has left open; in all others that is an error.
func (e *Engine) Abandon() error {
	e.health.ending.Store(true)
	e.pace.end()
	e.health.gate.end()
	for r := range e.readers { // in any order: nothing is read any more
		r.Close()
	}
	return wrapError("closing the store "+e.opts.Dir, e.db.Close())
}

// Flush makes everything committed so far durable. It fails, instead of waiting, while the
// disk refuses writes.
func (e *Engine) Flush() error {
	defer e.pace.hurry()()
	e.unflushed.reset()
	e.health.gate.set(true)
	done, err := e.db.AsyncFlush()
	if err != nil {
		return wrapError("flushing", err)
	}
	if err := e.health.wait(done); err != nil {
		return err
	}
	if !e.opts.Deterministic {
		return nil
	}
	if e.flushes++; e.flushes < compactEvery {
		return nil
	}
	// Elsewhere compactions go on in the background: a full disk and damage are Health's to tell.
	if err := e.Compact(); kv.KindOf(err) != kv.DiskFull && kv.KindOf(err) != kv.Corruption {
		return err
	}
	return nil
}

// FlushAsync begins to make everything committed so far durable, and does not wait.
func (e *Engine) FlushAsync() error {
	e.unflushed.reset()
	_, err := e.db.AsyncFlush()
	return wrapError("flushing", err)
}

// Compact rewrites the whole store into one sorted level. It is expensive.
func (e *Engine) Compact() error {
	defer e.pace.hurry()()
	e.flushes = 0
	lo, hi := appendPrefix(nil, 0x00, nil), appendPrefix(nil, 0xff, nil)
	return wrapError("compacting", e.db.Compact(context.Background(), lo, hi, false))
}

// Health is nil, or what Pebble's background work has met: DiskFull and Internal until a
// flush succeeds, Corruption for ever. The node sheds its leaders while it is not nil.
func (e *Engine) Health() error { return e.health.current() }

// FlushFailed is why the newest flush failed, nil if it has not. What is neither DiskFull nor Corruption is the disk's
// failure: the store must not go on (rule 57).
func (e *Engine) FlushFailed() error {
	if err := e.health.flush.Load(); err != nil {
		return err
	}
	return nil
}

// MemTableBytes is how much is not flushed yet.
func (e *Engine) MemTableBytes() uint64 { return e.db.Metrics().MemTable.Size }

// Flushes counts the flushes since Open: when it has changed, FlushedApplied may have too.
func (e *Engine) Flushes() int64 { return e.health.flushes.Load() }

// Metrics are numbers for people and for back-pressure.
type Metrics struct {
	MemTableBytes       uint64
	DiskBytes           uint64
	BlobBytes           uint64 // part of DiskBytes
	L0Sublevels         int
	ReadAmplification   int
	CompactionDebtBytes uint64
	Flushes             int64
	Compactions         int64
	CacheHits           int64
	CacheMisses         int64
	AtHandHits          int64 // keys that were read, whose newest version was at hand
	AtHandMisses        int64
	OpenIterators       int64
	WriteStalls         int64
}

// Metrics reads them all at once.
func (e *Engine) Metrics() Metrics {
	m := e.db.Metrics()
	return Metrics{
		MemTableBytes:       m.MemTable.Size,
		DiskBytes:           m.DiskSpaceUsage(),
		BlobBytes:           m.BlobFiles.LiveSize,
		L0Sublevels:         int(m.Levels[0].Sublevels),
		ReadAmplification:   m.ReadAmp(),
		CompactionDebtBytes: m.Compact.EstimatedDebt,
		Flushes:             m.Flush.Count,
		Compactions:         m.Compact.Count,
		CacheHits:           m.BlockCache.Hits,
		CacheMisses:         m.BlockCache.Misses,
		AtHandHits:          e.hand.hits.Load(),
		AtHandMisses:        e.hand.misses.Load(),
		OpenIterators:       m.TableIters,
		WriteStalls:         e.health.stalls.Load(),
	}
}

// DiskBytes estimates the bytes on disk of the versions in a span.
func (e *Engine) DiskBytes(s kv.Span) (uint64, error) {
	lo, hi := spanBounds(kindData, s)
	n, err := e.db.EstimateDiskUsage(lo, hi)
	return n, wrapError("estimating disk usage", err)
}

func wrapFatal(format string, args ...any) string {
	return "the store cannot go on: " + fmt.Sprintf(format, args...)
}
