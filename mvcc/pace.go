package mvcc

import (
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kvd-db/kvd/kv"
)

// Background is a flush or a compaction that writes a file, seen by the one who paces it.
type Background struct {
	Flush bool // else a compaction, or a blob file written anew
	// Share is the least share of a core that the work needs so that the store stays well, above 0; at 1 it
	// must not rest. It is cheap, except for some tens of µs some times a second, and takes none of the store's locks for long.
	Share func(now kv.Instant) float64
	// Ended is closed when the store closes: rests end then.
	Ended <-chan struct{}
}

// The shares by what the store looks like. A share holds only where others need the cores.
const (
	shareLookEvery = 250 * time.Millisecond

	// flushShare lets a memtable of the default size go in four to five seconds; two full cores fill the next one in ten. One
	// that is flushed while another fills is as it should be. With a third the flush is behind, and with a fifth
	// all writes would wait (memTablesQueuedMax).
	flushShare        = 0.1
	flushBehindTables = 2.5 // bytes of all memtables, by the size of one

	// compactionShare is half of what puts at full speed on two cores need in the long run. If a compaction lasts, L0 grows beyond
	// what it is compacted from, and the share with each sublevel, since every read looks into all of them.
	compactionShare   = 0.03
	l0SublevelsWell   = l0SublevelsCompacted
	l0SublevelsBehind = 3 * l0SublevelsCompacted
	// Levels below L0 that are behind show as debt, and make L0 grow in the end. That is the second look: what four
	// sublevels will cause on all levels is a debt of some GB in a store of 100 GB, and well.
	debtBytesWell  = 2 << 30
	debtSizePart   = 8 // an eighth of the store is added to it
	debtTimesWorst = 4 // so much of that is behind
)

// pace is what the flushes and compactions of one store are paced by.
type pace struct {
	begin    func(Background) func() // Options.Pace; nil: nobody rests
	memTable uint64                  // bytes of a full one
	ended    chan struct{}
	ending   atomic.Bool
	db       atomic.Pointer[pebble.DB] // nil while the store opens
	hurried  atomic.Int64              // how many wait for flushes or compactions
	looked   atomic.Int64              // when: a kv.Instant; 0: never

	// As they were then.
	queuedBytes atomic.Uint64 // of memtables
	sublevels   atomic.Int64  // of L0
	debtBytes   atomic.Uint64
	tableBytes  atomic.Uint64
}

func newPace(o *Options) *pace {
	p := &pace{begin: o.Pace, memTable: uint64(o.MemTableBytes), ended: make(chan struct{})}
	if o.Deterministic {
		p.begin = nil
	}
	return p
}

// end ends all rests for good.
func (p *pace) end() {
	if !p.ending.Swap(true) {
		close(p.ended)
	}
}

// hurry lets nobody rest until the returned function is called: somebody waits.
func (p *pace) hurry() (done func()) {
	p.hurried.Add(1)
	return func() { p.hurried.Add(-1) }
}

func (p *pace) flushShare(now kv.Instant) float64 {
	if p.must(now) {
		return 1
	}
	return flushShareFor(p.queuedBytes.Load(), p.memTable)
}

func (p *pace) compactionShare(now kv.Instant) float64 {
	if p.must(now) {
		return 1
	}
	return compactionShareFor(p.sublevels.Load(), p.debtBytes.Load(), p.tableBytes.Load())
}

// must reports whether somebody waits; else it looks at the store if that is due.
func (p *pace) must(now kv.Instant) bool {
	db := p.db.Load()
	if db == nil || p.hurried.Load() > 0 || p.ending.Load() {
		return true
	}
	last := p.looked.Load()
	if last != 0 && time.Duration(int64(now)-last) < shareLookEvery || !p.looked.CompareAndSwap(last, int64(now)) {
		return false
	}
	m := db.Metrics()
	p.queuedBytes.Store(m.MemTable.Size)
	p.sublevels.Store(int64(m.Levels[0].Sublevels))
	p.debtBytes.Store(m.Compact.EstimatedDebt)
	total := m.Total()
	p.tableBytes.Store(uint64(total.TablesSize))
	return false
}

// flushShareFor is the least share of a flush, by the bytes of all memtables and of a full one.
func flushShareFor(queued, memTable uint64) float64 {
	if float64(queued) >= flushBehindTables*float64(memTable) {
		return 1
	}
	return flushShare
}

// compactionShareFor is the least share of each compaction, by the sublevels of L0 and by the bytes of debt and of all tables.
func compactionShareFor(sublevels int64, debt, tables uint64) float64 {
	well := debtBytesWell + float64(tables)/debtSizePart
	behind := max(
		between(float64(sublevels), l0SublevelsWell, l0SublevelsBehind),
		between(float64(debt), well, debtTimesWorst*well),
	)
	return compactionShare + (1-compactionShare)*behind
}

// between is 0 up to well, 1 from behind on, and grows evenly from one to the other.
func between(x, well, behind float64) float64 {
	return min(1, max(0, (x-well)/(behind-well)))
}

// pacedFile is a file that a flush or compaction writes; its writer breathes after each block. Pebble's writers hand one
// block at a time to the goroutine that writes (v2.1.7, sstable/colblk_writer.go and sstable/blob/blob.go: queues without
// room), and neither of both has a lock then: so the work rests when the write does. One block is made meanwhile.
type pacedFile struct {
	vfs.File
	breathe func()
}

func (f pacedFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	f.breathe()
	return n, err
}

// paced is the file f, made for that category of Pebble's.
func (p *pace) paced(f vfs.File, category vfs.DiskWriteCategory) vfs.File {
	if p.begin == nil {
		return f
	}
	switch category {
	case categoryFlush:
		return pacedFile{f, p.begin(Background{Flush: true, Share: p.flushShare, Ended: p.ended})}
	case categoryCompaction, categoryBlobRewrite:
		return pacedFile{f, p.begin(Background{Share: p.compactionShare, Ended: p.ended})}
	}
	return f
}

// Pebble's names (v2.1.7, compaction.go: getDiskWriteCategoryForCompaction).
const (
	categoryFlush       = vfs.DiskWriteCategory("pebble-memtable-flush")
	categoryCompaction  = vfs.DiskWriteCategory("pebble-compaction")
	categoryBlobRewrite = vfs.DiskWriteCategory("pebble-blob-file-rewrite")
)
