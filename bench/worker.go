package bench

import (
	"context"
	"errors"
	"time"

	"github.com/kvd-db/kvd/bench/ycsb"
)

// worker carries out one operation after another.
type worker struct {
	run       *run
	stream    *ycsb.Stream
	recorder  *recorder
	ledger    *ledger
	inspector *inspector
	key, end  []byte // reused; a Target must not keep them
	value     []byte
}

// errorPause keeps a closed loop from spinning while every operation fails at once. It lies
// outside of all measured times.
const errorPause = 5 * time.Millisecond

// closedLoop runs until the end of the measured part.
func (w *worker) closedLoop(ctx context.Context) {
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(w.run.window.end) {
			return
		}
		if err := w.operate(ctx, now, now); err != nil {
			pause(ctx, errorPause)
		}
	}
}

// openLoop takes planned moments until there are none, or until it is too late for them.
func (w *worker) openLoop(ctx context.Context) {
	for ctx.Err() == nil && time.Now().Before(w.run.schedule.cutoff) {
		intended, ok := w.run.schedule.take()
		if !ok {
			return
		}
		if wait := time.Until(intended); wait > 0 {
			pause(ctx, wait)
			w.run.schedule.waited(time.Since(intended), w.run.window.covers(intended))
		}
		_ = w.operate(ctx, intended, time.Now())
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// operate does the next operation and records it. An operation that the end of the whole
// run cuts off is no error of the store and is not recorded.
func (w *worker) operate(ctx context.Context, intended, sent time.Time) error {
	op := w.stream.Next()
	s := sample{kind: op.Kind, intended: intended, sent: sent}
	opCtx, cancel := context.WithTimeout(ctx, w.run.options.OpTimeout)
	s.retries, s.err = w.do(opCtx, op)
	cancel()
	s.done = time.Now()
	if op.Kind == ycsb.Insert {
		w.run.records.Settle(op.Record, s.err == nil)
	}
	if s.err != nil {
		if ctx.Err() != nil {
			return s.err
		}
		s.errKind = errorKind(w.run.target, s.err)
	}
	w.recorder.record(&s)
	return s.err
}

func (w *worker) do(ctx context.Context, op ycsb.Op) (retries int, err error) {
	order := w.run.mix.Order
	w.key = ycsb.AppendKey(w.key[:0], op.Record, order)
	switch op.Kind {
	case ycsb.Read:
		_, err = w.read(ctx, op.Record)
		return 0, err
	case ycsb.Update, ycsb.Insert:
		return 0, w.put(ctx, op.Record)
	case ycsb.Scan:
		return 0, w.scan(ctx, op)
	}
	return w.readModifyWrite(ctx, op.Record)
}

// read reads and checks w.key. A key that is not there is a violation: only records that
// surely exist are asked for.
func (w *worker) read(ctx context.Context, record uint64) (Record, error) {
	before := w.ledger.ackedOf(record)
	r, err := w.run.target.Get(ctx, w.key)
	switch {
	case errors.Is(err, ErrNotFound):
		if !w.inspector.stale {
			w.inspector.violations.add(violationMissing, "%q was written and is not found", w.key)
		}
		return r, err
	case err != nil:
		return r, err
	}
	if s, ok := w.inspector.value(w.key, r.Value); ok {
		w.inspector.own(w.ledger, w.key, s, before)
	}
	return r, nil
}

func (w *worker) put(ctx context.Context, record uint64) error {
	s := w.ledger.begin()
	w.value = AppendValue(w.value[:0], w.key, s, w.run.options.ValueBytes)
	return w.written(record, s, w.run.target.Put(ctx, w.key, w.value))
}

// written notes how a write ended.
func (w *worker) written(record uint64, s Stamp, err error) error {
	switch {
	case err == nil:
		w.ledger.ack(record, s)
	case !errors.Is(err, ErrConflict):
		w.ledger.taint(record)
	}
	return err
}

// scan reads a row of records. Where the keys are in the order of the records, the end is
// known and given; some stores need it to be quick.
func (w *worker) scan(ctx context.Context, op ycsb.Op) error {
	var end []byte
	if w.run.mix.Order == ycsb.Ordered {
		w.end = ycsb.AppendKey(w.end[:0], op.Record+uint64(op.Length), ycsb.Ordered)
		end = w.end
	}
	found, err := w.run.target.Scan(ctx, w.key, end, op.Length)
	if err != nil {
		return err
	}
	w.inspector.scan(w.key, end, op.Length, found)
	return nil
}

// readModifyWrite reads a record and sets it if it has not changed in between, until that
// succeeds or the operation's time is up.
func (w *worker) readModifyWrite(ctx context.Context, record uint64) (retries int, err error) {
	for {
		r, err := w.read(ctx, record)
		if err != nil {
			return retries, err
		}
		s := w.ledger.begin()
		w.value = AppendValue(w.value[:0], w.key, s, w.run.options.ValueBytes)
		err = w.written(record, s, w.run.target.CompareAndSet(ctx, w.key, r.Version, w.value))
		if !errors.Is(err, ErrConflict) {
			return retries, err
		}
		if ctx.Err() != nil {
			return retries, ctx.Err()
		}
		retries++
	}
}
