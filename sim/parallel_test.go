package sim

import "testing"

// TestParallelTrapsAreSprung: what the scenarios of parallel commit are there for happens in them.
func TestParallelTrapsAreSprung(t *testing.T) {
	for name, trap := range map[string]string{
		"parallel-outcomes": "stage held", "parallel-terms": "stage held", "parallel-skews": "coordinator killed",
		"parallel-ghost": "recovered while its coordinator counts",
	} {
		r := mustRun(t, Config{Seed: 1, Scenario: Find(name)})
		if r.Violation != nil {
			t.Errorf("%s: %s", name, r.Violation)
		}
		if r.Counts[trap] == 0 || r.Counts["commit"] == 0 {
			t.Errorf("%s: %q never happened, or nothing was committed: %v", name, trap, r.Counts)
		}
	}
}
