//go:build mutants

package mvcc

import (
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/invariant"
)

// shownHere are planted bugs of this package that need a view to be open while something is written, each with
// the test that shows it.
var shownHere = map[invariant.Mutant]func(testing.TB){
	invariant.AtHandEarly:  olderViews,
	invariant.AtHandLate:   lateViews,
	invariant.AtHandKept:   replicaGoes,
	invariant.AtHandUnder:  resolvedLate,
	invariant.AtHandStale:  readsBring,
	invariant.AtHandIngest: snapshotComes,
}

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

func (failing) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (failing) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
