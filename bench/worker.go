package bench

import (
	"context"
	"errors"
	"time"
)

// worker carries out one operation of its job after another.
type worker struct {
	run      *run
	job      job
	recorder *recorder
}

// errorPause keeps a closed loop from spinning while every operation fails at once. It lies
// outside of all measured times.
const errorPause = 5 * time.Millisecond

// errEnough is the error of an operation that was not done: the job has no more of them.
var errEnough = errors.New("bench: no more operations")

// closedLoop runs until the end of the measured part.
func (w *worker) closedLoop(ctx context.Context) {
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(w.run.window.end) {
			return
		}
		switch err := w.operate(ctx, now, now); {
		case errors.Is(err, errEnough):
			return
		case err != nil:
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
		if errors.Is(w.operate(ctx, intended, time.Now()), errEnough) {
			return
		}
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
	s := sample{intended: intended, sent: sent}
	opCtx, cancel := context.WithTimeout(ctx, w.run.options.OpTimeout)
	w.job.operate(opCtx, &s)
	cancel()
	s.done = time.Now()
	if s.err != nil {
		if ctx.Err() != nil || errors.Is(s.err, errEnough) {
			return s.err
		}
		s.errKind = errorKind(w.run.target, s.err)
	}
	if !s.skip {
		w.recorder.record(&s)
	}
	return s.err
}
