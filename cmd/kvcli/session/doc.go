// Package session is the open transaction of a prompt or a script: it runs the commands of
// people in it, remembers them, and runs them again.
//
//	          commands ─► data ─► store.Tx, store.Snapshot
//	                       │
//	                       ▼ step: what was done, and what it showed
//	open ──Commit: conflict──► failed ──Retry──► the steps on a new attempt ──► open
//	  │                          │                      └─ one shows something else: failed
//	  └──Commit, Rollback────────┴──Rollback──► ended
//
// Invariants:
//   - A transaction is committed only if all that its commands showed is still so: either it was never
//     replayed, or each replayed step showed the same keys and values as the first time.
//   - A command that failed has left nothing behind but its reads.
//   - A session that failed takes nothing but Retry and Rollback; one that has ended takes nothing.
//
// A session belongs to one goroutine. It prints nothing.
package session
