package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// parse reads literals. Standard input is free only for one command: a script is it, and
// at a prompt it is the person.
func (c *call) parse(words ...string) ([][]byte, error) {
	src := &literal.Source{}
	if c.app.mode == modeOnce {
		src.Stdin = c.app.in
	}
	out := make([][]byte, len(words))
	for i, w := range words {
		b, err := src.Parse(w)
		if err != nil {
			return nil, err
		}
		out[i] = b
	}
	return out, nil
}

// withStore runs the part of a command that asks the cluster once.
func (c *call) withStore(cmd *cobra.Command, do func(ctx context.Context, s store.Store) error) error {
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	s, err := c.store(ctx)
	if err == nil {
		err = do(ctx, s)
	}
	return cause(ctx, err)
}

// withData is withStore for a command that takes part in an open transaction.
func (c *call) withData(cmd *cobra.Command, do func(ctx context.Context, d store.Data) error) error {
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	d, err := c.data(ctx)
	if err == nil {
		err = do(ctx, d)
	}
	return cause(ctx, err)
}

// written prints a write. One that waits for the commit of its transaction has no version yet, and
// nothing to print in the format raw.
func (c *call) written(key []byte, d store.Commit) error {
	rec := output.Record{{Name: "key", Value: output.Bytes(key)}}
	if d.Version != store.Buffered {
		return c.one(append(rec, output.Field{Name: "version", Value: d.Version}, output.Field{Name: "id", Value: d.ID.String()}), "version")
	}
	if c.format == output.Raw {
		return nil
	}
	return c.one(append(rec, output.Field{Name: "buffered", Value: true}), "")
}

// versionOf is a version as it is printed; what a transaction has written itself has none yet.
func versionOf(t kv.Timestamp) any {
	if t == store.Buffered {
		return "buffered"
	}
	return t
}

func newPut(c *call) *cobra.Command {
	return &cobra.Command{
		Use:               "put KEY VALUE",
		Short:             "Set a key",
		Args:              exactly("KEY", "VALUE"),
		ValidArgsFunction: c.completeKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			words, err := c.parse(args...)
			if err != nil {
				return err
			}
			return c.withData(cmd, func(ctx context.Context, d store.Data) error {
				done, err := d.Put(ctx, words[0], words[1])
				if err != nil {
					return err
				}
				return c.written(words[0], done)
			})
		},
	}
}

// boundFlags are the flags that say how old a read may be.
type boundFlags struct {
	at                string
	staleBy, maxStale time.Duration
}

func (b *boundFlags) add(f *pflag.FlagSet) {
	f.StringVar(&b.at, "at", "", "read the state at a version `T`: a number, or a time in RFC 3339")
	f.DurationVar(&b.staleBy, "stale-by", 0, "read the state so long ago")
	f.DurationVar(&b.maxStale, "max-stale", 0, "read a state that may be so old")
}

func (b *boundFlags) bound() (store.Bound, error) {
	set := 0
	for _, given := range []bool{b.at != "", b.staleBy != 0, b.maxStale != 0} {
		if given {
			set++
		}
	}
	if set > 1 {
		return store.Bound{}, usage("--at, --stale-by and --max-stale exclude each other")
	}
	if b.staleBy < 0 || b.maxStale < 0 {
		return store.Bound{}, usage("a state in the future cannot be read: --stale-by and --max-stale count backwards")
	}
	bound := store.Bound{StaleBy: b.staleBy, MaxStale: b.maxStale}
	if b.at != "" {
		var err error
		if bound.At, err = parseTimestamp(b.at); err != nil {
			return store.Bound{}, err
		}
	}
	return bound, nil
}

// parseTimestamp reads a version as it is printed, or a time.
func parseTimestamp(s string) (kv.Timestamp, error) {
	digits := s
	for i, r := range s {
		if r == '@' {
			digits = s[:i]
			break
		}
	}
	if n, err := strconv.ParseUint(digits, 10, 64); err == nil && n > 0 {
		return kv.Timestamp(n), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil && t.UnixMilli() > 0 {
		return kv.MakeTimestamp(t.UnixMilli(), 0), nil
	}
	return 0, usage("%q is no version: it is a number as kvcli prints it, or a time such as 2026-11-24T10:00:00Z", s)
}

func newGet(c *call) *cobra.Command {
	var bound boundFlags
	cmd := &cobra.Command{
		Use:               "get KEY",
		Short:             "Read a key; a missing one is exit code 3",
		Args:              exactly("KEY"),
		ValidArgsFunction: c.completeKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := bound.bound()
			if err != nil {
				return err
			}
			words, err := c.parse(args...)
			if err != nil {
				return err
			}
			return c.withData(cmd, func(ctx context.Context, d store.Data) error {
				p, err := d.Get(ctx, words[0], b)
				if err != nil {
					return err
				}
				return c.printPair(p)
			})
		},
	}
	bound.add(cmd.Flags())
	return cmd
}

func pairRecord(p store.Pair) output.Record {
	return output.Record{{Name: "key", Value: output.Bytes(p.Key)}, {Name: "value", Value: output.Bytes(p.Value)}, {Name: "version", Value: versionOf(p.Version)}}
}

// printPair prints what get found: on a terminal as a row of a table, like scan.
func (c *call) printPair(p store.Pair) error {
	if c.format != output.Table {
		return c.one(pairRecord(p), "value")
	}
	l := c.list()
	if err := l.Row(pairRecord(p)); err != nil {
		return err
	}
	return c.listed(l)
}

func newDel(c *call) *cobra.Command {
	return &cobra.Command{
		Use:               "del KEY",
		Short:             "Remove a key; it is no error if it is not there",
		Args:              exactly("KEY"),
		ValidArgsFunction: c.completeKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			words, err := c.parse(args...)
			if err != nil {
				return err
			}
			return c.withData(cmd, func(ctx context.Context, d store.Data) error {
				done, err := d.Delete(ctx, words[0])
				if err != nil {
					return err
				}
				return c.written(words[0], done)
			})
		},
	}
}

func newCas(c *call) *cobra.Command {
	var absent bool
	var value, version string
	cmd := &cobra.Command{
		Use:               "cas KEY (--expect-absent | --expect-value V | --expect-version T) VALUE",
		Short:             "Set a key if it is as expected; if not, exit code 4",
		Args:              exactly("KEY", "VALUE"),
		ValidArgsFunction: c.completeKey,
	}
	f := cmd.Flags()
	f.BoolVar(&absent, "expect-absent", false, "the key is not there")
	f.StringVar(&value, "expect-value", "", "the key has this value")
	f.StringVar(&version, "expect-version", "", "the key has this version")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		want, err := c.expectation(f, value, version)
		if err != nil {
			return err
		}
		words, err := c.parse(args...)
		if err != nil {
			return err
		}
		return c.withData(cmd, func(ctx context.Context, d store.Data) error {
			done, err := d.CompareAndSet(ctx, words[0], want, words[1])
			if err != nil {
				return err
			}
			return c.written(words[0], done)
		})
	}
	return cmd
}

func (c *call) expectation(f *pflag.FlagSet, value, version string) (kv.Expect, error) {
	given := 0
	for _, name := range []string{"expect-absent", "expect-value", "expect-version"} {
		if f.Changed(name) {
			given++
		}
	}
	if given != 1 {
		return kv.Expect{}, usage("cas takes exactly one of --expect-absent, --expect-value and --expect-version")
	}
	switch {
	case f.Changed("expect-value"):
		b, err := (&literal.Source{}).Parse(value)
		return kv.Expect{Kind: kv.ExpectValue, Value: b}, err
	case f.Changed("expect-version"):
		t, err := parseTimestamp(version)
		return kv.Expect{Kind: kv.ExpectVersion, Version: t}, err
	}
	return kv.Expect{Kind: kv.ExpectAbsent}, nil
}

func newAdd(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "add KEY N",
		Short: "Add to a decimal integer; an absent key counts as 0",
		Long: `add prints the sum. In a transaction there is none before the commit, which refuses a value that is no
integer: the key is not read, so that transactions which only add to it do not conflict.`,
		Args:              exactly("KEY", "N"),
		ValidArgsFunction: c.completeKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return usage("%q is no integer between -2^63 and 2^63-1", args[1])
			}
			words, err := c.parse(args[0])
			if err != nil {
				return err
			}
			return c.withData(cmd, func(ctx context.Context, d store.Data) error {
				sum, done, err := d.Add(ctx, words[0], n)
				if err != nil {
					return err
				}
				if done.Version == store.Buffered { // the sum is not known
					return c.written(words[0], done)
				}
				return c.one(output.Record{{Name: "key", Value: output.Bytes(words[0])}, {Name: "value", Value: sum}, {Name: "version", Value: done.Version}, {Name: "id", Value: done.ID.String()}}, "value")
			})
		},
	}
}

func newOutcome(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "outcome ID",
		Short: "Tell what became of a write or transaction whose answer was lost; exit code 6 if that is still unknown",
		Long: `The ID is what the error of the write named. Inside of one prompt or script the
32 digits of the transaction's id do as well. The answer is final: what was not
committed by then never will be.`,
		Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := c.withStore(cmd, func(ctx context.Context, s store.Store) error {
				o, err := outcome(ctx, s, args[0])
				if err != nil {
					return err
				}
				names := map[kv.Outcome]string{kv.OutcomeUnknown: "unknown", kv.OutcomeCommitted: "committed", kv.OutcomeAborted: "aborted"}
				err = c.one(output.Record{{Name: "id", Value: args[0]}, {Name: "outcome", Value: names[o]}}, "outcome")
				if o == kv.OutcomeUnknown {
					err = errors.Join(err, kv.Errorf(kv.Ambiguous, "the outcome is not to be had now: ask again when the cluster is healthy"))
				}
				return err
			})
			return stillUnknown(err)
		},
	}
}

// stillUnknown makes an outcome that is not to be had now out of a cluster that does not answer.
func stillUnknown(err error) error {
	switch kv.KindOf(err) {
	case kv.Unavailable, kv.Timeout, kv.NotLeader, kv.WrongPartition:
		return kv.Errorf(kv.Ambiguous, "the outcome is not to be had now, ask again when the cluster is healthy: %s", kv.AsError(err).Message)
	}
	return err
}

// outcome asks by a token, or by the id alone, which does in the process whose write it was.
func outcome(ctx context.Context, s store.Store, name string) (kv.Outcome, error) {
	id, err := kv.ParseTxID(name)
	if err != nil {
		return s.OutcomeOf(ctx, name)
	}
	o, err := s.Outcome(ctx, id)
	if kv.KindOf(err) == kv.Invalid {
		return o, kv.Errorf(kv.Ambiguous, "the outcome of %s is not to be had by its id alone: give what the error of the commit named for outcome", id)
	}
	return o, err
}
