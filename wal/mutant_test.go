//go:build mutants

package wal

import (
	"testing"

	"github.com/kvd-db/kvd/invariant"
)

// Each planted bug of the log must be found by the check named beside it.
func TestMutantsAreFound(t *testing.T) {
	for _, c := range []struct {
		mutant invariant.Mutant
		check  func() error
	}{
		{invariant.NoSyncBeforeAnswer, func() error { return crashEverywhere(1, 60, false) }},
		{invariant.TornMiddleCut, func() error { return flipEverywhere(true, 3) }},
		{invariant.RecycledAccepted, func() error { return staleEverywhere() }},
	} {
		if err := c.check(); err != nil {
			t.Fatalf("without a mutant: %v", err)
		}
		invariant.Plant(c.mutant)
		err := c.check()
		invariant.Plant("")
		if err == nil {
			t.Errorf("the planted bug %s is not found", c.mutant)
		} else {
			t.Logf("%s: found: %v", c.mutant, err)
		}
	}
}
