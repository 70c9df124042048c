package main

import (
	"math"
	"slices"

	"github.com/kvd-db/kvd/bench"
)

// metric is one figure of a round.
type metric int

// The figures, in the order of the tables.
const (
	opsPerSecond metric = iota
	p50MS
	p99MS
	serverCPUMicros
	clientCPUMicros
	deviceBytes
	deviceFlushes
	othersPercent
	scansPerSecond
	attemptsPerTx // 0 without transactions
	metricCount
)

// metricNames are the heads of the tables' columns.
var metricNames = [metricCount]string{
	"ops/s", "p50 ms", "p99 ms", "server CPU µs/op", "client CPU µs/op",
	"dev bytes/op", "flushes/op", "others %", "scans/s beside", "attempts/tx",
}

// figures are those of one round, or medians over rounds. What could not be read is NaN.
type figures [metricCount]float64

func figuresOf(r *bench.Result, scans float64) figures {
	f := figures{opsPerSecond: r.Total.OpsPerSecond, p50MS: r.Total.Latency.P50MS, p99MS: r.Total.Latency.P99MS, scansPerSecond: scans, attemptsPerTx: r.Total.AttemptsPerTx}
	if r.Total.Ops == 0 {
		f[p50MS], f[p99MS] = math.NaN(), math.NaN()
	}
	for _, m := range []metric{serverCPUMicros, clientCPUMicros, deviceBytes, deviceFlushes, othersPercent} {
		f[m] = math.NaN()
	}
	if u := r.Resources; u != nil && r.Total.Ops > 0 {
		f[serverCPUMicros], f[clientCPUMicros] = u.ServerCPUMicrosOp, u.ClientCPUMicrosOp
		f[deviceBytes], f[deviceFlushes] = u.DeviceBytesPerOp, u.DeviceFlushesPerOp
		f[othersPercent] = u.OthersPercent
	}
	return f
}

// medians takes the median of every figure on its own.
func medians(rounds []figures) figures {
	var f figures
	for m := range metricCount {
		xs := make([]float64, len(rounds))
		for i, r := range rounds {
			xs[i] = r[m]
		}
		f[m] = median(xs)
	}
	return f
}

// median leaves out what is NaN; the median of nothing is NaN.
func median(xs []float64) float64 {
	known := slices.DeleteFunc(slices.Clone(xs), math.IsNaN)
	slices.Sort(known)
	n := len(known)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return known[n/2]
	}
	return (known[n/2-1] + known[n/2]) / 2
}

// ratio is NaN where it has no meaning.
func ratio(x, base float64) float64 {
	if base == 0 {
		return math.NaN()
	}
	return x / base
}

// quantile is the smallest member of sorted numbers that at least the part q of them do not
// exceed; NaN of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
