// Package planted runs tests against planted bugs (package invariant): a test that shows a rule must fail with the bug that
// breaks it. It says nothing in binaries without the build tag "mutants", which plant nothing.
package planted

import (
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/invariant"
)

// Each fails for every bug with which its test passes.
func Each(t *testing.T, shows map[invariant.Mutant]func(testing.TB)) {
	t.Helper()
	defer invariant.Plant("")
	for m, test := range shows {
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
