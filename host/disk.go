package host

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// Times of the disk (L9).
const (
	syncSlow       = 300 * time.Millisecond // a sync that takes longer hangs
	probeAfter     = 500 * time.Millisecond // without any sync, one is made to see whether the disk still works
	diskWatchEvery = 50 * time.Millisecond
	fullRetry      = 100 * time.Millisecond
	reserveRetry   = 5 * time.Second
)

// disk is the one writer of the log. What was queued while a sync ran is the next batch: one
// write, one sync.
type disk struct {
	log       *wal.Log
	work      *queue[diskWork]
	stored    func(stored)
	low       *node.LowWater       // what the loops need
	grew      func(segment uint64) // the log has a new newest segment; nil: nobody asks
	report    func(slow bool)      // to the node
	fail      func(error)
	logger    hclog.Logger
	probeFile *os.File

	health  diskHealth
	metrics *diskMetrics
	end     chan struct{}
	group   sync.WaitGroup
}

// diskHealth is what is watched.
type diskHealth struct {
	busySince atomic.Int64  // UnixNano of the beginning of the write under way; 0 = none
	lastSync  atomic.Int64  // UnixNano
	full      atomic.Bool   // a write found no space; until the reserve is back
	fullAt    atomic.Int64  // UnixNano of the last such write
	retry     time.Duration // between attempts to make the reserve anew
	segment   uint64        // the newest that the loops know of; belongs to the writer
}

// diskWork is one thing to be done, in order; exactly one part is set.
type diskWork struct {
	append  *replication.Append
	release uint64 // loop needs nothing below it
	loop    int
	probe   bool
}

func startDisk(d *disk, probePath string) error {
	f, err := os.OpenFile(probePath, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return kv.Errorf(kv.Internal, "the file %s cannot be opened: %v", probePath, err)
	}
	setDefault(&d.health.retry, reserveRetry)
	if d.low == nil {
		d.low = node.NewLowWater(1)
	}
	d.probeFile, d.work, d.end = f, newQueue[diskWork](), make(chan struct{})
	d.health.lastSync.Store(time.Now().UnixNano())
	d.group.Go(d.run)
	d.group.Go(d.watch)
	d.group.Go(d.prepare)
	return nil
}

// close writes what is queued and ends.
func (d *disk) close() {
	d.work.close()
	close(d.end)
	d.group.Wait()
	_ = d.probeFile.Close()
}

func (d *disk) run() {
	var buf []diskWork
	several := false // the last batch had several appends: there are writers beside each other
	for {
		work, ok := d.work.take(buf)
		if !ok {
			return
		}
		if several {
			yield() // whoever is ready to add something does so first: a larger write
			work = d.work.takeMore(work)
		}
		several = len(work) > 1
		if !d.do(work) {
			return
		}
		clear(work)
		buf = work[:0]
	}
}

// do works off what was queued; false: the disk cannot be used any more.
func (d *disk) do(work []diskWork) bool {
	batch, appends, sync := make([]wal.Append, 0, len(work)), make([]*replication.Append, 0, len(work)), false
	var release uint64
	probe := false
	for _, w := range work {
		switch {
		case w.append != nil:
			batch, appends = append(batch, w.append.Log), append(appends, w.append)
			sync = sync || w.append.Sync
		case w.release != 0:
			release = max(release, d.low.Raise(w.loop, w.release))
		default:
			probe = true
		}
	}
	if len(batch) > 0 {
		positions, err := d.write(batch, sync)
		if err != nil {
			d.fail(err)
			return false
		}
		if positions == nil {
			return true // the node stops while the disk is full
		}
		d.stored(stored{appends: appends, positions: positions})
		d.tellGrowth(newestSegment(positions))
	}
	if release != 0 && !d.release(release) {
		return false
	}
	return !probe || sync || d.probe()
}

// tellGrowth says when the log has got to a new segment.
func (d *disk) tellGrowth(segment uint64) {
	if d.grew != nil && segment > d.health.segment {
		d.health.segment = segment
		d.grew(segment)
	}
}

// write writes the batch, however long the disk is full.
func (d *disk) write(batch []wal.Append, sync bool) ([][]wal.Position, error) {
	for {
		begun := time.Now()
		d.health.busySince.Store(begun.UnixNano())
		positions, err := d.log.Write(batch, sync)
		d.health.busySince.Store(0)
		switch {
		case err == nil:
			took := time.Since(begun)
			if sync {
				d.health.lastSync.Store(begun.Add(took).UnixNano())
			}
			d.metrics.wrote(len(batch), sync, took)
			return positions, nil
		case kv.KindOf(err) != kv.DiskFull:
			return nil, err
		}
		d.becameFull(err)
		select {
		case <-d.end:
			return nil, nil
		case <-time.After(fullRetry):
		}
	}
}

// becameFull gives the reserve up (rule S7): with it the node can still hand over what it leads.
func (d *disk) becameFull(err error) {
	d.health.fullAt.Store(time.Now().UnixNano())
	if !d.health.full.Swap(true) {
		d.logger.Error("the disk is full: this node gives its leaderships away and refuses writes until there is space", "error", err)
		d.report(true)
	}
	if released, err := d.log.ReleaseReserve(); err != nil {
		d.logger.Error("releasing the reserve", "error", err)
	} else if released {
		d.logger.Warn("the reserve was given up")
	}
}

func (d *disk) release(segment uint64) bool {
	switch err := d.log.ReleaseBefore(segment); {
	case err == nil:
	case kv.KindOf(err) == kv.DiskFull:
		d.becameFull(err) // it is asked for again with the next segment
	default:
		d.fail(err)
		return false
	}
	return true
}

// probe makes a sync of its own, beside the log on the same disk.
func (d *disk) probe() bool {
	begun := time.Now()
	d.health.busySince.Store(begun.UnixNano())
	defer d.health.busySince.Store(0)
	if _, err := d.probeFile.WriteAt([]byte(begun.UTC().Format(time.RFC3339Nano)+"\n"), 0); err == nil {
		if err := d.probeFile.Sync(); err != nil {
			d.fail(kv.Errorf(kv.Internal, "a sync of %s failed: %v: the disk cannot be trusted; replace it", d.probeFile.Name(), err))
			return false
		}
	}
	d.health.lastSync.Store(time.Now().UnixNano())
	return true
}

// watch tells the node when a sync hangs, and when it does no more.
func (d *disk) watch() {
	tick := time.NewTicker(diskWatchEvery)
	defer tick.Stop()
	slow := false
	asked := time.Now()
	for {
		select {
		case <-d.end:
			return
		case <-tick.C:
		}
		now := time.Now()
		since := d.health.busySince.Load()
		hangs := since != 0 && now.Sub(time.Unix(0, since)) > syncSlow
		if hangs != slow {
			slow = hangs
			d.logger.Warn("the disk", "hangs", hangs)
			if !d.health.full.Load() {
				d.report(slow)
			}
		}
		if !hangs && now.Sub(time.Unix(0, d.health.lastSync.Load())) > probeAfter && now.Sub(asked) > probeAfter {
			asked = now
			d.work.put(diskWork{probe: true})
		}
	}
}

// prepare has a zero-filled segment ready before the log needs it, and makes the reserve anew
// when there is space again.
func (d *disk) prepare() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	ready := uint64(0) // the segment after which one is ready
	for {
		if s := d.log.Stats().Segment; s != ready {
			if err := d.log.PrepareNext(); err == nil {
				ready = s
			} else if kv.KindOf(err) != kv.DiskFull {
				d.logger.Error("preparing a log segment", "error", err)
			}
		}
		if d.health.full.Load() && time.Since(time.Unix(0, d.health.fullAt.Load())) > d.health.retry {
			d.health.fullAt.Store(time.Now().UnixNano())
			if d.log.RestoreReserve() == nil {
				d.health.full.Store(false)
				d.report(false)
				d.logger.Info("there is space on the disk again")
			}
		}
		select {
		case <-d.end:
			return
		case <-tick.C:
		}
	}
}
