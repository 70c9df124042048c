// Package transfer moves many keys at once: a directory tree or lines of JSON into a
// keyspace and out of it, and a comparison of a tree with what is stored.
//
//	walk / lines ──► items ──► workers ──► Put, again until it is known to be done
//	                  │ at most BytesInFlight held       └──► Get and compare (Verify)
//	                  └ skipped: too long, no regular file
//
// In a tree, a key is the path of a file relative to the root with slashes, and the value
// is the bytes of the file.
//
// Invariants:
//   - Memory is bounded by Options.BytesInFlight and one value for each worker.
//   - A write whose answer was lost is asked for by its id before it is sent again. Without
//     an answer to that, it is not sent again: a newer write by someone else is never overwritten.
//   - Nothing is left out silently: what is skipped is counted and named.
//   - Verify names the first difference in the order of the source, whatever the workers do.
//
// The package prints nothing and deletes nothing.
package transfer
