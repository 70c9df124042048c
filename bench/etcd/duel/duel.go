package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/kv"
)

// settings are what the flags say.
type settings struct {
	kvd, etcdnode string // binaries
	postgres      string // binary
	dir           string // where the data of all servers lies
	points        string
	sides         []string
	rounds        int
	seconds       float64
	keys          int
	rest          time.Duration
	markdown      string
	keep          bool
	modes
}

// modes are what is done instead of a duel; 0 is not at all.
type modes struct {
	failovers  int // kills
	partitions int // of a failover
	idle       int // partitions
}

// duel is one run: the sides, and what is loaded.
type duel struct {
	settings
	out    io.Writer
	order  []side               // as started
	loaded map[string]time.Time // when the keys of a key space were all there
	errors errorCounts
}

// errorCounts are errors by what failed and how.
type errorCounts map[errorKey]*errorCount

type errorCount struct {
	count int64
	first string // what the first one said
}

func (c errorCounts) add(k errorKey, n int64, said string) {
	if c[k] == nil {
		c[k] = &errorCount{first: said}
	}
	c[k].count += n
}

// errorKey is what errors are counted by.
type errorKey struct{ point, contender, operation, kind string }

// outcome is what came of one point.
type outcome struct {
	point   point
	rounds  [][]figures // by contender
	medians []figures   // by contender
	errors  []int64     // by contender, over all rounds
	failure error       // why there are no figures
}

var errInterrupted = errors.New("interrupted: points that were not finished have no figures")

// side of a name; nil if it does not take part.
func (d *duel) side(name string) side {
	for _, s := range d.order {
		if s.processes().side == name {
			return s
		}
	}
	return nil
}

func (d *duel) stop() {
	for _, s := range d.order {
		s.stop()
	}
}

// run measures all chosen points. A point that fails does not keep the others from being
// measured; a dead server does.
func (d *duel) run(ctx context.Context, chosen []point) ([]outcome, error) {
	d.loaded, d.errors = map[string]time.Time{}, errorCounts{}
	var all []outcome
	var errs []error
	for _, p := range chosen {
		o := d.measure(ctx, p)
		if ctx.Err() != nil {
			return all, errInterrupted
		}
		all = append(all, o)
		if o.failure != nil {
			fmt.Fprintf(d.out, "%s FAILED: %v\n", p.name, o.failure)
			errs = append(errs, fmt.Errorf("%s: %w", p.name, o.failure))
		} else {
			writeText(d.out, o)
		}
		for _, s := range d.order {
			if err := s.processes().checkAlive(); err != nil {
				return all, errors.Join(append(errs, err)...)
			}
		}
	}
	return all, errors.Join(errs...)
}

// measure takes the rounds of a point.
func (d *duel) measure(ctx context.Context, p point) outcome {
	o := outcome{point: p, rounds: make([][]figures, len(p.contenders)), errors: make([]int64, len(p.contenders))}
	fmt.Fprintf(d.out, "\n%s: %s\n", p.name, p.title)
	for _, c := range p.contenders {
		if o.failure = d.load(ctx, p, c); o.failure != nil {
			return o
		}
	}
	for round := range d.rounds {
		for i, c := range p.contenders {
			r, f, err := d.round(ctx, p, c, round)
			if err != nil {
				o.failure = fmt.Errorf("%s, round %d: %w", c.label, round+1, err)
				return o
			}
			o.rounds[i] = append(o.rounds[i], f)
			o.errors[i] += r.Total.Errors
			writeRound(d.out, c.label, round+1, f, r, d.side(c.side).leaders(ctx, c.space))
		}
	}
	for _, rounds := range o.rounds {
		o.medians = append(o.medians, medians(rounds))
	}
	return o
}

// turn lets one side work and stops the others.
func (d *duel) turn(ctx context.Context, c contender) (side, bench.Target, error) {
	s := d.side(c.side)
	for _, other := range d.order {
		if other != s && !other.processes().suspended {
			other.processes().suspend()
		}
	}
	t := s.target(c.space)
	if err := awake(ctx, s, t, d.rest); err != nil {
		return nil, nil, err
	}
	if c.pinned {
		var err error
		if t, err = s.pinned(ctx, c.space); err != nil {
			return nil, nil, err
		}
	}
	return s, t, nil
}

// stale is the target for reads of a while ago, as soon as all keys were there a while ago.
func (d *duel) stale(ctx context.Context, c contender, t bench.Target) (bench.Target, error) {
	place, ok := t.(stalePlace)
	if !ok {
		return nil, fmt.Errorf("%s cannot read what is not the newest", c.side)
	}
	if at, ok := d.loaded[c.place()]; ok {
		pause(ctx, time.Until(at.Add(c.stale+staleMargin)))
	}
	return place.staleBy(c.stale), ctx.Err()
}

// staleMargin is how much longer than the age of a read the keys must have been there: kvd counts
// back from the newest timestamp that its client has heard of.
const staleMargin = time.Second

// load makes the contender's key space and writes all keys, once in a run. A bank loads its accounts itself.
func (d *duel) load(ctx context.Context, p point, c contender) error {
	name := c.place()
	if _, ok := d.loaded[name]; ok {
		return nil
	}
	s := d.side(c.side)
	for _, other := range d.order {
		if other != s {
			other.processes().suspend()
		}
	}
	s.processes().resume()
	if err := d.makeSpace(ctx, s, c.space); err != nil {
		return fmt.Errorf("%s: key space %s: %w", c.side, c.space, err)
	}
	if p.workload == workloadBank {
		return nil
	}
	_, t, err := d.turn(ctx, c)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := bench.Run(ctx, t, bench.Options{Workload: "get", Workers: 1, Keys: d.keys, Duration: time.Millisecond, Warmup: -1}); err != nil {
		return fmt.Errorf("%s: loading %d keys: %w", c.side, d.keys, err)
	}
	fmt.Fprintf(d.out, "  loaded %d keys into %s in %.1f s\n", d.keys, name, time.Since(began).Seconds())
	d.loaded[name] = time.Now()
	return nil
}

// makeSpace tries again while the cluster is still finding its leaders.
func (d *duel) makeSpace(ctx context.Context, s side, space string) error {
	const attempts = 5
	var err error
	for range attempts {
		opCtx, cancel := context.WithTimeout(ctx, openMax)
		err = s.makeSpace(opCtx, space, d.keys)
		cancel()
		if err == nil || kv.KindOf(err) == kv.Exists || ctx.Err() != nil {
			return ctx.Err()
		}
		pause(ctx, time.Second)
	}
	return err
}

// warmupOf is a quarter of the measured time, at most three seconds.
func warmupOf(measured time.Duration) time.Duration { return min(measured/4, 3*time.Second) }

// round measures one contender once.
func (d *duel) round(ctx context.Context, p point, c contender, number int) (*bench.Result, figures, error) {
	s, t, err := d.turn(ctx, c)
	if err != nil {
		return nil, figures{}, err
	}
	if c.stale > 0 {
		if t, err = d.stale(ctx, c, t); err != nil {
			return nil, figures{}, err
		}
	}
	measured := time.Duration(d.seconds*float64(time.Second)) * time.Duration(max(p.longer, 1))
	o := bench.Options{
		Workload: p.workload, Workers: p.workers, Keys: d.keys, ValueBytes: 100, SkipLoad: p.workload != workloadBank,
		Duration: measured, Warmup: warmupOf(measured), Seed: uint64(number) + 1, Ordered: true, Tx: p.txOptions(c), Rate: p.rate,
		Bank:    bench.BankOptions{StaleBy: -1}, // PostgreSQL keeps no older state that an audit could read
		Observe: bench.Observe{PIDs: s.processes().pids(), Device: d.dir},
	}
	if p.oneKey {
		o.Keys = 1
	}
	seen := newWitness(t)
	beside, err := startScanners(ctx, t, c, d.keys)
	if err != nil {
		return nil, figures{}, err
	}
	r, err := bench.Run(ctx, seen, o)
	scans := beside.stop()
	if err != nil {
		return nil, figures{}, err
	}
	for _, e := range r.Errors {
		d.errors.add(errorKey{p.name, c.label, e.Operation, e.Kind}, e.Count, seen.said(e.Kind))
	}
	if n := beside.failed.Load(); n > 0 {
		d.errors.add(errorKey{p.name, c.label, "scan beside", "any"}, n, beside.said)
	}
	if r.Verdict == bench.VerdictInvalid {
		return nil, figures{}, kv.Errorf(kv.Corruption, "something wrong was read: %s", strings.Join(r.ViolationExamples, "; "))
	}
	return r, figuresOf(r, scans), nil
}
