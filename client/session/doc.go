// Package session decides what a client does: which node it asks, what it does with each
// answer, when it gives up. It is a state machine without a world, so that the simulator
// drives the same rules as package router.
//
//	        Start                                     ┌────────── Answered ──► Done(response)
//	Op ──────────────► Send(node, request) ───────────┼─ Refused ─┬─ final ──► Done(error)
//	                     ▲           ▲                └─ Lost ────┤
//	                     │           └── Woke ─── Wait(d) ◄───────┤
//	                     └──── Refreshed ──── Refresh(topology) ◄─┘       Ended ──► Done(error), at any time
//
// A Session is what one client believes: the Map (keys to partitions, partitions to
// leaders and terms) and the newest timestamp that it heard of. A Call is one request on
// its way through retries. One caller at a time touches a Session and its Calls.
//
// Invariants:
//   - All copies of one attempt of a commit carry the same id, term and as-of timestamp (rules
//     A1, I6), but for those sent to another partition than the first one: these name term 0,
//     under which nothing is ever executed, so that they only ask for the outcome.
//   - A new id is drawn only after the old one is finally dead: StaleTerm from a leader of a
//     later term, or Aborted (rule I4); or when every copy was refused, none lost, and so nothing
//     was ever done under it (a commit with Split that is WrongPartition).
//   - A commit may be sent with Parts: what it reads and writes is parted by the partitions of the
//     map when it gets its name, and all copies under the name have the same parts.
//   - A commit that is finally aborted because of what others did (Conflict, TooOld) is not sent
//     again: its reads must be made again (rule I5).
//   - A copy whose answer was lost leaves the call unsure. An unsure call never ends with an
//     error that means "not done", unless that error is about the id.
//   - A read that any replica may answer is tried at NearTriesMax near ones at most, then it goes on like all
//     others. Which ones those are the shell knows (Session.Nearest).
//   - Every wait is bounded, with full jitter; the number of retries is not: the shell ends a
//     call at its deadline.
//
// It never starts a goroutine, reads a clock, draws ambient randomness, or lets the order
// of a map reach its actions.
package session
