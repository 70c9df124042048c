// Package cluster runs real kvd processes for tests: the binaries that users get, on real disks
// and ports, with real signals.
//
//	Start ──► kvd, kvd, kvd          one process a Node, its directory and log below Cluster.Dir
//	            │ ready              Start returns when all have said so
//	            ▼
//	Node.Kill, Pause, Continue,      SIGKILL, SIGSTOP, SIGCONT, SIGTERM; Restart brings a node back
//	     Stop, Restart, Wipe         with the same address, and its data unless they were wiped
//	            │
//	Cluster.CLI, Client              kvcli as a process, and the Go client
//	Cluster.Network                  proxies between nodes and before them: ways that can be cut
//
// What it owns: processes, ports, proxies, directories, and their end. Whatever becomes of the test,
// no process outlives it: each is ended by a cleanup, and on Linux by the kernel if the
// test's own process dies.
//
// Invariants:
//   - A process that ends without being asked to fails the test, with the end of its log.
//   - Nothing is timed. Every wait ends as soon as its condition holds, and has a patience
//     that is far beyond what a loaded machine needs.
//   - The environment's KVD_* variables do not reach the processes.
//
// It never decides what is right: it says nothing about data, only about processes.
package cluster
