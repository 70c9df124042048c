package core

import (
	"encoding/binary"

	"github.com/kvd-db/kvd/kv"
)

// forgetNode removes the registry entry of a replaced node that nothing names any more.
type forgetNode struct{ Node kv.NodeID }

func (*forgetNode) kind() kind { return kindForgetNode }

func (c *forgetNode) appendBody(b []byte) []byte { return binary.AppendUvarint(b, uint64(c.Node)) }
func (c *forgetNode) decodeBody(d *kv.Decoder)   { c.Node = kv.NodeID(d.Uvarint(maxUint64)) }

func (c *forgetNode) apply(s *state) result {
	n, ok := s.node(c.Node)
	if !ok || !n.Replaced || s.hasReplicas(c.Node) {
		return result{}
	}
	s.deleteNode(n)
	return result{}
}

// hasReplicas reports whether a descriptor gives a node a replica.
func (s *state) hasReplicas(n kv.NodeID) bool {
	found := false
	s.partitions.Ascend(func(d *kv.Descriptor) bool {
		_, found = d.ReplicaOn(n)
		return !found
	})
	return found
}

// forgetReplaced proposes to forget the nodes that were replaced, and silent, for long enough. Time
// is that of the oracle, which survives leaders; and this leader must have listened for a while.
func (m *Machine) forgetReplaced() {
	var old []kv.NodeID
	m.state.nodes.Ascend(func(n kv.NodeInfo) bool {
		if n.Replaced {
			ns := m.nodeState(n.ID)
			since := max(m.state.replaced[n.ID], ns.said)
			age := m.state.bound.UnixMillis() - since.UnixMillis()
			if age >= m.opts.ReplacedKeep.Milliseconds() && m.silence(n.ID) >= m.opts.DeadAfter && m.lead.now >= ns.forgetAt {
				old = append(old, n.ID)
			}
		}
		return true
	})
	if len(old) == 0 {
		return
	}
	replicas := m.replicaCounts()
	for _, n := range old {
		if ns := m.nodeState(n); replicas[n] == 0 && len(ns.leads) == 0 {
			ns.forgetAt = m.lead.now.Add(m.opts.OperatorPause)
			m.propose(&forgetNode{Node: n})
		}
	}
}
