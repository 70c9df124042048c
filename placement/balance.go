package placement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// drain moves leaders away from nodes that are about to stop.
func (p *planner) drain() {
	for _, part := range p.parts {
		if p.drains >= p.view.DrainMovesMax {
			return
		}
		from := p.node(part.Leader)
		if from == nil || !from.Draining || p.touched[part.Descriptor.Partition] {
			continue
		}
		if to := p.heir(part); to != nil {
			p.moveLeader(part, from, to, true, fmt.Sprintf("node %d, which leads it, is draining", from.Node))
		}
	}
}

// balanceLeaders moves leaders of healthy partitions from the node with the most to those
// with the fewest, as long as that makes two nodes more equal. The core's own leader stays:
// every write of the cluster waits while it moves.
func (p *planner) balanceLeaders() {
	for len(p.nodes) > 1 && p.moves < p.view.LeaderMovesMax {
		part, to := p.bestMove()
		if part == nil {
			return
		}
		from := p.node(part.Leader)
		p.moveLeader(part, from, to, false, fmt.Sprintf("node %d leads %d partitions, node %d %d", from.Node, from.Leaders, to.Node, to.Leaders))
	}
}

// bestMove is the move between the two nodes that differ most; nil if none differ by two.
func (p *planner) bestMove() (*Partition, *Node) {
	givers := make([]*Node, 0, len(p.nodes))
	for i := range p.nodes {
		givers = append(givers, &p.nodes[i])
	}
	slices.SortStableFunc(givers, func(a, b *Node) int { return cmp.Compare(b.Leaders, a.Leaders) })
	least := slices.MinFunc(givers, func(a, b *Node) int { return cmp.Compare(a.Leaders, b.Leaders) })
	for _, from := range givers {
		if from.Leaders-least.Leaders < leadersDifferMin {
			return nil, nil
		}
		if part, to := p.bestMoveFrom(from); part != nil {
			return part, to
		}
	}
	return nil, nil
}

// leadersDifferMin is the smallest difference at which moving a leader helps.
const leadersDifferMin = 2

func (p *planner) bestMoveFrom(from *Node) (best *Partition, to *Node) {
	for _, part := range p.parts {
		d := part.Descriptor
		if part.Leader != from.Node || d.Partition == kv.SystemPartition || p.touched[d.Partition] {
			continue
		}
		heir := p.heir(part)
		if heir == nil || from.Leaders-heir.Leaders < leadersDifferMin || to != nil && heir.Leaders >= to.Leaders {
			continue
		}
		if p.healthy(part) {
			best, to = part, heir
		}
	}
	return best, to
}

// heir is the node of the voter that should lead instead, nil if none can: the one that leads
// the fewest.
func (p *planner) heir(part *Partition) *Node {
	var heir *Node
	for _, r := range part.Descriptor.Replicas {
		n := p.node(r.Node)
		if r.Role != kv.RoleVoter || r.Node == part.Leader || p.isLost(part, r) || !n.eligible() {
			continue
		}
		if heir == nil || n.Leaders < heir.Leaders || n.Leaders == heir.Leaders && n.Node < heir.Node {
			heir = n
		}
	}
	return heir
}

func (p *planner) moveLeader(part *Partition, from, to *Node, drain bool, why string) {
	from.Leaders--
	p.emit(Operator{Kind: MoveLeader, Partition: part.Descriptor.Partition, Node: to.Node, Drain: drain, Reason: why})
}
