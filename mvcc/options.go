package mvcc

import (
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Defaults of Options, in bytes.
const (
	CacheBytesDefault    = 256 << 20
	MemTableBytesDefault = 64 << 20
	// BlobValueBytesDefault is the length from which values are kept apart from their keys.
	BlobValueBytesDefault = 2 << 10
)

// Logger receives what Pebble reports. Fatalf must not return: it is called when the store
// can not go on, for instance after a failed sync of the manifest.
type Logger interface {
	Infof(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Options say how a store is opened. The zero value of a field means its default.
type Options struct {
	Dir           string
	FS            FS    // nil: the operating system's
	CacheBytes    int64 // a quarter for newest versions that were read lately, the rest for blocks
	MemTableBytes int
	// BlobValueBytes is the length from which values go to blob files; negative: never.
	BlobValueBytes int
	// BlockBytes is the size of a table's blocks of data, what is read and checked at once.
	BlockBytes int
	// Deterministic is for the simulator: nothing that Pebble does in the background changes
	// a result. Automatic compactions are off, and a store flushes (and after some flushes
	// compacts) only inside Flush, or inside Commit when the memtable gets full.
	Deterministic bool
	// Pace gives a flush or compaction a breather for each file that it writes, called by one goroutine at a time after
	// each block: it may sleep. nil: nobody rests. A deterministic store does not ask it.
	Pace   func(Background) (breathe func())
	Logger Logger // nil: silent, and Fatalf panics

	tune func(*pebble.Options) // tests: smaller blocks and tables than make sense
}

func (o *Options) setDefaults() {
	if o.CacheBytes == 0 {
		o.CacheBytes = CacheBytesDefault
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = MemTableBytesDefault
	}
	if o.BlobValueBytes == 0 {
		o.BlobValueBytes = BlobValueBytesDefault
	}
	if o.BlockBytes == 0 {
		o.BlockBytes = dataBlockBytes
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = silentLogger{}
	}
}

// atHandBytes is the part of the cache for newest versions.
func (o *Options) atHandBytes() int64 { return o.CacheBytes / 4 }

// Sizes that suit columnar blocks.
const (
	dataBlockBytes     = 32 << 10
	indexBlockBytes    = 256 << 10
	bloomBitsPerKey    = 10
	memTablesQueuedMax = 4
	// l0SublevelsCompacted is from how many on L0 is compacted. Measured with 5,000,000 small
	// overwrites of 50,000 keys: with 2 a third to two thirds more is compacted, for a tenth more CPU a put.
	l0SublevelsCompacted = 4
	// l0SublevelsMax stops all writes of the node: so high that only a disk that cannot keep
	// up with compactions for long gets there. Reads get slow before.
	l0SublevelsMax = 256
	// flushDeleteRangeDelay bounds how long a memtable keeps a deleted replica's space.
	flushDeleteRangeDelay = 10 * time.Second
	blobDepthMax          = 10
	blobRewriteAge        = 5 * time.Minute
	blobGarbageRatio      = 0.3
)

// pebbleOptions are what Pebble is opened with. The caller owns the cache in it.
func (o *Options) pebbleOptions(h *health, pc *pace) *pebble.Options {
	p := &pebble.Options{
		Cache:                       pebble.NewCache(o.CacheBytes - o.atHandBytes()),
		Comparer:                    &comparer,
		FormatMajorVersion:          pebble.FormatNewest,
		DisableWAL:                  true,
		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: memTablesQueuedMax,
		L0CompactionThreshold:       l0SublevelsCompacted,
		L0StopWritesThreshold:       l0SublevelsMax,
		BlockPropertyCollectors:     blockProperties,
		FlushDelayDeleteRange:       flushDeleteRangeDelay,
		CompactionConcurrencyRange:  func() (int, int) { return 1, max(2, runtime.GOMAXPROCS(0)/2) },
		EventListener:               h.listener(o.Logger),
		Logger:                      o.Logger,
		FS:                          patientFS{o.FS, h, pc},
	}
	for i := range p.Levels {
		p.Levels[i].BlockSize = o.BlockBytes
		p.Levels[i].IndexBlockSize = indexBlockBytes
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBitsPerKey)
	}
	// An ingest that waits in the queue of memtables would be lost in a crash without Pebble's
	// log; rule 50 wants it durable when it returns.
	p.Experimental.DisableIngestAsFlushable = func() bool { return true }
	p.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               o.BlobValueBytes > 0,
			MinimumSize:           max(o.BlobValueBytes, tombstoneBytesMax+1),
			MaxBlobReferenceDepth: blobDepthMax,
			RewriteMinimumAge:     blobRewriteAge,
			TargetGarbageRatio:    blobGarbageRatio,
		}
	}
	if o.Deterministic {
		o.makeDeterministic(p, h)
	}
	if o.tune != nil {
		o.tune(p)
	}
	p.EnsureDefaults()
	return p
}

// makeDeterministic switches off what would let the timing of goroutines reach a result.
func (o *Options) makeDeterministic(p *pebble.Options, h *health) {
	h.gate = newGate()
	p.FS = steppedFS{o.FS, h.gate}
	p.DisableAutomaticCompactions = true
	p.CompactionConcurrencyRange = func() (int, int) { return 1, 1 }
	p.DisableTableStats = true
	p.FlushDelayDeleteRange = 0
	p.L0CompactionThreshold = 1 << 30
	p.L0StopWritesThreshold = 1 << 30 // or a flush waits for a compaction that never comes
	p.MemTableStopWritesThreshold = 1 << 10
	p.Experimental.ReadSamplingMultiplier = -1
	p.Experimental.FileCacheShards = 1
}

type silentLogger struct{}

func (silentLogger) Infof(string, ...any)  {}
func (silentLogger) Errorf(string, ...any) {}
func (silentLogger) Fatalf(format string, args ...any) {
	panic(wrapFatal(format, args...))
}

// FS is the filesystem that a store lives on.
type FS = vfs.FS

// MemFS is a filesystem in memory that can lose what was not synced.
type MemFS = vfs.MemFS

// NewMemFS is an empty filesystem in memory, for simulators and tests.
func NewMemFS() *MemFS { return vfs.NewCrashableMem() }

// CrashClone is what a filesystem holds after the machine has lost its power: exactly what was
// synced, no more. The same history gives the same clone. fs itself lives on, so that
// the store on it can be abandoned at leisure.
func CrashClone(fs *MemFS) *MemFS { return fs.CrashClone(vfs.CrashCloneCfg{}) }
