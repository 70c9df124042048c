// Package kvtest runs clusters inside of tests: real nodes with real disks and connections, in the
// test's own process, and ways to make them fail.
//
//	cluster := kvtest.NewCluster(t, 3)
//	c := cluster.Client()
//	cluster.Kill(0)
//	_, err := c.Put(ctx, key, value) // goes on without node 0
//
// Every node has a front, a fixed address through which clients and other nodes reach it:
//
//	client, other nodes ──► front (fixed address; can be cut) ──► node (host and doors; a new port
//	                                                                    each time it starts)
//	node ──► dial (can be cut) ──► the other nodes' fronts
//
// What it promises:
//   - NewServer and NewCluster return once the cluster takes commands; all of it ends with the test.
//   - A node that was killed comes back with what it had acknowledged.
//   - Failures are what a client meets in the field, not more: FailNextCommit fails a commit
//     before its commit point, where it is as if it had never been sent, or after it, where only
//     the answer is lost.
//   - Time passes as in the field, but for Advance, which moves the clocks of all nodes at once.
//
// Nodes are named by their position, from 0. A call that cannot be done fails the test. The
// methods of a Cluster are for one goroutine; its clients are for any number.
package kvtest
