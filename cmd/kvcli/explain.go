package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

const explainLong = `explain runs a command, prints nothing of what it finds, and shows every request that was made
for it: which copy of it (attempt), to which partition and node, as what (reader, anchor or
participant), when it began and how long it took, the bytes of the answer, the timestamp in it, and what became of it.
Where the time went is what the node says:
  lock_wait  for locks and latches that others held; a read: for writes under way
  draw       for a timestamp
  consensus  from the proposal until it was committed, at a participant until it was applied
  storage    reading the engine
What is left to elapsed is the network's and queues', and at the anchor the wait for its participants.
A request that was refused has these as well, as far as the node told.
Participants were asked by the leader of the anchor: elapsed is until their acknowledgement or refusal
was there, bytes are those of the keys and values that they were sent. Of a commit in parallel (kvd start --commit
parallel) staged is until a part was durable, from when the timestamp was there: the longest was the last.
In a transaction, explain commit shows the commit. A command that asks nobody, as a put in a
transaction or a get of a key that was read before, has no rows.`

func newExplain(c *call) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain COMMAND...",
		Short: "Run a command and show the requests that it made",
		Long:  explainLong,
		Args:  cobra.ArbitraryArgs,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, partial string) ([]string, cobra.ShellCompDirective) {
			return c.app.candidates(cmd.Context(), args, partial), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usage("explain takes a command, as in: explain get KEY")
			case args[0] == cmd.Name():
				return usage("an explanation cannot be explained: leave out one explain")
			}
			return c.explain(cmd.Context(), args)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the command is its own
	return cmd
}

// explain runs a command with its data thrown away. The format is the one that the command asks for.
func (c *call) explain(ctx context.Context, args []string) error {
	trace := &store.Trace{}
	inner := &call{app: c.app, globals: c.globals}
	out := c.app.out
	c.app.out, c.app.traced = io.Discard, true
	failed := inner.run(store.WithTrace(ctx, trace), args)
	c.app.out = out
	if !inner.started {
		return failed
	}
	c.format = inner.format
	if err := c.requests(ctx, inner, trace.Requests()); err != nil && failed == nil {
		failed = err
	}
	return failed
}

// requests prints what was sent.
func (c *call) requests(ctx context.Context, inner *call, all []store.Request) error {
	l := c.list()
	var nodes map[string]kv.NodeID
	if len(all) > 0 {
		nodes = c.nodes(ctx, inner)
	}
	attempts := map[string]int{}
	for i := range all {
		r := &all[i]
		attempts[r.Method] = max(attempts[r.Method], 1)
		if err := l.Row(requestRecord(r, attempts[r.Method], r.Start.Sub(all[0].Start), nodes)); err != nil {
			return err
		}
		if r.Told() {
			for k := range r.Participants {
				p := &r.Participants[k]
				if err := l.Row(requestRecord(p, attempts[r.Method], p.Start.Sub(all[0].Start), nodes)); err != nil {
					return err
				}
			}
		}
		if r.Err != nil {
			attempts[r.Method]++
		}
	}
	return c.listed(l)
}

// nodes asks for the numbers of nodes, by address. Without the map there are none, and that is no error.
func (c *call) nodes(ctx context.Context, inner *call) map[string]kv.NodeID {
	nodes := map[string]kv.NodeID{}
	ctx, cancel := inner.within(ctx)
	defer cancel()
	s, err := inner.store(ctx)
	if err != nil {
		return nodes
	}
	t, err := s.Topology(ctx, "")
	if err != nil {
		return nodes
	}
	for _, n := range t.Nodes {
		nodes[n.Address] = n.ID
	}
	return nodes
}

// known is a number, or nothing for 0.
func known[N ~uint64](n N) any {
	if n == 0 {
		return nil
	}
	return uint64(n)
}

// taken is a time that a node has told, or nothing if it has not answered.
func taken(r *store.Request, d time.Duration) *time.Duration {
	if !r.Told() {
		return nil
	}
	return &d
}

// staged is how long a part of a commit in parallel took to become durable, or nothing if it was none.
func staged(r *store.Request) *time.Duration {
	if r.Staged == 0 {
		return nil
	}
	return &r.Staged
}

func requestRecord(r *store.Request, attempt int, start time.Duration, nodes map[string]kv.NodeID) output.Record {
	var timestamp any
	if r.Timestamp != 0 {
		timestamp = r.Timestamp
	}
	result, message := "ok", any(nil)
	if r.Err != nil {
		result, message = kv.KindOf(r.Err).String(), kv.AsError(r.Err).Message
	}
	return output.Record{
		{Name: "attempt", Value: attempt},
		{Name: "request", Value: r.Method},
		{Name: "partition", Value: known(kv.PartitionID(r.Partition))},
		{Name: "role", Value: string(r.Role)},
		{Name: "node", Value: known(nodes[r.Node])},
		{Name: "address", Value: r.Node},
		{Name: "start", Value: start},
		{Name: "elapsed", Value: r.Elapsed},
		{Name: "staged", Value: staged(r)},
		{Name: "lock_wait", Value: taken(r, r.Spent.LockWait)},
		{Name: "draw", Value: taken(r, r.Spent.Draw)},
		{Name: "consensus", Value: taken(r, r.Spent.Consensus)},
		{Name: "storage", Value: taken(r, r.Spent.Storage)},
		{Name: "bytes", Value: r.Bytes},
		{Name: "timestamp", Value: timestamp},
		{Name: "result", Value: result},
		{Name: "error", Value: message},
	}
}
