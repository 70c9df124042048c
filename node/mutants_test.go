//go:build mutants

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/kvd-db/kvd/invariant"
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
	defer invariant.Plant("")
	for m, test := range shownHere {
		t.Run(string(m), func(t *testing.T) {
			if found := failure(t, m, test); found == "" {
				t.Error("nothing fails")
			} else {
				t.Log(found)
			}
		})
	}
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

// failure is what a test says with a planted bug; "" if it passes.
func failure(t *testing.T, m invariant.Mutant, test func(testing.TB)) (found string) {
	t.Helper()
	invariant.Plant(m)
	defer func() {
		if r := recover(); r != nil {
			found = fmt.Sprint(r)
		}
	}()
	test(failing{t})
	return ""
}

// failing is a test that ends with its first error, and does not fail.
type failing struct{ testing.TB }

func (failing) Error(args ...any)                 { panic(fmt.Sprint(args...)) }
func (failing) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (failing) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (failing) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
