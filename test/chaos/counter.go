package chaos

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/kvd-db/kvd/client"
)

// counter is a key to which many add 1.
type counter struct {
	key   string
	space int

	mu       sync.Mutex
	sums     map[int64]bool // that were returned
	happened int64
	doubtful int64
}

func (l *Load) startCounter(i int) {
	k := &counter{key: fmt.Sprint("counter-", i), space: i, sums: map[int64]bool{}}
	l.counts = append(l.counts, k)
	for range addersEach {
		l.run(func() {
			for !l.stopped() {
				l.rest(k.add(l))
			}
		})
	}
}

func (k *counter) add(l *Load) error {
	ctx, cancel := l.call()
	defer cancel()
	c := l.client(k.space)
	sum, _, err := c.Add(ctx, []byte(k.key), 1)
	f := l.settle(c, "an addition to "+k.key, err)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case f == happened && err == nil && k.sums[sum]:
		l.failf("two additions to %s have the sum %d", k.key, sum)
	case f == happened && err == nil:
		k.sums[sum] = true
	}
	switch f {
	case happened:
		k.happened++
	case unknown:
		k.doubtful++
	}
	return err
}

func (k *counter) verify(l *Load) {
	l.t.Helper()
	v, found := l.get(l.client(k.space), k.key)
	n, err := strconv.ParseInt(string(v), 10, 64)
	if !found && k.happened == 0 {
		n, err = 0, nil
	}
	if err != nil || n < k.happened || n > k.happened+k.doubtful {
		l.t.Errorf("%s holds %q (present: %v); %d additions of 1 happened, of %d it is not known", k.key, v, found, k.happened, k.doubtful)
	}
}

// chain is a key that holds "n who", and goes from n to n+1 by compare-and-set.
type chain struct {
	key   string
	space int

	mu       sync.Mutex
	winner   map[int64]string // of the step to n
	steps    int64
	doubtful int64
}

func (l *Load) startChain(i int) {
	k := &chain{key: fmt.Sprint("chain-", i), space: i, winner: map[int64]string{}}
	l.climbs = append(l.climbs, k)
	for who := range climbersEach {
		l.run(func() {
			for try := 0; !l.stopped(); try++ {
				l.rest(k.climb(l, fmt.Sprintf("climber-%d-%d", who, try)))
			}
		})
	}
}

// climb reads the chain and tries to take the next step.
func (k *chain) climb(l *Load, who string) error {
	ctx, cancel := l.call()
	defer cancel()
	c := l.client(k.space)
	p, err := c.Get(ctx, []byte(k.key))
	want, n := client.Absent(), int64(0)
	switch {
	case err == nil:
		if n, _, err = parseStep(p.Value); err != nil {
			l.failf("%s: %v", k.key, err)
			return err
		}
		if want = client.VersionIs(p.Version); n%2 == 1 {
			want = client.ValueIs(p.Value)
		}
	case !errors.Is(err, client.ErrNotFound):
		return err
	}
	_, err = c.CompareAndSet(ctx, []byte(k.key), want, fmt.Appendf(nil, "%d %s", n+1, who))
	if errors.Is(err, client.ErrCAS) {
		return nil // another one was faster
	}
	f := l.settle(c, "a compare-and-set of "+k.key, err)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case f == happened && k.winner[n+1] != "":
		l.failf("%s and %s both took %s from %d to %d", k.winner[n+1], who, k.key, n, n+1)
	case f == happened:
		k.winner[n+1] = who
		k.steps++
	case f == unknown:
		k.doubtful++
	}
	return err
}

func parseStep(v []byte) (n int64, who string, err error) {
	number, who, ok := strings.Cut(string(v), " ")
	n, err = strconv.ParseInt(number, 10, 64)
	if err != nil || !ok {
		return 0, "", fmt.Errorf("%q is no step of a chain", v)
	}
	return n, who, nil
}

func (k *chain) verify(l *Load) {
	l.t.Helper()
	v, found := l.get(l.client(k.space), k.key)
	if !found {
		if k.steps != 0 {
			l.t.Errorf("%s is absent after %d steps", k.key, k.steps)
		}
		return
	}
	n, who, err := parseStep(v)
	switch {
	case err != nil:
		l.t.Errorf("%s: %v", k.key, err)
	case n < k.steps || n > k.steps+k.doubtful:
		l.t.Errorf("%s has taken %d steps; %d were acknowledged, of %d it is not known", k.key, n, k.steps, k.doubtful)
	case k.doubtful == 0 && k.winner[n] != who:
		l.t.Errorf("the last step of %s, %d, is said to be by %q, and is by %q", k.key, n, k.winner[n], who)
	}
}
