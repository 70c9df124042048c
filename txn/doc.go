// Package txn holds the rules of transactions that one partition's leader needs, as pure
// data structures: which commits may go on, what reads must wait for, what is locked, and which
// ids were seen. It is driven by package partition and knows no log, no engine and no clock.
//
//	            Acquire          Asked            Propose            Applied
//	declared ───────────► queue ───────► asked ────────────► pending ────────► gone
//	             ▲       (FIFO, all      (c unknown,        (c known, a version
//	             │        or nothing)     no way back        to all later writers)
//	             │         │   │   │      but Drop)
//	             │         │   │   └── Drop: killed, failed, canceled
//	             │         │   │
//	holder's     │    Wait │   │ Lock                  (found on the disk: Restore)
//	Unlock or ───┴─ parked ┘   ▼
//	Applied                  locked ─────► asked ────────────► pending ────────► gone
//	                           │   Asked   │      Propose      (locks stay)  Applied
//	                           │           │                    └── Withdraw: aborted by the log
//	                           └───────────┴── Unlock: resolved, aborted
//
//	Table        latches of keys and spans (C2), locks (C2, F2), pending versions (C5b),
//	             awaits of reads (D2, D3)
//	Seen         ids of this term: running | aborted | committed, a sliding window (I6 to I8)
//	Roll         participants that have acknowledged (H2 to H5) or confirmed (H7, H8)
//
// One Table entry per key holds the queue of latches, the locks and the pending versions, so a
// put costs three operations of the tree: find, insert, remove.
//
// A lock is what two-phase commit keeps beyond the latches: that of a prepared transaction, which
// is also on the disk, or that of a coordinator's own part, which is not. The table does not tell
// them apart; Guard.Owner does. Latches are granted past locks. Who is granted asks Blocker, and
// goes to Wait if there is one. Reads do not look at what is only locked: whose fate is decided
// elsewhere is asked about by the owner, through LockOn and LocksIn (rule D8).
//
// Invariants:
//   - A guard has all its latches or is waiting; a waiting guard waits only for guards that
//     were declared before it, so there is no deadlock and nobody starves.
//   - A place in a queue is never kept while waiting for anything but latches. A request
//     that must wait for a lock of a transaction gives up its place first (rule F2): so a
//     parked guard holds nothing, and only locks can wait for each other, in the owners.
//   - Locks that conflict have one holder, and nothing that conflicts with a held latch is locked.
//     So Blocker's answer to a granted guard, once nil, stays nil.
//   - Nobody is asked for a key under the lock of another guard. Pending versions of earlier
//     writers may be below it.
//   - The pending versions of a key have ascending timestamps, and later writers of the key
//     draw later (rules B4, C5b).
//   - Grants and finished awaits come out in an order that depends on the calls alone.
//
// All of it is volatile: a change of term discards it (rule A5). Durable locks come back by
// Restore.
package txn
