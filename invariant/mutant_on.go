//go:build mutants

package invariant

var planted Mutant

// Plant switches one rule off for the whole process; it is called once, before anything runs.
func Plant(m Mutant) { planted = m }

// Mutated reports whether the bug is planted.
func Mutated(m Mutant) bool { return planted == m }

// MutantsBuilt says whether this binary can plant bugs.
const MutantsBuilt = true
