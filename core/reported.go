package core

import (
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// loopState is one event loop of a node by its last report.
type loopState struct {
	heard    kv.Instant // on the listened clock
	replicas int
	bytes    int64
	damaged  []ReplicaRef
	draining bool
	full     bool // the node's disk
}

func newLoops(n int, heard kv.Instant) []loopState {
	loops := make([]loopState, n)
	for i := range loops {
		loops[i].heard = heard
	}
	return loops
}

// report takes over what a loop says of itself. A node that runs another number of loops has
// restarted: what the others said before is of replicas that are theirs no more.
func (ns *nodeState) report(now kv.Instant, r *Report) {
	n := max(r.Loops, 1)
	if n != len(ns.loops) {
		ns.loops = newLoops(n, now)
	}
	ns.loops[r.Loop] = loopState{heard: now, replicas: r.Replicas, bytes: r.Bytes, damaged: slices.Clone(r.Damaged), draining: r.Draining, full: r.DiskFull}
}

// heard is when all of the node was last heard of: a loop that stands still makes its node silent, as
// its replicas are.
func (ns *nodeState) heard() kv.Instant {
	heard := ns.loops[0].heard
	for i := range ns.loops {
		heard = min(heard, ns.loops[i].heard)
	}
	return heard
}

func (ns *nodeState) replicas() (n int) {
	for i := range ns.loops {
		n += ns.loops[i].replicas
	}
	return n
}

func (ns *nodeState) bytes() (n int64) {
	for i := range ns.loops {
		n += ns.loops[i].bytes
	}
	return n
}

func (ns *nodeState) damaged() (all []ReplicaRef) {
	for i := range ns.loops {
		all = append(all, ns.loops[i].damaged...)
	}
	return all
}

func (ns *nodeState) draining() bool {
	return slices.ContainsFunc(ns.loops, func(l loopState) bool { return l.draining })
}

func (ns *nodeState) full() bool {
	return slices.ContainsFunc(ns.loops, func(l loopState) bool { return l.full })
}
