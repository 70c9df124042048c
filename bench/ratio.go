package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Contender is one side of a Ratio.
type Contender struct {
	Name    string
	Target  Target
	Options Options // with Observe: the processes and the device that are this contender's
}

// RatioOptions say how contenders are measured in turns.
type RatioOptions struct {
	Rounds int           // of each contender; default 3
	Pause  time.Duration // before each round, for the others to come to rest
	// Done is called after each round; nil: never.
	Done func(name string, round int, r *Result)
}

// RoundsMax bounds RatioOptions.Rounds.
const RoundsMax = 1000

// Standing is one contender's medians, and each against the first contender's.
type Standing struct {
	Name    string       `json:"name"`
	Rounds  int          `json:"rounds"`
	Metrics []RatioPoint `json:"metrics"`
	Results []*Result    `json:"results"`
}

// RatioPoint is the median of one figure over the rounds.
type RatioPoint struct {
	Metric string  `json:"metric"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Ratio  float64 `json:"ratio"` // to the first contender's median; 0 where that is 0
}

// ratioMetrics are the figures of a round, in the order of the table.
var ratioMetrics = []struct {
	name string
	of   func(*Result) float64
}{
	{"ops/s", func(r *Result) float64 { return r.Total.OpsPerSecond }},
	{"p50 ms", func(r *Result) float64 { return r.Total.Latency.P50MS }},
	{"p99 ms", func(r *Result) float64 { return r.Total.Latency.P99MS }},
	{"attempts/tx", func(r *Result) float64 { return r.Total.AttemptsPerTx }},
	{"server CPU us/op", resource(func(r *Resources) float64 { return r.ServerCPUMicrosOp })},
	{"client CPU us/op", resource(func(r *Resources) float64 { return r.ClientCPUMicrosOp })},
	{"device bytes/op", resource(func(r *Resources) float64 { return r.DeviceBytesPerOp })},
	{"flushes/op", resource(func(r *Resources) float64 { return r.DeviceFlushesPerOp })},
	{"others %", resource(func(r *Resources) float64 { return r.OthersPercent })},
	{"errors", func(r *Result) float64 { return float64(r.Total.Errors) }},
}

func resource(of func(*Resources) float64) func(*Result) float64 {
	return func(r *Result) float64 {
		if r.Resources == nil {
			return 0
		}
		return of(r.Resources)
	}
}

// Ratio measures the contenders in turns, A B A B A B, so that whatever else the machine
// does in the meantime hits all of them, and compares their medians. The records are
// loaded in the first round of each only. A round with a wrong value ends it all.
func Ratio(ctx context.Context, o RatioOptions, contenders ...Contender) ([]Standing, error) {
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	if o.Rounds < 1 || o.Rounds > RoundsMax || len(contenders) == 0 {
		return nil, kv.Errorf(kv.Invalid, "%d rounds of %d contenders: there must be 1..%d rounds and at least one contender", o.Rounds, len(contenders), RoundsMax)
	}
	results := make([][]*Result, len(contenders))
	for round := range o.Rounds {
		for i, c := range contenders {
			pause(ctx, o.Pause)
			options := c.Options
			options.SkipLoad = options.SkipLoad || round > 0
			r, err := Run(ctx, c.Target, options)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", c.Name, round+1, err)
			}
			if r.Verdict == VerdictInvalid {
				return nil, kv.Errorf(kv.Corruption, "%s, round %d: %s", c.Name, round+1, strings.Join(r.ViolationExamples, "; "))
			}
			results[i] = append(results[i], r)
			if o.Done != nil {
				o.Done(c.Name, round+1, r)
			}
		}
	}
	return standings(contenders, results), nil
}

func standings(contenders []Contender, results [][]*Result) []Standing {
	all := make([]Standing, len(contenders))
	for i, c := range contenders {
		s := Standing{Name: c.Name, Rounds: len(results[i]), Results: results[i]}
		for m, metric := range ratioMetrics {
			p := summarize(metric.name, results[i], metric.of)
			if i == 0 {
				p.Ratio = 1
			} else if base := all[0].Metrics[m].Median; base != 0 {
				p.Ratio = p.Median / base
			}
			s.Metrics = append(s.Metrics, p)
		}
		all[i] = s
	}
	return all
}

func summarize(name string, rs []*Result, of func(*Result) float64) RatioPoint {
	xs := make([]float64, len(rs))
	for i, r := range rs {
		xs[i] = of(r)
	}
	slices.Sort(xs)
	return RatioPoint{Metric: name, Median: median(xs), Min: xs[0], Max: xs[len(xs)-1]}
}

// median is that of sorted numbers.
func median(xs []float64) float64 {
	n := len(xs)
	if n%2 == 1 {
		return xs[n/2]
	}
	return (xs[n/2-1] + xs[n/2]) / 2
}

// WriteStandings writes the table for people.
func WriteStandings(w io.Writer, all []Standing) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "\trounds\t")
	for _, m := range ratioMetrics {
		fmt.Fprintf(tw, "%s\tvs first\t", m.name)
	}
	fmt.Fprintln(tw)
	for _, s := range all {
		fmt.Fprintf(tw, "%s\t%d\t", s.Name, s.Rounds)
		for _, p := range s.Metrics {
			fmt.Fprintf(tw, "%s\t%.2f\t", figure(p.Median), p.Ratio)
		}
		fmt.Fprintln(tw)
	}
	_ = tw.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}
