// Package sim is the pretend world: it runs the shipped node code of a whole cluster in one
// goroutine, on virtual time, from one seed.
//
//	                    World: events by (time, sequence), one random source
//	      ┌──────────────────────┬───────────────────────┬─────────────────────┐
//	   machine 1              machine 2               machine 3             clients
//	┌───────────────┐      clock, disks, and       ┌───────────────┐     session.Session
//	│ process, loops│      one process at a time   │ process, loops│     each, workloads
//	│  inbox ─► node│◄────────── network ─────────►│  inbox ─► node│◄───► requests
//	│  log, applier │   streams that are slow, cut │  log, applier │
//	│  reader pool  │   broken, reordered          │  reader pool  │
//	└──────┬────────┘                              └───────────────┘
//	  wal.MemFS, mvcc.MemFS: survive a crash as far as they were synced; both can be full,
//	  fail, and lose bits
//
//	faults and traps (scenario.go) ──► World ──► history ──► sim/check ──► Result
//
// A seed is a full report of a bug: the same arguments give the same events, the same trace
// digest, the same output. What makes it so:
//
//   - One goroutine, one event at a time. Pebble's background goroutines change no result
//     (mvcc.Options.Deterministic).
//   - All randomness comes from the seed. raft draws its election jitter from
//     crypto/rand.Reader, which is replaced while a world runs (entropy.go): one world at a time.
//   - No map is ranged over where the order can be seen.
//   - Messages travel encoded, so that nothing is shared between nodes, and the codec is tested.
//
// Beside the history the world checks all the time that memory and queues stay within their limits
// (limits.go, node.Load), and at the end that they have drained.
//
// The world keeps the duties that the node asks of it (package node): what is answered in
// order, what a crash takes, that nothing of a dead process reaches the next one. Within
// them it is as unkind as it can: inputs are delivered in any order that the streams allow,
// every step of a process may be its last, and a clock is only as good as its node's rate. A process has
// one to three event loops, as each start draws it, which take their turns, and stand still, by themselves.
package sim
