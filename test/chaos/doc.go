// Package chaos takes nodes away from a real cluster under load, and insists that nothing
// that was acknowledged is lost, and nothing happens twice.
//
//	registers   one writer a key, values that name key and number; every write's fate is known
//	counters    many adders of 1; no two may get the same sum
//	chains      compare-and-set from n to n+1; no two may win the same step
//	readers     gets and scans: never older than what was acknowledged before they began,
//	            never a value whose write was called aborted
//	     │
//	   Load ── Await(n): n more writes ── Verify: the cluster holds what the books say
//
// A write is acknowledged, or did not happen, or is unknown: then its outcome is asked
// for until it is known, and that answer must be true for ever. So at the end there is
// one right value of every key.
//
// What it owns: the books. The faults are in the tests; processes are package cluster's.
// KVD_SOAK=10m has TestSoak make random faults for that long (make soak).
package chaos
