// Package wal is the one log of a node: the Raft logs and hard states of all its groups,
// appended to the same files, so that one fdatasync makes the writes of many groups
// durable.
//
//	Append, Append, ...            one batch: what is queued for all groups
//	       │ Log.Write             check, encode, one WriteAt, at most one Sync
//	       ▼
//	┌ segment 7 ────────────────────────────────────────────────────┐
//	│ header │ mark │ opening  │ batch │ batch │ ... │ closing      │
//	│ 4 KiB  │      │ directory│       │       │     │ directory    │
//	└─────────────────────────────────┬─────────────────────────────┘
//	┌ segment 8 ... ┐  spare  spare   │ [record of group 3: state, entries] [record ...]
//	                                  ▼
//	Positions ──► View.Stored      one View a group, owned by an event loop:
//	              View.Entries     index ► (segment, offset), newest entries in a Cache
//
// Where to start: Append and Mark say what can be written, Log.Write how, View how it is
// read; replay.go is recovery; docs/format.md is the layout byte by byte. The rules S1 to S10
// and 43 to 57 named in comments are those of the storage contract.
//
// # What is owned by whom
//
// A Log is a shell: it does I/O and has one writer at a time, while Read, PrepareNext and
// Stats may run beside it. A View and a Cache are cores: no I/O, no lock, one owner. A View
// shows what its owner has processed, and lags behind the log by what is under way (rule 47).
// FS is the world: OSFS is real, MemFS crashes on demand and is the simulator's disk.
//
// # Invariants
//
//   - A record has the group's next sequence number; the first one ever has 1.
//   - A record that changes a group's state (replica, tombstone, low-water mark, install
//     mark, HardState) carries all of it. So a group needs of the log: the newest record
//     with a state, and the entries above its low-water mark; nothing else. That is what
//     View.OldestSegment is about.
//   - Every checksum is seeded with store, segment and offset: what was written elsewhere,
//     or in an earlier life of the file, is never valid.
//   - Behind the log's end nothing in the segment has a valid checksum, except after a
//     crash the remains of unsynced writes; recovery wipes them before it writes.
//   - A segment is written to only when the one before it is durable to its end.
//   - A segment is released only after a durable frame says that it is not needed. So a
//     missing file is always noticed.
//
// # Recovery
//
// Frames number the records through the whole log, and say up to which number everything
// was durable when the frame was written. So a bad place between two valid frames is one
// of three things:
//
//   - no number is missing: a directory or a mark was hit, which hurts nobody;
//   - numbers are missing, and some frame says that they were durable: damage;
//   - numbers are missing, and no frame says so: an unsynced tail, torn by a crash, of
//     which any subset of sectors may have survived. The log is cut before it. Nothing in
//     it, and nothing behind it, was ever acknowledged.
//
// The very last synced batch has no frame behind it that vouches for it: damage to it looks
// like a torn tail. Log.Close writes a mark, so only a node that did not stop properly can
// lose it so, to a second, independent fault. If Pebble has applied some of it, rule 54
// finds out.
//
// Damage is confined to those who are hurt. Records inside it that are whole are taken over
// one by one. A group whose sequence numbers have a gap has lost something; directories,
// which list every group with its last sequence number, show gaps of groups that are not
// heard of again. Behind the last directory, the missing numbers are compared with the gaps:
// if the gaps account for all of them, nobody else has lost anything; if not, every group
// that was not heard of since may have, and is treated as if it had.
//
// A gap does not matter once a later record replaces what it may have held: a mark that
// restarts the group's log, or a later state together with entries (or a low-water mark)
// that begin behind the gap. What is left is faulty (rule 56): its View is for inspection
// only, the log refuses to write for it until a new replica is created, and directories
// carry the verdict on when the evidence is released.
//
// # What it never does
//
// It starts no goroutine and reads no clock. It never retries a failed sync, never serves
// bytes that fail a checksum, never merges or reorders writes, never invents an entry. It
// does not interpret entries, and does not know Raft.
package wal
