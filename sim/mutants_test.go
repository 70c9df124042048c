//go:build mutants

package sim

import "testing"

// TestMutants states the budgets: each planted bug is found within the seeds of the table.
func TestMutants(t *testing.T) {
	for _, c := range Mutants() {
		v, err := Hunt(c, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !v.OK() {
			t.Error(v)
		} else {
			t.Log(v)
		}
		if testing.Short() {
			break
		}
	}
}
