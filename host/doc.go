// Package host is the real world around a node: goroutines, sockets, the disk and the
// clock. It drives the node's event loops, each with its node.Node (one, unless --loops says more), and
// owns everything that they must not touch.
//
//	clients ──Submit──►┌───────┐ one swap a turn ┌──────────────┐
//	peers ──receive───►│ inbox │────────────────►│ loop         │ owns node.Node
//	completions ──────►└───────┘                 │ events,Flush │
//	                                             └──────┬───────┘ effects
//	     ┌──────────────┬──────────────┬────────────────┼──────────────┬─────────────┐
//	     ▼              ▼              ▼                ▼              ▼             ▼
//	disk: one write  applier: one   readers: a     peers: one     snapshots:    answers
//	and one sync of  engine batch   small pool,    link per       a connection  to clients
//	all that waits   of all that    answer under   pair and       of their own,
//	(log)            waits          the lease;     direction      at a limited rate
//	                                scans rest
//	                                (pacer.go)
//	     └─────Stored────┴──Applied─────┴──ReadDone──────┴──PeerLost────┴──Snapshot… ─► inbox
//
// What asks for few keys whose newest versions are at hand is read in the loop and not by the pool (loop.lend); what
// is not answered there comes back to the node in the next turn, which follows at once. What a follower
// applies wakes nobody: it waits for a tick, or for work that somebody waits for. The engine's own
// flushes and compactions rest as scans do (background.go).
//
// Around that: store.go (what the directory says of itself, and its lock), form.go (how a
// first start makes or finds a cluster), door (the one port), link.go (what travels between
// nodes), http.go (the admin port), host.go (the life of it all).
//
// Invariants:
//   - One goroutine, its loop, calls a node.Node. All else goes through the loop's inbox, which costs
//     one lock for any number of things and one wake-up for a turn. Loops are what is drawn above
//     once for each; loops.go brings everything to the one whose partition it is about.
//   - A loop waits for no other: what loops say to each other goes from inbox to inbox. While one stands
//     still the node does not ask for support (L9).
//   - The clock is read after the inputs of a turn have been taken, never before (rule 17).
//   - Log writes keep their order; what was synced is reported in that order; a failed sync
//     ends the process (rule 57).
//   - The incarnation is durable before the node is made, and a node never hears of what
//     another incarnation began (rules 46, 52).
//   - What a peer's older link delivered was delivered before a newer one begins: no message of
//     its earlier life comes after one of its present life.
//   - Every goroutine has an owner that waits for it in Close; every queue has a bound, and what
//     is beyond it is refused with a typed error or dropped as a network would drop it.
//
// The package decides nothing that the simulator does not decide as well: rules live in node
// and below.
package host
