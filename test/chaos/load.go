package chaos

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/test/cluster"
)

// Sizes of the load: enough to have every kind of operation under way at any moment, few
// enough to leave a small machine's time to the nodes.
const (
	writers       = 8
	keysPerWriter = 4
	counters      = 3
	addersEach    = 2
	chains        = 2
	climbersEach  = 3
	readers       = 2
)

// Load is clients at work on a cluster, and the books of what they were told.
type Load struct {
	crew
	clients []*client.Client // of the keyspaces under load
	reads   atomic.Int64

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
	l := &Load{crew: crew{t: t, cluster: c}}
	for range 2 {
		one := c.Client(t, client.WithLogger(slog.New(slog.DiscardHandler)))
		l.clients = append(l.clients, one, one.In(spread))
	}
	l.begin()
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
	l.report()
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
