//go:build mutants

package mvcc

import (
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/test/planted"
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
	planted.Each(t, shownHere)
}
