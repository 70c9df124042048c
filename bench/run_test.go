package bench

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvd-db/kvd/kv"
)

func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "get", Keys: 100, Workers: 4, Duration: 10 * time.Second, Warmup: 2 * time.Second, SkipLoad: true}
		s := newTestTarget(10 * time.Millisecond)
		s.load(t, o)
		var lines []string
		o.Observe.Progress = func(p Progress) { lines = append(lines, p.String()) }
		r := mustRun(t, s, o)
		if r.Total.Ops != 4000 || !near(r.Total.OpsPerSecond, 400, 0.1) || r.Verdict != VerdictOK {
			t.Errorf("%d operations, %.1f/s, %s; want 4000, 400/s, OK: %v", r.Total.Ops, r.Total.OpsPerSecond, r.Verdict, r.Warnings)
		}
		if l := r.Total.Latency; !near(l.P50MS, 10, 0.02) || !near(l.MaxMS, 10, 0.02) || l.Count != 4000 {
			t.Errorf("latency %+v, want 10 ms everywhere", l)
		}
		if len(lines) != 12 || !strings.Contains(lines[0], "(warm-up)") || strings.Contains(lines[11], "(warm-up)") {
			t.Errorf("progress: %d lines, want 12, two of them warm-up:\n%s", len(lines), strings.Join(lines, "\n"))
		}
		if r.Settings.Mode != "closed" || r.Total.LongestGapMS > 10 {
			t.Errorf("mode %s, longest gap %v ms", r.Settings.Mode, r.Total.LongestGapMS)
		}
	})
}

// The stall hits 100 planned operations, and each of them must show how long it waited,
// although only one was under way when it began.
func TestOpenLoopCountsFromThePlannedMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "get", Keys: 100, Workers: 1, Duration: 10 * time.Second, Warmup: -1, Rate: 100, SkipLoad: true}
		s := newTestTarget(0)
		s.load(t, o)
		s.delay = func(since time.Duration) time.Duration {
			if since >= 5*time.Second && since < 5*time.Second+time.Millisecond {
				return time.Second
			}
			return time.Millisecond
		}
		r := mustRun(t, s, o)
		if r.Total.Ops != 1000 || r.Generator.NotSent != 0 || r.Generator.PlannedOps != 1000 || r.Verdict != VerdictOK {
			t.Fatalf("%d of %d operations, %d not sent, %s %v; want 1000 of 1000", r.Total.Ops, r.Generator.PlannedOps, r.Generator.NotSent, r.Verdict, r.Warnings)
		}
		op := r.Operations[0]
		response, err := op.Latency.Histogram()
		if err != nil {
			t.Fatal(err)
		}
		service, err := op.Service.Histogram()
		if err != nil {
			t.Fatal(err)
		}
		above := func(h interface{ ValueAtQuantile(float64) int64 }, limit time.Duration) int {
			n := 0
			for i := 1; i <= 1000; i++ {
				if h.ValueAtQuantile(float64(i)/10) > limit.Microseconds() {
					n++
				}
			}
			return n
		}
		// The queue grows to 100 and shrinks by 9 in 10 ms; about 100 operations wait for
		// more than 100 ms, but service takes longer than that only once.
		if n := above(response, 100*time.Millisecond); n < 90 || n > 112 {
			t.Errorf("%d response times above 100 ms, want about 100", n)
		}
		if n := above(service, 100*time.Millisecond); n != 1 {
			t.Errorf("%d service times above 100 ms, want 1", n)
		}
		if !near(r.Total.LongestGapMS, 1000, 15) {
			t.Errorf("longest gap %v ms, want 1000", r.Total.LongestGapMS)
		}
	})
}

func TestOpenLoopSaysThatItIsSaturated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "get", Keys: 10, Workers: 1, Duration: 10 * time.Second, Warmup: -1, Rate: 1000, SkipLoad: true}
		s := newTestTarget(10 * time.Millisecond)
		s.load(t, o)
		r := mustRun(t, s, o)
		// 15 s at 100/s are sent, with the drain; the rest never is.
		if g := r.Generator; r.Verdict != VerdictSaturated || g.PlannedOps != 10_000 || r.Total.Ops != 1500 || g.NotSent != 8500 {
			t.Errorf("%s, %d operations, generator %+v; want SATURATED, 1500 of 10000", r.Verdict, r.Total.Ops, r.Generator)
		}
		if !near(r.Generator.NotSentOldestMS, 13_500, 20) {
			t.Errorf("the oldest of those not sent waited %v ms, want 13500", r.Generator.NotSentOldestMS)
		}
		if r.Total.Latency.MaxMS < 13_000 {
			t.Errorf("the longest response is %v ms, want 13.5 s of queueing", r.Total.Latency.MaxMS)
		}
	})
}

func TestPoissonKeepsTheMean(t *testing.T) {
	start := time.Now()
	s := newSchedule(start, start.Add(100*time.Second), Options{Rate: 1000, Poisson: true, Seed: 1})
	n, last := 0, start
	for {
		at, ok := s.take()
		if !ok {
			break
		}
		if at.Before(last) {
			t.Fatal("the plan goes backwards")
		}
		n, last = n+1, at
	}
	if n < 98_500 || n > 101_500 { // five standard deviations of 316
		t.Errorf("%d arrivals in 100 s at 1000/s", n)
	}
}

func TestErrorsAreCountedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "get", Keys: 10, Workers: 1, Duration: 10 * time.Second, Warmup: 5 * time.Second, SkipLoad: true}
		s := newTestTarget(time.Millisecond)
		s.load(t, o)
		s.getErr = func(since time.Duration) error {
			switch {
			case since < 5*time.Second-10*time.Millisecond:
				return errors.New("only in the warm-up")
			case since > 10*time.Second && since < 11*time.Second:
				return kv.Errorf(kv.Unavailable, "no leader")
			case since > 12*time.Second && since < 12*time.Second+5*time.Millisecond:
				return context.DeadlineExceeded
			}
			return nil
		}
		r := mustRun(t, s, o)
		if len(r.Errors) != 2 || r.Errors[0].Kind != "unavailable" || r.Errors[1].Kind != "timeout" || r.Errors[0].Operation != "read" {
			t.Fatalf("errors %+v, want unavailable and timeout of read", r.Errors)
		}
		if n := r.Errors[0].Count; n < 195 || n > 201 { // one in 5 ms: errorPause
			t.Errorf("%d errors in a second, want about 200", n)
		}
		if r.Total.Errors != r.Errors[0].Count+r.Errors[1].Count || r.Total.Ops != r.Total.Latency.Count {
			t.Errorf("total %+v does not add up", r.Total)
		}
		if !near(r.Total.LongestGapMS, 1000, 10) || r.Total.Latency.MaxMS > 1.1 {
			t.Errorf("longest gap %v ms, longest success %v ms; want 1000 and 1", r.Total.LongestGapMS, r.Total.Latency.MaxMS)
		}
	})
}

func TestTimeoutOfOneOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "put", Keys: 10, Workers: 2, Duration: 4 * time.Second, Warmup: -1, OpTimeout: time.Second, SkipLoad: true}
		s := newTestTarget(time.Hour)
		r, err := Run(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Total.Ops != 0 || len(r.Errors) != 1 || r.Errors[0].Kind != "timeout" || r.Errors[0].Count != 8 {
			t.Errorf("%d operations, errors %+v; want 8 timeouts", r.Total.Ops, r.Errors)
		}
		if !near(r.Total.LongestGapMS, 4000, 2) {
			t.Errorf("longest gap %v ms, want all of the 4000", r.Total.LongestGapMS)
		}
	})
}

// Each case breaks one promise of a store; the run must say which.
func TestViolationsMakeTheRunInvalid(t *testing.T) {
	var mu sync.Mutex
	first := map[string][]byte{}
	for name, c := range map[string]struct {
		workload string
		spoil    func(*testTarget)
		want     string
	}{
		"a flipped bit": {"get", func(s *testTarget) {
			s.onGet = func(r Record) (Record, error) {
				r.Value = slices.Clone(r.Value)
				r.Value[50] ^= 1
				return r, nil
			}
		}, violationWrongValue},
		"the value of another key": {"get", func(s *testTarget) {
			s.onGet = func(r Record) (Record, error) {
				r.Value = AppendValue(nil, []byte("other"), Stamp{}, 100)
				return r, nil
			}
		}, violationWrongValue},
		"a lost key": {"get", func(s *testTarget) {
			s.onGet = func(Record) (Record, error) { return Record{}, ErrNotFound }
		}, violationMissing},
		"a lost write of a writing workload": {"put", func(s *testTarget) {
			s.onPut = func(key, _ []byte) (bool, error) { s.Delete(key); return true, nil }
		}, violationMissing},
		"old values": {"ycsb-a", func(s *testTarget) {
			s.onPut = func(key, value []byte) (bool, error) {
				mu.Lock()
				defer mu.Unlock()
				if old, ok := first[string(key)]; ok {
					return true, s.Memory.Put(t.Context(), key, old)
				}
				first[string(key)] = slices.Clone(value)
				return false, nil
			}
		}, violationStale},
		"a value from the future": {"ycsb-a", func(s *testTarget) {
			s.onPut = func(key, value []byte) (bool, error) {
				st, err := CheckValue(key, value)
				if err != nil {
					return false, err
				}
				st.Sequence += 1000
				return true, s.Memory.Put(t.Context(), key, AppendValue(nil, key, st, 100))
			}
		}, violationNeverSent},
		"a scan out of order": {"scan", func(s *testTarget) {
			s.onScan = func(rs []Record) []Record { slices.Reverse(rs); return rs }
		}, violationOrder},
		"a scan with a key twice": {"ycsb-e", func(s *testTarget) {
			s.onScan = func(rs []Record) []Record {
				if len(rs) < 3 {
					return rs
				}
				return append([]Record{rs[0]}, rs[:len(rs)-1]...)
			}
		}, violationOrder},
		"a scan of too much": {"ycsb-e", func(s *testTarget) {
			s.onScan = func(rs []Record) []Record {
				return append(rs, Record{Key: []byte("zz"), Value: AppendValue(nil, []byte("zz"), Stamp{}, 100)})
			}
		}, violationTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clear(first)
				o := Options{Workload: c.workload, Keys: 50, Workers: 2, Duration: 2 * time.Second, Warmup: -1, SkipLoad: true}
				s := newTestTarget(time.Millisecond)
				s.load(t, o)
				c.spoil(s)
				r := mustRun(t, s, o)
				if r.Verdict != VerdictInvalid || r.Violations == 0 || len(r.ViolationExamples) > violationExamplesMax {
					t.Fatalf("verdict %s with %d violations, want INVALID", r.Verdict, r.Violations)
				}
				if !slices.ContainsFunc(r.ViolationExamples, func(s string) bool { return strings.HasPrefix(s, c.want+": ") }) {
					t.Errorf("violations %q, want one of %q", r.ViolationExamples, c.want)
				}
			})
		})
	}
}

// Every workload runs clean on a store that is right.
func TestWorkloadsAreClean(t *testing.T) {
	for _, workload := range Workloads() {
		for _, rate := range []float64{0, 2000} {
			synctest.Test(t, func(t *testing.T) {
				o := Options{Workload: workload, Keys: 200, Workers: 8, Duration: 2 * time.Second, Warmup: time.Second, Rate: rate}
				r := mustRun(t, newTestTarget(time.Millisecond), o)
				if r.Verdict != VerdictOK || r.Total.Ops == 0 || r.Total.Errors != 0 {
					t.Errorf("%s at %v/s: %s, %d operations, %d errors: %v %v", workload, rate, r.Verdict, r.Total.Ops, r.Total.Errors, r.Warnings, r.ViolationExamples)
				}
				loaded := map[string]int{"bank": 100, "list-append": 0}
				want, ok := loaded[workload]
				if !ok {
					want = 200
				}
				if (r.Load == nil) != (want == 0) || r.Load != nil && r.Load.Records != want {
					t.Errorf("%s: load %+v", workload, r.Load)
				}
				if none := workload == "get" || workload == "scan" || workload == "ycsb-c" || workload == "list-append"; none != (r.Audit == nil) {
					t.Errorf("%s: audit %+v", workload, r.Audit)
				}
			})
		}
	}
}

// What else a keyspace holds is none of a run's business.
func TestForeignKeys(t *testing.T) {
	for _, workload := range []string{"scan", "ycsb-e"} {
		synctest.Test(t, func(t *testing.T) {
			o := Options{Workload: workload, Keys: 50, Workers: 2, Duration: 2 * time.Second, Warmup: -1}
			s := newTestTarget(time.Millisecond)
			for _, key := range []string{"a", "uses", "x"} {
				if err := s.Memory.Put(t.Context(), []byte(key), []byte("mine")); err != nil {
					t.Fatal(err)
				}
			}
			if r := mustRun(t, s, o); r.Verdict != VerdictOK || r.Total.Ops == 0 {
				t.Errorf("%s: %s, %q", workload, r.Verdict, r.ViolationExamples)
			}
		})
	}
}

// Eight workers on one record: a read-modify-write must be tried again, as a transaction or
// as a compare-and-set, and the attempts counted.
func TestReadModifyWriteRetries(t *testing.T) {
	for name, target := range map[string]func() Target{
		"transactions":    func() Target { return newTestTarget(time.Millisecond) },
		"compare-and-set": func() Target { return struct{ Target }{newTestTarget(time.Millisecond)} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := Options{Workload: "ycsb-f", Keys: 1, Workers: 8, Duration: 2 * time.Second, Warmup: -1}
				r := mustRun(t, target(), o)
				e := r.Total.Effort
				if r.Verdict != VerdictOK || e.Retries == 0 || r.Total.Errors != 0 {
					t.Errorf("%s, %d retries, %d errors; want OK with retries only: %v", r.Verdict, e.Retries, r.Total.Errors, r.ViolationExamples)
				}
				rmw := r.Operations[1]
				if e.Aborts != e.Retries || e.Attempts != e.Transactions+e.Retries || e.Transactions != rmw.Ops || rmw.Effort != e || e.AttemptsPerTx <= 1 {
					t.Errorf("effort %+v of %d read-modify-writes does not add up", e, rmw.Ops)
				}
			})
		})
	}
}

func TestFailedInsertsAreNotReadLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "ycsb-d", Keys: 100, Workers: 4, Duration: 5 * time.Second, Warmup: -1, SkipLoad: true}
		s := newTestTarget(time.Millisecond)
		s.load(t, o)
		var n atomic.Int64
		s.onPut = func([]byte, []byte) (bool, error) {
			if n.Add(1)%2 == 0 {
				return false, kv.Errorf(kv.Ambiguous, "who knows")
			}
			return false, nil
		}
		r := mustRun(t, s, o)
		if r.Verdict != VerdictOK || r.Total.Errors == 0 || r.Errors[0].Kind != "ambiguous" {
			t.Errorf("%s, errors %+v: %v", r.Verdict, r.Errors, r.ViolationExamples)
		}
	})
}

func TestLoadRetriesAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "get", Keys: 10, Workers: 1, Duration: time.Second, Warmup: -1}
		s := newTestTarget(time.Millisecond)
		var failed atomic.Bool
		s.onPut = func([]byte, []byte) (bool, error) {
			if failed.CompareAndSwap(false, true) {
				return false, kv.Errorf(kv.Unavailable, "not yet")
			}
			return false, nil
		}
		if r := mustRun(t, s, o); r.Load.Retries != 1 || r.Verdict != VerdictOK {
			t.Errorf("load %+v, %s", r.Load, r.Verdict)
		}
		s.onPut = func([]byte, []byte) (bool, error) { return false, kv.Errorf(kv.Denied, "no") }
		if _, err := Run(t.Context(), s, o); kv.KindOf(err) != kv.Denied || !strings.Contains(err.Error(), "loading user") {
			t.Errorf("a load that cannot work: %v", err)
		}
	})
}

func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "get", Keys: 10, Workers: 2, Duration: time.Hour, Warmup: -1, SkipLoad: true}
		s := newTestTarget(time.Millisecond)
		s.load(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		r, err := Run(ctx, s, o)
		if !errors.Is(err, context.Canceled) || r == nil {
			t.Fatalf("Run = %v, %v; want a result and the cause", r, err)
		}
		if r.Total.Errors != 0 || !near(r.Total.OpsPerSecond, 2000, 5) || !near(r.Total.ElapsedS, 10, 0.01) {
			t.Errorf("total %+v, want 10 s at 2000/s without errors", r.Total)
		}
	})
}

func TestResultFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	var a *Result
	synctest.Test(t, func(t *testing.T) {
		a = mustRun(t, newTestTarget(time.Millisecond), Options{Workload: "ycsb-b", Keys: 10, Workers: 2, Duration: 5 * time.Second})
	})
	if err := a.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	b, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.Total != a.Total || b.Verdict != a.Verdict || len(b.Series) != len(a.Series) || b.Provenance.Go == "" {
		t.Errorf("read %+v, want %+v", b.Total, a.Total)
	}
	h, err := b.Total.Latency.Histogram()
	if err != nil || h.TotalCount() != a.Total.Ops {
		t.Errorf("histogram of %d, want %d: %v", h.TotalCount(), a.Total.Ops, err)
	}
	var text bytes.Buffer
	if err := b.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ycsb-b on memory", "verdict: OK", "read back", "p99.9"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, &text)
		}
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was read")
	}
}
