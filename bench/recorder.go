package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms count microseconds, from 1 to latencyMax with three significant digits; what
// is longer is counted as latencyMax and in overflow.
const (
	latencyMax     = 10 * time.Minute
	latencyDigits  = 3
	intervalDigits = 1 // enough for a line of progress, and small enough to merge each second
)

// slotsMax bounds the map of moments with a success: a gap is known to a millisecond, or
// to this fraction of a long run.
const slotsMax = 600_000

// sample is one finished operation.
type sample struct {
	kind     kind
	intended time.Time // when it was to start; in a closed loop when it did start
	sent     time.Time
	done     time.Time
	attempts Attempts // of a transaction, or of a read with its compare-and-set; else zero
	err      error
	errKind  string
	skip     bool // it is in no figure
}

// errorKey is what errors are counted by.
type errorKey struct {
	kind kind
	err  string
}

// effort is what transactions took, those that failed as well.
type effort struct{ transactions, attempts, aborts int64 }

// add takes one operation; one without attempts is no transaction.
func (e *effort) add(a Attempts) {
	if a.Made == 0 {
		return
	}
	e.transactions++
	e.attempts += int64(a.Made)
	e.aborts += int64(a.Aborted)
}

func (e *effort) merge(o effort) {
	e.transactions += o.transactions
	e.attempts += o.attempts
	e.aborts += o.aborts
}

// perTransaction is the mean of the attempts; 0 without transactions.
func (e effort) perTransaction() float64 {
	return float64(e.attempts) / float64(max(1, e.transactions))
}

// tally is what one worker has seen, or the sum over several.
type tally struct {
	response [kindCount]*hdrhistogram.Histogram // done - intended
	service  [kindCount]*hdrhistogram.Histogram // done - sent; open loop only
	errors   map[errorKey]int64
	effort   [kindCount]effort
	slots    []uint64 // one bit for each slot of the measured part, set by a success
	overflow int64
	lastDone time.Time
}

// window is the measured part of a run.
type window struct {
	start, end time.Time
	slot       time.Duration
}

func newWindow(start time.Time, length time.Duration) window {
	return window{start: start, end: start.Add(length), slot: max(time.Millisecond, length/slotsMax)}
}

func (w window) covers(t time.Time) bool { return !t.Before(w.start) && t.Before(w.end) }

func (w window) slots() int { return int(w.end.Sub(w.start)/w.slot) + 1 }

// recorder takes the samples of one worker. The lock is never contended but for the one
// moment a second when interval is taken away.
type recorder struct {
	window window
	open   bool

	mu       sync.Mutex
	tally    tally
	interval interval
}

// interval is what has happened since the last line of progress.
type interval struct {
	latency *hdrhistogram.Histogram
	errors  int64
	effort  effort
}

func newRecorder(w window, open bool) *recorder {
	return &recorder{
		window: w, open: open,
		tally:    tally{errors: map[errorKey]int64{}, slots: make([]uint64, (w.slots()+63)/64)},
		interval: interval{latency: newHistogram(intervalDigits)},
	}
}

func newHistogram(digits int) *hdrhistogram.Histogram {
	return hdrhistogram.New(1, latencyMax.Microseconds(), digits)
}

// record takes a sample. Everything shows up in the line of progress; the tally takes only
// what was to start in the measured part.
func (r *recorder) record(s *sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interval.effort.add(s.attempts)
	if s.err != nil {
		r.interval.errors++
	} else {
		_ = r.interval.latency.RecordValue(clampLatency(s.done.Sub(s.intended)))
	}
	if !r.window.covers(s.intended) {
		return
	}
	t := &r.tally
	if s.done.After(t.lastDone) {
		t.lastDone = s.done
	}
	t.effort[s.kind].add(s.attempts)
	if s.err != nil {
		t.errors[errorKey{s.kind, s.errKind}]++
		return
	}
	t.record(&t.response, s.kind, s.done.Sub(s.intended))
	if r.open {
		t.record(&t.service, s.kind, s.done.Sub(s.sent))
	}
	if slot := int(s.done.Sub(r.window.start) / r.window.slot); slot >= 0 && slot/64 < len(t.slots) {
		t.slots[slot/64] |= 1 << (slot % 64)
	}
}

func (t *tally) record(set *[kindCount]*hdrhistogram.Histogram, kind kind, d time.Duration) {
	if set[kind] == nil {
		set[kind] = newHistogram(latencyDigits)
	}
	if d > latencyMax {
		t.overflow++
	}
	_ = set[kind].RecordValue(clampLatency(d)) // cannot be out of range
}

func clampLatency(d time.Duration) int64 {
	return max(1, min(d, latencyMax).Microseconds())
}

// takeInterval adds the interval to a sum and begins a new one.
func (r *recorder) takeInterval(sum *interval) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum.latency.Merge(r.interval.latency)
	sum.errors += r.interval.errors
	sum.effort.merge(r.interval.effort)
	r.interval.latency.Reset()
	r.interval.errors, r.interval.effort = 0, effort{}
}

// mergeTallies adds up what all workers have seen; they must have ended.
func mergeTallies(recorders []*recorder) *tally {
	sum := &tally{errors: map[errorKey]int64{}}
	for _, r := range recorders {
		sum.add(&r.tally)
	}
	return sum
}

func (t *tally) add(o *tally) {
	for k := range o.response {
		t.response[k] = mergeHistogram(t.response[k], o.response[k])
		t.service[k] = mergeHistogram(t.service[k], o.service[k])
		t.effort[k].merge(o.effort[k])
	}
	for k, n := range o.errors {
		t.errors[k] += n
	}
	if t.slots == nil {
		t.slots = make([]uint64, len(o.slots))
	}
	for i, w := range o.slots {
		t.slots[i] |= w
	}
	t.overflow += o.overflow
	if o.lastDone.After(t.lastDone) {
		t.lastDone = o.lastDone
	}
}

func mergeHistogram(into, from *hdrhistogram.Histogram) *hdrhistogram.Histogram {
	if from == nil {
		return into
	}
	if into == nil {
		into = newHistogram(latencyDigits)
	}
	into.Merge(from)
	return into
}

// longestGap is the longest run of slots without a success in the measured part.
func (t *tally) longestGap(w window) time.Duration {
	longest, current := 0, 0
	for slot := range w.slots() - 1 {
		if t.slots != nil && t.slots[slot/64]&(1<<(slot%64)) != 0 {
			current = 0
			continue
		}
		current++
		longest = max(longest, current)
	}
	return time.Duration(longest) * w.slot
}

// successes is the number of operations that succeeded in the measured part.
func (t *tally) successes() int64 {
	n := int64(0)
	for _, h := range t.response {
		if h != nil {
			n += h.TotalCount()
		}
	}
	return n
}
