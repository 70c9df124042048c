package kvtest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
)

// patience is how long something that a cluster must be able to do may take before the test fails.
const patience = time.Minute

// When says where a commit fails.
type When int32

// The places.
const (
	// BeforeCommitPoint fails a commit with a conflict: it never happens. Update runs its function
	// again; a single write or Tx.Commit ends in a *client.ConflictError.
	BeforeCommitPoint When = 1
	// AfterCommitPoint loses the answer to a commit that has happened. The client finds out, and its
	// caller sees nothing of it.
	AfterCommitPoint When = 2
)

// Cluster is some nodes in one process.
type Cluster struct {
	tb     testing.TB
	nodes  []*node
	faults faults
	ahead  atomic.Int64 // nanoseconds by which the clocks of the nodes are
}

// NewServer starts a cluster of one node, which ends with the test.
func NewServer(tb testing.TB) *Cluster {
	tb.Helper()
	return NewCluster(tb, 1)
}

// NewCluster starts a cluster of n nodes, which ends with the test.
func NewCluster(tb testing.TB, n int) *Cluster {
	tb.Helper()
	return NewClusterAt(tb, make([]string, n)...)
}

// NewClusterAt starts a cluster with a node at each of some localities, in the words of the nodes' --locality
// ("region=x,zone=y"). It ends with the test.
func NewClusterAt(tb testing.TB, localities ...string) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	dir := tb.TempDir()
	tb.Cleanup(c.stop)
	for i, l := range localities {
		f, err := newFront()
		c.check(err, "node %d", i)
		c.nodes = append(c.nodes, &node{front: f, dir: filepath.Join(dir, fmt.Sprint(i)), locality: l})
	}
	var group sync.WaitGroup
	errs := make([]error, len(c.nodes))
	for i, node := range c.nodes {
		c.check(node.open(c.addresses(), c), "node %d", i)
	}
	for i, node := range c.nodes {
		group.Go(func() { errs[i] = c.start(node) })
	}
	group.Wait()
	for i, err := range errs {
		c.check(err, "node %d", i)
	}
	return c
}

// check fails the test unless err is nil.
func (c *Cluster) check(err error, format string, args ...any) {
	c.tb.Helper()
	if err != nil {
		c.tb.Fatalf("kvtest: %s: %v", fmt.Sprintf(format, args...), err)
	}
}

func (c *Cluster) addresses() []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.front.address())
	}
	return all
}

// start has an open node serve, and waits until the oracle has answered it.
func (c *Cluster) start(n *node) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.host.Start(ctx); err != nil {
		return err
	}
	for !n.host.Answered() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

func (c *Cluster) stop() {
	var group sync.WaitGroup
	for i, n := range c.nodes {
		group.Go(func() {
			if n.host != nil {
				if err := n.stop(); err != nil {
					c.tb.Errorf("kvtest: node %d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
	for _, n := range c.nodes {
		n.front.close()
	}
}

// Target is what client.Open wants.
func (c *Cluster) Target() string { return strings.Join(c.addresses(), ",") }

// Client opens a client, which is closed with the test.
func (c *Cluster) Client(opts ...client.Option) *client.Client {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	k, err := client.Open(ctx, c.Target(), opts...)
	c.check(err, "client")
	c.tb.Cleanup(func() { _ = k.Close() })
	return k
}

func (c *Cluster) node(i int) *node {
	c.tb.Helper()
	if i < 0 || i >= len(c.nodes) {
		c.tb.Fatalf("kvtest: there is no node %d: the nodes are 0 to %d", i, len(c.nodes)-1)
	}
	return c.nodes[i]
}

// Kill ends a node at once: it hands nothing over, and whoever waits for its answers loses them.
func (c *Cluster) Kill(i int) {
	c.tb.Helper()
	n := c.node(i)
	if n.host == nil {
		c.tb.Fatalf("kvtest: node %d does not run", i)
	}
	c.check(n.stop(), "node %d", i)
}

// Restart starts a node that was killed.
func (c *Cluster) Restart(i int) {
	c.tb.Helper()
	n := c.node(i)
	if n.host != nil {
		c.tb.Fatalf("kvtest: node %d runs", i)
	}
	c.check(n.open(c.addresses(), c), "node %d", i)
	c.check(c.start(n), "node %d", i)
}

// Partition cuts a node off from all clients and other nodes, both ways, until Heal. It goes on
// running, and does not know.
func (c *Cluster) Partition(i int) {
	c.tb.Helper()
	c.node(i).front.setCut(true)
}

// Lag cuts a node off from what the others tell it, until Heal: clients reach it, but what it has gets old.
func (c *Cluster) Lag(i int) {
	c.tb.Helper()
	c.setLag(i, true)
}

func (c *Cluster) setLag(i int, lag bool) {
	to := c.node(i).front.address()
	for j, n := range c.nodes {
		if j != i {
			n.front.setMute(to, lag)
		}
	}
}

// Heal joins a node again that was cut off.
func (c *Cluster) Heal(i int) {
	c.tb.Helper()
	c.node(i).front.setCut(false)
	c.setLag(i, false)
}

// MoveLeader has a node lead the partition of a key, and returns once it does.
func (c *Cluster) MoveLeader(keyspace string, key []byte, to int) {
	c.tb.Helper()
	n := c.node(to)
	if n.host == nil {
		c.tb.Fatalf("kvtest: node %d does not run", to)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	k, err := client.Open(ctx, c.Target())
	c.check(err, "client")
	defer k.Close()
	admin := k.In(keyspace).Admin()
	for {
		p, err := admin.Locate(ctx, key)
		if err == nil && p.Leader == n.host.Info().ID {
			return
		}
		if err == nil {
			err = admin.MoveLeader(ctx, p.Descriptor.Partition, n.host.Info().ID)
		}
		select {
		case <-ctx.Done():
			c.check(err, "the leader of %q in %s did not move to node %d", key, keyspace, to)
			c.tb.Fatalf("kvtest: the leader of %q in %s did not move to node %d", key, keyspace, to)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// FailNextCommit fails the next commit of any client, once.
func (c *Cluster) FailNextCommit(when When) { c.faults.next.Store(int32(when)) }

// Advance moves the wall clocks of all nodes forward, and with them the timestamps of what is written next: after an
// hour or more, old versions are collected. Clients are not told but by timestamps.
func (c *Cluster) Advance(d time.Duration) {
	c.tb.Helper()
	if d < 0 {
		c.tb.Fatalf("kvtest: the clocks cannot go back, by %v", d)
	}
	c.ahead.Add(int64(d))
}

// wall is the nodes' clock.
func (c *Cluster) wall() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
