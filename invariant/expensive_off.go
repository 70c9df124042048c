//go:build !invariants

package invariant

// Expensive says whether costly checks run.
const Expensive = false
