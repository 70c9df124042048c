package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// run is one run as it goes.
type run struct {
	target   Target
	options  Options
	workload workload
	id       uint64 // in every value
	began    time.Time
	window   window
	schedule *schedule // open loop only
	workers  []*worker
	beside   *worker // in no figure of the total; nil: none
	bad      violations
	series   []Point
	usage    usageSpan
	history  *HistoryResult // of list-append
	warnings []string
}

// Run loads the records, puts load on the target and measures it. When ctx ends early it
// returns what was measured so far, with the cause. A run that read something wrong is
// returned without an error and with the verdict INVALID.
func Run(ctx context.Context, t Target, options Options) (*Result, error) {
	options = options.WithDefaults()
	if err := options.Validate(); err != nil {
		return nil, err
	}
	r := &run{target: t, options: options, id: rand.Uint64(), began: time.Now()}
	var err error
	if r.workload, err = newWorkload(r); err != nil {
		return nil, err
	}
	var loaded *LoadResult
	if !options.SkipLoad {
		if loaded, err = r.workload.load(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.workload.begin(ctx); err != nil {
		return nil, err
	}
	if err := r.measure(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	audited := r.workload.finish(ctx)
	result := r.result()
	result.Load, result.Audit, result.History = loaded, audited, r.history
	return result, ctx.Err()
}

// measure runs the warm-up and the measured part.
func (r *run) measure(ctx context.Context) error {
	// The jobs are made before the clock starts.
	start := time.Now()
	r.makeWorkers()
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
	if r.beside != nil {
		r.beside.recorder = newRecorder(r.window, false)
		all.Go(func() { r.beside.closedLoop(ctx) })
	}
	all.Wait()
	reporter.stop()
	return ctx.Err()
}

func (r *run) makeWorkers() {
	r.workers = make([]*worker, r.options.Workers)
	for i := range r.workers {
		r.workers[i] = &worker{run: r, job: r.workload.job(i)}
	}
	if j := r.workload.beside(); j != nil {
		r.beside = &worker{run: r, job: j}
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
	Transactions int64 // that ended in the interval, errors included; 0 of a workload without
	Attempts     int64 // of these transactions
	Aborts       int64 // attempts that another transaction overtook
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
	merged := &interval{latency: newHistogram(intervalDigits)}
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
func (p *reporter) point(start, last time.Time, merged *interval) time.Time {
	now := time.Now()
	h := merged.latency
	h.Reset()
	merged.errors, merged.effort = 0, effort{}
	for _, w := range p.run.workers {
		w.recorder.takeInterval(merged)
	}
	g := Progress{
		Elapsed: now.Sub(start), Warmup: now.Before(p.run.window.start), Seconds: now.Sub(last).Seconds(),
		Ops: h.TotalCount(), Errors: merged.errors,
		Transactions: merged.effort.transactions, Attempts: merged.effort.attempts, Aborts: merged.effort.aborts,
		P50: micros(h.ValueAtQuantile(50)), P99: micros(h.ValueAtQuantile(99)), Max: micros(h.Max()),
	}
	g.OpsPerSecond = float64(g.Ops) / g.Seconds
	p.run.series = append(p.run.series, pointOf(g))
	if show := p.run.options.Observe.Progress; show != nil {
		show(g)
	}
	return now
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
