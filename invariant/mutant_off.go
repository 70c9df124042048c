//go:build !mutants

package invariant

// Plant does nothing in a binary without the build tag "mutants".
func Plant(Mutant) {}

// Mutated is false: the compiler removes the branch.
func Mutated(Mutant) bool { return false }

// MutantsBuilt says whether this binary can plant bugs.
const MutantsBuilt = false
