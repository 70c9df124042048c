package bench

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvd-db/kvd/bench/ycsb"
	"github.com/kvd-db/kvd/kv"
)

// LoadResult is the part of a run in which the records are written.
type LoadResult struct {
	Records          int     `json:"records"`
	Seconds          float64 `json:"seconds"`
	RecordsPerSecond float64 `json:"records_per_second"`
	Retries          int64   `json:"retries"`
}

// The load phase: its writers, how often one record is tried, and the pause before the
// n-th retry (times n).
const (
	loadWorkersMax  = 64
	loadAttemptsMax = 10
	loadRetryPause  = 100 * time.Millisecond
)

// loadWriter marks values of the load phase: no worker has this number.
const loadWriter = math.MaxUint32

// load writes the records 0..Keys-1.
func load(ctx context.Context, t Target, runID uint64, order ycsb.Order, o Options) (*LoadResult, error) {
	return loadPairs(ctx, t, o, o.Keys, func(n int, key, value []byte) ([]byte, []byte) {
		key = ycsb.AppendKey(key, uint64(n), order)
		return key, AppendValue(value, key, Stamp{Run: runID, Writer: loadWriter, Sequence: uint64(n) + 1}, o.ValueBytes)
	})
}

// loadPairs writes count pairs. appendPair appends number n to an empty key and an empty value.
func loadPairs(ctx context.Context, t Target, o Options, count int, appendPair func(n int, key, value []byte) ([]byte, []byte)) (*LoadResult, error) {
	l := &loader{target: t, options: o, count: count, appendPair: appendPair}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	var all sync.WaitGroup
	for range min(loadWorkersMax, count) {
		all.Go(func() {
			if err := l.work(ctx); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	seconds := time.Since(began).Seconds()
	return &LoadResult{Records: count, Seconds: seconds, RecordsPerSecond: float64(count) / max(seconds, 1e-9), Retries: l.retries.Load()}, nil
}

type loader struct {
	target     Target
	options    Options
	count      int
	appendPair func(n int, key, value []byte) ([]byte, []byte)
	next       atomic.Int64
	retries    atomic.Int64
}

func (l *loader) work(ctx context.Context) error {
	var key, value []byte
	for ctx.Err() == nil {
		n := l.next.Add(1) - 1
		if n >= int64(l.count) {
			return nil
		}
		key, value = l.appendPair(int(n), key[:0], value[:0])
		if err := l.put(ctx, key, value); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// put writes a record, again if that fails: nothing else writes during the load, so a
// second write of the same bytes does no harm.
func (l *loader) put(ctx context.Context, key, value []byte) error {
	var err error
	for attempt := range loadAttemptsMax {
		if attempt > 0 {
			l.retries.Add(1)
			pause(ctx, time.Duration(attempt)*loadRetryPause)
		}
		opCtx, cancel := context.WithTimeout(ctx, l.options.OpTimeout)
		err = l.target.Put(opCtx, key, value)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	e := *kv.AsError(err)
	e.Message = fmt.Sprintf("loading %s failed: %s", key, e.Message)
	return &e
}
