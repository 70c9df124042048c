// Package server is the door of a node: it turns pipes and gRPC into the words of package kv, and back.
//
//	a pipe,
//	KV.Stream  ─► decode ─► limits ─► Backend.Submit ─► ... ─► Asker.Answer ─► [ready] ─► encode ─► one message
//	                        (this node only)                    (any goroutine)   sender
//
//	KV.Get ... ─► router.Router ─┬─► this node's Backend
//	(plain calls, any language)  └─► another node's pipe
//
//	Admin.*    ─► Backend.Admin ─ NotLeader ─► the leader's Admin, once
//
// A stream, which a pipe or a KV.Stream carries, has one goroutine that receives and one that sends. The sender takes whatever
// is ready when it comes round, so replies are batched under load and not delayed without.
//
// Invariants:
//   - Each request frame is answered by one frame, unless it was canceled or the stream ended.
//   - A stream has at most OpsInFlightMax requests in its backend, and InFlightBytesMax bytes
//     in requests and in the answers that they may get.
//   - What exceeds a limit is answered with Kind Limit before the backend sees it.
//   - An admin call is passed on once at most.
//   - Nothing of a stream outlives its handler.
//
// It knows nothing of partitions, replicas and disks; and it never retries: the router does.
package server
