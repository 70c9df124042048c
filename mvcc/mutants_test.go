//go:build mutants

package mvcc

import (
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/test/planted"
)

// shownHere are planted bugs of this package that need a view to be open while something is written, or come to no harm
// with all the rest, each with the test that shows it.
var shownHere = map[invariant.Mutant]func(testing.TB){
	invariant.AtHandEarly:  olderViews,
	invariant.AtHandLate:   lateViews,
	invariant.AtHandKept:   replicaGoes,
	invariant.AtHandUnder:  resolvedLate,
	invariant.AtHandStale:  readsBring,
	invariant.AtHandIngest: snapshotComes,

	invariant.ShortRowsStay: recordsReplaced,
}

func TestTestsShowMutants(t *testing.T) {
	planted.Each(t, shownHere)
}
