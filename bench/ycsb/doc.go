// Package ycsb holds the core workloads A to F of the Yahoo! Cloud Serving Benchmark as
// streams of operations: which kind, on which record, how long a scan. It owns the
// distributions and the names of the records, and nothing that touches a database.
//
//	Mix (what) + Records (which exist) ──► Source ──► one Stream per worker ──► Op, Op, ...
//
//	     read update insert scan rmw   records are chosen by
//	A    50 % 50 %                     zipfian (scrambled)
//	B    95 %  5 %                     zipfian
//	C   100 %                          zipfian
//	D    95 %         5 %              latest
//	E                 5 %  95 %        zipfian start, length uniform 1..100
//	F    50 %                    50 %  zipfian
//
// Definitions follow the original (core workload, 2026): theta 0.99; "zipfian" draws over
// 10^10 items and spreads them by a hash over the records, so that the hottest record
// has 3.8 % of the requests and lies anywhere; the textbook Zipf over the records
// themselves is offered as "zipf" and is much hotter. A record is one value, where the
// original has ten fields.
//
// Invariants:
//   - A Stream is a function of mix, seed and number, as long as no record is inserted.
//   - No operation names a record whose insert has not been settled, or has failed.
//
// Records are shared and safe for concurrent use; a Stream belongs to one goroutine.
package ycsb
