package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/bench/ycsb"
)

// scanners read rows while something else is measured.
type scanners struct {
	keys   int // of the harness
	cancel context.CancelFunc
	group  sync.WaitGroup
	began  time.Time
	done   atomic.Int64
	failed atomic.Int64 // with an error, or not whole
	once   sync.Once
	said   string // how the first one failed
}

// startScanners starts those of a contender.
func startScanners(ctx context.Context, t bench.Target, c contender, keys int) (*scanners, error) {
	s := &scanners{began: time.Now(), keys: keys}
	all, ok := t.(snapshotter)
	if !ok && c.snapshots > 0 {
		return nil, fmt.Errorf("%s cannot read a whole key space at one time", c.side)
	}
	ctx, s.cancel = context.WithCancel(ctx)
	for i := range c.scanners {
		s.group.Go(func() { s.stretches(ctx, t, i) })
	}
	for range c.snapshots {
		s.group.Go(func() { s.snapshots(ctx, all) })
	}
	return s, nil
}

// stretches scans one stretch of scanRows rows after the other.
func (s *scanners) stretches(ctx context.Context, t bench.Target, number int) {
	count := max(1, s.keys/scanRows)
	for i := number; ctx.Err() == nil; i++ {
		first := uint64(i%count) * scanRows
		start, end := ycsb.AppendKey(nil, first, ycsb.Ordered), ycsb.AppendKey(nil, first+scanRows, ycsb.Ordered)
		rows, err := t.Scan(ctx, start, end, scanRows)
		want := min(scanRows, s.keys)
		s.scanned(ctx, len(rows) == want, len(rows), want, err)
	}
}

// snapshots reads everything, again and again. Beside the keys of the harness there are others, as those of
// settleRound.
func (s *scanners) snapshots(ctx context.Context, t snapshotter) {
	for ctx.Err() == nil {
		rows, err := t.scanAll(ctx)
		s.scanned(ctx, rows >= s.keys, rows, s.keys, err)
	}
}

// scanned notes how a scan ended. One that the end of the round has cut off is none.
func (s *scanners) scanned(ctx context.Context, whole bool, rows, want int, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil || !whole:
		s.failed.Add(1)
		s.once.Do(func() { s.said = fmt.Sprintf("%d rows of %d, error: %v", rows, want, err) })
		pause(ctx, 5*time.Millisecond)
	default:
		s.done.Add(1)
	}
}

// stop gives the scans a second.
func (s *scanners) stop() float64 {
	elapsed := time.Since(s.began)
	s.cancel()
	s.group.Wait()
	return float64(s.done.Load()) / elapsed.Seconds()
}
