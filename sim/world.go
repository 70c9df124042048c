package sim

import (
	"fmt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
)

// World is one simulated cluster with its clients.
type World struct {
	*scheduler
	cfg      *Scenario
	trace    *trace
	net      *network
	machines []*machine
	clients  []*client
	hist     *journal
	gaps     gaps
	traps    traps
	spaces   spaces
	logs     logs
	phase    phase
}

// spaces are the keyspaces of the run.
type spaces struct{ ranges, hash kv.Keyspace }

// phase is how far the run is.
type phase struct {
	calm    bool       // faults are over
	endOf   ns         // faults, at the latest
	stopped bool       // clients begin nothing new
	broken  *Violation // the first thing that went wrong
}

// Violation is a promise that was broken.
type Violation struct {
	At    ns
	Check string // the name of the check that saw it
	Key   string // the key, if it is about one
	Text  string
}

func (v *Violation) String() string {
	return fmt.Sprintf("%s at %.6fs: %s", v.Check, float64(v.At)/1e9, v.Text)
}

// violate notes the first violation; the run ends at once.
func (w *World) violate(check, key, format string, args ...any) {
	if w.phase.broken == nil {
		w.phase.broken = &Violation{At: w.now, Check: check, Key: key, Text: fmt.Sprintf(format, args...)}
		w.trace.line("VIOLATION %s", w.phase.broken)
	}
}

func (w *World) machine(id kv.NodeID) *machine { return w.machines[id-1] }

// faults are those in force now.
func (w *World) faults() *Scenario {
	if w.phase.calm {
		return &calm
	}
	return w.cfg
}

var calm Scenario

// params are the timing constants of the cluster.
func (w *World) params() replication.Params {
	params := replication.DefaultParams()
	if w.cfg.Params != nil {
		w.cfg.Params(&params)
	}
	return params
}

// nodeConfig is the configuration of every node.
func (w *World) nodeConfig(p *process) node.Config {
	c := node.Config{
		Replication: w.params(), QuorumReads: w.cfg.QuorumReads, Seed: w.rng.Uint64(),
		LogKeepBytes: 256 << 10, EntryCacheBytes: 64 << 10, ReadEntry: p.log.log.Read,
	}
	if w.cfg.Node != nil {
		w.cfg.Node(&c)
	}
	p.flow = c.Flow
	return c
}

// elected checks rule 74: whoever was elected in this turn, no older leader of the group may
// still have a lease on its own clock.
func (w *World) elected(l *eventLoop) {
	p := l.p
	for _, e := range l.node.Elections() {
		w.hist.counts["election"]++
		w.trace.note(50, uint64(p.m.id), uint64(e.Partition), uint64(e.Term))
		w.trace.line("node %d leads p%d in term %d", p.m.id, e.Partition, e.Term)
		for _, m := range w.machines {
			o := m.alive()
			if o == nil || o == p {
				continue
			}
			term, until, leads := o.lease(e.Partition)
			if leads && term < e.Term && until > m.clock.now() && !w.cfg.QuorumReads {
				w.violate("no election under a standing lease", "", "node %d was elected leader of partition %d in term %d while the lease of node %d in term %d has %d us to go",
					p.m.id, e.Partition, e.Term, m.id, term, ns(until-m.clock.now())/us)
			}
		}
	}
}

// fatal is an error after which a store must not go on: the process ends. Unless a fault of
// this run explains it, it is a violation.
func (w *World) fatal(p *process, what string, err error) {
	w.trace.line("node %d: %s: %v", p.m.id, what, err)
	switch {
	case kv.KindOf(err) == kv.Corruption && w.traps.flipped[p.m.id]: // damage where no replica can be named
		p.kill()
		p.abandon()
		p.m.dead = true
		return
	case p.m.engineDisk.faults.Broken.Load():
		p.m.crash(w.between(50*ms, 500*ms))
		return
	}
	if p.m.disk.broken { // fatal for the store by contract: the process ends, and comes back
		p.m.mendLog()
		p.m.crash(w.between(50*ms, 500*ms))
		return
	}
	p.kill()
	p.abandon()
	w.violate("no fatal errors", "", "node %d, %s: %v", p.m.id, what, err)
}

// unstartable is a store that cannot be opened: a machine whose disk was damaged is out for good.
func (w *World) unstartable(p *process, err error) {
	w.trace.line("node %d cannot start: %v", p.m.id, err)
	p.kill()
	p.abandon()
	if p.m.disk.broken { // the sync that was to fail has failed
		p.m.mendLog()
		p.m.restartLater(w.between(50*ms, 500*ms))
		return
	}
	p.m.dead = true
	if !w.traps.flipped[p.m.id] {
		w.violate("no damage without a cause", "", "node %d cannot start: %v", p.m.id, err)
	}
}

// faulty is a replica that its node gave up as damaged.
func (w *World) faulty(p *process, what string) {
	w.trace.line("node %d: faulty: %s", p.m.id, what)
	w.hist.counts["faulty"]++
	if !w.traps.flipped[p.m.id] {
		w.violate("no damage without a cause", "", "node %d: %s", p.m.id, what)
	}
}

// leader is the process that leads a partition in the newest term, as far as the processes
// themselves believe.
func (w *World) leader(id kv.PartitionID) (best *process, term kv.Term) {
	for _, m := range w.machines {
		p := m.alive()
		if p == nil {
			continue
		}
		if t, _, leads := p.lease(id); leads && t >= term {
			best, term = p, t
		}
	}
	return best, term
}

// run lets events happen until the time end, or until something is broken.
func (w *World) run(end ns) {
	for w.phase.broken == nil && w.step(end) {
	}
}
