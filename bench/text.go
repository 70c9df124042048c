package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// String is one line: "  12s     41203 op/s  p50 0.310  p99 1.902  max 7.411 ms  err 0".
func (p Progress) String() string {
	s := fmt.Sprintf("%4.0fs %9.0f op/s  p50 %.3f  p99 %.3f  max %.3f ms  err %d", p.Elapsed.Seconds(), p.OpsPerSecond, millis(p.P50), millis(p.P99), millis(p.Max), p.Errors)
	if p.Transactions > 0 {
		s += fmt.Sprintf("  aborts %d  attempts/tx %.2f", p.Aborts, float64(p.Attempts)/float64(p.Transactions))
	}
	if p.Warmup {
		s += "  (warm-up)"
	}
	return s
}

// Title is one line on what a run with the options does.
func Title(o Options) string { return o.WithDefaults().title() }

// WriteText writes the summary for people.
func (res *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	s, t := &res.Settings, &res.Total
	fmt.Fprintf(&b, "%s on %s: %d workers, %s, %s loop, seed %d\n", s.Workload, res.Target.Name, s.Workers, s.Subject, s.Mode, s.Seed)
	fmt.Fprintf(&b, "measured %.1f s after %.1f s of warm-up; longest gap without a success %.0f ms\n", t.ElapsedS, s.WarmupS, t.LongestGapMS)
	if l := res.Load; l != nil {
		fmt.Fprintf(&b, "loaded %d records in %.1f s (%.0f/s, %d retries)\n", l.Records, l.Seconds, l.RecordsPerSecond, l.Retries)
	}
	b.WriteString("\n")
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "operation\tops\top/s\terrors\tretries\taborts\tattempts/tx\tmean ms\tp50\tp95\tp99\tp99.9\tmax\t")
	row := func(name string, ops int64, rate float64, errs int64, e Effort, l Latency) {
		fmt.Fprintf(tw, "%s\t%d\t%.0f\t%d\t%d\t%d\t%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n",
			name, ops, rate, errs, e.Retries, e.Aborts, e.perTransaction(), l.MeanMS, l.P50MS, l.P95MS, l.P99MS, l.P999MS, l.MaxMS)
	}
	for _, o := range res.Operations {
		row(o.Kind, o.Ops, o.OpsPerSecond, o.Errors, o.Effort, o.Latency)
		if o.Service != nil {
			row("("+o.Kind+", from sending)", o.Ops, o.OpsPerSecond, o.Errors, o.Effort, *o.Service)
		}
	}
	if len(res.Operations) != 1 {
		row("total", t.Ops, t.OpsPerSecond, t.Errors, t.Effort, t.Latency)
	}
	for _, o := range res.Beside {
		row(o.Kind+", beside", o.Ops, o.OpsPerSecond, o.Errors, o.Effort, o.Latency)
	}
	_ = tw.Flush()
	res.writeNotes(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// perTransaction is the mean of the attempts for people.
func (e Effort) perTransaction() string {
	if e.Attempts == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", e.AttemptsPerTx)
}

func (res *Result) writeNotes(b *strings.Builder) {
	b.WriteString("\n")
	for _, e := range res.Errors {
		fmt.Fprintf(b, "error: %s: %s, %d times\n", e.Operation, e.Kind, e.Count)
	}
	if r := res.Resources; r != nil {
		fmt.Fprintf(b, "CPU: client %.1f us/op", r.ClientCPUMicrosOp)
		if r.ServerPIDsAtEnd > 0 {
			fmt.Fprintf(b, ", servers %.1f us/op", r.ServerCPUMicrosOp)
		}
		fmt.Fprintf(b, ", machine %.0f %% busy, others %.0f %%", r.MachineBusyPercent, r.OthersPercent)
		if r.DeviceBytes > 0 {
			fmt.Fprintf(b, "; device %.0f bytes/op, %.2f flushes/op", r.DeviceBytesPerOp, r.DeviceFlushesPerOp)
		}
		b.WriteString("\n")
	}
	if a := res.Audit; a != nil {
		fmt.Fprintf(b, "read back %d acknowledged keys (%d could not be read)\n", a.Checked, a.Errors)
	}
	if h := res.History; h != nil {
		fmt.Fprintf(b, "judged a history of %d transactions (%d committed, %d aborted, %d unknown) over %d lists (%d not read at the end) in %.1f s: %d findings\n",
			h.Transactions, h.Committed, h.Aborted, h.Unknown, h.Lists, h.Unread, h.CheckS, h.Findings)
	}
	for _, v := range res.ViolationExamples {
		fmt.Fprintf(b, "violation: %s\n", v)
	}
	for _, w := range res.Warnings {
		fmt.Fprintf(b, "warning: %s\n", w)
	}
	fmt.Fprintf(b, "verdict: %s\n", res.Verdict)
}

// WriteFile writes the result as JSON.
func (res *Result) WriteFile(path string) error {
	b, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// ReadFile reads what WriteFile wrote.
func ReadFile(path string) (*Result, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	res := &Result{}
	if err := json.Unmarshal(b, res); err != nil {
		return nil, fmt.Errorf("%s is no result of a benchmark: %w", path, err)
	}
	if res.Verdict == "" || res.Settings.Workload == "" {
		return nil, fmt.Errorf("%s is no result of a benchmark: it names no workload and no verdict", path)
	}
	return res, nil
}
