package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kvd-db/kvd/bench"
)

// failoverSide is a side whose leader can be killed.
type failoverSide interface {
	side
	// probes makes what is written to and gives one key of each partition.
	probes(ctx context.Context, partitions int) (bench.Target, [][]byte, error)
	// opMax is how long one write of a prober may take.
	opMax() time.Duration
	// victim is the process that leads most, and which of the probes' partitions it leads.
	victim(ctx context.Context) (process int, led []bool, err error)
	// reborn notes what a restarted process says of itself.
	reborn(process int, ready string) error
	// whole is nil once a restarted process holds all that the others hold.
	whole(ctx context.Context, process int) error
}

// How long a failover waits.
const (
	comeBackMax = time.Minute            // for writes to all partitions after a kill
	wholeMax    = time.Minute            // for a restarted node to catch up
	afterwards  = 500 * time.Millisecond // looked on after all partitions were written to again
	betweenKill = 2 * time.Second        // of rest once a restarted node is whole
	lookEvery   = 20 * time.Millisecond
)

// The demands on the write gap, p99 in seconds.
const (
	gapFloor = 1.2
	gapGoal  = 0.9
)

// failover kills leaders of one side.
type failover struct {
	side    failoverSide
	out     io.Writer
	probers []*prober
	led     []time.Duration // gaps of partitions that the killed node led
	others  []time.Duration // of the other partitions
}

// runFailover does one side after the other; only one cluster runs at a time.
func runFailover(ctx context.Context, s settings, about string, out io.Writer) error {
	t := table{head: []string{"side", "kills", "gaps", "p50 s", "p99 s", "max s", "max s where the leader lived", "errors by kind"}}
	verdict := ""
	for _, name := range s.sides {
		f, err := failoverOf(ctx, s, name, out)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		led, others := summarizeGaps(f.led), summarizeGaps(f.others)
		t.rows = append(t.rows, []string{
			name, fmt.Sprint(s.failovers), fmt.Sprint(led.count), format(led.p50), format(led.p99), format(led.max), format(others.max), f.errors(),
		})
		if name == "kvd" {
			v := verdictOfGap(led.p99)
			verdict = fmt.Sprintf("kvd's write gap, p99: %s s; floor <= %v s, goal <= %v s: %s", format(led.p99), gapFloor, gapGoal, v)
		}
	}
	fmt.Fprintln(out)
	t.writeText(out)
	fmt.Fprintln(out, verdict)
	var b strings.Builder
	fmt.Fprintf(&b, "# Write gap after kill -9 of the node that leads\n\n%s\n%s\n", about, gapMethod)
	t.writeMarkdown(&b)
	fmt.Fprintln(&b, verdict)
	return writeFile(s.markdown, b.String())
}

// gapMethod tells a reader of the document how it was measured.
const gapMethod = "One prober a partition (etcd: 30, all on its one group) writes a key of its own, with 100 ms of pause after each acknowledged write. " +
	"The gap of a partition is the longest time from the kill on without an acknowledged write, as its prober saw it through the usual client. " +
	"kvd's client repeats a write by itself until its deadline of 10 s; etcd's does not repeat a put whose outcome it does not know, " +
	"so there the prober gives up after 200 ms and writes again. Only one side's cluster runs at a time.\n"

func verdictOfGap(p99 float64) string {
	return verdict{floor: gapFloor, goal: gapGoal, atMost: true}.judge(p99)
}

func failoverOf(ctx context.Context, s settings, name string, out io.Writer) (*failover, error) {
	fmt.Fprintf(out, "\n%s\n", name)
	started, err := startSide(ctx, s, name, out)
	if err != nil {
		return nil, err
	}
	defer started.stop()
	f := &failover{side: started.(failoverSide), out: out}
	target, keys, err := f.side.probes(ctx, s.partitions)
	if err != nil {
		return nil, err
	}
	probing, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for i, k := range keys {
		p := &prober{target: target, key: k, opMax: f.side.opMax()}
		f.probers = append(f.probers, p)
		group.Go(func() {
			pause(probing, probeEvery*time.Duration(i)/time.Duration(len(keys)))
			p.run(probing)
		})
	}
	pause(ctx, betweenKill)
	for n := range s.failovers {
		if err := f.killOnce(ctx, n+1); err != nil {
			return nil, fmt.Errorf("kill %d: %w", n+1, err)
		}
	}
	return f, nil
}

// killOnce kills the node that leads most, waits until all can be written to again, and
// brings the node back.
func (f *failover) killOnce(ctx context.Context, number int) error {
	if err := f.await(ctx, time.Now(), comeBackMax); err != nil {
		return fmt.Errorf("before the kill: %w", err)
	}
	index, led, err := f.side.victim(ctx)
	if err != nil {
		return err
	}
	p := f.side.processes().processes[index]
	for _, w := range f.probers {
		w.mark()
	}
	kill := time.Now()
	p.kill()
	if err := f.await(ctx, kill, comeBackMax); err != nil {
		return err
	}
	pause(ctx, afterwards)
	f.collect(number, p.name, kill, led)
	if err := p.start(); err != nil {
		return err
	}
	line, err := p.waitReady(ctx)
	if err != nil {
		return err
	}
	if err := f.side.reborn(index, line); err != nil {
		return err
	}
	if err := f.awaitWhole(ctx, index); err != nil {
		return err
	}
	pause(ctx, betweenKill)
	return ctx.Err()
}

// await waits until every partition has served a write that began after t.
func (f *failover) await(ctx context.Context, t time.Time, most time.Duration) error {
	deadline := time.Now().Add(most)
	for {
		missing := 0
		for _, p := range f.probers {
			if !p.servedSince(t) {
				missing++
			}
		}
		switch {
		case missing == 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("%d of %d partitions took no write for %v", missing, len(f.probers), most)
		}
		pause(ctx, lookEvery)
	}
}

func (f *failover) awaitWhole(ctx context.Context, index int) error {
	deadline := time.Now().Add(wholeMax)
	for {
		opCtx, cancel := context.WithTimeout(ctx, settleOpMax)
		err := f.side.whole(opCtx, index)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("the restarted node has not caught up within %v: %w", wholeMax, err)
		}
		pause(ctx, 10*lookEvery)
	}
}

// collect takes the gaps of one kill.
func (f *failover) collect(number int, name string, kill time.Time, led []bool) {
	var ledGaps, otherGaps []time.Duration
	for i, p := range f.probers {
		if g := p.gap(kill); led[i] {
			ledGaps = append(ledGaps, g)
		} else {
			otherGaps = append(otherGaps, g)
		}
	}
	fmt.Fprintf(f.out, "  kill %d: %s led %d of %d: gap %v", number, name, len(ledGaps), len(f.probers), summarizeGaps(ledGaps))
	if len(otherGaps) > 0 {
		fmt.Fprintf(f.out, "; the others: %v", summarizeGaps(otherGaps))
	}
	fmt.Fprintln(f.out)
	f.led, f.others = append(f.led, ledGaps...), append(f.others, otherGaps...)
}

// errors counts the probers' errors by kind.
func (f *failover) errors() string {
	sum := map[string]int64{}
	for _, p := range f.probers {
		p.mu.Lock()
		for kind, n := range p.failed {
			sum[kind] += n
		}
		p.mu.Unlock()
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(sum)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, sum[kind]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
