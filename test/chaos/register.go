package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kvd-db/kvd/client"
)

// register is a key with one writer. Its writes are numbered; number 0 is its absence.
type register struct {
	key     string
	space   int          // whose client sees it
	known   atomic.Int64 // number of the newest write known to have happened
	started atomic.Int64 // number of the newest write that was begun

	mu       sync.Mutex
	seen     map[int64]bool // numbers that were read
	undone   map[int64]bool // numbers of writes that were said not to have happened
	doubtful []int64        // numbers of writes of which nobody knows
}

// isDelete reports whether a write removes the key: every seventh does, so that tombstones
// are made, replicated and collected.
func isDelete(number int64) bool { return number%7 == 0 }

// value is what write number n of a key puts there; some values are large.
func value(key string, n int64) []byte {
	size := 100
	if n%50 == 1 {
		size = 30_000
	}
	head := fmt.Sprintf("%s %d ", key, n)
	return []byte(head + strings.Repeat(string(rune('a'+n%26)), size-len(head)))
}

// number is the inverse of value.
func number(key string, v []byte) (int64, error) {
	var of string
	var n int64
	if _, err := fmt.Sscanf(string(v[:min(len(v), 64)]), "%s %d ", &of, &n); err != nil || of != key || !bytes.Equal(v, value(key, n)) {
		return 0, fmt.Errorf("the value of %s is nothing that was ever written there: %.80q", key, v)
	}
	return n, nil
}

func (l *Load) startWriter(i int) {
	var own []*register
	for k := range keysPerWriter {
		own = append(own, &register{key: fmt.Sprintf("register-%d-%d", i, k), space: i, seen: map[int64]bool{}, undone: map[int64]bool{}})
	}
	l.registers = append(l.registers, own...)
	l.run(func() {
		for round := 0; !l.stopped(); round++ {
			if round%10 == 9 {
				l.writeBatch(i, own)
				continue
			}
			l.rest(own[round%len(own)].write(l))
		}
	})
}

// write makes the next write of a register.
func (r *register) write(l *Load) error {
	ctx, cancel := l.call()
	defer cancel()
	c := l.client(r.space)
	n := r.started.Add(1)
	var err error
	if isDelete(n) {
		_, err = c.Delete(ctx, []byte(r.key))
	} else {
		_, err = c.Put(ctx, []byte(r.key), value(r.key, n))
	}
	r.settle(l, c, n, err)
	return err
}

// settle books what became of a write.
func (r *register) settle(l *Load, c *client.Client, n int64, err error) {
	f := l.settle(c, fmt.Sprintf("write %d of %s", n, r.key), err)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch f {
	case happened:
		r.known.Store(n)
	case didNot:
		r.undone[n] = true
	case unknown:
		r.doubtful = append(r.doubtful, n)
	}
}

// writeBatch writes all registers of one writer in one batch.
func (l *Load) writeBatch(i int, own []*register) {
	ctx, cancel := l.call()
	defer cancel()
	c := l.client(i)
	results := make([]*client.Result[client.Commit], len(own))
	numbers := make([]int64, len(own))
	err := c.Do(ctx, func(b *client.Batch) {
		for k, r := range own {
			if numbers[k] = r.started.Add(1); isDelete(numbers[k]) {
				results[k] = b.Delete([]byte(r.key))
			} else {
				results[k] = b.Put([]byte(r.key), value(r.key, numbers[k]))
			}
		}
	})
	for k, r := range own {
		_, failed := results[k].Value()
		r.settle(l, c, numbers[k], failed)
	}
	l.rest(err)
}

// read books what a reader saw that began when the newest known write was from.
func (r *register) read(l *Load, from int64, v []byte, found bool) {
	l.reads.Add(1)
	to := r.started.Load()
	if !found {
		for n := from; n <= to; n++ {
			if isDelete(n) {
				return
			}
		}
		l.failf("%s was read as absent; write %d is acknowledged, and none up to %d removes it", r.key, from, to)
		return
	}
	n, err := number(r.key, v)
	switch {
	case err != nil:
		l.failf("%v", err)
	case n < from || n > to:
		l.failf("write %d of %s was read; write %d was acknowledged before, and %d is the last one begun", n, r.key, from, to)
	default:
		r.mu.Lock()
		r.seen[n] = true
		r.mu.Unlock()
	}
}

// readForever gets registers, one after the other.
func (l *Load) readForever(i int) {
	for k := i; !l.stopped(); k++ {
		r := l.registers[k%len(l.registers)]
		from := r.known.Load()
		ctx, cancel := l.call()
		p, err := l.other(r.space).Get(ctx, []byte(r.key))
		cancel()
		if err == nil || errors.Is(err, client.ErrNotFound) {
			r.read(l, from, p.Value, err == nil)
			err = nil
		}
		l.rest(err)
	}
}

// scanForever scans all registers of a keyspace: one state, and no older one than what was known
// when the scan began.
func (l *Load) scanForever(i int) {
	for round := i; !l.stopped(); round++ {
		from := map[string]int64{}
		for _, r := range l.registers {
			from[r.key] = r.known.Load()
		}
		ctx, cancel := l.call()
		err := l.scan(ctx, round, from)
		cancel()
		l.rest(err)
	}
}

func (l *Load) scan(ctx context.Context, space int, from map[string]int64) error {
	found := map[string][]byte{}
	for p, err := range l.client(space).Scan(ctx, client.Prefix([]byte("register-"))) {
		if err != nil {
			return err
		}
		if _, twice := found[string(p.Key)]; twice {
			l.failf("a scan has %s twice", p.Key)
		}
		found[string(p.Key)] = p.Value
	}
	for _, r := range l.registers {
		if (r.space-space)%2 == 0 { // of the same keyspace
			v, ok := found[r.key]
			r.read(l, from[r.key], v, ok)
		}
	}
	return nil
}

// verify reads the register back.
func (r *register) verify(l *Load) {
	l.t.Helper()
	v, found := l.get(l.client(r.space), r.key)
	allowed := append([]int64{r.known.Load()}, r.doubtful...)
	n := int64(0)
	if found {
		var err error
		if n, err = number(r.key, v); err != nil {
			l.t.Error(err)
			return
		}
	}
	right := false
	for _, a := range allowed {
		right = right || found && a == n && !isDelete(a) || !found && isDelete(a)
	}
	if !right {
		l.t.Errorf("%s holds write %d (present: %v) at the end, write %d was the last to be acknowledged, of %v it is not known", r.key, n, found, r.known.Load(), r.doubtful)
	}
	for n := range r.seen {
		if r.undone[n] {
			l.t.Errorf("write %d of %s was read, and said not to have happened", n, r.key)
		}
	}
}
