package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/kvd-db/kvd/bench"
)

// writeRound is one line as soon as a round is over. leaders is who led how many partitions.
func writeRound(w io.Writer, label string, number int, f figures, r *bench.Result, leaders string) {
	fmt.Fprintf(w, "  round %d  %-23s %9s ops/s  p50 %s ms  p99 %s ms  server %s µs/op  others %s %%  leaders %s  errors %d\n", number, label,
		format(f[opsPerSecond]), format(f[p50MS]), format(f[p99MS]), format(f[serverCPUMicros]), format(f[othersPercent]), leaders, r.Total.Errors)
	if e := r.Total.Effort; e.Attempts > 0 {
		fmt.Fprintf(w, "           %d transactions in %d attempts, %d aborted\n", e.Transactions, e.Attempts, e.Aborts)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "           %s\n", warning)
	}
}

// format writes a figure with three digits or so; "-" for one that is not known.
func format(x float64) string {
	switch a := math.Abs(x); {
	case math.IsNaN(x):
		return "-"
	case a >= 100 || x == math.Trunc(x):
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	case a >= 1:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}

// table is rows of cells under a head.
type table struct {
	head []string
	rows [][]string
}

// writeText aligns the columns.
func (t table) writeText(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.head}, t.rows...) {
		fmt.Fprintf(tw, "  %s\n", strings.Join(row, "\t"))
	}
	_ = tw.Flush()
}

// writeMarkdown is the same for a document.
func (t table) writeMarkdown(w io.Writer) {
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
	for _, row := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
	fmt.Fprintln(w)
}

// figuresHead are the columns of figuresTable.
var figuresHead = []string{
	"contender", metricNames[opsPerSecond], "vs first", metricNames[p50MS], "vs first", metricNames[p99MS],
	metricNames[serverCPUMicros], "vs first", metricNames[clientCPUMicros], metricNames[deviceBytes], metricNames[deviceFlushes],
	metricNames[scansPerSecond], metricNames[attemptsPerTx], "errors", metricNames[othersPercent],
}

// figuresTable has a row for each contender of a point.
func figuresTable(o outcome) table {
	t := table{head: figuresHead}
	for i, c := range o.point.contenders {
		m, first := o.medians[i], o.medians[0]
		scans, attempts := "-", "-"
		if c.scanners+c.snapshots > 0 {
			scans = format(m[scansPerSecond])
		}
		if m[attemptsPerTx] > 0 {
			attempts = format(m[attemptsPerTx])
		}
		versus := func(x metric) string { return format(ratio(m[x], first[x])) }
		t.rows = append(t.rows, []string{
			c.label, format(m[opsPerSecond]), versus(opsPerSecond), format(m[p50MS]), versus(p50MS), format(m[p99MS]),
			format(m[serverCPUMicros]), versus(serverCPUMicros), format(m[clientCPUMicros]), format(m[deviceBytes]), format(m[deviceFlushes]),
			scans, attempts, fmt.Sprint(o.errors[i]), format(m[othersPercent]),
		})
	}
	return t
}

func writeText(w io.Writer, o outcome) { figuresTable(o).writeText(w) }

// ratioOf is the figure that a verdict is about.
func (v verdict) ratioOf(o outcome) float64 {
	return ratio(o.medians[v.of][v.metric], o.medians[v.to][v.metric])
}

// limit writes a floor or a goal.
func (v verdict) limit(x float64) string {
	switch {
	case x == 0:
		return "-"
	case v.atMost:
		return "<= " + format(x)
	}
	return ">= " + format(x)
}

// judge says whether a ratio reaches the goal, the floor, or neither.
func (v verdict) judge(x float64) string {
	reaches := func(limit float64) bool { return x >= limit }
	if v.atMost {
		reaches = func(limit float64) bool { return x <= limit }
	}
	switch {
	case math.IsNaN(x):
		return "not measured"
	case v.floor == 0:
		return "reported"
	case v.goal != 0 && reaches(v.goal):
		return "goal reached"
	case reaches(v.floor):
		return "floor reached"
	}
	return "BELOW THE FLOOR"
}

// spread is the verdict's ratio of the rounds one by one, smallest and largest.
func (v verdict) spread(o outcome) string {
	low, high := math.Inf(1), math.Inf(-1)
	for r := range o.rounds[v.of] {
		if x := ratio(o.rounds[v.of][r][v.metric], o.rounds[v.to][r][v.metric]); !math.IsNaN(x) {
			low, high = min(low, x), max(high, x)
		}
	}
	if low > high {
		return "-"
	}
	return format(low) + " - " + format(high)
}

// verdictTable compares all outcomes with what is demanded.
func verdictTable(all []outcome) table {
	t := table{head: []string{"point", "against", "ratio", "rounds", "floor", "goal", "verdict"}}
	for _, o := range all {
		for _, v := range o.point.verdicts {
			row := []string{v.text, o.point.contenders[v.to].label, "-", "-", v.limit(v.floor), v.limit(v.goal), "FAILED"}
			if o.failure == nil {
				x := v.ratioOf(o)
				row[2], row[3], row[6] = format(x), v.spread(o), v.judge(x)
			}
			t.rows = append(t.rows, row)
		}
	}
	return t
}

// errorTable lists errors by what failed and how.
func errorTable(errors errorCounts) table {
	t := table{head: []string{"point", "contender", "operation", "kind", "count", "the first one said"}}
	for _, k := range slices.SortedFunc(maps.Keys(errors), func(a, b errorKey) int {
		return cmp.Or(cmp.Compare(a.point, b.point), cmp.Compare(a.contender, b.contender),
			cmp.Compare(a.operation, b.operation), cmp.Compare(a.kind, b.kind))
	}) {
		t.rows = append(t.rows, []string{k.point, k.contender, k.operation, k.kind, fmt.Sprint(errors[k].count), oneLine(errors[k].first)})
	}
	return t
}

// oneLine makes a text fit for a cell.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "|", "/")), " ")
}

// writeEnd is what stands below everything on the terminal.
func (d *duel) writeEnd(all []outcome) {
	fmt.Fprintf(d.out, "\nmedians of %d rounds of %v s\n", d.rounds, d.seconds)
	verdictTable(all).writeText(d.out)
	if t := errorTable(d.errors); len(t.rows) > 0 {
		fmt.Fprintln(d.out, "\nerrors")
		t.writeText(d.out)
	}
}

// fairness tells a reader of the document how it was measured.
const fairness = "Three processes a side (of PostgreSQL one server, at serializable isolation) and the client on one machine, " +
	"one disk, fsync on, each side's own defaults (PostgreSQL: but without sequential scans, which lock a small table whole). " +
	"The sides take turns; those that are not measured are stopped (SIGSTOP), dirty pages are written back before each turn, " +
	"and a turn begins once the side takes writes to all its partitions again. Figures are medians over the rounds, each on its own. " +
	"Server CPU is utime+stime of the three processes, of PostgreSQL that of all it forks; device bytes and flushes are those of the whole disk; " +
	"others % is what neither these servers nor the client used of the machine: ops/s and latencies hold below 15. " +
	"With scans beside, and with a bank's audits, server and client CPU and device figures are of both together, per put or transfer.\n"

// markdownText is the document of a duel.
func (d *duel) markdownText(about string, all []outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# kvd beside etcd\n\n%s\n%s\n", about, fairness)
	fmt.Fprintf(&b, "## Against floor and goal (medians of %d rounds of %v s, %d keys)\n\n", d.rounds, d.seconds, d.keys)
	verdictTable(all).writeMarkdown(&b)
	for _, o := range all {
		fmt.Fprintf(&b, "## %s: %s\n\n", o.point.name, o.point.title)
		if o.failure != nil {
			fmt.Fprintf(&b, "FAILED: %v\n\n", o.failure)
			continue
		}
		figuresTable(o).writeMarkdown(&b)
	}
	if t := errorTable(d.errors); len(t.rows) > 0 {
		fmt.Fprintf(&b, "## Errors\n\n")
		t.writeMarkdown(&b)
	}
	return b.String()
}

// writeFile does nothing without a name.
func writeFile(name, text string) error {
	if name == "" {
		return nil
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
