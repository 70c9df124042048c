package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/sim/check"
	"github.com/kvd-db/kvd/test/cluster"
)

// Sizes of the load of transactions.
const (
	listWorkers   = 5
	bankWorkers   = 3
	auditors      = 2
	markerWorkers = 4
)

// Transactions is clients that run transactions over several partitions, and their books.
type Transactions struct {
	crew
	seed    uint64
	began   time.Time
	clients []*client.Client

	attemptsAgain atomic.Int64 // attempts that were overtaken by another transaction
	lists         *lists
	bank          *bank
	markers       *markers
}

// StartTransactions makes keyspaces of several partitions each, and has clients work in them.
func StartTransactions(t testing.TB, c *cluster.Cluster, seed uint64) *Transactions {
	t.Helper()
	c.WaitHealthy(t)
	for _, args := range [][]string{
		{listSpace, "--split-at", "b,c,d"},
		{bankSpace, "--split-at", "account-04,account-08,account-12"},
		{markerSpace, "--scheme", "hash", "--partitions", "3"},
		{mirrorSpace, "--split-at", "m"},
	} {
		c.MustCLI(t, append([]string{"keyspace", "create"}, args...)...)
	}
	x := &Transactions{crew: crew{t: t, cluster: c}, seed: seed, began: time.Now()}
	hooks := client.Hooks{TxRetry: func(_ context.Context, _ client.TxID, _ int, err error, _ time.Duration) {
		if k := kv.KindOf(err); k == kv.Conflict || k == kv.Aborted {
			x.attemptsAgain.Add(1)
		}
	}}
	for range 2 {
		x.clients = append(x.clients, c.Client(t, client.WithLogger(slog.New(slog.DiscardHandler)), client.WithHooks(hooks)))
	}
	x.lists, x.bank, x.markers = newLists(x), newBank(x), newMarkers(x)
	x.begin()
	for i := range listWorkers {
		x.forever(i, x.lists.transact)
	}
	for i := range bankWorkers {
		x.forever(i, x.bank.transfer)
	}
	for i := range auditors {
		x.forever(i, x.bank.audit)
	}
	for i := range markerWorkers {
		x.forever(i, x.markers.write)
	}
	return x
}

// worker is one goroutine of the load.
type worker struct {
	number int
	rng    *rand.Rand
	client *client.Client
	other  *client.Client // of another connection
}

// forever has one more goroutine do something again and again.
func (x *Transactions) forever(number int, do func(*worker) error) {
	w := &worker{number: number, rng: rand.New(rand.NewPCG(x.seed, uint64(number)))}
	w.client, w.other = x.clients[number%len(x.clients)], x.clients[(number+1)%len(x.clients)]
	x.run(func() {
		for !x.stopped() {
			x.rest(do(w))
		}
	})
}

// now is the time for histories.
func (x *Transactions) now() check.Time { return int64(time.Since(x.began)) }

// Verify stops the load and holds a cluster that is whole again against the books.
func (x *Transactions) Verify() {
	x.t.Helper()
	x.end()
	x.cluster.WaitHealthy(x.t)
	x.lists.verify()
	x.bank.verify()
	x.markers.verify()
	x.cluster.Check(x.t)
	x.report()
	x.t.Log(x.summary())
}

// summary is what has happened, in numbers.
func (x *Transactions) summary() string {
	return fmt.Sprintf("%d transactions committed, %d attempts were overtaken and tried again, %d transactions were refused by an error; "+
		"of %d the answer was lost: %d turned out to be committed, %d aborted; %d list transactions judged; %d transfers; %d audits; "+
		"%d commits called off at a random moment; %d violations",
		x.committed.Load(), x.attemptsAgain.Load(), x.refused.Load(), x.unknown.Load(), x.foundCommitted.Load(), x.foundAborted.Load(),
		x.lists.count(), x.bank.transfers.Load(), x.bank.audits.Load(), x.markers.calledOff.Load(), x.failuresNoticed.Load())
}

// eventually does something that a whole cluster can do.
func (x *Transactions) eventually(what string, do func(ctx context.Context) error) {
	x.t.Helper()
	x.cluster.Eventually(x.t, what, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		return do(ctx)
	})
}
