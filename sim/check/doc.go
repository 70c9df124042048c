// Package check judges what clients saw. It knows nothing of how a history came about.
//
//	clients ──► History ──┬──► Serial   every read, replayed in timestamp order against the
//	                      │             versions that the replicas hold (the Ledger); real time
//	replicas ─► Ledger ───┘             must agree with timestamps across all keys
//	                      ├──► Zones    registers with unique values, exact, n log n, no timestamps
//	                      ├──► Linear   each key by porcupine, no timestamps
//	                      ├──► Counters, Sets, Totals, Bank, Twins, Ring, Predicates, Sideband: what a
//	                      │    person would check by hand
//	transactions ─────────┴──► Lists    append-only lists: what was read tells the order of the
//	                                    appends; cycles of dependencies, by class (Elle)
//
// Serial is the strongest: it finds a lost write, a doubled one, a write that was refused and
// applied all the same, a half transaction, a stale read, a fork between keys, a phantom. It
// trusts timestamps to be the order that the system promises. Zones, Linear and Lists trust nothing
// but values and real time, so that a mistake which is consistent in timestamps is seen too.
// Lists judges whole transactions: it names what is wrong by the anomaly that a reader knows.
//
// Invariants:
//   - A check is a pure function of the history; findings come in the order of the history.
//   - A finding names the operations that contradict each other.
package check
