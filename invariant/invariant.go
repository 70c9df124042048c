// Package invariant holds the assertions: Check is always on, Expensive is for checks
// behind `if invariant.Expensive` that are compiled in by the build tag "invariants".
// A broken one panics with the sentence that was violated. The package also holds the
// switchboard of planted bugs (Mutant), compiled in by the build tag "mutants".
package invariant

import "fmt"

// Check panics with the violated sentence unless ok.
func Check(ok bool, sentence string, args ...any) {
	if !ok {
		panic("invariant violated: " + fmt.Sprintf(sentence, args...))
	}
}
