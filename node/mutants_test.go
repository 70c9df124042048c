//go:build mutants

package node

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/test/planted"
)

// shownHere are the planted bugs of this package that concern a rule of transactions, each with the test that
// shows the rule.
var shownHere = map[invariant.Mutant]func(testing.TB){
	invariant.DrawRide:         drawsDoNotRide,
	invariant.DrawSeqRestarts:  grantOfAnEarlierLife,
	invariant.ServeEarly:       servesWhatEarlierLeadersCommitted,
	invariant.ClosedNoWait:     closedNamesWhatIsProposed,
	invariant.ClosedAppliedIdx: closedNamesWhatIsProposed,
	invariant.ClosedGhost:      closedUnderTheLease,
	invariant.ClosedKeepsIndex: closedTable,
}

// shownByStories are those that the stories of package partition show.
var shownByStories = map[invariant.Mutant]bool{invariant.EvalSurvives: true}

// TestTestsShowMutants: each planted bug of this package that a rule of transactions names fails the test that shows
// the rule.
func TestTestsShowMutants(t *testing.T) {
	planted.Each(t, shownHere)
	rules := source(t, "../docs/design/transactions.md")
	files, _ := filepath.Glob("*.go")
	for _, f := range files {
		for _, x := range regexp.MustCompile(`invariant\.Mutated\(invariant\.(\w+)\)`).FindAllStringSubmatch(source(t, f), -1) {
			m := invariant.Mutant(x[1])
			if shownHere[m] == nil && !shownByStories[m] && regexp.MustCompile(`\[[^\]]*\b`+x[1]+`\b`).MatchString(rules) {
				t.Errorf("%s in %s is shown by no test", m, f)
			}
		}
	}
}

func source(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
