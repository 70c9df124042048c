//go:build mutants

package partition

import (
	"testing"

	"github.com/kvd-db/kvd/invariant"
)

// mutants are the planted bugs that histories of one partition can show.
var mutants = []invariant.Mutant{
	invariant.NoTerm, invariant.SelfRestart, invariant.EvalSurvives, invariant.DrawFirst, invariant.ReadNoAwait,
	invariant.UndecidedNoWait, invariant.NoSeen, invariant.NoHorizon, invariant.LatchToPropose, invariant.PipeNoValidate,
	invariant.PipeEarly, invariant.ReplyEarly, invariant.AwaitBeforeDraw, invariant.StrongNoAwait, invariant.SnapBeforeAwait,
	invariant.OutcomeNoMark, invariant.WindowForgets, invariant.WindowWaits,
}

// walksMax is how many histories a mutant may survive.
const walksMax = 20_000

// TestMutantsAreCaught shows that the random histories can fail: each rule that is switched
// off shows.
func TestMutantsAreCaught(t *testing.T) {
	defer invariant.Plant("")
	for _, m := range mutants {
		t.Run(string(m), func(t *testing.T) {
			invariant.Plant(m)
			e := newEngine(t)
			for seed := range uint64(walksMax) {
				// What a planted bug leaves lying about is no proof against it.
				if problem, _ := runWalk(t, e, seed, walkSteps); problem != "" {
					t.Logf("seed %d: %s", seed, problem)
					return
				}
			}
			t.Errorf("not caught in %d histories", walksMax)
		})
	}
}
