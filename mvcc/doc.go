// Package mvcc keeps versioned values in one Pebble store per node, shared by all
// replicas of the node. It is the only importer of Pebble.
//
//	                Batch (data + applied index, one atomic write)
//	                  │ Commit, never synced: the Raft log is the only log
//	                  ▼
//	Reader ◄──── memtables ──Flush──► SSTs (durable) ◄── IngestSnapshot (excise + ingest,
//	one consistent     │                    │              durable at once)
//	state (rule D4)    │                    └── FlushedApplied: how far the log may be cut
//	                   └── lost in a crash, replayed from the log
//
//	Newest ◄───── versions at hand: the newest ones of keys that were read lately,
//	the same states    in memory, without a search (atHand; ADR 23)
//
//	engine key = [kind][bytes][0x00][suffix][length of suffix]    (docs/format.md, byte by byte)
//	  0x01 replica state   0x02 system   0x03 data   0x04 locks   0x05 records
//
// Data, locks and records are addressed by full key under their kind, so that a split
// or a snapshot cuts all three with the same span.
//
// Invariants:
//   - The data of an apply and the applied (index, term) are in one batch: what is durable
//     is never data without its index, nor an index without its data.
//   - FlushedApplied and FlushedReplicaStates report only what survives a crash now.
//   - Versions of one key are written in timestamp order; an equal timestamp carries the
//     same transaction id and changes nothing (rule B4). Only PutResolved may write below newer
//     versions, and never below G.
//   - A key has at most one exclusive lock.
//   - A Reader is one state: it holds the tables that it reads, and neither a snapshot taken
//     in nor a collection of garbage changes what it sees.
//   - What is at hand in a view is what the engine shows in the view's state.
//   - Garbage collection removes only what no read at or above the threshold G can see.
//   - Everything handed out is a copy; nothing aliases Pebble's buffers.
//   - A value or key that does not decode is Corruption: never served, never retried.
//
// Flushes and compactions can be paced (Options.Pace): whoever opens the store lets them rest after each block
// that they write, and the store says how much of a core they need so that it stays well. What somebody
// waits for does not rest, and a rest holds up nobody else.
//
// The package never interprets a transaction, never decides what G is, keeps no clock, and
// starts no goroutine of its own (Pebble does; Options.Deterministic keeps its background
// work from changing any result).
package mvcc
