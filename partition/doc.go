// Package partition is the replicated unit of data: what its leader admits, evaluates and
// proposes, and what every replica does when an entry is applied.
//
//	kv.Request                 leader (in the node's loop, one Partition per replica)
//	    │
//	    ▼        seen? own term?      latches        Draw          pending version
//	admission ──────────────────► txn.Table ──► evaluate ──► draw ──► command queued
//	    │ (C1: looked up if not)        ▲   Read: engine, or          │ TakeProposal
//	    │                               │   a pending version         ▼
//	    │ reads: Draw r, await (D2) ────┘                    ── one Raft entry ──
//	    ▼                                                             │ Committed: answered (C6)
//	ReadTask ──► at hand: ExecuteAtHand, in the loop                  │
//	         └─► reader pool: Execute(mvcc.Reader)                    ▼
//	             answered by the node, under the lease (D5)      Machine.Apply ──► mvcc.Batch
//	                                                                  │ every replica, below the log
//	             pending versions go, ids become committed ◄── Applied
//
// There are two halves that share nothing but the bytes of entries:
//
//   - Partition decides. It is driven by the node's loop and speaks through Sink; it never
//     blocks, and it keeps no state that outlives its term (rule A5): Unlead drops it whole.
//   - Machine applies. It is a deterministic function of the log, the same on all replicas.
//
// Invariants:
//   - An id is committed at most once, and only in the term that it names (rules A1, A2). What
//     is called aborted was marked before it was told.
//   - A timestamp is asked for under all latches, after validation (rule B2), and the versions of a
//     key are proposed in ascending order (rule B4).
//   - A proposed write holds up no other writer: it is a version to those behind it (rule C5b).
//     Reads await it until it is applied.
//   - What reveals the state of a key is a serving task: reads, and the refusal of a
//     compare-and-set, which first awaits the version that it names.
//   - Every wait and every queue has a limit (Options), and every request one answer.
//   - G <= H, and both only grow.
//
// The package never reads a clock (Sink.Now), never invents a timestamp (Sink.Draw), never
// touches the engine from the loop but for newest versions in memory (ReadTask.ExecuteAtHand), and
// knows neither Raft nor the network. It checks no lease: that is the node's part of every serving task.
//
// A transaction over several partitions (transactions.md, E to H) is two things, on top of the same
// intents, latches and log:
//
//	anchor's leader                                        each other participant's leader
//	commit with participants ── Prepare ──────────────────► prepared: latches, validates,
//	  own part: latches, then unreplicated locks              {prepare} in the log, durable locks
//	  all acknowledged ◄──────────────────── acknowledged ──   (committed)
//	  draw c, {record} in the log = commit point
//	resolver ──── Resolve(c), until confirmed ─────────────► {resolve}: versions at c, locks gone
//	  all confirmed: {forget}                 ◄─ confirmed ─   (committed)
//
// In parallel (Options.Commit; transactions.md, P) the same two things take one consensus round. Whoever
// is a participant takes part in both kinds:
//
//		anchor's leader                                        each other participant's leader
//		commit with participants ── Prepare, in memory ───────► prepared: latches, validates, locks
//		  own part: latches, then unreplicated locks              in its memory (held)
//		  all acknowledged ◄─────────────── acknowledged, term
//		  draw c, {stage} in the log: STAGING ── Stage(c, term) ─► {stage} in the log, durable locks at c
//		  all durable = committed, client answered ◄── durable ──   (applied), or "never"
//		  {decide} in the log: COMMITTED; or, after "never", gone
//		resolver, as above
//
//	  - "Never" is a promise for the term, and only the log of the anchor aborts what may be staged.
//	  - A new leader of the anchor that finds STAGING asks all participants (recovery).
//	  - Locks in memory may have their timestamp already: reads ask about them as about those in the log.
//
// Of both kinds:
//
//   - A lock in the way makes a writer give up its latches and wait, and its anchor is asked (push).
//     A reader asks the anchor and never waits for an undecided transaction of two phases (met).
//   - What is durable is restored at leadership, before anything is admitted (restore).
//   - Nobody removes a lock but by a command of this log, and only for what the anchor said.
//   - {resolve} and {forget} go with the next entry that is made for another reason, unless a writer waits
//     for the locks (lazy). {stage} and {decide} never do: clients, reads and other partitions wait for them.
//   - {prepare}, {record}, {resolve} and {forget} are applied in the node's own time, unless somebody waits
//     (Sink.Hasten; docs/adr/0025). Reads do, of what a record wrote or a lock holds, and writers of what is locked.
//
// Who is about to write a key may claim it when reading it (claim). That orders transactions that would
// overtake each other; nothing is decided by it.
//
// A replica that does not lead answers reads at timestamps that the leader has closed (G): Close and
// Sink.Closed are the leader's part, FollowerTask is the other's, which needs no Partition.
package partition
