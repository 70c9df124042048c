// Package kv holds the words that every other package speaks: keys and spans, the
// numbers of the system (one type for each kind), requests and responses, and the one
// error type.
//
//	user key ──► full key = [keyspace 4][bucket 2, hash keyspaces only][user key]
//	                │
//	                └─ a partition is a Span of full keys; a Descriptor says which,
//	                   where its replicas are and under which Generation
//
// Invariants:
//   - All numbers are encoded big-endian, so that encoded keys order like the numbers.
//   - A Timestamp is drawn from the oracle; nothing in the system invents one.
//   - An Error has exactly one Kind, and the numbers of Kinds never change (they cross
//     the wire).
//
// The package imports nothing of kvd, starts nothing, and encodes what is stored and sent of its own words (codec.go).
package kv
