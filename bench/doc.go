// Package bench puts load on a key-value store and says what came back: how many
// operations a second, how late, what failed, and whether every byte that was read was
// one that had been written.
//
//	workload: records (ycsb.Stream), bank, tx, list-append
//	   ▼
//	  job ─► worker ─► Target (kvd, etcd, memory, ...), for transactions a Transactor
//	                 │ 1..N, closed loop: the next operation starts when the last one ended
//	                 │       open loop:   operations start at planned times, whoever is late
//	                 ▼
//	             recorder (one per worker: HDR histograms, errors by kind)
//	                 ▼ merged at the end
//	              Result ─► JSON, text, HTML;  Compare(A, B);  Ratio: A B A B A B, medians
//
// Invariants:
//   - A latency is recorded for successes only; errors are counted apart, by kind.
//   - In an open loop a response time starts at the planned moment, not at the moment
//     when a worker was free (no coordinated omission).
//   - Every value says which key it belongs to, who wrote it and when; each one that is
//     read is checked, and one that is wrong makes the whole run INVALID.
//   - The latency of a transaction is that of all its attempts. Attempts and aborts are
//     counted apart and never as operations; so are the audits beside a bank.
//   - list-append holds the whole history of its run, up to a limit, and has it judged by
//     sim/check: a cycle, a lost or a doubled element makes the run INVALID.
//   - Operations that start in the warm-up are not in any figure.
//   - A second of silence cannot hide: an operation that began before the end is waited
//     for, and the longest gap without a success is part of the result.
//
// The package drives a Target and imports no client of any store, so that the same code
// can drive another store from another module. CPU and disk accounting is for Linux; on
// other systems those figures are absent.
package bench
