// Package chaos takes nodes away from a real cluster under load and cuts the network between them, and
// insists that nothing that was acknowledged is lost, and nothing happens twice.
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
// Transactions are another load, over partitions of several keyspaces:
//
//	lists       appends to lists; sim/check finds out whether any order explains what was read
//	bank        transfers, and audits whose sum must be right at every moment, now and in the past
//	markers     commits whose answer is given up at a random moment: their outcome must become
//	            known, be true, and hold for both of the marker's partitions
//
// What it owns: the books, and the choice of faults (soak). Processes and the network are package
// cluster's. TestSoak makes faults at random for KVD_SOAK=10m, half a minute if nobody says (make
// soak). A run that fails says the seed, all faults and what contradicts what, and keeps the logs.
package chaos
