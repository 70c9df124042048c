package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/test/cluster"
)

// Sizes of the load: enough to have every kind of operation under way at any moment, few
// enough to leave a small machine's time to the nodes.
const (
	writers        = 8
	keysPerWriter  = 4
	counters       = 3
	addersEach     = 2
	chains         = 2
	climbersEach   = 3
	readers        = 2
	callTimeout    = 5 * time.Second // of one operation; its outcome is asked for afterwards
	outcomeTimeout = time.Minute     // from the load's end on, until every outcome must be known
)

// Load is clients at work on a cluster, and the books of what they were told.
type Load struct {
	t       testing.TB
	cluster *cluster.Cluster
	clients []*client.Client // of the keyspaces under load
	stop    context.CancelFunc
	ctx     context.Context
	late    time.Time // after that no outcome is asked for any more; set before ctx ends
	group   sync.WaitGroup

	committed atomic.Int64 // writes known to have happened
	unknown   atomic.Int64 // writes whose answer was lost
	refused   atomic.Int64 // writes known not to have happened, by an error
	reads     atomic.Int64

	mu       sync.Mutex
	failures []string

	registers []*register
	counts    []*counter
	climbs    []*chain
}

// StartLoad makes a hash keyspace and has clients work in it and in the default one.
func StartLoad(t testing.TB, c *cluster.Cluster) *Load {
	t.Helper()
	const spread = "spread"
	c.WaitHealthy(t)
	c.MustCLI(t, "keyspace", "create", spread, "--scheme", "hash", "--partitions", "4")
	ctx, stop := context.WithCancel(context.Background())
	l := &Load{t: t, cluster: c, ctx: ctx, stop: stop}
	for range 2 {
		one := c.Client(t, client.WithLogger(slog.New(slog.DiscardHandler)))
		l.clients = append(l.clients, one, one.In(spread))
	}
	t.Cleanup(func() { l.end() })
	for i := range writers {
		l.startWriter(i)
	}
	for i := range counters {
		l.startCounter(i)
	}
	for i := range chains {
		l.startChain(i)
	}
	for i := range readers {
		l.run(func() { l.readForever(i) })
		l.run(func() { l.scanForever(i) })
	}
	return l
}

// client is one of the clients that look at the same keyspace as number i.
func (l *Load) client(i int) *client.Client { return l.clients[i%len(l.clients)] }

// other is a client of another connection that looks at the same keyspace as number i.
func (l *Load) other(i int) *client.Client { return l.clients[(i+2)%len(l.clients)] }

func (l *Load) run(f func()) { l.group.Go(f) }

func (l *Load) stopped() bool { return l.ctx.Err() != nil }

// end stops all clients and waits for them; what is under way is brought to its end.
func (l *Load) end() {
	if !l.stopped() {
		l.late = time.Now().Add(outcomeTimeout)
		l.stop()
	}
	l.group.Wait()
}

// failf notes a broken promise. There may be thousands of one kind: the first few are told.
func (l *Load) failf(format string, args ...any) {
	const failuresMax = 10
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) < failuresMax {
		l.failures = append(l.failures, fmt.Sprintf(format, args...))
	}
}

// fate is what became of a write.
type fate uint8

const (
	happened fate = iota + 1
	didNot
	unknown // and nobody can tell any more: the load ended first
)

// refusals are the kinds with which a node may say, in the middle of faults, that a write did not
// happen.
var refusals = []kv.Kind{kv.Unavailable, kv.NotLeader, kv.Timeout, kv.Canceled, kv.StaleTerm, kv.Aborted}

// settle finds out what became of a write, however long that takes.
func (l *Load) settle(c *client.Client, what string, err error) fate {
	var ambiguous *client.AmbiguousError
	switch {
	case err == nil:
		l.committed.Add(1)
		return happened
	case !errors.As(err, &ambiguous):
		l.refused.Add(1)
		if !slices.Contains(refusals, kv.KindOf(err)) {
			l.failf("%s: an error that no fault explains: %v", what, err)
		}
		return didNot
	}
	l.unknown.Add(1)
	switch o, err := l.outcome(c, ambiguous.Token); {
	case o == client.Committed:
		l.committed.Add(1)
		return happened
	case o == client.Aborted:
		return didNot
	default:
		l.failf("%s: its outcome is not to be had: %v, %v", what, o, err)
		return unknown
	}
}

// outcome asks until it is told.
func (l *Load) outcome(c *client.Client, token string) (client.Outcome, error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		o, err := c.OutcomeOf(ctx, token)
		cancel()
		if err == nil && o != client.Unknown {
			return o, nil
		}
		if l.stopped() && (l.t.Failed() || time.Now().After(l.late)) {
			return o, err
		}
		time.Sleep(10 * time.Millisecond) // it may have failed at once
	}
}

// call is the context of one operation. It ends when the load does, too: what is under way
// then is as good a test as any.
func (l *Load) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(l.ctx, callTimeout)
}

// rest lets others work between two operations, and longer after an error.
func (l *Load) rest(err error) {
	const pause, errorPause = time.Millisecond, 20 * time.Millisecond
	if err != nil {
		time.Sleep(errorPause)
		return
	}
	time.Sleep(pause)
}

// Await waits until n more writes have happened.
func (l *Load) Await(n int64) {
	l.t.Helper()
	from := l.committed.Load()
	l.cluster.Eventually(l.t, fmt.Sprintf("%d more writes", n), func() error {
		if got := l.committed.Load() - from; got < n {
			return fmt.Errorf("only %d; refused %d, unknown %d in all", got, l.refused.Load(), l.unknown.Load())
		}
		return nil
	})
}

// Verify stops the load, reads everything back from a cluster that is whole again, and
// compares it with the books and the replicas with each other.
func (l *Load) Verify() {
	l.t.Helper()
	l.end()
	l.cluster.WaitHealthy(l.t)
	for _, r := range l.registers {
		r.verify(l)
	}
	for _, k := range l.counts {
		k.verify(l)
	}
	for _, k := range l.climbs {
		k.verify(l)
	}
	l.cluster.Check(l.t)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.failures {
		l.t.Error(f)
	}
	l.t.Logf("%d writes happened, %d were refused, of %d the answer was lost; %d reads", l.committed.Load(), l.refused.Load(), l.unknown.Load(), l.reads.Load())
}

// get reads a key for Verify; absent is no error.
func (l *Load) get(c *client.Client, key string) (value []byte, found bool) {
	l.t.Helper()
	l.cluster.Eventually(l.t, "read "+key, func() error {
		p, err := c.Get(context.Background(), []byte(key))
		value, found = p.Value, err == nil
		if errors.Is(err, client.ErrNotFound) {
			return nil
		}
		return err
	})
	return value, found
}
