// Package router brings requests to the nodes that can answer them: the world around
// package session. The client's API and the server's plain calls both stand on it.
//
//	Do ── session.Call ──► Send ──► link (one per node) ──► [queue] ─sender─► a pipe ────┐
//	         ▲                                                                           │
//	         └─ Answered / Refused / Lost ◄── waiter decodes ◄── [pending by id] ◄─receiver
//
// Calls append their frames to the link's queue; the sender takes all that is queued when
// it comes round and sends it as one message. There is no timer on that path: batches grow
// by themselves while a message is being sent.
//
// Invariants:
//   - A call hears of each copy exactly once: answered, refused, or lost. A copy that did not
//     leave the queue is refused, never lost.
//   - All waiting ends at the context's end or after kv.RequestTimeoutDefault.
//   - A link holds at most OpsInFlightMax requests and QueueBytesMax bytes.
//   - A stream that is silent for SilenceMax while requests wait is cut: its node may be
//     stopped, and another may lead by now.
//   - A copy that its node does not answer though it is alive counts as lost after a while; its
//     request goes on with further copies.
//   - What is open at a timestamp for long is held in the cluster: hold.go tells the core's leader of the oldest
//     such timestamp every few seconds. Short reads and transactions tell nobody anything.
//   - A read that any replica may answer goes to the nearest ones first (near.go): not to those that are known to
//     be behind it, or did not answer lately, but for one read now and then that finds out.
//   - Who is asked first draws the timestamp for all, so it matters who that is (drawfirst.go, docs/adr/0022). To be
//     wrong in where the core is led costs messages and nothing else.
//   - Close leaves no goroutine behind.
//
// It decides nothing about retries or exactly-once: session does.
package router
