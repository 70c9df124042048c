package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

func newTxs(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "txs",
		Short: "List the transactions over several partitions that are under way",
		Long: `txs asks the leaders of all partitions, of one keyspace if --keyspace is given, which transactions
over several partitions they know, and as what:
  coordinator  the transaction is decided here
  participant  it has locks here
  resolver     it is committed, and its participants are being told; missing names those who have not confirmed
The age of a transaction is the time of its first attempt; of two that want the same the older one wins.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.eachTransaction(cmd, func(l *output.List, t *kv.Topology, p *kv.TransactionsAnswer, x *kv.TransactionStatus) error {
				return l.Row(transactionRecord(t, p, x))
			})
		},
	}
}

func newLocks(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "locks [PREFIX]",
		Short: "List the locks of transactions over several partitions, and who waits for them",
		Long: `locks asks the leaders of all partitions, of one keyspace if --keyspace is given, for the locks that
transactions over several partitions hold: on keys, and on ranges that were scanned. A writer takes
an exclusive lock, a reader of a transaction that writes elsewhere a shared one. A range has an end,
which is the empty key if it goes on to the end of the keyspace. The id is that of txs.`,
		Args:              between(0, "[PREFIX]"),
		ValidArgsFunction: c.completeKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			words, err := c.parse(args...)
			if err != nil {
				return err
			}
			return c.eachTransaction(cmd, func(l *output.List, t *kv.Topology, p *kv.TransactionsAnswer, x *kv.TransactionStatus) error {
				for _, k := range x.Locks {
					in, start, end := userSpan(t, k.Span)
					if len(words) > 0 && !touches(start, end, words[0]) {
						continue
					}
					if err := l.Row(lockRecord(in, start, end, k, p, x)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// eachTransaction calls row for what the leaders of all partitions know. One that does not answer is
// an error in the end; what the others say is printed.
func (c *call) eachTransaction(cmd *cobra.Command, row func(*output.List, *kv.Topology, *kv.TransactionsAnswer, *kv.TransactionStatus) error) error {
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	s, err := c.store(ctx)
	if err != nil {
		return cause(ctx, err)
	}
	t, err := c.topology(ctx, cmd, s)
	if err != nil {
		return cause(ctx, err)
	}
	l := c.list()
	var missing error
	silent := 0
	for _, x := range c.askLeaders(cmd.Context(), s, t) {
		if x.err != nil {
			silent++
			missing = x.err
			continue
		}
		for i := range x.answer.Transactions {
			if err := row(l, t, x.answer, &x.answer.Transactions[i]); err != nil {
				return err
			}
		}
		c.tellMore(x.answer)
	}
	if err := c.listed(l); err != nil || missing == nil {
		return err
	}
	e := *kv.AsError(missing)
	e.Message = fmt.Sprintf("%s did not answer: %s", plural(int64(silent), "partition"), e.Message)
	return &e
}

// tellMore says on standard error what was left out.
func (c *call) tellMore(a *kv.TransactionsAnswer) {
	locks := 0
	for i := range a.Transactions {
		locks += a.Transactions[i].MoreLocks
	}
	if a.More > 0 || locks > 0 {
		fmt.Fprintf(c.app.err, "partition %d has more: %s and %s are not listed\n", a.Partition, plural(int64(a.More), "transaction"), plural(int64(locks), "lock"))
	}
}

// leadersAskedMax is how many are asked at a time.
const leadersAskedMax = 16

type leaderAnswer struct {
	answer *kv.TransactionsAnswer
	err    error
}

// askLeaders asks all partitions of a map; the answers are in its order. Each may take --timeout.
func (c *call) askLeaders(ctx context.Context, s store.Store, t *kv.Topology) []leaderAnswer {
	var asked []kv.PartitionID
	for _, p := range t.Partitions {
		if p.Descriptor.Partition != kv.SystemPartition { // the core has none
			asked = append(asked, p.Descriptor.Partition)
		}
	}
	all := make([]leaderAnswer, len(asked))
	room := make(chan struct{}, leadersAskedMax)
	var running sync.WaitGroup
	for i, p := range asked {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			ctx, cancel := c.within(ctx)
			defer cancel()
			a, err := s.Transactions(ctx, p)
			all[i] = leaderAnswer{a, cause(ctx, err)}
		})
	}
	running.Wait()
	return all
}

// userSpan is a lock as its keyspace's users know it. end is nil for a key; a range to the end of the
// keyspace has one that is empty.
func userSpan(t *kv.Topology, s kv.Span) (keyspace string, start, end []byte) {
	for _, k := range t.Keyspaces {
		if k.ID != s.Start.Keyspace() {
			continue
		}
		start = k.UserKey(s.Start)
		if len(s.End) > 0 {
			if end = k.UserKey(s.End); end == nil {
				end = []byte{}
			}
		}
		return k.Name, start, end
	}
	return "", s.Start, s.End // dropped meanwhile
}

// touches reports whether a key, or a range, has anything that begins with the prefix.
func touches(start, end, prefix []byte) bool {
	if end == nil {
		return bytes.HasPrefix(start, prefix)
	}
	last := kv.PrefixEnd(prefix)
	return (len(last) == 0 || bytes.Compare(start, last) < 0) && (len(end) == 0 || bytes.Compare(prefix, end) < 0)
}

func transactionRecord(t *kv.Topology, p *kv.TransactionsAnswer, x *kv.TransactionStatus) output.Record {
	in, anchor, _ := userSpan(t, kv.Span{Start: x.AnchorKey})
	missing := make([]string, len(x.Missing))
	for i, p := range x.Missing {
		missing[i] = strconv.FormatUint(uint64(p), 10)
	}
	return output.Record{
		{Name: "partition", Value: uint64(p.Partition)},
		{Name: "leader", Value: uint64(p.Node)},
		{Name: "role", Value: x.Role},
		{Name: "state", Value: x.State},
		{Name: "id", Value: x.ID.String()},
		{Name: "age", Value: x.Age.Timestamp()},
		{Name: "since", Value: x.Since},
		{Name: "locks", Value: len(x.Locks) + x.MoreLocks},
		{Name: "waiters", Value: x.Waiters},
		{Name: "anchor", Value: uint64(x.Anchor)},
		{Name: "keyspace", Value: in},
		{Name: "anchor_key", Value: output.Bytes(anchor)},
		{Name: "missing", Value: missing},
	}
}

func lockRecord(in string, start, end []byte, k kv.LockStatus, p *kv.TransactionsAnswer, x *kv.TransactionStatus) output.Record {
	mode := "shared"
	if k.Exclusive {
		mode = "exclusive"
	}
	var to any
	if end != nil {
		to = output.Bytes(end)
	}
	return output.Record{
		{Name: "keyspace", Value: in},
		{Name: "key", Value: output.Bytes(start)},
		{Name: "end", Value: to},
		{Name: "mode", Value: mode},
		{Name: "id", Value: x.ID.String()},
		{Name: "since", Value: x.Since},
		{Name: "waiters", Value: k.Waiters},
		{Name: "partition", Value: uint64(p.Partition)},
		{Name: "leader", Value: uint64(p.Node)},
	}
}
