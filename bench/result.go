package bench

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The verdicts.
const (
	VerdictOK        = "OK"
	VerdictSaturated = "SATURATED" // open loop: the target did not keep up with the rate
	VerdictInvalid   = "INVALID"   // something wrong was read: the figures mean nothing
)

// Result is all that is known of a run; it is what --json writes.
type Result struct {
	Outcome
	Settings   Settings    `json:"settings"`
	Target     Description `json:"target"`
	Provenance Provenance  `json:"provenance"`
	Load       *LoadResult `json:"load,omitempty"`
	Total      Total       `json:"total"`
	Operations []Operation `json:"operations"`
	// Beside is what went on next to the load, as the audits of bank: it is in no figure of Total.
	Beside    []Operation    `json:"beside,omitempty"`
	Errors    []ErrorCount   `json:"errors"`
	Audit     *AuditResult   `json:"audit,omitempty"`
	History   *HistoryResult `json:"history,omitempty"`
	Generator Generator      `json:"generator"`
	Resources *Resources     `json:"resources,omitempty"`
	Series    []Point        `json:"series"`
}

// Outcome is whether the figures may be believed.
type Outcome struct {
	Verdict           string   `json:"verdict"`
	Warnings          []string `json:"warnings"`
	Violations        int64    `json:"violations"`
	ViolationExamples []string `json:"violation_examples,omitempty"`
}

// Settings are the options of the run, all defaults filled in.
type Settings struct {
	Workload     string  `json:"workload"`
	Mode         string  `json:"mode"`
	Keys         int     `json:"keys"`
	ValueBytes   int     `json:"value_bytes"`
	Workers      int     `json:"workers"`
	DurationS    float64 `json:"duration_s"`
	WarmupS      float64 `json:"warmup_s"`
	Rate         float64 `json:"rate_per_second,omitempty"`
	Seed         uint64  `json:"seed"`
	OpTimeoutS   float64 `json:"op_timeout_s"`
	Distribution string  `json:"distribution"`
	Loaded       bool    `json:"loaded"`
	Subject      string  `json:"subject"` // keys, values and dials in words
	*Dials
}

// Dials are those of the workloads with transactions.
type Dials struct {
	Accounts int     `json:"accounts,omitempty"`
	StaleByS float64 `json:"audit_stale_s,omitempty"`
	TxKeys   int     `json:"tx_keys,omitempty"`
	TxReads  float64 `json:"tx_reads"`
	TxCross  float64 `json:"tx_cross"` // -1: by chance
	TxHot    string  `json:"tx_hot,omitempty"`
}

// dials are nil for a workload that has none.
func (o Options) dials() *Dials {
	switch o.Workload {
	case workloadBank:
		return &Dials{Accounts: o.Bank.Accounts, StaleByS: max(0, o.Bank.StaleBy.Seconds())}
	case workloadTx, workloadLists:
		return &Dials{TxKeys: o.Tx.Keys, TxReads: o.Tx.Reads, TxCross: o.Tx.Cross, TxHot: o.Tx.Hot}
	}
	return nil
}

// Effort is what transactions took; an operation that is none has nothing of it. It is in no
// figure of speed.
type Effort struct {
	Retries       int64   `json:"retries"` // further attempts
	Aborts        int64   `json:"aborts"`  // attempts that another transaction overtook
	Transactions  int64   `json:"transactions,omitempty"`
	Attempts      int64   `json:"attempts,omitempty"`
	AttemptsPerTx float64 `json:"attempts_per_transaction,omitempty"`
}

func (e effort) result() Effort {
	return Effort{Retries: max(0, e.attempts-e.transactions), Aborts: e.aborts, Transactions: e.transactions, Attempts: e.attempts, AttemptsPerTx: e.perTransaction()}
}

// Total is the sum over all kinds of operation.
type Total struct {
	Ops          int64   `json:"ops"` // successes
	OpsPerSecond float64 `json:"ops_per_second"`
	Errors       int64   `json:"errors"`
	Effort
	ElapsedS     float64 `json:"elapsed_s"` // measured part, to the end of its last operation
	LongestGapMS float64 `json:"longest_gap_ms"`
	Latency      Latency `json:"latency"`
}

// Operation is one kind of operation.
type Operation struct {
	Kind         string  `json:"kind"`
	Ops          int64   `json:"ops"`
	OpsPerSecond float64 `json:"ops_per_second"`
	Errors       int64   `json:"errors"`
	Effort
	Latency Latency  `json:"latency"`           // open loop: from the planned moment
	Service *Latency `json:"service,omitempty"` // open loop: from the moment of sending
}

// Latency is a distribution, in milliseconds.
type Latency struct {
	Count  int64   `json:"count"`
	MeanMS float64 `json:"mean_ms"`
	MinMS  float64 `json:"min_ms"`
	P50MS  float64 `json:"p50_ms"`
	P90MS  float64 `json:"p90_ms"`
	P95MS  float64 `json:"p95_ms"`
	P99MS  float64 `json:"p99_ms"`
	P999MS float64 `json:"p99_9_ms"`
	MaxMS  float64 `json:"max_ms"`
	// HDR is the whole histogram in microseconds: HdrHistogram V2, compressed, base64.
	HDR string `json:"hdr,omitempty"`
}

// ErrorCount is how often one kind of operation failed in one way.
type ErrorCount struct {
	Operation string `json:"operation"`
	Kind      string `json:"kind"`
	Count     int64  `json:"count"`
}

// Generator is how the harness itself fared.
type Generator struct {
	CPUSeconds      float64 `json:"cpu_s,omitempty"`
	GCPauseMS       float64 `json:"gc_pause_ms"`
	LatenessP50MS   float64 `json:"lateness_p50_ms,omitempty"` // open loop: wake-ups after the planned moment
	LatenessP99MS   float64 `json:"lateness_p99_ms,omitempty"`
	PlannedOps      int64   `json:"planned_ops,omitempty"`
	NotSent         int64   `json:"not_sent,omitempty"`
	NotSentOldestMS float64 `json:"not_sent_oldest_ms,omitempty"`
	Overflow        int64   `json:"overflow,omitempty"` // latencies above what a histogram holds
}

// Point is one interval of a run.
type Point struct {
	AtS          float64 `json:"at_s"` // end of the interval, from the start of the warm-up
	Warmup       bool    `json:"warmup,omitempty"`
	OpsPerSecond float64 `json:"ops_per_second"`
	Errors       int64   `json:"errors"`
	Transactions int64   `json:"transactions,omitempty"`
	Attempts     int64   `json:"attempts,omitempty"`
	Aborts       int64   `json:"aborts,omitempty"`
	P50MS        float64 `json:"p50_ms"`
	P99MS        float64 `json:"p99_ms"`
	MaxMS        float64 `json:"max_ms"`
}

func pointOf(p Progress) Point {
	return Point{
		AtS: p.Elapsed.Seconds(), Warmup: p.Warmup, OpsPerSecond: p.OpsPerSecond, Errors: p.Errors,
		Transactions: p.Transactions, Attempts: p.Attempts, Aborts: p.Aborts,
		P50MS: millis(p.P50), P99MS: millis(p.P99), MaxMS: millis(p.Max),
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// result sums a run up.
func (r *run) result() *Result {
	t := mergeTallies(r.recorders())
	o := r.options
	elapsed := o.Duration
	if end := r.window.start.Add(elapsed); t.lastDone.After(end) {
		elapsed = t.lastDone.Sub(r.window.start)
	} else if now := time.Now(); now.Before(end) { // interrupted
		elapsed = max(now.Sub(r.window.start), time.Millisecond)
	}
	res := &Result{
		Settings: Settings{
			Workload: o.Workload, Mode: o.Mode(), Keys: o.Keys, ValueBytes: o.ValueBytes, Workers: o.Workers,
			DurationS: o.Duration.Seconds(), WarmupS: o.Warmup.Seconds(), Rate: o.Rate, Seed: o.Seed,
			OpTimeoutS: o.OpTimeout.Seconds(), Distribution: r.workload.distribution(), Loaded: !o.SkipLoad,
			Subject: o.subject(), Dials: o.dials(),
		},
		Target: describe(r.target), Provenance: provenance(o.Observe.Command, r.began), Series: r.series,
	}
	res.Operations, res.Errors = operations(t, elapsed)
	res.Total = total(t, res.Operations, elapsed, t.longestGap(r.window))
	res.Generator = r.generator(t)
	res.Resources = r.usage.resources(res.Total.Ops)
	res.Generator.CPUSeconds = r.usage.ownCPU().Seconds()
	if r.beside != nil {
		var counts []ErrorCount
		res.Beside, counts = operations(&r.beside.recorder.tally, o.Duration)
		res.Errors = append(res.Errors, counts...)
	}
	res.Violations, res.ViolationExamples = r.bad.count.Load(), r.bad.examples
	res.judge()
	res.Warnings = append(res.Warnings, r.warnings...)
	if o.Observe.Device != "" && (res.Resources == nil || !r.usage.last.HasDevice) {
		res.Warnings = append(res.Warnings, fmt.Sprintf("the counters of device %q cannot be read", o.Observe.Device))
	}
	if n := len(o.Observe.PIDs); n > 0 && (res.Resources == nil || r.usage.last.ServerPIDs < n) {
		res.Warnings = append(res.Warnings, fmt.Sprintf("not all of the %d server processes could be read to the end", n))
	}
	return res
}

func operations(t *tally, elapsed time.Duration) ([]Operation, []ErrorCount) {
	var ops []Operation
	counts := errorCounts(t)
	for k := range kind(kindCount) {
		op := Operation{Kind: k.String(), Effort: t.effort[k].result(), Latency: latencyOf(t.response[k])}
		for _, e := range counts {
			if e.Operation == op.Kind {
				op.Errors += e.Count
			}
		}
		op.Ops = op.Latency.Count
		if op.Ops == 0 && op.Errors == 0 {
			continue
		}
		op.OpsPerSecond = float64(op.Ops) / elapsed.Seconds()
		if t.service[k] != nil {
			s := latencyOf(t.service[k])
			op.Service = &s
		}
		ops = append(ops, op)
	}
	return ops, counts
}

func errorCounts(t *tally) []ErrorCount {
	counts := make([]ErrorCount, 0, len(t.errors))
	for k, n := range t.errors {
		counts = append(counts, ErrorCount{Operation: k.kind.String(), Kind: k.err, Count: n})
	}
	slices.SortFunc(counts, func(a, b ErrorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Kind, b.Kind))
	})
	return counts
}

func total(t *tally, ops []Operation, elapsed, gap time.Duration) Total {
	var all *hdrhistogram.Histogram
	for _, h := range t.response {
		all = mergeHistogram(all, h)
	}
	sum := Total{Ops: t.successes(), ElapsedS: elapsed.Seconds(), LongestGapMS: millis(gap), Latency: latencyOf(all)}
	for _, o := range ops {
		sum.Errors += o.Errors
	}
	var e effort
	for _, of := range t.effort {
		e.merge(of)
	}
	sum.Effort = e.result()
	sum.OpsPerSecond = float64(sum.Ops) / elapsed.Seconds()
	return sum
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h == nil || h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(q float64) float64 { return millis(micros(h.ValueAtQuantile(q))) }
	l := Latency{
		Count: h.TotalCount(), MeanMS: h.Mean() / 1000, MinMS: millis(micros(h.Min())), MaxMS: millis(micros(h.Max())),
		P50MS: at(50), P90MS: at(90), P95MS: at(95), P99MS: at(99), P999MS: at(99.9),
	}
	if b, err := h.EncodeV2(); err == nil {
		l.HDR = string(b)
	}
	return l
}

// Histogram is the whole distribution again.
func (l Latency) Histogram() (*hdrhistogram.Histogram, error) {
	if _, err := base64.StdEncoding.DecodeString(l.HDR); err != nil || l.HDR == "" {
		return nil, fmt.Errorf("the result holds no histogram")
	}
	return hdrhistogram.Decode([]byte(l.HDR))
}

func (r *run) generator(t *tally) Generator {
	g := Generator{Overflow: t.overflow, GCPauseMS: millis(r.usage.gcPause())}
	if s := r.schedule; s != nil {
		taken := s.taken
		n, oldest := s.leftOver()
		g.PlannedOps, g.NotSent, g.NotSentOldestMS = taken+n, n, millis(oldest)
		if s.waits > 0 {
			g.LatenessP50MS = millis(micros(s.lateness.ValueAtQuantile(50)))
			g.LatenessP99MS = millis(micros(s.lateness.ValueAtQuantile(99)))
		}
	}
	return g
}

// Thresholds of the warnings.
const (
	achievedMin   = 0.99 // of the planned rate, else SATURATED
	latenessMax   = 0.1  // lateness p99 as a part of the reported p50
	othersMax     = 15.0 // percent of the machine taken by other processes
	steadyMax     = 0.1  // difference between the halves of the run
	errorShareMax = 0.001
)

// judge sets verdict and warnings.
func (res *Result) judge() {
	warn := func(format string, args ...any) { res.Warnings = append(res.Warnings, fmt.Sprintf(format, args...)) }
	res.Verdict, res.Warnings = VerdictOK, []string{}
	t, g := &res.Total, &res.Generator
	if want := res.Settings.Rate; want > 0 {
		if got := t.OpsPerSecond; g.NotSent > 0 || got+float64(t.Errors)/t.ElapsedS < want*achievedMin {
			res.Verdict = VerdictSaturated
			warn("%.0f of %g operations a second were reached, %d were never sent: the latencies show a queue, lower the rate", got, want, g.NotSent)
		}
		if t.Latency.Count > 0 && g.LatenessP99MS > latenessMax*t.Latency.P50MS {
			warn("the harness woke up %.2f ms late (p99), p50 of the operations is %.2f ms: this machine is too busy for these latencies", g.LatenessP99MS, t.Latency.P50MS)
		}
	}
	if n := t.Ops + t.Errors; t.Errors > 0 && float64(t.Errors) > errorShareMax*float64(n) {
		warn("%d of %d operations failed", t.Errors, n)
	}
	for _, o := range res.Beside {
		if o.Errors > 0 {
			warn("%d of %d operations of kind %s failed", o.Errors, o.Ops+o.Errors, o.Kind)
		}
	}
	if res.Settings.Workload == workloadBank && !slices.ContainsFunc(res.Beside, func(o Operation) bool { return o.Ops > 0 }) {
		warn("not one audit beside the transfers succeeded")
	}
	if t.Ops == 0 {
		warn("not one operation succeeded")
	}
	if d := res.drift(); d > steadyMax || d < -steadyMax {
		warn("not steady: the second half of the run was %+.0f %% faster than the first", 100*d)
	}
	if r := res.Resources; r != nil && r.OthersPercent > othersMax {
		warn("other processes took %.0f %% of the machine", r.OthersPercent)
	}
	if g.Overflow > 0 {
		warn("%d latencies were above %v and are counted as that", g.Overflow, latencyMax)
	}
	if res.Violations > 0 {
		res.Verdict = VerdictInvalid
		warn("%d times something wrong was read: these figures mean nothing", res.Violations)
	}
}

// drift is how much faster the second half of the measured part was; 0 if it is too short
// to say.
func (res *Result) drift() float64 {
	var rates []float64
	for _, p := range res.Series {
		if !p.Warmup {
			rates = append(rates, p.OpsPerSecond)
		}
	}
	half := len(rates) / 2
	if half < 3 || res.Settings.Rate > 0 {
		return 0
	}
	first, second := mean(rates[:half]), mean(rates[len(rates)-half:])
	if first == 0 {
		return 0
	}
	return second/first - 1
}

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(max(1, len(xs)))
}
