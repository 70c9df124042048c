package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
)

// A node that holds no replica of the system partition (the sixth and later ones, or one
// whose replica is damaged) knows the core's leader by hearsay: it asks around until
// somebody grants, or says who leads. Only loop 0 asks; the others hear it from there (CoreLeader).

// CoreHint tells who leads the core, as far as the sender knows; 0 = it does not.
type CoreHint struct{ Leader kv.NodeID }

// Registry is the node registry, from the core's leader to nodes without the core's state.
type Registry struct{ Nodes []kv.NodeInfo }

// outsider is what such a node knows of the core.
type outsider struct {
	leader kv.NodeID // asked next; may be a guess; in loops other than 0 what loop 0 said
	term   kv.Term   // of the core, as loop 0 said
	heard  kv.Instant
	nodes  []kv.NodeInfo // sorted by id
}

const coreSilence = kv.Instant(time.Second)

// inCore reports whether this node has the core's state itself.
func (n *Node) inCore() bool { return n.replicas[kv.SystemPartition] != nil }

// outsiderTick tries the next node when nothing was heard of the core for a while.
func (n *Node) outsiderTick() {
	o := &n.system.outsider
	if n.inCore() || n.id.Loop != 0 || o.leader != 0 && n.now-o.heard < coreSilence {
		return
	}
	nodes := o.nodes
	if nodes == nil {
		nodes = n.id.Peers
	}
	o.heard = n.now
	o.leader = nextNode(nodes, o.leader, n.id.Node)
}

// nextNode is the node after one in the order of ids, round and round, without self.
func nextNode(nodes []kv.NodeInfo, after, self kv.NodeID) kv.NodeID {
	var ids []kv.NodeID
	for _, i := range nodes {
		if i.ID != self && !i.Replaced {
			ids = append(ids, i.ID)
		}
	}
	if len(ids) == 0 {
		return 0
	}
	slices.Sort(ids)
	i, found := slices.BinarySearch(ids, after)
	if found {
		i++
	}
	return ids[i%len(ids)]
}

// redirect answers a node that took this one for the core's leader.
func (n *Node) redirect(to kv.NodeID) {
	if to != n.id.Node {
		n.send(to, Message{CoreHint: &CoreHint{Leader: n.oracle()}})
	}
}

func (n *Node) coreHint(from kv.NodeID, h *CoreHint) {
	o := &n.system.outsider
	if n.inCore() || o.leader != from {
		return
	}
	o.heard = n.now
	if h.Leader == 0 || h.Leader == n.id.Node {
		o.heard = 0 // it does not know either: the next one is asked
		return
	}
	o.leader = h.Leader
	n.draws.again()
}

// registry takes over the list of nodes from the core's leader.
func (n *Node) registry(from kv.NodeID, r *Registry) {
	if n.inCore() {
		return
	}
	o := &n.system.outsider
	o.leader, o.heard = from, n.now
	slices.SortFunc(r.Nodes, func(a, b kv.NodeInfo) int { return cmp.Compare(a.ID, b.ID) })
	if slices.Equal(o.nodes, r.Nodes) {
		return
	}
	o.nodes = r.Nodes
	n.connect(r.Nodes)
}

// tellRegistry sends the registry to a node that reports to hold no sound replica of the core.
func (n *Node) tellRegistry(to kv.NodeID, r *core.Report) {
	system := func(x core.ReplicaRef) bool { return x.Partition == kv.SystemPartition }
	if to == n.id.Node || r.Loop != 0 || !r.Complete || slices.ContainsFunc(r.Held, system) && !slices.ContainsFunc(r.Damaged, system) {
		return
	}
	n.send(to, Message{Registry: &Registry{Nodes: n.core.Nodes()}})
}
