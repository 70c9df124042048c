package bench

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvd-db/kvd/kv"
)

func resultOf(rates []float64, p50 float64) *Result {
	r := &Result{Outcome: Outcome{Verdict: VerdictOK}, Settings: Settings{Workload: "put", Workers: 64}}
	for _, x := range rates {
		r.Series = append(r.Series, Point{OpsPerSecond: x})
	}
	r.Total = Total{OpsPerSecond: mean(rates), Latency: Latency{P50MS: p50, P99MS: 2 * p50}}
	return r
}

func TestCompare(t *testing.T) {
	a := resultOf([]float64{100, 110, 90, 100}, 4)
	b := resultOf([]float64{200, 210, 190, 200}, 2)
	c := Compare(a, b)
	rows := map[string]CompareRow{}
	for _, r := range c.Rows {
		rows[r.Metric] = r
	}
	if r := rows["ops/s"]; r.Ratio != 2 || !r.Significant() {
		t.Errorf("ops/s %+v, want the ratio 2, beyond noise", r)
	}
	if r := rows["p50 ms"]; r.Ratio != 0.5 {
		t.Errorf("p50 %+v, want the ratio 0.5", r)
	}
	if len(c.Differences) != 0 || len(c.Notes) != 0 {
		t.Errorf("differences %q, notes %q", c.Differences, c.Notes)
	}
	close := Compare(a, resultOf([]float64{101, 111, 91, 101}, 4))
	if close.Rows[0].Significant() {
		t.Errorf("1 %% with a scatter of 8 %% is called significant: %+v", close.Rows[0])
	}
	b.Settings.Workers, b.Verdict, b.Warnings = 32, VerdictInvalid, []string{"w"}
	c = Compare(a, b)
	if len(c.Differences) != 1 || len(c.Notes) != 2 {
		t.Errorf("differences %q, notes %q; want the workers, and INVALID with its warning", c.Differences, c.Notes)
	}
	var text bytes.Buffer
	if err := c.WriteText(&text); err != nil || !strings.Contains(text.String(), "not alike: workers: 64 against 32") {
		t.Errorf("%v\n%s", err, &text)
	}
}

func TestRatioTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "ycsb-a", Keys: 100, Workers: 4, Duration: 4 * time.Second, Warmup: -1}
		fast, slow := newTestTarget(time.Millisecond), newTestTarget(2*time.Millisecond)
		var order []string
		all, err := Ratio(t.Context(), RatioOptions{Rounds: 2, Pause: time.Second, Done: func(name string, round int, r *Result) {
			order = append(order, name)
			if r.Settings.Loaded != (round == 1) {
				t.Errorf("%s, round %d: loaded %v", name, round, r.Settings.Loaded)
			}
		}}, Contender{"slow", slow, o}, Contender{"fast", fast, o})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(order, " "); got != "slow fast slow fast" {
			t.Errorf("the order was %s", got)
		}
		if p := all[1].Metrics[0]; !near(p.Ratio, 2, 0.01) || !near(p.Median, 4000, 10) {
			t.Errorf("ops/s of fast: %+v, want 4000 and the ratio 2", p)
		}
		if p := all[1].Metrics[1]; !near(p.Ratio, 0.5, 0.01) {
			t.Errorf("p50 of fast: %+v, want the ratio 0.5", p)
		}
		var text bytes.Buffer
		if err := WriteStandings(&text, all); err != nil || !strings.Contains(text.String(), "vs first") {
			t.Errorf("%v\n%s", err, &text)
		}
		fast.onGet = func(r Record) (Record, error) { r.Value = nil; return r, nil }
		if _, err := Ratio(t.Context(), RatioOptions{Rounds: 1}, Contender{"fast", fast, o}); kv.KindOf(err) != kv.Corruption {
			t.Errorf("a wrong value in a round: %v, want Corruption", err)
		}
	})
	if _, err := Ratio(t.Context(), RatioOptions{}); kv.KindOf(err) != kv.Invalid {
		t.Errorf("no contenders: %v", err)
	}
}

func TestMedian(t *testing.T) {
	if m := median([]float64{1, 2, 30}); m != 2 {
		t.Errorf("median of three is %v", m)
	}
	if m := median([]float64{1, 2, 4, 30}); m != 3 {
		t.Errorf("median of four is %v", m)
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("accounting is for Linux")
	}
	m := newUsageMeter(Observe{PIDs: []int{os.Getpid(), 1 << 30}, Device: "no-such-device"})
	var span usageSpan
	span.begin(m)
	sum := 0
	for began := time.Now(); time.Since(began) < 100*time.Millisecond; {
		sum++
	}
	runtime.GC()
	span.end(m)
	r := span.resources(100)
	if r == nil || r.ServerCPUSeconds <= 0 || r.ServerPIDsAtEnd != 1 || r.ClientCPUMicrosOp <= 0 {
		t.Fatalf("after %d turns of a busy loop: %+v", sum, r)
	}
	if r.DeviceBytes != 0 || span.first.HasDevice {
		t.Errorf("a device that does not exist has counters: %+v", r)
	}
	if span.gcPause() <= 0 {
		t.Error("a garbage collection took no time at all")
	}
}

// Nothing to watch, nothing begun: no figures rather than wrong ones.
func TestResourcesAreAbsentIfNotMeasured(t *testing.T) {
	var span usageSpan
	span.end(newUsageMeter(Observe{}))
	if r := span.resources(1); r != nil {
		t.Errorf("resources of nothing: %+v", r)
	}
}

func TestErrorKinds(t *testing.T) {
	m := NewMemory()
	for want, err := range map[string]error{
		"timeout":     context.DeadlineExceeded,
		"canceled":    context.Canceled,
		"conflict":    ErrConflict,
		"not found":   ErrNotFound,
		"unavailable": kv.Errorf(kv.Unavailable, "x"),
		"other":       os.ErrClosed,
	} {
		if got := errorKind(m, err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}

// BenchmarkHarness is what the harness itself costs for one operation.
func BenchmarkHarness(b *testing.B) {
	o := Options{Workload: "ycsb-a", Keys: 10_000, Workers: 2, Duration: time.Second, Warmup: -1}
	for b.Loop() {
		r, err := Run(b.Context(), NewMemory(), o)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(1e6/r.Total.OpsPerSecond*2, "us/op/worker")
	}
}
