// Package replication makes the replicas of a partition agree on one log. It wraps one
// go.etcd.io/raft RawNode a replica and adds what raft leaves to its user: liveness of
// node pairs instead of groups, leader leases, sleep of idle groups, the order of log
// writes, snapshots and membership.
//
//	node ──Tick, Receive, Propose, Stored, Applied──►┌─────────────── Set ───────────────┐
//	                                                 │ Support   who promises what to whom│
//	                                                 │ Group 1   raft, binding, lease     │
//	node ◄──Env: Send, Append, Apply, Changed────────│ Group 2   …                        │
//	                                                 └────────────────────────────────────┘
//
// A Set is all groups of one event loop of a node, mostly its only one. It is a deterministic machine: time comes in as an
// argument, randomness from Env, and everything it wants goes out through Env. It never
// starts a goroutine, opens a file or socket, or reads a clock.
//
// The rules are those of docs/design/liveness.md (L1-L75 in comments here) and of the
// storage contract in docs/design/storage.md (43-57). In short:
//
//   - Node Y, or with several loops each loop of it for its own replicas, promises node X its support for
//     SupportDuration, renewed by a heartbeat (Support). While the promise runs, a replica on Y that follows a leader on X is bound:
//     it neither votes nor campaigns, and is not ticked.
//   - A leader's lease ends when the promises of a quorum of its voters end (lease.go). Only a
//     replica that acknowledged this leader in this term under the running epoch counts.
//   - A leader whose followers have everything goes to sleep (sleep.go): no ticks, no messages.
//   - A log write is answered in order, and only when it and all earlier ones of its group
//     are durable (append.go).
//
// The consensus protocol is Raft (Ongaro, "Consensus: Bridging Theory and Practice", 2014)
// as raft v3.7 implements it; the leases follow the idea of store liveness.
package replication
