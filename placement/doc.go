// Package placement says where partitions live, and where they should.
//
//	clients, nodes:   Map      key ──► newest descriptor known (a btree by span start)
//	the core:         Choose   nodes that a partition does not have yet ──► the best n of them
//	                  Place    a new keyspace's partitions ──► their nodes, first leaders rotated
//	                  Plan     view of the cluster ──► operators: one step each, with its reason
//
// Domains. A node's locality ("region=x,zone=y") is a list of tiers, the coarsest first. Two
// nodes whose whole localities are equal are in one failure domain; a node without locality is
// a domain of its own. Choose first takes domains that hold no replica of the partition, then
// spreads over the coarser tiers, then takes the least loaded, then the lowest id.
//
// The preferred first leader of a new partition is its first replica (see PreferredLeader):
// Place rotates it, so that the leaders of a new keyspace are spread from the start.
//
// Plan is stateless. Repair comes before balance, and per partition one step at a time:
//
//	a learner on a live node     ──► Add the same node again, or Replace by it: the leader promotes it when it has caught up
//	a learner on a lost node     ──► Remove it
//	too few sound voters         ──► Replace an unsound one, or else Add, on the best live node;
//	                                 if there is none and an unsound replica sits on a live
//	                                 node (damaged): Remove that one first
//	an unsound voter too much    ──► Remove it
//	a sound voter too much       ──► Remove the one that spreads least and is loaded most
//	a leader on a draining node  ──► MoveLeader
//	leaders spread unevenly      ──► MoveLeader, if two nodes differ by at least two
//
// Invariants:
//   - The output depends on the arguments only: no clock, no randomness, no map order.
//   - No operator removes a sound voter while another replica of the partition is unsound, and
//     none is made for a partition that has no leader or for which one is under way.
//   - The map never holds two overlapping spans, and never goes back to an older generation.
//
// The package starts nothing, sends nothing, and remembers nothing but what a Map holds: to
// order, repeat and give up operators is the business of package core.
package placement
