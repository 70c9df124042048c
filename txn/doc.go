// Package txn holds the rules of transactions that one partition's leader needs, as pure
// data structures: which commits may go on, what reads must wait for, and which ids were
// seen. It is driven by package partition and knows no log, no engine and no clock.
//
//	            Acquire          Asked            Propose            Applied
//	declared ───────────► queue ───────► asked ────────────► pending ────────► gone
//	                     (FIFO, all      (c unknown,        (c known, a version
//	                      or nothing)     no way back        to all later writers)
//	                        │             but Drop)
//	                        └── Drop: killed, failed, canceled
//
//	Table   latches of keys and spans (C2), pending versions (C5b), awaits of reads (D2)
//	Seen    ids of this term: running | aborted | committed, a sliding window (I6 to I8)
//
// One Table entry per key holds both the queue of latches and the pending versions, so a
// put costs three operations of the tree: find, insert, remove.
//
// Invariants:
//   - A guard has all its latches or is waiting; a waiting guard waits only for guards that
//     were declared before it, so there is no deadlock and nobody starves.
//   - A place in a queue is never kept while waiting for anything but latches. A request
//     that must wait for a lock of a transaction gives up its place first (rule F2).
//   - The pending versions of a key have ascending timestamps, and later writers of the key
//     draw later (rules B4, C5b).
//   - Grants and finished awaits come out in an order that depends on the calls alone.
//
// All of it is volatile: a change of term discards Table and Seen together (rule A5).
package txn
