package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
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
	f.IntVar(&o.Keys, "keys", 100_000, "records, loaded before the run")
	f.DurationVar(&o.Duration, "duration", 30*time.Second, "of the measured part")
	f.DurationVar(&o.Warmup, "warmup", 0, "before it, not measured (default: a tenth of the duration, 10s at most)")
	f.BoolVar(&b.noWarmup, "no-warmup", false, "measure from the start")
	f.Float64Var(&o.Rate, "rate", 0, "open loop: operations a second, each timed from its planned start; 0: closed loop")
	f.BoolVar(&o.Poisson, "poisson", false, "open loop: random arrivals with the mean of --rate")
	f.Uint64Var(&o.Seed, "seed", 1, "of the choice of operations")
	f.BoolVar(&o.SkipLoad, "skip-load", false, "the records are there already")
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
		Args:  exactly(),
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
	return kv.Errorf(kv.Corruption, "the run is INVALID: %s", strings.Join(res.ViolationExamples, "; "))
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

// benchTarget drives a store for package bench.
type benchTarget struct {
	store       store.Store
	description bench.Description
}

// newBenchTarget also asks what the cluster looks like, for the result.
func newBenchTarget(ctx context.Context, s store.Store, target, keyspace string) (*benchTarget, error) {
	if keyspace == "" {
		keyspace = "default"
	}
	t, err := s.Topology(ctx, keyspace)
	if err != nil {
		return nil, err
	}
	if len(t.Keyspaces) == 0 {
		return nil, kv.Errorf(kv.NotFound, "keyspace %q does not exist; kvcli keyspace list shows those that do", keyspace)
	}
	replicas := 0
	for _, p := range t.Partitions {
		replicas = max(replicas, len(p.Descriptor.Replicas))
	}
	return &benchTarget{store: s, description: bench.Description{Name: "kvd", Facts: map[string]string{
		"target": target, "keyspace": keyspace, "scheme": t.Keyspaces[0].Scheme.String(),
		"nodes": fmt.Sprint(len(t.Nodes)), "partitions": fmt.Sprint(len(t.Partitions)), "replicas": fmt.Sprint(replicas),
	}}}, nil
}

func (b *benchTarget) Describe() bench.Description { return b.description }

func (b *benchTarget) Get(ctx context.Context, key []byte) (bench.Record, error) {
	p, err := b.store.Get(ctx, key, store.Bound{})
	var e *kv.Error
	if errors.As(err, &e) && e.Kind == kv.NotFound && e.Key != nil {
		return bench.Record{}, bench.ErrNotFound
	}
	return bench.Record{Key: p.Key, Value: p.Value, Version: uint64(p.Version)}, err
}

func (b *benchTarget) Put(ctx context.Context, key, value []byte) error {
	_, err := b.store.Put(ctx, key, value)
	return err
}

func (b *benchTarget) Scan(ctx context.Context, start, end []byte, limit int) ([]bench.Record, error) {
	var found []bench.Record
	for p, err := range b.store.Scan(ctx, store.Range{Start: start, End: end, Limit: limit}) {
		if err != nil {
			return nil, err
		}
		found = append(found, bench.Record{Key: p.Key, Value: p.Value, Version: uint64(p.Version)})
	}
	return found, nil
}

func (b *benchTarget) CompareAndSet(ctx context.Context, key []byte, version uint64, value []byte) error {
	want := kv.Expect{Kind: kv.ExpectVersion, Version: kv.Timestamp(version)}
	if version == 0 {
		want = kv.Expect{Kind: kv.ExpectAbsent}
	}
	_, err := b.store.CompareAndSet(ctx, key, want, value)
	if kv.KindOf(err) == kv.Expectation {
		return bench.ErrConflict
	}
	return err
}
