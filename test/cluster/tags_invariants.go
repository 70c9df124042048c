//go:build invariants

package cluster

// buildTags are those of the binaries: the test's own.
const buildTags = "invariants"
