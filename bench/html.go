package bench

import (
	"fmt"
	"html/template"
	"math"
	"os"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// WriteHTML writes a report in one file that needs nothing else: figures, throughput and
// latency over time, and the whole distribution.
func (res *Result) WriteHTML(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := reportTemplate.Execute(f, res.view()); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// view is what the template shows.
type view struct {
	*Result
	Title  string
	Facts  [][2]string
	Charts []template.HTML
}

func (res *Result) view() view {
	s, p := &res.Settings, &res.Provenance
	v := view{Result: res, Title: fmt.Sprintf("%s on %s", s.Workload, res.Target.Name)}
	fact := func(name, format string, args ...any) {
		v.Facts = append(v.Facts, [2]string{name, fmt.Sprintf(format, args...)})
	}
	fact("workers", "%d", s.Workers)
	fact("on", "%s", s.Subject)
	fact("loop", "%s", s.Mode)
	if s.Rate > 0 {
		fact("rate", "%g/s", s.Rate)
	}
	fact("measured", "%.1f s after %.1f s of warm-up", res.Total.ElapsedS, s.WarmupS)
	fact("longest gap without a success", "%.0f ms", res.Total.LongestGapMS)
	if e := res.Total.Effort; e.Attempts > 0 {
		fact("transactions", "%d in %d attempts, %.3f each; %d attempts were overtaken", e.Transactions, e.Attempts, e.AttemptsPerTx, e.Aborts)
	}
	if h := res.History; h != nil {
		fact("history", "%d transactions over %d lists (%d of them not read at the end), judged in %.1f s: %d findings", h.Transactions, h.Lists, h.Unread, h.CheckS, h.Findings)
	}
	fact("seed", "%d", s.Seed)
	fact("command", "%s", strings.Join(p.Command, " "))
	fact("revision", "%s (modified: %v), %s", p.Revision, p.Modified, p.Go)
	fact("hardware", "%d CPUs, %s, %s %s", p.Hardware.CPUs, p.Hardware.CPUModel, p.Platform, p.Hardware.Kernel)
	fact("started", "%s", p.Started.Format("2006-01-02 15:04:05 MST"))
	v.Charts = append(v.Charts, res.throughputChart(), res.latencyChart())
	if res.Total.Attempts > 0 {
		v.Charts = append(v.Charts, res.attemptsChart())
	}
	if h, err := res.Total.Latency.Histogram(); err == nil {
		v.Charts = append(v.Charts, spectrumChart(h))
	}
	return v
}

func (res *Result) throughputChart() template.HTML {
	c := chart{title: "operations a second", series: []line{{name: "op/s"}}}
	for _, p := range res.Series {
		c.series[0].add(p.AtS, p.OpsPerSecond)
	}
	c.mark(res.Settings.WarmupS)
	return c.svg()
}

// attemptsChart shows what conflicts cost.
func (res *Result) attemptsChart() template.HTML {
	c := chart{title: "attempts a transaction", series: []line{{name: "attempts"}}}
	for _, p := range res.Series {
		c.series[0].add(p.AtS, float64(p.Attempts)/float64(max(1, p.Transactions)))
	}
	c.mark(res.Settings.WarmupS)
	return c.svg()
}

func (res *Result) latencyChart() template.HTML {
	c := chart{title: "latency over time, ms", logY: true, series: []line{{name: "p50"}, {name: "p99"}, {name: "max"}}}
	for _, p := range res.Series {
		for i, y := range []float64{p.P50MS, p.P99MS, p.MaxMS} {
			c.series[i].add(p.AtS, y)
		}
	}
	c.mark(res.Settings.WarmupS)
	return c.svg()
}

// spectrumChart shows how long the slowest part of all operations took: each step to the
// right is ten times fewer of them.
func spectrumChart(h *hdrhistogram.Histogram) template.HTML {
	c := chart{title: "latency by percentile, ms (0, 90, 99, 99.9, ...)", logY: true, series: []line{{name: "latency"}}}
	decades := math.Log10(float64(max(10, h.TotalCount())))
	const steps = 200
	for i := range steps + 1 {
		x := decades * float64(i) / steps
		q := 100 * (1 - math.Pow(10, -x))
		c.series[0].add(x, float64(h.ValueAtQuantile(q))/1000)
	}
	return c.svg()
}

// chart is lines in one frame.
type chart struct {
	title  string
	logY   bool
	marks  []float64 // vertical lines
	series []line
}

type line struct {
	name   string
	xs, ys []float64
}

func (l *line) add(x, y float64) { l.xs, l.ys = append(l.xs, x), append(l.ys, y) }

func (c *chart) mark(x float64) {
	if x > 0 {
		c.marks = append(c.marks, x)
	}
}

// The frame of a chart, in pixels.
const (
	chartWidth, chartHeight = 860, 240
	chartLeft, chartBottom  = 70, 24
)

var lineColors = []string{"#2563eb", "#d97706", "#dc2626"}

// scaleY is a value as a part of the height, 0 to 1.
func (c *chart) scaleY(y, low, high float64) float64 {
	if c.logY {
		y, low, high = math.Log10(max(y, low)), math.Log10(low), math.Log10(high)
	}
	return (y - low) / max(high-low, 1e-9)
}

// bounds are the greatest x, and the least and greatest y.
func (c *chart) bounds() (xMax, low, high float64) {
	low = math.Inf(1)
	for _, s := range c.series {
		for i, y := range s.ys {
			xMax, high = max(xMax, s.xs[i]), max(high, y)
			if y > 0 {
				low = min(low, y)
			}
		}
	}
	switch {
	case high == 0:
		return max(xMax, 1), 0.1, 1
	case c.logY:
		return max(xMax, 1e-9), math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high)+1e-9))
	}
	return max(xMax, 1e-9), 0, high * 1.05
}

func (c *chart) svg() template.HTML {
	xMax, low, high := c.bounds()
	x := func(v float64) float64 { return chartLeft + (chartWidth-chartLeft-10)*v/xMax }
	y := func(v float64) float64 { return 20 + (chartHeight-20-chartBottom)*(1-c.scaleY(v, low, high)) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, chartHeight, template.HTMLEscapeString(c.title))
	fmt.Fprintf(&b, `<text x="%d" y="13" class="t">%s</text>`, chartLeft, template.HTMLEscapeString(c.title))
	for _, tick := range c.ticks(low, high) {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" class="g"/><text x="%d" y="%.1f" class="y">%s</text>`, chartLeft, y(tick), chartWidth-10, chartLeft-6, y(tick)+4, figure(tick))
	}
	for i := range 6 {
		v := xMax * float64(i) / 5
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" class="x">%s</text>`, x(v), chartHeight-6, figure(math.Round(v*10)/10))
	}
	for _, m := range c.marks {
		fmt.Fprintf(&b, `<path d="M%.1f 20V%d" class="m"/>`, x(m), chartHeight-chartBottom)
	}
	for i, s := range c.series {
		color := lineColors[i%len(lineColors)]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, color)
		for j := range s.xs {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(s.xs[j]), y(s.ys[j]))
		}
		fmt.Fprintf(&b, `"/><text x="%d" y="13" fill="%s">%s</text>`, chartWidth-200+65*i, color, template.HTMLEscapeString(s.name))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// ticks are the heights of the horizontal lines.
func (c *chart) ticks(low, high float64) []float64 {
	var ts []float64
	if c.logY {
		for t := low; t <= high*1.0001; t *= 10 {
			ts = append(ts, t)
		}
		return ts
	}
	step := math.Pow(10, math.Floor(math.Log10(high/2)))
	for high/step > 6 {
		step *= 2
	}
	for t := 0.0; t <= high; t += step {
		ts = append(ts, t)
	}
	return ts
}

var reportTemplate = template.Must(template.New("report").Parse(`{{define "row"}}<tr><td>{{.Kind}}<td>{{.Ops}}<td>{{printf "%.0f" .OpsPerSecond}}<td>{{.Errors}}<td>{{.Retries}}<td>{{.Aborts}}<td>{{if .Attempts}}{{printf "%.2f" .AttemptsPerTx}}{{else}}-{{end}}{{with .Latency}}<td>{{printf "%.3f" .MeanMS}}<td>{{printf "%.3f" .P50MS}}<td>{{printf "%.3f" .P95MS}}<td>{{printf "%.3f" .P99MS}}<td>{{printf "%.3f" .P999MS}}<td>{{printf "%.3f" .MaxMS}}{{end}}</tr>
{{end}}<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title><style>
body{font:14px system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#1f2937;background:#fff}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #e5e7eb}
td:first-child,th:first-child,.facts td{text-align:left}svg{width:100%;margin:.5em 0;font:11px system-ui,sans-serif}
.g{stroke:#e5e7eb}.m{stroke:#9ca3af;stroke-dasharray:4}.y{text-anchor:end;fill:#6b7280}.x{text-anchor:middle;fill:#6b7280}.t{font-weight:600;fill:currentColor}
.warn{background:#fef3c7;padding:.5em 1em;margin:.3em 0}.INVALID{color:#dc2626}.OK{color:#15803d}
@media(prefers-color-scheme:dark){body{color:#e5e7eb;background:#111827}td,th{border-color:#374151}.g{stroke:#374151}.warn{background:#78350f}}
</style></head><body>
<h1>{{.Title}}: {{printf "%.0f" .Total.OpsPerSecond}} op/s <span class="{{.Verdict}}">{{.Verdict}}</span></h1>
{{range .Warnings}}<p class="warn">{{.}}</p>{{end}}{{range .ViolationExamples}}<p class="warn">{{.}}</p>{{end}}
<table><tr><th>operation<th>ops<th>op/s<th>errors<th>retries<th>aborts<th>attempts/tx<th>mean ms<th>p50<th>p95<th>p99<th>p99.9<th>max</tr>
{{range .Operations}}{{template "row" .}}{{end}}{{range .Beside}}{{template "row" .}}{{end}}</table>
{{range .Charts}}{{.}}{{end}}
{{if .Errors}}<h2>Errors</h2><table>{{range .Errors}}<tr><td>{{.Operation}}<td>{{.Kind}}<td>{{.Count}}</tr>{{end}}</table>{{end}}
<h2>How it was made</h2><table class="facts">{{range .Facts}}<tr><td>{{index . 0}}<td>{{index . 1}}</tr>{{end}}</table>
</body></html>
`))
