package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/cmd/kvcli/transfer"
)

// sourceFlags say where keys come from, and how many at a time.
type sourceFlags struct {
	dir, jsonl, prefix string
	workers            int
	retryFor           time.Duration
}

func (s *sourceFlags) add(f *pflag.FlagSet) {
	f.StringVar(&s.dir, "from-dir", "", "all files below `DIR`: a key is the path below DIR, its value the file")
	f.StringVar(&s.jsonl, "jsonl", "", "lines of JSON from `FILE` (-: standard input): {\"key\": ..., \"value\": ...}, as export writes them")
	f.StringVar(&s.prefix, "prefix", "", "`KEY` to put before every key")
	f.IntVar(&s.workers, "workers", 32, "operations at a time")
	f.DurationVar(&s.retryFor, "retry-for", time.Minute, "how long one key is tried before the command gives up")
}

// open is the items of the source; close ends it.
func (s *sourceFlags) open(c *call) (items iter.Seq2[transfer.Item, error], closer func(), err error) {
	if (s.dir == "") == (s.jsonl == "") {
		return nil, nil, usage("give one of --from-dir DIR and --jsonl FILE")
	}
	if s.workers < 1 || s.workers > transfer.WorkersMax {
		return nil, nil, usage("--workers %d: it must lie in 1..%d", s.workers, transfer.WorkersMax)
	}
	prefix, err := literal.Parse(s.prefix)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case s.dir != "":
		info, err := os.Stat(s.dir)
		if err != nil || !info.IsDir() {
			return nil, nil, usage("--from-dir %s: it is no directory that can be read", s.dir)
		}
		return transfer.Tree(s.dir, prefix), func() {}, nil
	case s.jsonl == "-":
		if c.app.mode != modeOnce {
			return nil, nil, usage("--jsonl -: standard input is not free here; name a file")
		}
		return transfer.Lines(c.app.in, prefix), func() {}, nil
	}
	f, err := os.Open(s.jsonl)
	if err != nil {
		return nil, nil, usage("--jsonl: %v", err)
	}
	return transfer.Lines(f, prefix), func() { _ = f.Close() }, nil // it was only read
}

func newImport(c *call) *cobra.Command {
	var source sourceFlags
	var verify bool
	cmd := &cobra.Command{
		Use:   "import (--from-dir DIR | --jsonl FILE)",
		Short: "Write many keys",
		Long: `import writes every file of a tree, or every line of JSON, as one key. Each write is
retried until it is known to have happened, and is never done twice.
Files that are no value (above the limit, links, ...) are named on standard error and counted.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if verify {
				return c.transfer(cmd, &source, "verified", runVerify)
			}
			return c.transfer(cmd, &source, "imported", func(ctx context.Context, s store.Store, items iter.Seq2[transfer.Item, error], o transfer.Options) (transfer.Summary, error) {
				return transfer.Import(ctx, s, items, o)
			})
		},
	}
	source.add(cmd.Flags())
	cmd.Flags().BoolVar(&verify, "verify", false, "write nothing: read every key back and compare every byte, as the command verify does")
	return cmd
}

func newVerify(c *call) *cobra.Command {
	var source sourceFlags
	cmd := &cobra.Command{
		Use:   "verify (--from-dir DIR | --jsonl FILE)",
		Short: "Compare every byte of what was imported; exit code 1 names the first difference",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.transfer(cmd, &source, "verified", runVerify)
		},
	}
	source.add(cmd.Flags())
	return cmd
}

func runVerify(ctx context.Context, s store.Store, items iter.Seq2[transfer.Item, error], o transfer.Options) (transfer.Summary, error) {
	return transfer.Verify(ctx, s, items, o)
}

type transferFunc func(context.Context, store.Store, iter.Seq2[transfer.Item, error], transfer.Options) (transfer.Summary, error)

// transfer runs an import or a verification. The summary is printed also when it fails.
func (c *call) transfer(cmd *cobra.Command, source *sourceFlags, verb string, run transferFunc) error {
	items, closer, err := source.open(c)
	if err != nil {
		return err
	}
	defer closer()
	connectCtx, cancel := c.within(cmd.Context())
	s, err := c.store(connectCtx)
	err = cause(connectCtx, err)
	cancel()
	if err != nil {
		return err
	}
	meter := c.progressMeter(verb)
	sum, err := run(cmd.Context(), s, items, transfer.Options{
		Workers: source.workers, RetryFor: source.retryFor, OpTimeout: c.globals.timeout, Progress: meter.show,
		Skipped: func(key []byte, why string) {
			meter.clear()
			fmt.Fprintf(c.app.err, "skipped %s: %s\n", literal.Format(key), why)
		},
	})
	meter.clear()
	c.note = plural(sum.Keys, "key")
	if printErr := c.one(summaryRecord(sum, verb), ""); err == nil {
		err = printErr
	}
	return err
}

func summaryRecord(s transfer.Summary, verb string) output.Record {
	seconds := s.Elapsed.Seconds()
	rate := 0.0
	if seconds > 0 {
		rate = float64(s.Keys) / seconds
	}
	gap := "longest_write_gap"
	if verb != "imported" {
		gap = "longest_read_gap"
	}
	return output.Record{
		{Name: verb, Value: s.Keys},
		{Name: "bytes", Value: s.Bytes},
		{Name: "skipped", Value: s.Skipped},
		{Name: "retries", Value: s.Retries},
		{Name: "seconds", Value: seconds},
		{Name: "keys_per_second", Value: rate},
		{Name: gap, Value: s.LongestGap},
	}
}

// progressMeter is one line on a terminal that is written over again and again.
type progressMeter struct {
	w    io.Writer // nil: not a terminal, nothing is shown
	verb string
}

func (c *call) progressMeter(verb string) *progressMeter {
	if !c.app.ttErr {
		return &progressMeter{}
	}
	return &progressMeter{w: c.app.err, verb: verb}
}

const eraseLine = "\r\x1b[K"

func (m *progressMeter) show(p transfer.Progress) {
	if m.w == nil || p.Elapsed == 0 {
		return
	}
	line := fmt.Sprintf("%s%s %d keys, %.1f MB, %.0f keys/s", eraseLine, m.verb, p.Keys, float64(p.Bytes)/1e6, float64(p.Keys)/p.Elapsed.Seconds())
	if p.SinceLast > time.Second {
		line += fmt.Sprintf(", nothing for %.1f s", p.SinceLast.Seconds())
	}
	fmt.Fprint(m.w, line)
}

func (m *progressMeter) clear() {
	if m.w != nil {
		fmt.Fprint(m.w, eraseLine)
	}
}

func newExport(c *call) *cobra.Command {
	var flags rangeFlags
	var lines bool
	var dir string
	cmd := &cobra.Command{
		Use:   "export [PREFIX]",
		Short: "Print all keys and values of one moment as lines of JSON, or write them to files",
		Args:  between(0, "[PREFIX]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := flags.read(c, cmd, args)
			if err != nil {
				return err
			}
			if lines && dir != "" {
				return usage("--jsonl and --to-dir exclude each other")
			}
			ctx, touch, cancel := c.idle(cmd.Context())
			defer cancel()
			s, err := c.store(ctx)
			if err == nil {
				err = c.export(s.Scan(ctx, r), dir, touch)
			}
			return cause(ctx, err)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&lines, "jsonl", false, "lines of JSON on standard output (the default)")
	cmd.Flags().StringVar(&dir, "to-dir", "", "files below `DIR`, each at the path that its key is")
	return cmd
}

// export moves pairs out; the summary goes where the data does not.
func (c *call) export(pairs iter.Seq2[store.Pair, error], dir string, touch func()) error {
	touched := func(yield func(store.Pair, error) bool) {
		for p, err := range pairs {
			touch()
			if !yield(p, err) {
				return
			}
		}
	}
	if dir == "" {
		sum, err := transfer.ExportLines(c.app.out, touched)
		c.note = plural(sum.Keys, "key")
		return err
	}
	sum, err := transfer.ExportTree(dir, touched)
	c.note = plural(sum.Keys, "key")
	if printErr := c.one(output.Record{
		{Name: "exported", Value: sum.Keys}, {Name: "bytes", Value: sum.Bytes}, {Name: "seconds", Value: sum.Elapsed.Seconds()},
	}, ""); err == nil {
		err = printErr
	}
	return err
}
