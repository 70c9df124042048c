package sim

import (
	"time"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/partition"
)

// The scenarios of parallel commit (transactions.md, P): those of transactions over several partitions,
// with nodes that commit in parallel, and traps for what is between the two rounds.

// inParallel makes a scenario's nodes commit in parallel.
func inParallel(name, about string, c *Scenario, traps ...Trap) *Scenario {
	c.Name, c.About = name, about
	configure := c.Node
	c.Node = func(n *node.Config) {
		if configure != nil {
			configure(n)
		}
		n.Partition.Commit = partition.Parallel
	}
	c.Traps = append(c.Traps, traps...)
	return c
}

// Traps of parallel commit.
var (
	heldStages = Trap{"stages", 0}   // second rounds that come late, after changes of the leader
	terms      = Trap{"terms", 0}    // second rounds that come when another one leads, and has locked too
	killer     = Trap{"murders", 0}  // coordinators that crash when they have asked for something
	promises   = Trap{"promises", 0} // coordinators that are replaced, do not know it, and go on counting
)

// rounds is what these traps remember.
type rounds struct {
	locks map[kv.TxID][]callCopy // copies of first rounds
	lost  map[kv.TxID]callCopy   // second rounds that are lost until somebody recovers them, the newest copy
	next  ns                     // when the next coordinator may be cut off
}

// parallelScenarios are the scenarios of parallel commit.
func parallelScenarios() []*Scenario {
	mixed := inParallel("parallel-mixed", "nodes of which each start draws anew whether it commits in parallel", twoPhase("crossing"), heldStages)
	mixed.Node = func(n *node.Config) {
		if n.Seed%2 == 0 {
			n.Partition.Commit = partition.Parallel
		}
	}

	outcomes := inParallel("parallel-outcomes", "commits whose answer is lost now and then, late second rounds, and coordinators that crash", twoPhase("outcomes"), heldStages, killer)

	followed := inParallel("parallel-followers", "reads of the past at any replica, and second rounds that come late", twoPhase("followers"), heldStages)

	ghost := inParallel("parallel-ghost", "coordinators that were replaced and do not know it, and go on counting", twoPhase("ghost"))
	ghost.Load.Mix = []Share{{"twins", 1}, {"handover", 1}}
	ghost.Traps, ghost.Duration = []Trap{promises}, 60*time.Second

	other := inParallel("parallel-terms", "second rounds that come in another term, after a copy of the first one", twoPhase("outcomes"), terms)
	other.Load.Mix, other.Load.Cross, other.Load.Keys = []Share{{"twins", 1}, {"handover", 1}}, 0.9, 1
	other.Process.Crash, other.Process.CrashAll, other.Process.Pause, other.Links = 0, 0, 0, LinkFaults{}

	return []*Scenario{
		inParallel("parallel-crossing", "transactions of all kinds, in parallel", twoPhase("crossing"), heldStages, killer),
		inParallel("parallel-lists", "transactions that read and append to lists, in parallel", twoPhase("lists")),
		inParallel("parallel-transfers", "money that is moved in parallel, and counted at one timestamp", twoPhase("transfers"), heldStages),
		inParallel("parallel-skews", "transactions that read the same and write different things, in parallel", twoPhase("skews"), killer),
		inParallel("parallel-handovers", "clients that tell others what they have written, in parallel", twoPhase("handovers"), heldStages),
		outcomes, mixed, followed, ghost, other,
		inParallel("parallel-late", "first rounds that come once more when all is over", twoPhase("late"), heldStages),
		inParallel("parallel-below", "first rounds that come once more when the retention passes their transactions", twoPhase("below")),
		inParallel("parallel-rivals", "transactions that want the same keys in opposite orders, in parallel", twoPhase("live-rivals")),
	}
}

// twoPhase is a scenario of two-phase commit, made anew.
func twoPhase(name string) *Scenario {
	for _, c := range append(append(crossings(), callScenarios()...), followers()) {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// held looks at each call that leaves a node, and keeps some of the second rounds back: it reports whether the
// call is lost, or delivered later.
func (t *traps) held(w *World, from, to kv.NodeID, raw []byte, q *kv.Request) bool {
	if w.phase.calm || q == nil || q.Prepare == nil && q.Stage == nil && q.Resolve == nil {
		return false
	}
	if t.byEvent["murders"] && w.rng.IntN(400) == 0 {
		w.hist.counts["coordinator killed"]++
		w.after(w.upTo(4*ms), func() { w.machine(from).crash(w.between(20*ms, 500*ms)) })
	}
	x := callCopy{from, to, w.machine(to).process, q.Partition, raw, w.now}
	switch {
	case q.Prepare != nil && q.Prepare.InMemory && (t.byEvent["stages"] || t.byEvent["terms"]):
		t.keepLock(x, q.Prepare.ID)
		return false
	case q.Stage == nil:
		return false
	case t.byEvent["promises"]:
		return t.cutOff(w, x, q.Stage)
	case q.Stage.Recover || w.rng.IntN(12) > 0:
		return false
	case t.byEvent["terms"]:
		t.otherTerm(w, x, q.Stage.ID)
	case t.byEvent["stages"]:
		t.holdStage(w, x, q.Stage.ID)
	default:
		return false
	}
	w.hist.counts["stage held"]++
	return true
}

// locksKept bounds the transactions whose first rounds are kept.
const locksKept = 500

func (t *traps) keepLock(x callCopy, id kv.TxID) {
	if t.calls.rounds.locks == nil || len(t.calls.rounds.locks) > locksKept {
		t.calls.rounds.locks = map[kv.TxID][]callCopy{}
	}
	t.calls.rounds.locks[id] = append(t.calls.rounds.locks[id], x)
}

// holdStage delivers a second round late, some of them in another term.
func (t *traps) holdStage(w *World, x callCopy, id kv.TxID) {
	if w.rng.IntN(2) == 0 {
		t.otherTerm(w, x, id)
		return
	}
	d := w.between(ms, 40*ms)
	if w.rng.IntN(3) == 0 {
		d = w.between(200*ms, 3*s)
	}
	t.deliver(w, x, d)
}

func (t *traps) deliver(w *World, x callCopy, d ns) {
	w.after(d, func() {
		if !w.phase.calm {
			x.again()
		}
	})
}

// otherTerm lets another node lead the participant before the second round comes, and get a copy of the first one
// after a while, in which others write (rule P3).
func (t *traps) otherTerm(w *World, x callCopy, id kv.TxID) {
	d := w.between(150*ms, 800*ms)
	w.transfer(x.partition, x.to%kv.NodeID(len(w.machines))+1)
	for _, c := range t.calls.rounds.locks[id] {
		if c.partition != x.partition {
			continue
		}
		w.after(d-w.upTo(20*ms), func() {
			if p, _ := w.leader(x.partition); p != nil && !w.phase.calm {
				p.receive(c.from, c.raw)
			}
		})
	}
	t.deliver(w, x, d)
}

// cutOff cuts a coordinator off from all but one participant, whose second rounds are lost until the coordinator's
// successor has asked for them: that the answer was "never" is for ever (rule P7).
func (t *traps) cutOff(w *World, x callCopy, q *kv.Stage) bool {
	r := &t.calls.rounds
	lost, again := r.lost[q.ID]
	switch {
	case q.Recover && again:
		w.hist.counts["recovered while its coordinator counts"]++
		delete(r.lost, q.ID)
		t.deliver(w, lost, w.between(w.cfg.Network.DelayMax, w.cfg.Network.DelayMax+2*ms))
		return false
	case again:
		r.lost[q.ID] = x
		return true
	case q.Recover || x.from == x.to || w.now < r.next:
		return false
	}
	const d = 3 * s
	r.next = w.now + d + s
	r.lost = map[kv.TxID]callCopy{q.ID: x}
	w.after(w.between(2*ms, 6*ms), func() {
		for _, m := range w.machines {
			if m.id != x.from && m.id != x.to {
				w.net.cutBoth(x.from, m.id, d, false)
			}
		}
	})
	return true
}

// parallelMutants are those of parallel commit.
func parallelMutants() []MutantCase {
	any := []string{"parallel-crossing", "parallel-lists", "parallel-outcomes"}
	return []MutantCase{
		{Mutant: invariant.PCNoTerm, Scenarios: []string{"parallel-terms"}, Seeds: 40},
		{Mutant: invariant.PCClosedNoHold, Scenarios: []string{"parallel-followers"}, Seeds: 40},
		{Mutant: invariant.PCAckEarly, Scenarios: any, Seeds: 40},
		{Mutant: invariant.PCReplyEarly, Scenarios: any, Seeds: 40},
		{Mutant: invariant.PCResolveEarly, Scenarios: any, Seeds: 40},
		{Mutant: invariant.PCTellEarly, Scenarios: any, Seeds: 40},
		{Mutant: invariant.PCNoPrevent, Scenarios: []string{"parallel-ghost"}, Seeds: 40},
		{Mutant: invariant.PCWound, Scenarios: any, Seeds: 40},
		{Mutant: invariant.PCPresume, Scenarios: any, Seeds: 40},
		{Mutant: invariant.PCIgnoreStage, Scenarios: any, Seeds: 40},
		{Mutant: invariant.PCIgnoreMem, Scenarios: any, Seeds: 40},
		{Mutant: invariant.PCTimeout, Scenarios: any, Seeds: 9, Harmless: "a live coordinator that has not counted all parts, and counts none after it has decided, may abort through its log (rule P8)"},
	}
}
