package sim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// ErrViolation is what the command ends with when a promise was broken: exit code 1.
var ErrViolation = errors.New("a promise was broken")

// flags are what the command line says.
type flags struct {
	seed, seeds uint64
	duration    time.Duration
	nodes       int
	loops       int
	scenario    string
	workload    string
	mutant      string
	trace       string
}

// Command is `kvd sim`. What it prints to stdout depends on its arguments alone.
func Command() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "sim",
		Short: "Run a whole cluster in one process on virtual time, from a seed",
		Long: "Run a whole cluster in one process on virtual time: the shipped node code, with a pretend network, pretend disks and pretend clocks.\n" +
			"A seed run twice prints the same digest. What is found can be looked at again with the same seed and --trace.\n\nScenarios: " + strings.Join(Names(), ", ") + ".",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return f.run(cmd.OutOrStdout()) },
	}
	p := c.Flags()
	p.Uint64Var(&f.seed, "seed", 1, "the first seed")
	p.Uint64Var(&f.seeds, "seeds", 1, "how many seeds, one after the other")
	p.DurationVar(&f.duration, "duration", 0, "simulated time with faults (default: the scenario's)")
	p.IntVar(&f.nodes, "nodes", 0, "nodes of the cluster (default: the scenario's, mostly 3)")
	p.IntVar(&f.loops, "loops", 0, "event loops of a process at most; each start draws its own number (default: the scenario's, mostly 1)")
	p.StringVar(&f.scenario, "scenario", "general", "what goes wrong")
	p.StringVar(&f.workload, "workload", "", "only this workload (default: the scenario's mix)")
	p.StringVar(&f.mutant, "mutant", "", "plant this bug (needs a binary built with -tags mutants)")
	p.StringVar(&f.trace, "trace", "", "write every event to this file")
	c.AddCommand(mutantsCommand())
	return c
}

func mutantsCommand() *cobra.Command {
	var seed uint64
	c := &cobra.Command{
		Use:           "mutants [NAME...]",
		Short:         "Plant each known bug in turn and see that it is found",
		Long:          "Plant each known bug in turn and see that it is found: a line each. The binary must have been built with -tags mutants.",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, names []string) error {
			ok, err := HuntAll(cmd.OutOrStdout(), names, seed)
			if err == nil && !ok {
				err = ErrViolation
			}
			return err
		},
	}
	c.Flags().Uint64Var(&seed, "seed", 1, "the first seed for each")
	return c
}

// config is what the flags ask for.
func (f *flags) config() (Config, error) {
	c := Config{Scenario: Find(f.scenario), Duration: f.duration, Nodes: f.nodes, LoopsMax: f.loops, Workload: f.workload}
	switch {
	case c.Scenario == nil:
		return c, kv.Errorf(kv.Invalid, "scenario %q is not known: choose one of %s", f.scenario, strings.Join(Names(), ", "))
	case f.nodes != 0 && (f.nodes < 1 || f.nodes > nodesMax):
		return c, kv.LimitError("the number of simulated nodes", nodesMax, int64(f.nodes), "choose 1 to 15")
	case f.loops < 0 || f.loops > kv.LoopsMax:
		return c, kv.LimitError("the number of loops", kv.LoopsMax, int64(f.loops), "choose 1 to 64, or 0 for the scenario's")
	case f.duration < 0:
		return c, kv.Errorf(kv.Invalid, "the duration is %s: choose one above 0", f.duration)
	case f.mutant != "" && !invariant.MutantsBuilt:
		return c, kv.Errorf(kv.Invalid, "this binary has no planted bugs in it: build it with -tags mutants")
	}
	if f.mutant == "" {
		return c, nil
	}
	if _, ok := FindMutant(f.mutant); !ok {
		return c, kv.Errorf(kv.Invalid, "mutant %q is not known", f.mutant)
	}
	return c, nil
}

const nodesMax = 15

// run runs the seeds and prints a line each.
func (f *flags) run(out io.Writer) (err error) {
	c, err := f.config()
	if err != nil {
		return err
	}
	if f.trace != "" {
		file, err := os.Create(f.trace)
		if err != nil {
			return kv.Errorf(kv.Invalid, "the trace cannot be written: %v", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		c.Trace = file
	}
	if f.mutant != "" {
		invariant.Plant(invariant.Mutant(f.mutant))
		defer invariant.Plant("")
	}
	broken := false
	for i := range f.seeds {
		c.Seed = f.seed + i
		r, err := Run(c)
		if err != nil {
			return err
		}
		if r.Violation != nil {
			broken = true
			if r, err = tell(c, r); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(out, report(c, r)); err != nil {
			return err
		}
	}
	if broken {
		return ErrViolation
	}
	return nil
}

// tell runs a seed that broke something once more, and keeps what led to it.
func tell(c Config, r *Result) (*Result, error) {
	key := printableKey(r.Violation.Key)
	want := []string{"crashes", "starts", "cut ", "slow ", "pauses", "transfer", "leads", "hangs", "faulty", "VIOLATION"}
	if key != "" {
		want = append(want, key)
	}
	c.Trace = nil
	c.story = func(line string) bool {
		return slices.ContainsFunc(want, func(w string) bool { return strings.Contains(line, w) })
	}
	again, err := Run(c)
	if err != nil {
		return nil, err
	}
	if again.Violation == nil {
		again.Violation = r.Violation
	}
	if again.Digest != r.Digest {
		again.Violation.Text += fmt.Sprintf("\nthe second run of this seed went another way (digest %016x, before %016x): the world is not deterministic", again.Digest, r.Digest)
	}
	return again, nil
}

// printableKey is the part of a full key that people read.
func printableKey(k string) string {
	if len(k) > kv.KeyspacePrefixBytes {
		return k[kv.KeyspacePrefixBytes:]
	}
	return k
}

// report is what came of one seed, for people.
func report(c Config, r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d scenario %s digest %016x simulated %s events %d operations %d", c.Seed, c.Scenario.Name, r.Digest, r.Simulated.Round(time.Millisecond), r.Events, r.Ops)
	names := make([]string, 0, len(r.Counts))
	for n := range r.Counts {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Fprintf(&b, ", %s %d", n, r.Counts[n])
	}
	b.WriteByte('\n')
	if r.Violation == nil {
		return b.String()
	}
	for _, l := range r.Story {
		fmt.Fprintf(&b, "    %s\n", l)
	}
	fmt.Fprintf(&b, "VIOLATION %s\n", r.Violation)
	fmt.Fprintf(&b, "run it again: kvd sim --scenario %s --seed %d --trace FILE\n", c.Scenario.Name, c.Seed)
	return b.String()
}
