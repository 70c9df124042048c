// Package node is one server, or one event loop of a server, as a deterministic machine: events in, effects out.
//
//	 event.go  Tick Request Admin Receive Stored Applied ReadDone …
//	     │
//	┌────▼──────────────────────── Node ─────────────────────────────┐
//	│ route.go      which replica a request or message is for        │
//	│ parked.go     requests that wait for a replica to lead         │
//	│ replica.go    one partition here: Group + Partition + Machine  │
//	│ draws.go      timestamps: waiting draws merged, grants in order│
//	│ reads.go      lease or ReadIndex                               │
//	│ calls.go      what partitions ask others: their leaders found  │
//	│ called.go     what partitions are asked by others              │
//	│ lifecycle.go  create, destroy, and what does not run           │
//	│ snapshot.go   send, receive, install                           │
//	│ members.go    one replica more, one less                       │
//	│ check.go      replicas compared at one index                   │
//	│ report.go     what the core is told, and what it orders        │
//	│ outsider.go   the core as seen by a node without its state     │
//	│ keep.go       how much log may stand                           │
//	│ retain.go     how long old versions are kept, and their end    │
//	│ measure.go    how many keys and bytes a replica holds          │
//	│ disks.go      full, slow, damaged                              │
//	│ load.go       how full the queues are, and how full they may be│
//	│ boot.go       what a restart finds, and what it may trust      │
//	│ loops.go      what falls to which loop, and what loops share   │
//	└────┬───────────────────────────────────────────────────────────┘
//	     │
//	 effect.go  Sends Appends Applies Reads Replies Snapshots …
//
// The real world (host) and the pretend world (sim) drive the same Node. Invariants:
//
//   - A turn is any number of events and then one Flush. Nothing leaves between.
//   - The node starts no goroutine, reads no clock, opens nothing, and draws randomness from its
//     own seeded source only; no map order reaches an effect.
//   - What a replica decides is bound to the term in which it was decided.
//   - A replica is created by the core's order and by nothing else, over keys that it has claimed.
//   - A loop holds the replicas of the partitions that fall to it, and nothing of another loop's; loop 0 has
//     the core and asks other nodes for support.
package node
