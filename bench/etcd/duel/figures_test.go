package main

import (
	"math"
	"testing"
	"time"

	"github.com/kvd-db/kvd/bench"
)

var nan = math.NaN()

// same takes NaN for equal to itself.
func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		xs   []float64
		want float64
	}{
		{nil, nan},
		{[]float64{nan}, nan},
		{[]float64{3}, 3},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{nan, 9, 1, nan, 2}, 2},
		{[]float64{4, 3, 2, 1}, 2.5},
	} {
		before := append([]float64(nil), c.xs...)
		if got := median(c.xs); !same(got, c.want) {
			t.Errorf("the median of %v is %v, want %v", before, got, c.want)
		}
		for i := range before {
			if !same(before[i], c.xs[i]) {
				t.Errorf("median has changed %v to %v", before, c.xs)
				break
			}
		}
	}
}

// Each figure has its own median: a round need not have all of them.
func TestMedians(t *testing.T) {
	got := medians([]figures{
		{opsPerSecond: 100, p50MS: 9, deviceBytes: nan},
		{opsPerSecond: 300, p50MS: 1, deviceBytes: nan},
		{opsPerSecond: 200, p50MS: 5, deviceBytes: nan},
	})
	if got[opsPerSecond] != 200 || got[p50MS] != 5 || !math.IsNaN(got[deviceBytes]) || got[othersPercent] != 0 {
		t.Errorf("medians are %v", got)
	}
}

func TestRatio(t *testing.T) {
	for _, c := range []struct{ x, base, want float64 }{{6, 3, 2}, {0, 3, 0}, {3, 0, nan}, {0, 0, nan}, {nan, 1, nan}, {1, nan, nan}} {
		if got := ratio(c.x, c.base); !same(got, c.want) {
			t.Errorf("ratio(%v, %v) is %v, want %v", c.x, c.base, got, c.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for _, c := range []struct {
		xs      []float64
		q, want float64
	}{
		{nil, 0.5, nan},
		{[]float64{7}, 0, 7},
		{[]float64{7}, 1, 7},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
		{hundred[:3], 0.5, 2},
	} {
		if got := quantile(c.xs, c.q); !same(got, c.want) {
			t.Errorf("quantile %v of %d numbers is %v, want %v", c.q, len(c.xs), got, c.want)
		}
	}
}

// Without an operation nothing per operation is known; without /proc nothing of the machine.
func TestFiguresOf(t *testing.T) {
	r := &bench.Result{Total: bench.Total{Ops: 10, OpsPerSecond: 5, Latency: bench.Latency{P50MS: 1, P99MS: 2}, Effort: bench.Effort{AttemptsPerTx: 9}}, Resources: &bench.Resources{
		ServerCPUMicrosOp: 3, ClientCPUMicrosOp: 4, DeviceBytesPerOp: 5, DeviceFlushesPerOp: 6, OthersPercent: 7,
	}}
	if got, want := figuresOf(r, 8), (figures{5, 1, 2, 3, 4, 5, 6, 7, 8, 9}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	r.Resources = nil
	if got := figuresOf(r, 0); got[p50MS] != 1 || !math.IsNaN(got[serverCPUMicros]) || !math.IsNaN(got[othersPercent]) {
		t.Errorf("without resources: %v", got)
	}
	r = &bench.Result{Resources: &bench.Resources{ServerCPUMicrosOp: 3}}
	if got := figuresOf(r, 0); got[opsPerSecond] != 0 || !math.IsNaN(got[p50MS]) || !math.IsNaN(got[serverCPUMicros]) {
		t.Errorf("without an operation: %v", got)
	}
}

func TestLongestGap(t *testing.T) {
	zero := time.Unix(1000, 0)
	at := func(ms ...int) (out []time.Time) {
		for _, m := range ms {
			out = append(out, zero.Add(time.Duration(m)*time.Millisecond))
		}
		return out
	}
	for _, c := range []struct {
		acks []time.Time
		want int
	}{
		{nil, 0},
		{at(700), 700},
		{at(5, 900, 950), 895},        // an answer that was under way at the kill is no end of the gap
		{at(-50, -10, 300, 350), 300}, // what was before the kill does not count
		{at(100, 200, 900), 700},
	} {
		if got := longestGap(zero, c.acks); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("%v: %v, want %d ms", c.acks, got, c.want)
		}
	}
}

func TestSummarizeGaps(t *testing.T) {
	s := summarizeGaps([]time.Duration{3 * time.Second, time.Second, 2 * time.Second})
	if s != (gapSummary{count: 3, p50: 2, p99: 3, max: 3}) {
		t.Errorf("%+v", s)
	}
	if s := summarizeGaps(nil); s.count != 0 || !math.IsNaN(s.p99) {
		t.Errorf("of nothing: %+v", s)
	}
}
