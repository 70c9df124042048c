package bench

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"time"
)

// testTarget is a Memory that takes its time and can be told to go wrong. In a bubble of
// synctest its time is exact.
type testTarget struct {
	*Memory
	delay  func(since time.Duration) time.Duration
	began  time.Time
	calls  atomic.Int64
	getErr func(since time.Duration) error
	onGet  func(Record) (Record, error)
	onPut  func(key, value []byte) (skip bool, err error)
	onScan func([]Record) []Record
	onView func(keys [][]byte, found []Record)
	onTx   func(Tx) Tx // in place of what a transaction does
}

func newTestTarget(delay time.Duration) *testTarget {
	return &testTarget{Memory: NewMemory(), delay: func(time.Duration) time.Duration { return delay }, began: time.Now()}
}

func (s *testTarget) wait(ctx context.Context) error {
	s.calls.Add(1)
	select {
	case <-time.After(s.delay(time.Since(s.began))):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *testTarget) Get(ctx context.Context, key []byte) (Record, error) {
	if s.getErr != nil {
		if err := s.getErr(time.Since(s.began)); err != nil {
			return Record{}, err
		}
	}
	if err := s.wait(ctx); err != nil {
		return Record{}, err
	}
	r, err := s.Memory.Get(ctx, key)
	if s.onGet != nil && err == nil {
		return s.onGet(r)
	}
	return r, err
}

func (s *testTarget) Put(ctx context.Context, key, value []byte) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	if s.onPut != nil {
		if skip, err := s.onPut(key, value); skip || err != nil {
			return err
		}
	}
	return s.Memory.Put(ctx, key, value)
}

func (s *testTarget) Scan(ctx context.Context, start, end []byte, limit int) ([]Record, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	found, err := s.Memory.Scan(ctx, start, end, limit)
	if s.onScan != nil {
		found = s.onScan(found)
	}
	return found, err
}

func (s *testTarget) CompareAndSet(ctx context.Context, key []byte, version uint64, value []byte) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Memory.CompareAndSet(ctx, key, version, value)
}

// Update implements Transactor. Reads take time, so that transactions overtake each other.
func (s *testTarget) Update(ctx context.Context, fn func(context.Context, Tx) error) (Attempts, error) {
	return s.Memory.Update(ctx, func(ctx context.Context, tx Tx) error {
		if err := s.wait(ctx); err != nil {
			return err
		}
		if s.onTx != nil {
			tx = s.onTx(tx)
		}
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return s.wait(ctx)
	})
}

func (s *testTarget) View(ctx context.Context, keys [][]byte, staleBy time.Duration) (uint64, []Record, error) {
	if err := s.wait(ctx); err != nil {
		return 0, nil, err
	}
	at, found, err := s.Memory.View(ctx, keys, staleBy)
	if s.onView != nil {
		s.onView(keys, found)
	}
	return at, found, err
}

// load puts the records in place at once, so that the clock of a test starts with the run.
func (s *testTarget) load(t *testing.T, o Options) {
	t.Helper()
	mix, err := mixOf(o.Workload)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(t.Context(), s.Memory, 99, mix.Order, o.WithDefaults()); err != nil {
		t.Fatal(err)
	}
	s.began = time.Now()
}

func mustRun(t *testing.T, target Target, o Options) *Result {
	t.Helper()
	r, err := Run(t.Context(), target, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance }
