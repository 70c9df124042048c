// Command duel measures kvd beside etcd, in one run on one machine: three processes of each,
// the same harness (package bench), the same keys and values, in turns. One point has PostgreSQL
// for its other side, if it is installed: one server of the run's own.
//
//	             ┌─ kvdTarget ────── package client ──► kvd  kvd  kvd     one of the
//	bench.Run ───┼─ etcdTarget ───── clientv3 ────────► etcd etcd etcd    sides runs,
//	             └─ postgresTarget ─ pgx ─────────────► postgres          the others are stopped
//
//	rounds:  etcd kvd etcd kvd etcd kvd ─► medians ─► ratios, beside the floors and goals
//
// What is fair, and why:
//   - Each side runs with its own defaults, fsync on, three nodes and the client on this
//     machine, the data of all on one disk.
//   - PostgreSQL is one node, without replicas, at serializable isolation, with fsync and synchronous_commit on.
//     A transaction is two messages: begin and read, then write (in the order of keys) and commit. It is tried
//     again at SQLSTATE 40001 and 40P01, after the waits of kvd's client. Sequential scans are off: a table as
//     small as the bank's would be read whole for one row, and locked whole.
//   - The side that is not measured is stopped by SIGSTOP, so that its timers cost the other
//     nothing and both keep their caches. Before a turn all dirty pages are written back
//     (sync), so that no side pays for another's; after SIGCONT the turn waits until the
//     side accepts writes to all its partitions again, and then a little longer.
//   - Server CPU is utime+stime of the three processes, and of PostgreSQL's children; it holds where the ops/s of a busy
//     machine do not. "others" is what neither side's processes nor the driver used.
//   - Errors are counted apart, and never folded into a latency.
//
// Points come in two groups, speed (measured if none is named) and transactions. A transaction of
// etcd is a read at one revision and a put under the condition that nothing has changed since,
// from the start again if something has; its latency and its CPU are those of all attempts. The bank's closure and
// its audits are the same on all sides.
//
// Modes: the duel itself, -failover N (kill -9 of the node that leads, and the gap in the
// writes to each partition), and -idle N (what N idle partitions cost).
//
// Everything that is started is stopped, at SIGINT too, and by the kernel if the driver dies; what that cannot
// reach is PostgreSQL's children while they are suspended: SIGCONT lets them end.
package main
