package main

import (
	"bytes"
	"context"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// rangeFlags are the arguments and flags that name a range of keys.
type rangeFlags struct {
	from, to string
	bound    boundFlags
}

func (r *rangeFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.from, "from", "", "first `KEY`")
	f.StringVar(&r.to, "to", "", "first `KEY` that is not included any more")
	r.bound.add(f)
}

// read makes a range of a PREFIX, which may be absent, and the flags.
func (r *rangeFlags) read(c *call, cmd *cobra.Command, args []string) (out store.Range, err error) {
	if out.Bound, err = r.bound.bound(); err != nil {
		return out, err
	}
	if len(args) > 0 {
		words, err := c.parse(args[0])
		if err != nil {
			return out, err
		}
		out.Start, out.End = words[0], kv.PrefixEnd(words[0])
	}
	if cmd.Flags().Changed("from") {
		words, err := c.parse(r.from)
		if err != nil {
			return out, err
		}
		if bytes.Compare(words[0], out.Start) > 0 {
			out.Start = words[0]
		}
	}
	if cmd.Flags().Changed("to") {
		words, err := c.parse(r.to)
		if err != nil {
			return out, err
		}
		if len(words[0]) == 0 {
			return out, usage("--to: nothing comes before the empty key; leave --to out for no upper bound")
		}
		if out.End == nil || bytes.Compare(words[0], out.End) < 0 {
			out.End = words[0]
		}
	}
	if out.End != nil && bytes.Compare(out.Start, out.End) > 0 {
		out.Start = out.End // nothing lies in it; an empty range, not one turned round
	}
	return out, nil
}

func newScan(c *call) *cobra.Command {
	var flags rangeFlags
	var limit int
	var reverse, keysOnly bool
	cmd := &cobra.Command{
		Use:               "scan [PREFIX]",
		Short:             "List keys and values in order, all of one moment",
		Args:              between(0, "[PREFIX]"),
		ValidArgsFunction: c.completeKey,
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.IntVar(&limit, "limit", 0, "at most `N` rows; 0: all")
	f.BoolVar(&reverse, "reverse", false, "from the last key to the first")
	f.BoolVar(&keysOnly, "keys-only", false, "without values")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := flags.read(c, cmd, args)
		if err != nil {
			return err
		}
		if limit < 0 {
			return usage("--limit %d: it must be 0 or more", limit)
		}
		r.Limit, r.Reverse, r.KeysOnly = limit, reverse, keysOnly
		ctx, touch, cancel := c.idle(cmd.Context())
		defer cancel()
		d, err := c.data(ctx)
		if err == nil {
			err = c.scan(ctx, d, r, touch)
		}
		return cause(ctx, err)
	}
	return cmd
}

// scan prints rows as they come. What was found before an error is printed.
func (c *call) scan(ctx context.Context, d store.Data, r store.Range, touch func()) error {
	l := c.list()
	var failed error
	for p, err := range d.Scan(ctx, r) {
		if err == nil {
			touch()
			err = l.Row(c.rowOf(p, r.KeysOnly))
		}
		if err != nil {
			failed = err
			break
		}
	}
	if err := c.listed(l); failed == nil {
		failed = err
	}
	return failed
}

// rowOf is a row of a scan. The format raw leaves out the version: key, tab, value.
func (c *call) rowOf(p store.Pair, keysOnly bool) output.Record {
	rec := pairRecord(p)
	switch {
	case keysOnly && c.format == output.Raw:
		return rec[:1]
	case keysOnly:
		return output.Record{rec[0], rec[2]}
	case c.format == output.Raw:
		return rec[:2]
	}
	return rec
}

func newCount(c *call) *cobra.Command {
	var flags rangeFlags
	cmd := &cobra.Command{
		Use:               "count [PREFIX]",
		Short:             "Count keys, all at one moment",
		Args:              between(0, "[PREFIX]"),
		ValidArgsFunction: c.completeKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := flags.read(c, cmd, args)
			if err != nil {
				return err
			}
			return c.withData(cmd, func(ctx context.Context, d store.Data) error {
				n, err := d.Count(ctx, r)
				if err != nil {
					return err
				}
				return c.one(output.Record{{Name: "count", Value: n}}, "count")
			})
		},
	}
	flags.add(cmd)
	return cmd
}
