package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/kv"
)

func newBench(c *call) *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Put load on the cluster, and compare results", Args: exactly(), RunE: needSubcommand}
	cmd.AddCommand(newBenchRun(c), newBenchCompare(c))
	return cmd
}

// benchFlags are the options of a run and where its result goes.
type benchFlags struct {
	options  bench.Options
	noWarmup bool
	jsonFile string
	htmlFile string
	pids     []int
	device   string
}

func (b *benchFlags) add(f *pflag.FlagSet) {
	o := &b.options
	f.StringVar(&o.Workload, "workload", "put", strings.Join(bench.Workloads(), " "))
	f.IntVar(&o.Workers, "workers", 64, "operations in flight at most")
	f.IntVar(&o.ValueBytes, "value-bytes", 100, fmt.Sprintf("length of each value, %d or more", bench.ValueBytesMin))
	f.IntVar(&o.Keys, "keys", 0, "records, loaded before the run (default 100000); of list-append the lists in use at a time (default 16)")
	f.DurationVar(&o.Duration, "duration", 30*time.Second, "of the measured part")
	f.DurationVar(&o.Warmup, "warmup", 0, "before it, not measured (default: a tenth of the duration, 10s at most)")
	f.BoolVar(&b.noWarmup, "no-warmup", false, "measure from the start")
	f.Float64Var(&o.Rate, "rate", 0, "open loop: operations a second, each timed from its planned start; 0: closed loop")
	f.BoolVar(&o.Poisson, "poisson", false, "open loop: random arrivals with the mean of --rate")
	f.Uint64Var(&o.Seed, "seed", 1, "of the choice of operations")
	f.BoolVar(&o.SkipLoad, "skip-load", false, "the records are there already")
	f.BoolVar(&o.Ordered, "ordered", false, "ycsb-*: keys in the order of the records, not hashed: scans have an end")
	f.IntVar(&o.Bank.Accounts, "accounts", 100, "bank: accounts between which money is moved")
	f.DurationVar(&o.Bank.StaleBy, "audit-stale", time.Second, "bank: every other audit reads the accounts as they were so long ago; negative: none does")
	f.IntVar(&o.Tx.Keys, "tx-keys", 0, "tx: keys of a transaction (default 2); list-append: operations of one at most (default 4)")
	f.Float64Var(&o.Tx.Reads, "tx-reads", 0, "tx: share of the keys that are only read, the others are read and written; 1: snapshots. list-append: share of operations that read (default 0.5)")
	f.Float64Var(&o.Tx.Cross, "tx-cross", 0, "tx: share of transactions whose keys are spread over all partitions, the others stay in one; -1: by chance")
	f.StringVar(&o.Tx.Hot, "tx-hot", "", "tx: contention: so many records take part, `N`, or zipf for a zipfian choice among all")
	f.StringVar(&b.jsonFile, "json", "", "write the whole result to `FILE`")
	f.StringVar(&b.htmlFile, "html", "", "write a report for people to `FILE`")
	f.IntSliceVar(&b.pids, "server-pids", nil, "count the CPU time of these processes")
	f.StringVar(&b.device, "device", "", "count the bytes written to this block device (`NAME`, or a directory on it)")
}

func newBenchRun(c *call) *cobra.Command {
	var flags benchFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a workload; a wrong value makes the run INVALID and the exit code 1",
		Long: `Run a workload, and check all that it reads: a wrong value, a wrong sum or a history that
cannot be makes the run INVALID and the exit code 1.

put, get, scan and ycsb-a..f work on single records; the read-modify-writes of ycsb-f are
transactions. bank moves money between accounts, with audits of all of them beside it. tx is
transactions over --tx-keys records. list-append reads lists and appends to them; at the end
its whole history, of half a million transactions at most, is judged.

The latency of a transaction is that of all its attempts. Attempts and aborts are counted
apart from operations.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.benchRun(cmd, &flags)
		},
	}
	flags.add(cmd.Flags())
	mustComplete(cmd, "workload", bench.Workloads())
	return cmd
}

func (c *call) benchRun(cmd *cobra.Command, flags *benchFlags) error {
	o := flags.options
	if flags.noWarmup {
		o.Warmup = -1
	}
	o.OpTimeout = c.globals.timeout
	o.Observe = bench.Observe{PIDs: flags.pids, Device: flags.device, Command: c.app.args}
	if err := o.WithDefaults().Validate(); err != nil {
		return err
	}
	if err := c.checkDials(cmd.Flags(), o.Workload); err != nil {
		return err
	}
	o.Observe.Progress = func(p bench.Progress) { fmt.Fprintln(c.app.err, p) }
	ctx, cancel := c.within(cmd.Context())
	s, err := c.store(ctx)
	var target *benchTarget
	if err == nil {
		target, err = newBenchTarget(ctx, s, c.globals.target, c.globals.keyspace)
	}
	err = cause(ctx, err)
	cancel()
	if err != nil {
		return err
	}
	fmt.Fprintln(c.app.err, bench.Title(o))
	res, err := bench.Run(cmd.Context(), target, o)
	if res == nil {
		return err
	}
	return errors.Join(c.benchResult(res, flags), err, verdict(res))
}

// benchResult prints a result and writes its files.
func (c *call) benchResult(res *bench.Result, flags *benchFlags) error {
	c.note = plural(res.Total.Ops, "operation")
	if flags.jsonFile != "" {
		if err := res.WriteFile(flags.jsonFile); err != nil {
			return err
		}
	}
	if flags.htmlFile != "" {
		if err := res.WriteHTML(flags.htmlFile); err != nil {
			return err
		}
	}
	return c.document(res, res.WriteText)
}

// verdict makes an INVALID run fail.
func verdict(res *bench.Result) error {
	if res.Verdict != bench.VerdictInvalid {
		return nil
	}
	why := res.ViolationExamples[0]
	if res.Violations > 1 {
		why += fmt.Sprintf(" (the first of %s)", plural(res.Violations, "violation"))
	}
	return kv.Errorf(kv.Corruption, "the run is INVALID: %s", why)
}

// benchDials are the flags that only some workloads have a use for.
var benchDials = map[string]func(workload string) bool{
	"accounts":    func(w string) bool { return w == "bank" },
	"audit-stale": func(w string) bool { return w == "bank" },
	"keys":        func(w string) bool { return w != "bank" },
	"ordered":     func(w string) bool { return strings.HasPrefix(w, "ycsb-") },
	"tx-keys":     func(w string) bool { return w == "tx" || w == "list-append" },
	"tx-reads":    func(w string) bool { return w == "tx" || w == "list-append" },
	"tx-cross":    func(w string) bool { return w == "tx" },
	"tx-hot":      func(w string) bool { return w == "tx" },
}

// checkDials refuses a zero that would be taken for the default, and says which flags have no use. It
// is for options that are valid else: of a workload that does not exist no flag has a use.
func (c *call) checkDials(f *pflag.FlagSet, workload string) (err error) {
	f.Visit(func(x *pflag.Flag) {
		if used := benchDials[x.Name]; used != nil && !used(workload) {
			fmt.Fprintf(c.app.err, "--%s has no use in the workload %s\n", x.Name, workload)
			return
		}
		none := x.Value.String() == "0" || x.Value.String() == "0s"
		switch x.Name {
		case "workers", "value-bytes", "keys", "duration", "accounts", "audit-stale", "tx-keys", "seed":
		case "tx-reads":
			none = none && workload == "list-append"
		default:
			return
		}
		if none && err == nil {
			err = usage("--%s %s: it must be more than nothing; without it, it is the default", x.Name, x.Value)
		}
	})
	return err
}

func newBenchCompare(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "Print the ratios of two results",
		Args:  exactly("A.json", "B.json"),
		RunE: func(_ *cobra.Command, args []string) error {
			a, err := bench.ReadFile(args[0])
			if err != nil {
				return usage("%v", err)
			}
			b, err := bench.ReadFile(args[1])
			if err != nil {
				return usage("%v", err)
			}
			cmp := bench.Compare(a, b)
			return c.document(cmp, cmp.WriteText)
		},
	}
}
