package sim

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Config says what to run.
type Config struct {
	Seed     uint64
	Scenario *Scenario
	Duration time.Duration // of the faults; 0: the scenario's
	Nodes    int           // 0: the scenario's
	LoopsMax int           // of a process; 0: the scenario's
	Workload string        // only this one; "": the scenario's mix
	Trace    io.Writer     // nil: none
	story    func(line string) bool
}

// Result is what came of a run. It is a function of the Config.
type Result struct {
	Digest    uint64 // of all events and messages
	Simulated time.Duration
	Events    uint64
	Ops       int
	Counts    map[string]int
	Violation *Violation // nil: nothing was found
	Story     []string   // the events before the violation, as far as they have to do with it
}

// Run runs one seed. It must not run beside another one: see entropy.go.
func Run(c Config) (*Result, error) {
	if c.Scenario == nil {
		return nil, kv.Errorf(kv.Invalid, "no scenario is named: choose one of %s", strings.Join(Names(), ", "))
	}
	cfg := *c.Scenario
	if c.Nodes != 0 {
		cfg.Nodes = c.Nodes
	}
	if c.LoopsMax != 0 {
		cfg.LoopsMax = c.LoopsMax
	}
	if c.Workload != "" {
		if workloads[c.Workload] == nil {
			return nil, kv.Errorf(kv.Invalid, "workload %q is not known", c.Workload)
		}
		cfg.Load.Mix = []Share{{c.Workload, 1}}
	}
	if c.Duration != 0 {
		cfg.Duration = c.Duration
	}
	if cfg.Script.Play != nil {
		return &Result{Violation: cfg.Script.Play(), Counts: map[string]int{}}, nil
	}
	w := newWorld(&cfg, c)
	restore := seedEntropy(c.Seed)
	defer restore()
	w.live()
	w.close()
	r := &Result{
		Digest: w.trace.digest, Simulated: time.Duration(w.now), Events: w.ran, Ops: len(w.hist.ops.Ops), Counts: w.hist.counts, Violation: w.phase.broken,
		Story: w.trace.story(),
	}
	return r, w.trace.flush()
}

func newWorld(cfg *Scenario, c Config) *World {
	sched := newScheduler(c.Seed)
	w := &World{scheduler: sched, cfg: cfg, trace: newTrace(sched), hist: newJournal(), logs: logs{}}
	w.traps = traps{replicas: map[member]kv.ReplicaID{}, flipped: map[kv.NodeID]bool{}, byEvent: map[string]bool{}, refusals: map[refusal][]ns{}}
	w.gaps.reset()
	if c.Trace != nil {
		w.trace.writeTo(c.Trace)
	}
	if c.story != nil {
		w.trace.remember(storyLines, c.story)
	}
	return w
}

// live is a whole run: the cluster forms, faults strike, faults end, everything is judged. A
// panic of the node is a violation like others.
func (w *World) live() {
	defer func() {
		if r := recover(); r != nil {
			w.violate("no panics", "", "%v\n%s", r, stack())
		}
	}()
	w.form()
	if w.phase.broken != nil {
		return
	}
	w.place()
	w.phase.calm, w.net.quiet = false, false
	w.phase.endOf = w.now + ns(w.cfg.Duration)
	w.flushes()
	w.populate()
	w.haunt()
	w.watchLimits()
	if w.cfg.Script.Act != nil {
		w.cfg.Script.Act(w)
	}
	w.run(w.phase.endOf)
	w.judgeGaps()
	if w.phase.broken != nil {
		return
	}
	w.calmDown()
	w.heal()
	w.settle()
	w.drained()
	w.resolved()
	w.repaired()
	w.replicasEqual()
	w.judge()
	w.idle()
}

// stack is where a panic came from, without addresses: they differ from run to run.
func stack() string {
	var out []string
	lines := strings.Split(string(debug.Stack()), "\n")
	for i := 0; i+1 < len(lines); i++ {
		if !strings.HasPrefix(lines[i+1], "\t") || !strings.Contains(lines[i], "kvd") {
			continue
		}
		where := strings.TrimSpace(lines[i+1])
		if cut := strings.LastIndex(where, " +"); cut > 0 {
			where = where[:cut]
		}
		fn := lines[i]
		if cut := strings.LastIndex(fn, "("); cut > 0 {
			fn = fn[:cut]
		}
		out = append(out, fmt.Sprintf("    %s %s", fn[strings.LastIndex(fn, "/")+1:], where[strings.LastIndex(where, "/")+1:]))
	}
	const framesMax = 14
	return strings.Join(out[:min(len(out), framesMax)], "\n")
}

// close lets go of what the run holds.
func (w *World) close() {
	for _, m := range w.machines {
		if p := m.alive(); p != nil {
			p.dead = true
			p.snapshots.close()
			p.applier.close()
			p.abandon()
		}
	}
}

// abandon closes the engine of a process that is gone, and the readers that its end has cut short.
// One that is left open lives as long as the test binary: with the build tag invariants Pebble's
// finalizers end the whole binary because of it.
func (p *process) abandon() {
	e := p.applier.engine
	if e == nil {
		return
	}
	p.applier.engine = nil
	defer func() {
		if r := recover(); r != nil {
			p.w.violate("engines close", "", "node %d: %v", p.m.id, r)
		}
	}()
	if err := e.Abandon(); err != nil {
		p.w.violate("engines close", "", "node %d: %v", p.m.id, err)
	}
}

// place makes the map by which gaps are told apart.
func (w *World) place() {
	c := newClient(w, 0, 0)
	ready := false
	c.refresh("", 0, func(*kv.Error) { ready = true })
	for w.phase.broken == nil && !ready && w.step(w.now+bootMax) {
	}
	w.gaps.place = func(key string) kv.PartitionID {
		if p, ok := c.s.Map.Find(kv.Key(key), false); ok {
			return p.Descriptor.Partition
		}
		return 0
	}
}

// storyLines is how many events a story has at most.
const storyLines = 60

// Names are the names of all scenarios.
func Names() []string {
	var names []string
	for _, c := range scenarios() {
		names = append(names, c.Name)
	}
	return names
}
