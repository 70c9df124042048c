package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/sim/check"
)

const (
	listSpace    = "lists"
	listSlots    = 8  // lists that are in use at a time
	listLenMax   = 40 // of elements, then a new list takes the slot
	listStepsMax = 4  // of one transaction
)

// lists is transactions over lists to which is only appended, and the history of them for
// sim/check, which finds out from what was read whether any order explains it.
type lists struct {
	x       *Transactions
	element atomic.Uint64
	ages    [listSlots]atomic.Int64 // how many lists the slot has had before

	mu      sync.Mutex
	history []*check.Transaction
}

func newLists(x *Transactions) *lists { return &lists{x: x} }

// key is the list that is in a slot now. Neighbours are in different partitions.
func (l *lists) key(slot int) string {
	const partitions = 4
	return fmt.Sprintf("%c-%d-%d", 'a'+slot%partitions, slot, l.ages[slot].Load())
}

func (l *lists) add(t *check.Transaction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, t)
}

func (l *lists) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.history)
}

// step is one thing that a transaction does.
type step struct {
	slot   int
	append bool
}

// transact runs one transaction, or reads without one every now and then.
func (l *lists) transact(w *worker) error {
	steps := make([]step, 1+w.rng.IntN(listStepsMax))
	for i := range steps {
		steps[i] = step{w.rng.IntN(listSlots), w.rng.IntN(2) == 0}
	}
	if w.rng.IntN(4) == 0 {
		return l.view(w, steps)
	}
	ctx, cancel := l.x.call()
	defer cancel()
	var last *check.Transaction // attempts before it were overtaken, and did not happen
	_, err := w.client.In(listSpace).Update(ctx, func(ctx context.Context, tx *client.Tx) error {
		l.end(last, didNot)
		last = l.begin(fmt.Sprintf("%d-%s", w.number, tx.ID()))
		for _, s := range steps {
			if err := l.do(ctx, tx, s, last); err != nil {
				return err
			}
		}
		return nil
	})
	if last == nil {
		return err // it ended before it began
	}
	l.end(last, l.x.settle(w.client, "transaction "+last.Name, err))
	return err
}

func (l *lists) begin(name string) *check.Transaction {
	t := &check.Transaction{Name: name, Call: l.x.now(), Return: check.Never}
	l.add(t)
	return t
}

// end notes what became of a transaction; nil is none.
func (l *lists) end(t *check.Transaction, f fate) {
	if t == nil || f == unknown {
		return
	}
	t.Return, t.Result = l.x.now(), check.Done
	if f == didNot {
		t.Result = check.Refused
	}
}

// getter is a transaction or a snapshot.
type getter interface {
	Get(ctx context.Context, key []byte) (client.Pair, error)
}

// do reads a list and appends to it, if it shall.
func (l *lists) do(ctx context.Context, tx *client.Tx, s step, t *check.Transaction) error {
	key := l.key(s.slot)
	text, list, err := l.read(ctx, tx, key, t)
	if err != nil || !s.append {
		return err
	}
	if len(list) >= listLenMax {
		l.ages[s.slot].Add(1) // others may do so as well: then a list is left out
		return nil
	}
	e := check.Element(l.element.Add(1))
	tx.Put([]byte(key), []byte(strings.TrimPrefix(text+","+strconv.FormatUint(uint64(e), 10), ",")))
	t.Micros = append(t.Micros, check.Micro{Key: key, Append: e})
	return nil
}

// read reads a list and notes what it is.
func (l *lists) read(ctx context.Context, from getter, key string, t *check.Transaction) (text string, list []check.Element, err error) {
	p, err := from.Get(ctx, []byte(key))
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return "", nil, err
	}
	text = string(p.Value)
	if list, err = parseList(text); err != nil {
		l.x.failf("%s was read as %q: %v", key, text, err)
		return "", nil, err
	}
	t.Micros = append(t.Micros, check.Micro{Key: key, Read: list})
	return text, list, nil
}

func parseList(text string) ([]check.Element, error) {
	if text == "" {
		return nil, nil
	}
	var list []check.Element
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is no element of a list", part)
		}
		list = append(list, check.Element(n))
	}
	return list, nil
}

// view reads lists of one state.
func (l *lists) view(w *worker, steps []step) error {
	ctx, cancel := l.x.call()
	defer cancel()
	t := l.begin(fmt.Sprintf("%d-view-%d", w.number, l.element.Add(1)))
	err := w.client.In(listSpace).View(ctx, func(ctx context.Context, s *client.Snapshot) error {
		for _, step := range steps {
			if _, _, err := l.read(ctx, s, l.key(step.slot), t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		l.end(t, didNot)
		return err
	}
	l.end(t, happened)
	return nil
}

// verify reads all lists once more, and has the history judged.
func (l *lists) verify() {
	l.x.t.Helper()
	var last *check.Transaction
	l.x.eventually("read all lists", func(ctx context.Context) error {
		l.end(last, didNot)
		last = l.begin(fmt.Sprintf("the end, %d", l.count()))
		return l.x.clients[0].In(listSpace).View(ctx, func(ctx context.Context, s *client.Snapshot) error {
			for slot := range listSlots {
				for age := l.ages[slot].Load(); age >= 0; age-- {
					key := fmt.Sprintf("%c-%d-%d", l.key(slot)[0], slot, age)
					if _, _, err := l.read(ctx, s, key, last); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	l.end(last, happened)
	for _, f := range check.Lists(l.history) {
		l.x.failf("lists: %s", f)
	}
}
