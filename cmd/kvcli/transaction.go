package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/session"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
)

const beginLong = `begin opens a transaction: until commit, the commands get, put, del, cas, add, scan and
count are part of it, over any keyspaces. All reads see one state, that of the first one, and
over it what the transaction has written. Writes are kept here and happen at the commit,
all at one time, or not at all if anything that was read has changed: then the commit is
exit code 4, and retry runs the commands again.

begin ro reads one state and writes nothing; nothing can make it fail. It may be an older one:
  begin ro at -5s                      so long ago
  begin ro at 2026-11-24T10:00:00Z     then
  begin ro at 470679552000000001       at a version

The prompt shows the transaction: (tx 3f2a…), with * when there is something to commit, with !
when the commit was refused, (ro 10:00:00.000) for one that only reads. A script that ends inside
of one has it rolled back, with exit code 1. With --keep-going a command that fails, or that cannot be read,
is left out, and commit commits the others. begin after a commit that was refused gives that transaction up.`

func newBegin(c *call) *cobra.Command {
	return &cobra.Command{
		Use:               "begin [ro [at TIME]]",
		Short:             "Open a transaction",
		Long:              beginLong,
		Args:              between(0, "[ro", "[at", "TIME]]"),
		ValidArgsFunction: completeBegin,
		RunE: func(cmd *cobra.Command, args []string) error {
			readOnly, b, err := parseBegin(args)
			if err != nil {
				return err
			}
			if err := c.inLines(); err != nil {
				return err
			}
			if err := c.giveUp(cmd.Context()); err != nil {
				return err
			}
			return c.withStore(cmd, func(ctx context.Context, _ store.Store) error { return c.begin(ctx, readOnly, b) })
		},
	}
}

func completeBegin(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	words := []string{"ro", "at"}
	if len(args) < len(words) {
		return words[len(args) : len(args)+1], cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// parseBegin reads "", "ro" or "ro at TIME".
func parseBegin(args []string) (readOnly bool, b store.Bound, err error) {
	switch {
	case len(args) == 0:
		return false, b, nil
	case args[0] != "ro" || len(args) == 2 || len(args) == 3 && args[1] != "at":
		return false, b, usage("%q: it is begin, begin ro, or begin ro at TIME", strings.Join(args, " "))
	case len(args) == 1:
		return true, b, nil
	}
	if d, bad := time.ParseDuration(args[2]); bad == nil {
		if d > 0 {
			return false, b, usage("%q: a state in the future cannot be read; -%v is so long ago", args[2], d)
		}
		return true, store.Bound{StaleBy: -d}, nil
	}
	b.At, err = parseTimestamp(args[2])
	return true, b, err
}

// inLines refuses what needs a line before or after it.
func (c *call) inLines() error {
	if c.app.mode == modeOnce {
		return usage("a transaction lives in a prompt or a script: start kvcli alone, or kvcli < FILE")
	}
	return nil
}

// giveUp makes room for another transaction: one whose commit was refused is rolled back, since there is
// nothing left to do for it but retry.
func (c *call) giveUp(ctx context.Context) error {
	s := c.app.session
	switch {
	case s == nil:
		return nil
	case !s.Failed():
		return usage("a transaction (%s) is open: commit or rollback first", s.Name())
	}
	c.app.session = nil
	fmt.Fprintf(c.app.err, "the transaction (%s) had failed: it was rolled back\n", s.Name())
	return s.Rollback(ctx)
}

// begin opens a transaction on the connection, in its own keyspace: other ones are named later.
func (c *call) begin(ctx context.Context, readOnly bool, b store.Bound) (err error) {
	var s *session.Session
	if readOnly {
		s, err = session.BeginReadOnly(ctx, c.app.connection.store, b)
	} else {
		s, err = session.Begin(ctx, c.app.connection.store)
	}
	if err != nil {
		return err
	}
	c.app.session = s
	if readOnly {
		return c.event(output.Record{{Name: "read_only", Value: true}, {Name: "timestamp", Value: s.Timestamp()}})
	}
	return c.event(output.Record{{Name: "id", Value: s.ID().String()}, {Name: "read_only", Value: false}})
}

// event prints what has happened; the format raw is for data alone.
func (c *call) event(r output.Record) error {
	if c.format == output.Raw {
		return nil
	}
	return c.one(r, "")
}

// inTransaction is a command that ends or repeats the open transaction.
func (c *call) inTransaction(run func(cmd *cobra.Command, s *session.Session) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		if err := c.inLines(); err != nil {
			return err
		}
		s := c.app.session
		if s == nil {
			return usage("no transaction is open: begin opens one")
		}
		err := run(cmd, s)
		if s.Ended() {
			c.app.session = nil
		}
		return err
	}
}

func newCommit(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "commit",
		Short: "Do all that the transaction has written; exit code 4 if what it read has changed",
		Long: `commit ends the open transaction. Exit code 4: something that it read has changed, and nothing
was written; retry or rollback. Exit code 6: the answer was lost; the error names what to give to outcome.`,
		Args: exactly(),
		RunE: c.inTransaction(func(cmd *cobra.Command, s *session.Session) error {
			ctx, cancel := c.within(cmd.Context())
			defer cancel()
			done, err := s.Commit(ctx)
			if err = cause(ctx, err); err != nil && s.Failed() {
				return &refusedError{cause: err, open: c.app.mode == modePrompt}
			}
			if err != nil {
				return err
			}
			return c.one(committed(s, done), "version")
		}),
	}
}

// refusedError is the error of a commit that did not happen.
type refusedError struct {
	cause error
	open  bool // the transaction is still there, in front of a person
}

func (e *refusedError) Error() string { return e.cause.Error() }

// Unwrap gives the error of the commit.
func (e *refusedError) Unwrap() error { return e.cause }

func committed(s *session.Session, done store.Commit) output.Record {
	if s.ReadOnly() {
		return output.Record{{Name: "version", Value: done.Version}, {Name: "read_only", Value: true}}
	}
	return output.Record{
		{Name: "version", Value: done.Version},
		{Name: "id", Value: done.ID.String()},
		{Name: "reads", Value: done.Stats.Reads},
		{Name: "writes", Value: done.Stats.Writes},
		{Name: "partitions", Value: done.Stats.Partitions},
		{Name: "one_phase", Value: done.Stats.OnePhase},
	}
}

func newRollback(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "rollback",
		Short: "Forget all that the transaction has written",
		Args:  exactly(),
		RunE: c.inTransaction(func(cmd *cobra.Command, s *session.Session) error {
			if err := s.Rollback(cmd.Context()); err != nil {
				return err
			}
			if s.ReadOnly() {
				return c.event(output.Record{{Name: "rolled_back", Value: true}})
			}
			return c.event(output.Record{{Name: "id", Value: s.ID().String()}, {Name: "rolled_back", Value: true}})
		}),
	}
}

func newRetry(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "retry",
		Short: "Run the transaction's commands again; exit code 4 if one gives something else",
		Long: `retry runs all commands since begin on a new attempt, which reads a newer state, and leaves it
open for commit. They print nothing. If one of them does not give the same keys and values as the
first time, it stops there with exit code 4: the commands behind it may have been meant for
what was read before. The transaction counts as failed then, and rollback ends it.`,
		Args: exactly(),
		RunE: c.inTransaction(func(cmd *cobra.Command, s *session.Session) error {
			ctx, touch, cancel := c.idle(cmd.Context())
			defer cancel()
			n, err := s.Retry(ctx, touch)
			if err != nil {
				return cause(ctx, err)
			}
			return c.event(output.Record{{Name: "id", Value: s.ID().String()}, {Name: "commands", Value: n}})
		}),
	}
}

// abandon rolls back a transaction that is open when the lines end, and says so. The error, which is
// told already, is that of a script.
func (a *app) abandon() error {
	s := a.session
	if s == nil {
		return nil
	}
	a.session = nil
	failed := s.Failed()
	_ = s.Rollback(context.Background()) // nothing was sent: what cannot be rolled back is gone already
	if failed || s.ReadOnly() {
		return nil // nothing is lost by that
	}
	err := fmt.Errorf("the transaction (%s) was still open: it was rolled back", s.Name())
	fmt.Fprintln(a.err, "kvcli: "+err.Error())
	return &toldError{err}
}
