package node

import (
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
)

// disks is how the disks of the node are.
type disks struct {
	logFull    bool
	engineFull bool
	slow       bool // an fsync of the log hangs
}

func (d *disks) full() bool { return d.logFull || d.engineFull }

// DiskFull says that the disk of the log is full, or is no more: commits are refused where
// this node leads, until another one does.
func (n *Node) DiskFull(now kv.Instant, full bool) {
	n.at(now)
	n.system.logFull = full
}

// EngineFull says that the engine's disk is full, or is no more. What is applied waits for space, so this
// node gives its leaderships away, and refuses commits until it has.
func (n *Node) EngineFull(now kv.Instant, full bool) {
	n.at(now)
	n.system.engineFull = full
	n.set.DiskSlow(n.system.slow || full)
}

// DiskSlow says that an fsync hangs, or does no more (L9).
func (n *Node) DiskSlow(now kv.Instant, slow bool) {
	n.at(now)
	n.system.slow = slow
	n.set.DiskSlow(slow || n.system.engineFull)
}

// Damaged says that the engine cannot read what it holds of a replica: it stops for good, as one whose log is
// damaged does (rule 56), and is replaced from its peers.
func (n *Node) Damaged(now kv.Instant, p kv.PartitionID, err error) {
	n.at(now)
	if r := n.replicas[p]; r != nil && kv.KindOf(err) == kv.Corruption {
		n.faultyGroup(r.group, err)
	}
}

// farewell is a leader that was stopped as damaged and whose followers are asked to take over: one after the other, again
// and again for a while, since a message may be lost and nobody answers.
type farewell struct {
	words []replication.Parting
	next  int
	until kv.Instant
}

const farewellTime = kv.Instant(3 * time.Second)

func (n *Node) bidFarewell(g *replication.Group) {
	if words := g.Partings(); len(words) > 0 {
		f := &farewell{words: words, until: n.now + farewellTime}
		n.system.farewells = append(n.system.farewells, f)
		f.say(n)
	}
}

func (f *farewell) say(n *Node) {
	w := f.words[f.next%len(f.words)]
	f.next++
	n.send(w.To, Message{Raft: &w.Frame})
}

// farewellTick goes on with them.
func (n *Node) farewellTick() {
	n.system.farewells = slices.DeleteFunc(n.system.farewells, func(f *farewell) bool { return n.now > f.until })
	for _, f := range n.system.farewells {
		f.say(n)
	}
}
