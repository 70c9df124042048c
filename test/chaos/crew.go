package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/test/cluster"
)

const (
	callTimeout    = 5 * time.Second // of one operation; its outcome is asked for afterwards
	outcomeTimeout = time.Minute     // from the load's end on, until every outcome must be known
)

// crew is goroutines at work on a cluster until they are told to stop, and what they have in
// common: how many writes came to which end, and what was found to be wrong.
type crew struct {
	t       testing.TB
	cluster *cluster.Cluster
	stop    context.CancelFunc
	ctx     context.Context
	late    time.Time // after that no outcome is asked for any more; set before ctx ends
	group   sync.WaitGroup

	committed       atomic.Int64 // writes known to have happened
	unknown         atomic.Int64 // writes whose answer was lost
	foundCommitted  atomic.Int64 // those of them that turned out to have happened
	foundAborted    atomic.Int64 // and not to have happened
	refused         atomic.Int64 // writes known not to have happened, by an error
	failuresNoticed atomic.Int64

	mu       sync.Mutex
	failures []string
}

// begin makes the crew's context; its end is the test's at the latest. What is wrong is told then, even
// if the test ended early for another reason.
func (c *crew) begin() {
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.t.Cleanup(func() {
		c.end()
		c.report()
	})
}

func (c *crew) run(f func()) { c.group.Go(f) }

func (c *crew) stopped() bool { return c.ctx.Err() != nil }

// end stops all and waits for them; what is under way is brought to its end.
func (c *crew) end() {
	if !c.stopped() {
		c.late = time.Now().Add(outcomeTimeout)
		c.stop()
	}
	c.group.Wait()
}

// failf notes a broken promise. There may be thousands of one kind: the first few are told.
func (c *crew) failf(format string, args ...any) {
	const failuresMax = 10
	c.failuresNoticed.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failures) < failuresMax {
		c.failures = append(c.failures, fmt.Sprintf(format, args...))
	}
}

// report fails the test with what was found to be wrong, once.
func (c *crew) report() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.failures {
		c.t.Error(f)
	}
	c.failures = nil
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
func (c *crew) settle(by *client.Client, what string, err error) fate {
	var ambiguous *client.AmbiguousError
	switch {
	case err == nil:
		c.committed.Add(1)
		return happened
	case !errors.As(err, &ambiguous):
		c.refused.Add(1)
		if !slices.Contains(refusals, kv.KindOf(err)) {
			c.failf("%s: an error that no fault explains: %v", what, err)
		}
		return didNot
	}
	c.unknown.Add(1)
	switch o, err := c.outcome(by, ambiguous); {
	case o == client.Committed:
		c.committed.Add(1)
		c.foundCommitted.Add(1)
		return happened
	case o == client.Aborted:
		c.foundAborted.Add(1)
		return didNot
	default:
		c.failf("%s: its outcome is not to be had: %v, %v", what, o, err)
		return unknown
	}
}

// outcome asks until it is told, by the id and by the token in turn.
func (c *crew) outcome(by *client.Client, of *client.AmbiguousError) (client.Outcome, error) {
	for try := 0; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		var o client.Outcome
		var err error
		if try%2 == 0 {
			o, err = by.OutcomeOf(ctx, of.Token)
		} else {
			o, err = by.Outcome(ctx, of.ID)
		}
		cancel()
		if err == nil && o != client.Unknown {
			return o, nil
		}
		if kv.KindOf(err) == kv.Invalid {
			c.failf("the outcome of %s: %v", of.ID, err)
		}
		if c.stopped() && (c.t.Failed() || time.Now().After(c.late)) {
			return o, err
		}
		time.Sleep(10 * time.Millisecond) // it may have failed at once
	}
}

// call is the context of one operation. It ends when the load does, too: what is under way
// then is as good a test as any.
func (c *crew) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.ctx, callTimeout)
}

// rest lets others work between two operations, and longer after an error.
func (c *crew) rest(err error) {
	const pause, errorPause = time.Millisecond, 20 * time.Millisecond
	if err != nil {
		time.Sleep(errorPause)
		return
	}
	time.Sleep(pause)
}

// Await waits until n more writes have happened, or a promise is found to be broken.
func (c *crew) Await(n int64) {
	c.t.Helper()
	from := c.committed.Load()
	c.cluster.Eventually(c.t, fmt.Sprintf("%d more writes", n), func() error {
		if got := c.committed.Load() - from; got < n && !c.broken() {
			return fmt.Errorf("only %d; refused %d, unknown %d in all", got, c.refused.Load(), c.unknown.Load())
		}
		return nil
	})
}

// broken reports whether a promise was found to be broken.
func (c *crew) broken() bool { return c.failuresNoticed.Load() > 0 }
