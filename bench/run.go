package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/kvd-db/kvd/bench/ycsb"
)

// run is one run as it goes.
type run struct {
	target   Target
	options  Options
	mix      ycsb.Mix
	records  *ycsb.Records
	id       uint64 // in every value
	began    time.Time
	window   window
	schedule *schedule // open loop only
	workers  []*worker
	bad      violations
	series   []Point
	usage    usageSpan
}

// Run loads the records, puts load on the target and measures it. When ctx ends early it
// returns what was measured so far, with the cause. A run that read something wrong is
// returned without an error and with the verdict INVALID.
func Run(ctx context.Context, t Target, options Options) (*Result, error) {
	options = options.WithDefaults()
	if err := options.Validate(); err != nil {
		return nil, err
	}
	mix, err := mixOf(options.Workload)
	if err != nil {
		return nil, err
	}
	r := &run{target: t, options: options, mix: mix, id: rand.Uint64(), began: time.Now()}
	r.records = ycsb.NewRecords(uint64(options.Keys))
	var loaded *LoadResult
	if !options.SkipLoad {
		if loaded, err = load(ctx, t, r.id, mix.Order, options); err != nil {
			return nil, err
		}
	}
	if err := r.measure(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	audited := r.audit(ctx)
	result := r.result()
	result.Load, result.Audit = loaded, audited
	return result, ctx.Err()
}

// measure runs the warm-up and the measured part.
func (r *run) measure(ctx context.Context) error {
	// A guess, as in the original: as many operations as there are records.
	expected := uint64(float64(r.options.Keys) * r.mix.Shares[ycsb.Insert])
	source, err := ycsb.NewSource(r.mix, r.records, expected, r.options.Seed)
	if err != nil {
		return err
	}
	// The streams are made before the clock starts.
	start := time.Now()
	r.makeWorkers(source)
	start = start.Add(time.Since(start))
	r.window = newWindow(start.Add(r.options.Warmup), r.options.Duration)
	if r.options.Rate > 0 {
		r.schedule = newSchedule(start, r.window.end, r.options)
	}
	for _, w := range r.workers {
		w.recorder = newRecorder(r.window, r.options.Rate > 0)
	}
	reporter := startReporter(ctx, r)
	var all sync.WaitGroup
	for _, w := range r.workers {
		all.Go(func() {
			if r.schedule != nil {
				w.openLoop(ctx)
			} else {
				w.closedLoop(ctx)
			}
		})
	}
	all.Wait()
	reporter.stop()
	return ctx.Err()
}

func (r *run) makeWorkers(source *ycsb.Source) {
	in := &inspector{run: r.id, begun: make([]atomic.Uint64, r.options.Workers), stale: describe(r.target).StaleReads, violations: &r.bad}
	r.workers = make([]*worker, r.options.Workers)
	for i := range r.workers {
		r.workers[i] = &worker{
			run: r, stream: source.Stream(uint64(i)), inspector: in,
			ledger: newLedger(r.id, uint32(i), &in.begun[i]),
		}
	}
}

// recorders are those of all workers.
func (r *run) recorders() []*recorder {
	rs := make([]*recorder, len(r.workers))
	for i, w := range r.workers {
		rs[i] = w.recorder
	}
	return rs
}

// Progress is the state of a run once a second.
type Progress struct {
	Elapsed      time.Duration // since the warm-up began
	Warmup       bool
	Seconds      float64 // length of the interval
	OpsPerSecond float64
	Ops          int64 // successes in the interval
	Errors       int64 // in the interval
	P50, P99     time.Duration
	Max          time.Duration
}

// reporter makes a point of every second and samples the use of resources at both ends
// of the measured part.
type reporter struct {
	run  *run
	quit chan struct{}
	done sync.WaitGroup
}

const reportInterval = time.Second

func startReporter(ctx context.Context, r *run) *reporter {
	p := &reporter{run: r, quit: make(chan struct{})}
	p.done.Go(func() { p.loop(ctx) })
	return p
}

// stop ends the reporter after its last point.
func (p *reporter) stop() {
	close(p.quit)
	p.done.Wait()
}

func (p *reporter) loop(ctx context.Context) {
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	measured := time.NewTimer(time.Until(p.run.window.start))
	defer measured.Stop()
	start, last := p.run.window.start.Add(-p.run.options.Warmup), time.Now()
	meter := newUsageMeter(p.run.options.Observe)
	merged := newHistogram(intervalDigits)
	for {
		select {
		case <-measured.C:
			p.run.usage.begin(meter)
			continue
		case <-tick.C:
		case <-p.quit:
			p.run.usage.end(meter)
			if time.Since(last) >= reportInterval/2 {
				p.point(start, last, merged)
			}
			return
		}
		if ctx.Err() == nil {
			last = p.point(start, last, merged)
		}
	}
}

// point merges what happened since last, keeps it and shows it.
func (p *reporter) point(start, last time.Time, merged *hdrhistogram.Histogram) time.Time {
	now := time.Now()
	merged.Reset()
	errs := int64(0)
	for _, w := range p.run.workers {
		errs += w.recorder.takeInterval(merged)
	}
	g := Progress{
		Elapsed: now.Sub(start), Warmup: now.Before(p.run.window.start), Seconds: now.Sub(last).Seconds(),
		Ops: merged.TotalCount(), Errors: errs,
		P50: micros(merged.ValueAtQuantile(50)), P99: micros(merged.ValueAtQuantile(99)), Max: micros(merged.Max()),
	}
	g.OpsPerSecond = float64(g.Ops) / g.Seconds
	p.run.series = append(p.run.series, pointOf(g))
	if show := p.run.options.Observe.Progress; show != nil {
		show(g)
	}
	return now
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
