package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// Writer is what Import needs of a store.
type Writer interface {
	Put(ctx context.Context, key, value []byte) (store.Commit, error)
	Outcome(ctx context.Context, id kv.TxID) (kv.Outcome, error)
}

// Reader is what Verify needs of a store.
type Reader interface {
	Get(ctx context.Context, key []byte, b store.Bound) (store.Pair, error)
}

// Import writes all items. It stops at the first one that cannot be written.
func Import(ctx context.Context, w Writer, items iter.Seq2[Item, error], o Options) (Summary, error) {
	r := newRunner(o)
	return r.run(ctx, items, func(ctx context.Context, key, value []byte) error {
		return r.write(ctx, w, key, value)
	})
}

// Verify reads all items back and compares them. The error of a difference is a *Difference.
func Verify(ctx context.Context, rd Reader, items iter.Seq2[Item, error], o Options) (Summary, error) {
	r := newRunner(o)
	return r.run(ctx, items, func(ctx context.Context, key, value []byte) error {
		return r.compare(ctx, rd, key, value)
	})
}

// Difference is a key whose stored value is not that of the source.
type Difference struct {
	Key     []byte
	Missing bool
	At      int // the first byte that differs
	Want    int // length in the source
	Got     int // length in the store
}

func (d *Difference) Error() string {
	if d.Missing {
		return fmt.Sprintf("%s is missing in the store", literal.Format(d.Key))
	}
	return fmt.Sprintf("%s differs from byte %d on (%d bytes in the source, %d in the store)", literal.Format(d.Key), d.At, d.Want, d.Got)
}

// runner moves items through workers.
type runner struct {
	options Options
	meter   meter
	budget  *budget

	mu       sync.Mutex
	firstAt  int // index of the item whose error counts
	firstErr error
}

func newRunner(o Options) *runner {
	o = o.withDefaults()
	return &runner{options: o, budget: newBudget(o.BytesInFlight)}
}

// job is an item on its way; held is what it has taken from the budget.
type job struct {
	index int
	item  Item
	value []byte
	held  int64
}

func (r *runner) run(ctx context.Context, items iter.Seq2[Item, error], do func(ctx context.Context, key, value []byte) error) (Summary, error) {
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range r.options.Workers {
		workers.Go(func() {
			for j := range jobs {
				r.work(ctx, j, do)
				r.budget.give(j.held)
			}
		})
	}
	stop := r.reportProgress()
	r.feed(ctx, items, jobs)
	close(jobs)
	workers.Wait()
	stop()
	return r.meter.finish(r.firstErr != nil), r.firstErr
}

// work carries out a job, unless one before it has failed: then it would only be in vain.
func (r *runner) work(ctx context.Context, j job, do func(ctx context.Context, key, value []byte) error) {
	if r.failedBefore(j.index) {
		return
	}
	if err := do(ctx, j.item.Key, j.value); err != nil {
		r.fail(j.index, err)
		return
	}
	r.meter.success(len(j.value))
}

// feed reads items in order and hands them out, until one of them has failed. All items
// before a failed one have then been handed out, so the first failure is among them.
func (r *runner) feed(ctx context.Context, items iter.Seq2[Item, error], jobs chan<- job) {
	index := 0
	for item, err := range items {
		index++
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			r.fail(index, err)
			return
		}
		if r.failedBefore(index) {
			return
		}
		if item.Skip != "" {
			r.meter.skip()
			r.options.Skipped(item.Key, item.Skip)
			continue
		}
		j := job{index: index, item: item, held: item.Bytes}
		r.budget.take(j.held)
		if j.value, err = item.Read(); err != nil {
			r.budget.give(j.held)
			r.fail(index, fmt.Errorf("%s: %w", literal.Format(item.Key), err))
			return
		}
		r.meter.start()
		jobs <- j
	}
}

func (r *runner) fail(index int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.firstErr == nil || index < r.firstAt {
		r.firstAt, r.firstErr = index, err
	}
}

func (r *runner) failedBefore(index int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.firstErr != nil && r.firstAt < index
}

func (r *runner) reportProgress() (stop func()) {
	if r.options.Progress == nil {
		return func() {}
	}
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.options.Progress(r.meter.progress())
			case <-quit:
				return
			}
		}
	})
	return func() { close(quit); done.Wait() }
}

// patience is the time and the pauses that one key is given.
type patience struct {
	until time.Time
	tries int
}

// The pauses before retries: doubled each time, with a random half.
const (
	pauseMin = 10 * time.Millisecond
	pauseMax = time.Second
)

// wait pauses before the next attempt; false when patience or the context has ended.
func (r *runner) wait(ctx context.Context, p *patience) bool {
	pause := min(pauseMax, pauseMin<<min(p.tries, 10))
	pause = pause/2 + rand.N(pause/2)
	p.tries++
	if time.Now().Add(pause).After(p.until) {
		return false
	}
	r.meter.retry()
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// write puts a key until it is known to be written.
func (r *runner) write(ctx context.Context, w Writer, key, value []byte) error {
	p := patience{until: time.Now().Add(r.options.RetryFor)}
	for {
		err := r.attempt(ctx, func(ctx context.Context) error {
			_, err := w.Put(ctx, key, value)
			return err
		})
		if err == nil {
			return nil
		}
		if kv.KindOf(err) == kv.Ambiguous {
			outcome := r.resolve(ctx, w, err, &p)
			if outcome == kv.OutcomeCommitted {
				return nil
			}
			if outcome == kv.OutcomeUnknown {
				return named(key, err)
			}
		} else if !retryable(err) {
			return named(key, err)
		}
		if !r.wait(ctx, &p) {
			return named(key, err)
		}
	}
}

// resolve asks how a write ended whose answer was lost, until it is known. Asking makes an
// outcome final: after "aborted" the write may be sent again.
func (r *runner) resolve(ctx context.Context, w Writer, ambiguous error, p *patience) kv.Outcome {
	id := kv.AsError(ambiguous).ID
	if id.IsZero() {
		return kv.OutcomeUnknown
	}
	for {
		outcome := kv.OutcomeUnknown
		err := r.attempt(ctx, func(ctx context.Context) (err error) {
			outcome, err = w.Outcome(ctx, id)
			return err
		})
		if err == nil && outcome != kv.OutcomeUnknown {
			return outcome
		}
		if err != nil && !retryable(err) || !r.wait(ctx, p) {
			return kv.OutcomeUnknown
		}
	}
}

func (r *runner) compare(ctx context.Context, rd Reader, key, want []byte) error {
	p := patience{until: time.Now().Add(r.options.RetryFor)}
	for {
		var got store.Pair
		err := r.attempt(ctx, func(ctx context.Context) (err error) {
			got, err = rd.Get(ctx, key, store.Bound{})
			return err
		})
		switch {
		case err == nil && bytes.Equal(got.Value, want):
			return nil
		case err == nil:
			return &Difference{Key: key, At: firstDifference(got.Value, want), Want: len(want), Got: len(got.Value)}
		case isMissingKey(err):
			return &Difference{Key: key, Missing: true}
		case !retryable(err) || !r.wait(ctx, &p):
			return named(key, err)
		}
	}
}

// isMissingKey tells a key that is not there from a keyspace that is not there.
func isMissingKey(err error) bool {
	var e *kv.Error
	return errors.As(err, &e) && e.Kind == kv.NotFound && e.Key != nil
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func (r *runner) attempt(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.options.OpTimeout)
	defer cancel()
	return do(ctx)
}

// retryable reports whether another attempt may succeed, and an earlier one has surely not
// been and will not be carried out. The context's own error does not say so.
func retryable(err error) bool {
	var e *kv.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case kv.Unavailable, kv.Timeout, kv.NotLeader, kv.WrongPartition, kv.StaleTerm, kv.Conflict, kv.Aborted:
		return true
	}
	return false
}

// named puts the key into the message of an error and keeps its kind.
func named(key []byte, err error) error {
	var e *kv.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", literal.Format(key), err)
	}
	c := *e
	c.Message = literal.Format(key) + ": " + e.Message
	var ambiguous *store.AmbiguousError
	if errors.As(err, &ambiguous) {
		return &store.AmbiguousError{Cause: &c, Token: ambiguous.Token}
	}
	return &c
}
