package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// Comparison is B against A.
type Comparison struct {
	Rows  []CompareRow `json:"rows"`
	Notes []string     `json:"notes"`
	// Differences are settings that are not alike: then the ratios compare two things.
	Differences []string `json:"differences"`
}

// CompareRow is one figure of both.
type CompareRow struct {
	Metric string  `json:"metric"`
	A      float64 `json:"a"`
	B      float64 `json:"b"`
	Ratio  float64 `json:"ratio"` // B/A; 0 where A is 0
	// Noise is how far the ratio of two equal things may stray, as the intervals of both runs
	// scatter; 0 where that is not known. It is a rule of thumb, not a test.
	Noise float64 `json:"noise,omitempty"`
}

// Significant reports whether the ratio lies outside of the noise.
func (r CompareRow) Significant() bool { return r.Noise == 0 || math.Abs(r.Ratio-1) > r.Noise }

// Compare sets B against A.
func Compare(a, b *Result) *Comparison {
	c := &Comparison{Notes: []string{}, Differences: differences(a, b)}
	c.row("ops/s", a.Total.OpsPerSecond, b.Total.OpsPerSecond, noise(a, b))
	c.latency("", a.Total.Latency, b.Total.Latency)
	if len(a.Operations) > 1 || len(b.Operations) > 1 {
		for _, oa := range a.Operations {
			for _, ob := range b.Operations {
				if oa.Kind == ob.Kind {
					c.latency(oa.Kind+" ", oa.Latency, ob.Latency)
				}
			}
		}
	}
	c.row("attempts/tx", a.Total.AttemptsPerTx, b.Total.AttemptsPerTx, 0)
	c.row("aborts/tx", abortsPerTx(a), abortsPerTx(b), 0)
	c.row("errors", float64(a.Total.Errors), float64(b.Total.Errors), 0)
	c.row("longest gap ms", a.Total.LongestGapMS, b.Total.LongestGapMS, 0)
	if ra, rb := a.Resources, b.Resources; ra != nil && rb != nil {
		c.row("server CPU us/op", ra.ServerCPUMicrosOp, rb.ServerCPUMicrosOp, 0)
		c.row("client CPU us/op", ra.ClientCPUMicrosOp, rb.ClientCPUMicrosOp, 0)
		c.row("device bytes/op", ra.DeviceBytesPerOp, rb.DeviceBytesPerOp, 0)
	}
	for _, r := range []*Result{a, b} {
		name := map[*Result]string{a: "A", b: "B"}[r]
		if r.Verdict != VerdictOK {
			c.Notes = append(c.Notes, fmt.Sprintf("%s is %s", name, r.Verdict))
		}
		for _, w := range r.Warnings {
			c.Notes = append(c.Notes, name+": "+w)
		}
	}
	return c
}

func (c *Comparison) latency(prefix string, a, b Latency) {
	c.row(prefix+"p50 ms", a.P50MS, b.P50MS, 0)
	c.row(prefix+"p99 ms", a.P99MS, b.P99MS, 0)
	c.row(prefix+"p99.9 ms", a.P999MS, b.P999MS, 0)
}

func (c *Comparison) row(metric string, a, b, noise float64) {
	if a == 0 && b == 0 && metric != "errors" {
		return
	}
	r := CompareRow{Metric: metric, A: a, B: b, Noise: noise}
	if a != 0 {
		r.Ratio = b / a
	}
	c.Rows = append(c.Rows, r)
}

// abortsPerTx is 0 without transactions.
func abortsPerTx(r *Result) float64 {
	return float64(r.Total.Aborts) / float64(max(1, r.Total.Transactions))
}

// differences names the settings of which the figures depend.
func differences(a, b *Result) []string {
	var ds []string
	diff := func(name string, x, y any) {
		if x != y {
			ds = append(ds, fmt.Sprintf("%s: %v against %v", name, x, y))
		}
	}
	s, t := a.Settings, b.Settings
	diff("workload", s.Workload, t.Workload)
	diff("mode", s.Mode, t.Mode)
	diff("keys", s.Keys, t.Keys)
	diff("value bytes", s.ValueBytes, t.ValueBytes)
	diff("workers", s.Workers, t.Workers)
	diff("rate", s.Rate, t.Rate)
	diff("distribution", s.Distribution, t.Distribution)
	x, y := dialsOf(s), dialsOf(t)
	diff("accounts", x.Accounts, y.Accounts)
	diff("keys a transaction", x.TxKeys, y.TxKeys)
	diff("share of reads", x.TxReads, y.TxReads)
	diff("share across partitions", x.TxCross, y.TxCross)
	diff("hot records", x.TxHot, y.TxHot)
	diff("CPUs", a.Provenance.Hardware.CPUs, b.Provenance.Hardware.CPUs)
	diff("CPU model", a.Provenance.Hardware.CPUModel, b.Provenance.Hardware.CPUModel)
	return ds
}

func dialsOf(s Settings) Dials {
	if s.Dials == nil {
		return Dials{}
	}
	return *s.Dials
}

// noise is twice the standard error of the ratio of two means, from the scatter of the
// measured intervals.
func noise(a, b *Result) float64 {
	va, vb := relativeVariance(a), relativeVariance(b)
	if va < 0 || vb < 0 {
		return 0
	}
	return 2 * math.Sqrt(va+vb)
}

// relativeVariance is that of the mean of ops/s; negative if there are too few intervals.
func relativeVariance(r *Result) float64 {
	var xs []float64
	for _, p := range r.Series {
		if !p.Warmup {
			xs = append(xs, p.OpsPerSecond)
		}
	}
	m := mean(xs)
	if len(xs) < 3 || m == 0 {
		return -1
	}
	sum := 0.0
	for _, x := range xs {
		sum += (x - m) * (x - m)
	}
	n := float64(len(xs))
	return sum / (n - 1) / n / (m * m)
}

// WriteText writes the comparison for people.
func (c *Comparison) WriteText(w io.Writer) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tA\tB\tB/A\t\t")
	for _, r := range c.Rows {
		ratio, note := "-", ""
		if r.A != 0 {
			ratio = fmt.Sprintf("%.2f", r.Ratio)
		}
		if r.A != 0 && !r.Significant() {
			note = fmt.Sprintf("within the noise of %.0f %%", 100*r.Noise)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t\n", r.Metric, figure(r.A), figure(r.B), ratio, note)
	}
	_ = tw.Flush()
	for _, d := range c.Differences {
		fmt.Fprintf(&b, "not alike: %s\n", d)
	}
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// figure prints a number with as many digits as carry meaning.
func figure(x float64) string {
	switch a := math.Abs(x); {
	case a == math.Trunc(a) && a < 1e15 || a >= 1000:
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.3f", x)
}
