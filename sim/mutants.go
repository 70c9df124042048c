package sim

import (
	"fmt"
	"io"
	"time"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// MutantCase says where a planted bug must be found, and how soon.
type MutantCase struct {
	Mutant    invariant.Mutant
	Scenarios []string      // tried in turn, a seed each
	Seeds     int           // budget: after so many it counts as missed
	Duration  time.Duration // of each seed; 0: the scenario's
	Harmless  string        // not "": nothing must be found, and why
}

// Mutants is the table of all planted bugs.
func Mutants() []MutantCase {
	all := append(livenessMutants(), transactionMutants()...)
	all = append(append(all, twoPhaseMutants()...), append(parallelMutants(), closedMutants()...)...)
	return append(append(all, storageMutants()...), limitMutants()...)
}

func livenessMutants() []MutantCase {
	return []MutantCase{
		{Mutant: invariant.FromReceive, Scenarios: []string{"slowacks"}, Seeds: 5},
		{Mutant: invariant.HeldDropped, Scenarios: []string{"joint"}, Seeds: 20},
		{Mutant: invariant.NoMargin, Scenarios: []string{"drifty"}, Seeds: 10},
		{Mutant: invariant.NoRestartRefusal, Scenarios: []string{"iso"}, Seeds: 40},
		{Mutant: invariant.NotSticky, Scenarios: []string{"sticky"}, Seeds: 10},
		{Mutant: invariant.NoMark, Scenarios: []string{"marky"}, Seeds: 10},
		{Mutant: invariant.MarkNoEpoch, Scenarios: []string{"epochy"}, Seeds: 40},
		{Mutant: invariant.NoOwnTerm, Scenarios: []string{"slowapply"}, Seeds: 10},
		{Mutant: invariant.LeaseAfterTransfer, Scenarios: []string{"xfer"}, Seeds: 10},
		{Mutant: invariant.TermNotCompared, Scenarios: []string{"regain"}, Seeds: 10},
		{Mutant: invariant.CachedClock, Scenarios: []string{"paused"}, Seeds: 20},
		{Mutant: invariant.FrameTag, Scenarios: []string{"frame"}, Seeds: 1},
		{Mutant: invariant.JointUnion, Scenarios: []string{"jointunion"}, Seeds: 1},
		{Mutant: invariant.NoReleaseByVote, Scenarios: []string{"live-deaf"}, Seeds: 5},
		{Mutant: invariant.NoCheckQuorum, Scenarios: []string{"live-unheard"}, Seeds: 3},
		{Mutant: invariant.NoWakeOnEpoch, Scenarios: []string{"live-idle"}, Seeds: 3},
		{Mutant: invariant.NoIncRelease, Scenarios: []string{"live-back"}, Seeds: 5},
		{Mutant: invariant.AckOfOtherLoop, Scenarios: []string{"looptraps"}, Seeds: 5},
		{Mutant: invariant.RenewWhileStalled, Scenarios: []string{"live-loop"}, Seeds: 3},
		{Mutant: invariant.StalledLeads, Scenarios: []string{"live-core"}, Seeds: 12},
		{Mutant: invariant.NoFarewell, Scenarios: []string{"enginerot"}, Seeds: 80},
		{Mutant: invariant.CheckBefore, Scenarios: []string{"paused", "regain", "slowread"}, Seeds: 6, Harmless: "a check of the lease before an applied, monotone state is read is linearizable too (rule L17)"},
	}
}

func transactionMutants() []MutantCase {
	txn := []string{"transactions", "general"}
	return []MutantCase{
		{Mutant: invariant.NoTerm, Scenarios: txn, Seeds: 20},
		{Mutant: invariant.SelfRestart, Scenarios: txn, Seeds: 20},
		{Mutant: invariant.EvalSurvives, Scenarios: txn, Seeds: 20},
		{Mutant: invariant.ServeEarly, Scenarios: []string{"slowapply", "transactions"}, Seeds: 60},
		{Mutant: invariant.DrawRide, Scenarios: txn, Seeds: 10},
		{Mutant: invariant.DrawFirst, Scenarios: txn, Seeds: 10},
		{Mutant: invariant.ReadNoAwait, Scenarios: txn, Seeds: 10},
		{Mutant: invariant.UndecidedNoWait, Scenarios: []string{"unordered"}, Seeds: 40},
		{Mutant: invariant.NoSeen, Scenarios: txn, Seeds: 10},
		{Mutant: invariant.NoHorizon, Scenarios: []string{"horizon"}, Seeds: 10},
		{Mutant: invariant.LatchToPropose, Scenarios: txn, Seeds: 10},
		{Mutant: invariant.PipeNoValidate, Scenarios: txn, Seeds: 10},
		{Mutant: invariant.PipeEarly, Scenarios: txn, Seeds: 10},
		{Mutant: invariant.ReplyEarly, Scenarios: txn, Seeds: 20},
		{Mutant: invariant.AwaitBeforeDraw, Scenarios: txn, Seeds: 10},
		{Mutant: invariant.StrongNoAwait, Scenarios: txn, Seeds: 20},
		{Mutant: invariant.SnapBeforeAwait, Scenarios: txn, Seeds: 10},
		{Mutant: invariant.OutcomeNoMark, Scenarios: txn, Seeds: 20},
		{Mutant: invariant.OutcomeForgotten, Scenarios: txn, Seeds: 10},
		{Mutant: invariant.NoGCRead, Scenarios: []string{"collected"}, Seeds: 5},
		{Mutant: invariant.NoGCCommit, Scenarios: []string{"collected"}, Seeds: 5},
		{Mutant: invariant.HoldForgotten, Scenarios: []string{"held"}, Seeds: 5},
		{Mutant: invariant.WindowForgets, Scenarios: []string{"window"}, Seeds: 20},
		{Mutant: invariant.WindowWaits, Scenarios: []string{"window"}, Seeds: 40},
		{Mutant: invariant.HeardUnproven, Scenarios: []string{"ahead"}, Seeds: 5},
		{Mutant: invariant.HeardInvented, Scenarios: []string{"ahead"}, Seeds: 5},
		{Mutant: invariant.DrawSeqRestarts, Scenarios: []string{"stalegrants"}, Seeds: 20},
	}
}

// twoPhaseMutants are those of transactions over several partitions.
func twoPhaseMutants() []MutantCase {
	crossing := []string{"crossing", "lists"}
	return []MutantCase{
		{Mutant: invariant.StrongNoAwaitCoord, Scenarios: crossing, Seeds: 60},
		{Mutant: invariant.DrawFirst2, Scenarios: crossing, Seeds: 20},
		{Mutant: invariant.NoWound, Scenarios: []string{"live-rivals"}, Seeds: 3},
		{Mutant: invariant.AnchorLatch, Scenarios: []string{"live-rivals"}, Seeds: 3},
		{Mutant: invariant.Unilateral, Scenarios: crossing, Seeds: 20},
		{Mutant: invariant.ResolveAny, Scenarios: crossing, Seeds: 20},
		{Mutant: invariant.WoundProposed, Scenarios: crossing, Seeds: 20},
		{Mutant: invariant.LockIsAnswer, Scenarios: []string{"late"}, Seeds: 10},
		{Mutant: invariant.FirstUnproven, Scenarios: []string{"late"}, Seeds: 10},
		{Mutant: invariant.LockUnapplied, Scenarios: []string{"crossing"}, Seeds: 10},
		{Mutant: invariant.StageOver, Scenarios: []string{"parallel-late"}, Seeds: 10},
		{Mutant: invariant.NoRecAborted, Scenarios: []string{"transfers"}, Seeds: 20},
		{Mutant: invariant.UndecidedCache, Scenarios: crossing, Seeds: 60},
		{Mutant: invariant.AckEarly, Scenarios: crossing, Seeds: 20},
		{Mutant: invariant.DupAck, Scenarios: []string{"twice"}, Seeds: 10},
		{Mutant: invariant.SharedVolatile, Scenarios: []string{"volatile"}, Seeds: 10},
		{Mutant: invariant.NoShared, Scenarios: crossing, Seeds: 20},
		{Mutant: invariant.ConfirmEarly, Scenarios: []string{"confirm"}, Seeds: 10},
		{Mutant: invariant.ConfirmUnproved, Scenarios: []string{"unproved"}, Seeds: 10},
		{Mutant: invariant.AbortOnDepose, Scenarios: crossing, Seeds: 40},
		{Mutant: invariant.GhostNoTerm, Scenarios: []string{"ghost"}, Seeds: 8},
		{Mutant: invariant.ResolveBelowGC, Scenarios: []string{"below"}, Seeds: 20},
		{Mutant: invariant.GCApplied, Scenarios: []string{"raised"}, Seeds: 6},
	}
}

// closedMutants are those of closed timestamps and reads at followers.
func closedMutants() []MutantCase {
	return []MutantCase{
		{Mutant: invariant.ClosedNoWait, Scenarios: []string{"closing", "followers"}, Seeds: 20},
		{Mutant: invariant.ClosedAppliedIdx, Scenarios: []string{"closing", "followers"}, Seeds: 20},
		{Mutant: invariant.ClosedGhost, Scenarios: []string{"deaf"}, Seeds: 10},
		{Mutant: invariant.ClosedKeepsIndex, Scenarios: []string{"lastwords"}, Seeds: 30},
		{Mutant: invariant.FollowerIgnoresLock, Scenarios: []string{"followers"}, Seeds: 20},
		{Mutant: invariant.NoRecAbortedF, Scenarios: []string{"lagging"}, Seeds: 6}, // docs/adr/0016
	}
}

func storageMutants() []MutantCase {
	disks := []string{"storage", "general"}
	return []MutantCase{
		{Mutant: invariant.NoSyncBeforeAnswer, Scenarios: disks, Seeds: 10},
		{Mutant: invariant.AnswersOutOfOrder, Scenarios: disks, Seeds: 20},
		{Mutant: invariant.TornMiddleCut, Scenarios: []string{"rejoin"}, Seeds: 20},
		{Mutant: invariant.RecycledAccepted, Scenarios: disks, Seeds: 10},
		{Mutant: invariant.PebbleAheadAccepted, Scenarios: []string{"goesback"}, Seeds: 20},
		{Mutant: invariant.FaultyRejoins, Scenarios: []string{"rejoin"}, Seeds: 40},
		{Mutant: invariant.LogCutPastFlushed, Scenarios: disks, Seeds: 20},
		{Mutant: invariant.ApplyWithoutIndex, Scenarios: disks, Seeds: 60},
		{Mutant: invariant.ReleaseByOneLoop, Scenarios: []string{"loops"}, Seeds: 5},
		{Mutant: invariant.CommitAboveLog, Scenarios: []string{"bitrot"}, Seeds: 20},
		{Mutant: invariant.FullDropsApply, Scenarios: []string{"enginefull"}, Seeds: 5},
		{Mutant: invariant.IngestErrorIgnored, Scenarios: []string{"enginefull"}, Seeds: 20},
		{Mutant: invariant.LocksSurviveIngest, Scenarios: []string{"arriving"}, Seeds: 10},
		{Mutant: invariant.DamageServed, Scenarios: []string{"enginerot"}, Seeds: 60},
		{Mutant: invariant.AtHandStale, Scenarios: []string{"general"}, Seeds: 5},
	}
}

// notPlanted are the names in the rules that cannot be planted here, and why: variants of a rule of which the model found
// that they break nothing. The code is as they are, so there is nothing to switch off.
var notPlanted = map[string]string{
	"AwaitOnce":       "reads await what was under way when they came, and no more (D2)",
	"GhostTerm":       "questions about a transaction are answered without a lease (E6); GhostNoTerm is the bug beside it",
	"PipeKey":         "writers of a key follow each other before they are applied (C5b); PipeNoValidate and PipeEarly are the bugs beside it",
	"ReplyAtCommit":   "clients are answered before their commit is applied (C6); ReplyEarly is the bug beside it",
	"SeenSkipsLookup": "within the window no outcome is looked up (I8); WindowForgets is the bug beside it",
	"SeenWindow":      "the ids seen are kept for a while only (I6); WindowForgets and WindowWaits are the bugs beside it",
	"StaleS":          "a transaction that writes reads at any timestamp already granted (K1)",
}

func limitMutants() []MutantCase {
	return []MutantCase{
		{Mutant: invariant.QueueUnbounded, Scenarios: []string{"overload"}, Seeds: 3},
		{Mutant: invariant.ReadLeak, Scenarios: []string{"overload", "quorum"}, Seeds: 6},
	}
}

// FindMutant is the case of a planted bug.
func FindMutant(name string) (MutantCase, bool) {
	for _, m := range Mutants() {
		if string(m.Mutant) == name {
			return m, true
		}
	}
	return MutantCase{}, false
}

// Verdict is what came of looking for one planted bug.
type Verdict struct {
	Case      MutantCase
	Seeds     int        // that were run
	Scenario  string     // that found it
	Seed      uint64     // that found it
	Violation *Violation // nil: missed
}

// OK reports whether the verdict is what the table wants.
func (v Verdict) OK() bool { return (v.Violation == nil) == (v.Case.Harmless != "") }

func (v Verdict) String() string {
	name := string(v.Case.Mutant)
	switch {
	case v.Case.Harmless != "" && v.Violation == nil:
		return fmt.Sprintf("%s harmless, as it must be, after %d seeds: %s", name, v.Seeds, v.Case.Harmless)
	case v.Violation == nil:
		return fmt.Sprintf("%s MISSED after %d seeds of %v", name, v.Seeds, v.Case.Scenarios)
	}
	return fmt.Sprintf("%s caught after %d seeds by %q in %s, seed %d", name, v.Seeds, v.Violation.Check, v.Scenario, v.Seed)
}

// Hunt looks for one planted bug, from seed on. The bug is planted in the whole process while it runs.
func Hunt(c MutantCase, seed uint64) (Verdict, error) {
	if !invariant.MutantsBuilt {
		return Verdict{}, kv.Errorf(kv.Invalid, "this binary has no planted bugs in it: build it with -tags mutants,invariants")
	}
	invariant.Plant(c.Mutant)
	defer invariant.Plant("")
	v := Verdict{Case: c}
	for ; v.Seeds < c.Seeds; seed++ {
		name := c.Scenarios[v.Seeds%len(c.Scenarios)]
		v.Seeds++
		r, err := Run(Config{Seed: seed, Scenario: Find(name), Duration: c.Duration})
		if err != nil {
			return v, err
		}
		if r.Violation != nil {
			v.Scenario, v.Seed, v.Violation = name, seed, r.Violation
			return v, nil
		}
	}
	return v, nil
}

// HuntAll looks for all planted bugs, or those named, and prints a line each. It reports whether every verdict
// is what the table wants.
func HuntAll(out io.Writer, names []string, seed uint64) (bool, error) {
	cases := Mutants()
	if len(names) > 0 {
		cases = nil
		for _, n := range names {
			c, ok := FindMutant(n)
			if !ok {
				return false, kv.Errorf(kv.Invalid, "mutant %q is not known", n)
			}
			cases = append(cases, c)
		}
	}
	all := true
	for _, c := range cases {
		v, err := Hunt(c, seed)
		if err != nil {
			return false, err
		}
		all = all && v.OK()
		if _, err := fmt.Fprintln(out, v); err != nil {
			return false, err
		}
	}
	return all, nil
}
