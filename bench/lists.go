package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvd-db/kvd/sim/check"
)

// Limits of list-append.
const (
	// listElementsMax is when a list is left alone, and a new one taken in its place.
	listElementsMax = 100
	// historyMax bounds the transactions of a run: all of them are held until the end.
	historyMax = 500_000
	// listsReadMax is how many lists are read at one time in the end.
	listsReadMax = 100
)

// HistoryResult is what list-append has found out about the whole history of its run.
type HistoryResult struct {
	Transactions int     `json:"transactions"` // attempts, those that were aborted as well
	Committed    int     `json:"committed"`
	Aborted      int     `json:"aborted"`
	Unknown      int     `json:"unknown"`
	Lists        int     `json:"lists"`
	Unread       int     `json:"unread"` // lists that could not be read at the end
	Findings     int     `json:"findings"`
	CheckS       float64 `json:"check_s"`
}

// lists is transactions that read lists and append to them, in which everything that any of
// them has seen is judged at the end (sim/check). Each run has lists of its own: they are
// empty at first.
type lists struct {
	plain
	run      *run
	tx       Transactor
	jobs     []*listJob
	next     atomic.Uint64   // the number of the next list
	live     []atomic.Uint64 // the numbers of those in use
	element  atomic.Uint64   // the last one
	recorded atomic.Int64
	full     atomic.Bool
	seen     interner
}

func newLists(r *run) (*lists, error) {
	l := &lists{run: r, live: make([]atomic.Uint64, r.options.Keys)}
	l.seen.longest = map[uint64][]check.Element{}
	for i := range l.live {
		l.live[i].Store(l.next.Add(1) - 1)
	}
	var err error
	l.tx, err = transactorOf(r.target)
	return l, err
}

func (l *lists) job(number int) job {
	j := &listJob{lists: l, number: number, rand: rand.New(rand.NewPCG(l.run.options.Seed, uint64(number)))}
	l.jobs = append(l.jobs, j)
	return j
}

// key is where a list lives.
func (l *lists) key(list uint64) []byte { return fmt.Appendf(nil, "list/%016x/%d", l.run.id, list) }

// name is what a list is called in a story.
func (l *lists) name(list uint64) string { return "list" + strconv.FormatUint(list, 10) }

func (l *lists) now() check.Time { return time.Since(l.run.began).Nanoseconds() }

// finish reads all lists, and judges the history.
func (l *lists) finish(ctx context.Context) *AuditResult {
	var all []*check.Transaction
	for _, j := range l.jobs {
		all = append(all, j.history...)
	}
	h := &HistoryResult{Lists: int(l.next.Load())}
	for first := uint64(0); first < l.next.Load(); first += listsReadMax {
		last := min(first+listsReadMax, l.next.Load())
		t, err := l.readAll(ctx, first, last)
		if err != nil {
			h.Unread += int(last - first)
			continue
		}
		all = append(all, t)
	}
	began := time.Now()
	findings := check.Lists(all)
	h.CheckS = time.Since(began).Seconds()
	h.Transactions, h.Findings = len(all), len(findings)
	for _, t := range all {
		switch t.Result {
		case check.Done:
			h.Committed++
		case check.Refused:
			h.Aborted++
		default:
			h.Unknown++
		}
	}
	for _, f := range findings {
		l.run.bad.add(f.Check, "%s", f.Story())
	}
	if l.full.Load() {
		l.run.warnings = append(l.run.warnings, fmt.Sprintf("the run ended early: its history holds %d transactions, more are not kept", historyMax))
	}
	l.run.history = h
	return nil
}

// readAll reads the lists first..last-1 at one time.
func (l *lists) readAll(ctx context.Context, first, last uint64) (*check.Transaction, error) {
	ctx, cancel := context.WithTimeout(ctx, l.run.options.OpTimeout)
	defer cancel()
	t := &check.Transaction{Name: fmt.Sprintf("the last read of %s..%s", l.name(first), l.name(last-1)), Call: l.now()}
	var keys [][]byte
	for n := first; n < last; n++ {
		keys = append(keys, l.key(n))
	}
	_, found, err := l.tx.View(ctx, keys, 0)
	if err != nil {
		return nil, err
	}
	t.Return, t.Result = l.now(), check.Done
	for i, r := range found {
		list, err := l.seen.parse(first+uint64(i), r)
		if err != nil {
			l.run.bad.add(violationWrongValue, "%s: %v", keys[i], err)
			return nil, err
		}
		t.Micros = append(t.Micros, check.Micro{Key: l.name(first + uint64(i)), Read: list})
	}
	return t, nil
}

// interner keeps one copy of what many have read: a list is a beginning of the longest one
// that was seen.
type interner struct {
	mu      sync.Mutex
	longest map[uint64][]check.Element
}

// parse reads the value of a list: its elements in decimal, each with a space behind it.
func (x *interner) parse(number uint64, r Record) ([]check.Element, error) {
	var list []check.Element
	e, digits := uint64(0), 0
	for _, c := range r.Value {
		switch {
		case c >= '0' && c <= '9' && digits < 19:
			e, digits = 10*e+uint64(c-'0'), digits+1
		case c == ' ' && digits > 0:
			list, e, digits = append(list, check.Element(e)), 0, 0
		default:
			return nil, fmt.Errorf("%q is no list of elements", r.Value)
		}
	}
	if digits > 0 {
		return nil, fmt.Errorf("%q is no list of elements: it is cut off", r.Value)
	}
	return x.intern(number, list), nil
}

func (x *interner) intern(number uint64, list []check.Element) []check.Element {
	x.mu.Lock()
	defer x.mu.Unlock()
	known := x.longest[number]
	for i := range min(len(known), len(list)) {
		if known[i] != list[i] {
			return list
		}
	}
	if len(list) > len(known) {
		x.longest[number] = list
		return list
	}
	return known[:len(list):len(list)]
}

// operation is one of those of a transaction.
type operation struct {
	slot int // of lists.live
	list uint64
	read bool
}

// listJob does one transaction after the other.
type listJob struct {
	*lists
	number     int
	rand       *rand.Rand
	count      int // transactions so far
	operations []operation
	history    []*check.Transaction
}

func (j *listJob) operate(ctx context.Context, s *sample) {
	if j.recorded.Load() >= historyMax {
		j.full.Store(true)
		s.err = errEnough
		return
	}
	j.count++
	if j.choose() {
		s.kind = snapshot
		s.err = j.view(ctx)
		return
	}
	s.kind = transaction
	s.attempts, s.err = j.update(ctx)
}

// choose draws what a transaction does, and says whether it only reads.
func (j *listJob) choose() (reads bool) {
	reads = true
	j.operations = j.operations[:0]
	for range 1 + j.rand.IntN(j.run.options.Tx.Keys) {
		o := operation{slot: j.rand.IntN(len(j.live)), read: j.rand.Float64() < j.run.options.Tx.Reads}
		o.list = j.live[o.slot].Load()
		reads = reads && o.read
		j.operations = append(j.operations, o)
	}
	return reads
}

// begin makes the record of an attempt.
func (j *listJob) begin(attempt int) *check.Transaction {
	return &check.Transaction{Name: fmt.Sprintf("T%d.%d.%d", j.number, j.count, attempt), Call: j.now(), Return: check.Never}
}

// end notes how an attempt ended.
func (j *listJob) end(t *check.Transaction, r check.Result) {
	if t.Result = r; r != check.Unknown {
		t.Return = j.now()
	}
	j.history = append(j.history, t)
	j.recorded.Add(1)
}

// retire leaves a list alone that is long enough.
func (j *listJob) retire(o operation, elements int) {
	if elements >= listElementsMax && j.live[o.slot].Load() == o.list {
		j.live[o.slot].CompareAndSwap(o.list, j.next.Add(1)-1)
	}
}

// view reads all lists of the transaction at one time.
func (j *listJob) view(ctx context.Context) error {
	t := j.begin(1)
	keys := make([][]byte, len(j.operations))
	for i, o := range j.operations {
		keys[i] = j.key(o.list)
	}
	_, found, err := j.tx.View(ctx, keys, 0)
	if err != nil {
		return err
	}
	for i, r := range found {
		if _, err := j.took(t, j.operations[i], r); err != nil {
			return err
		}
	}
	j.end(t, check.Done)
	return nil
}

// took notes what was read.
func (j *listJob) took(t *check.Transaction, o operation, r Record) ([]check.Element, error) {
	list, err := j.seen.parse(o.list, r)
	if err != nil {
		j.run.bad.add(violationWrongValue, "%s: %v", j.name(o.list), err)
		return nil, err
	}
	t.Micros = append(t.Micros, check.Micro{Key: j.name(o.list), Read: list})
	return list, nil
}

// update does the operations in a transaction. An append reads the list and writes it with
// one more element; every attempt has elements of its own, so that what was aborted is known
// when it is seen.
func (j *listJob) update(ctx context.Context) (Attempts, error) {
	var t *check.Transaction
	var failed error // of the function: it has rolled back
	attempt := 0
	took, err := j.tx.Update(ctx, func(ctx context.Context, tx Tx) error {
		if t != nil {
			j.end(t, check.Refused)
		}
		attempt++
		t = j.begin(attempt)
		failed = j.attempt(ctx, tx, t)
		return failed
	})
	switch {
	case t == nil:
	case err == nil:
		j.end(t, check.Done)
	case failed != nil || errors.Is(err, ErrConflict):
		j.end(t, check.Refused)
	default:
		j.end(t, check.Unknown)
	}
	return took, err
}

func (j *listJob) attempt(ctx context.Context, tx Tx, t *check.Transaction) error {
	for _, o := range j.operations {
		key := j.key(o.list)
		found, err := tx.GetMany(ctx, key)
		if err != nil {
			return err
		}
		list, err := j.took(t, o, found[0])
		if err != nil {
			return err
		}
		j.retire(o, len(list))
		if o.read {
			continue
		}
		e := check.Element(j.element.Add(1))
		value := append(strconv.AppendUint(append([]byte(nil), found[0].Value...), uint64(e), 10), ' ')
		tx.Put(key, value)
		t.Micros = append(t.Micros, check.Micro{Key: j.name(o.list), Append: e})
	}
	return nil
}
