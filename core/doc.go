// Package core is the consistent core of a cluster: one log group, the system partition,
// whose state says who is in the cluster and what is where, and whose leader is the
// timestamp oracle and directs repair and balance.
//
//	              committed entries                         system keys
//	log group ──────────────────────► Machine.Apply ──────────────────────► engine
//	    ▲                                │
//	    │ Propose                        ▼ applied state: cluster, nodes, keyspaces, partitions, ids, bound
//	    │        ┌─────────────── while leading (volatile) ──────────────────┐
//	    └────────┤ oracle      Draw ──► Grant; keeps the bound ahead         │
//	             │ nodes       Report ──► live, suspected, dead; loads       │
//	             │ partitions  Report ──► leader, term, damaged, existing    │
//	             │ orders      Create, Join, Drop: repeated until done       │
//	             │ operators   placement.Plan ──► ChangeReplicas, MoveLeader │
//	             │ holds       Hold, Report ──► Retain: what may be collected│
//	             │ waiting     Admin ──► Reply                               │
//	             └───────────────────────────────────────────────────────────┘
//
// Where to start: Machine (machine.go) is the door; state.go has the applied state and what
// each command does to it; command.go and keys.go are its two formats, described byte by
// byte in docs/format.md; oracle.go stands alone; hold.go rests on it; driver.go and repair.go are the leader's side.
//
// Invariants:
//   - The applied state is a function of the log: equal prefixes give byte-equal system keys,
//     and Load of those keys gives the state back. A command that changes nothing writes
//     nothing; each that changes something makes one revision, dense, from 1.
//   - Ids of nodes, keyspaces and partitions are never given twice.
//   - The core wants 1, 3 or 5 voters: as many as there were steady nodes for at some time, and never
//     fewer than before (grow.go). Registry entries go only if the node was replaced (forget.go).
//   - A partition that exists anywhere has a record, from before its first replica is made until
//     after the last one that can be reached is gone. So a replica whose partition has no record may be dropped, and a
//     record is overwritten by a higher generation only.
//   - No timestamp is granted twice, and none that is not below a bound applied in the
//     granting leader's own term. A new leader starts at or above every older bound.
//   - A ceiling that was told to a node is a promise for ever: no open snapshot is held below it (hold.go).
//   - A replica is made by an order for its descriptor's first generation, or empty, as a
//     learner; never again under an id that existed.
//   - Nothing volatile outlives leadership; a new leader learns it anew from reports.
//   - Everything repeated is idempotent: orders, operators, commands.
//
// What it never does: start goroutines, read clocks, or draw random numbers; hold data;
// decide what is committed (that is replication's) or whether the lease holds (the node asks it before a
// Grant leaves).
package core
