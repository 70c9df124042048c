package placement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// View is the cluster as the core's leader sees it.
type View struct {
	Nodes          []Node
	Partitions     []Partition // any order; ties are decided by id
	RepairsMax     int         // operators that change replicas, at most
	LeaderMovesMax int         // operators that move leaders for balance, at most
	DrainMovesMax  int         // operators that move leaders away from draining nodes, at most
}

// Node is one server of the registry with its load.
type Node struct {
	Candidate
	Liveness kv.Liveness
	Draining bool // it is about to stop: it gets nothing, and its leaders leave
	Replaced bool // it will not return
}

func (n *Node) lost() bool     { return n.Replaced || n.Liveness == kv.NodeDead }
func (n *Node) eligible() bool { return !n.Replaced && n.Liveness == kv.NodeLive && !n.Draining }

// Partition is one partition with its state.
type Partition struct {
	Descriptor *kv.Descriptor
	Leader     kv.NodeID      // 0 = not known: nothing is planned
	Want       int            // voters
	Damaged    []kv.ReplicaID // they hold nothing any more that can be trusted
	Busy       bool           // an operator is under way, or was given up a moment ago
}

// OperatorKind is what an operator does.
type OperatorKind uint8

// The operators.
const (
	AddReplica    OperatorKind = 1 // a voter more, on Node; a learner that is there already is promoted
	RemoveReplica OperatorKind = 2 // no replica on Node any more
	MoveLeader    OperatorKind = 3 // the voter on Node leads
	// ReplaceReplica is AddReplica on Node and RemoveReplica on Old in one joint change.
	ReplaceReplica OperatorKind = 4
)

func (k OperatorKind) String() string {
	switch k {
	case AddReplica:
		return "add replica"
	case RemoveReplica:
		return "remove replica"
	case MoveLeader:
		return "move leader"
	case ReplaceReplica:
		return "replace replica"
	}
	return "unknown operator"
}

// Operator is one idempotent step.
type Operator struct {
	Kind      OperatorKind
	Partition kv.PartitionID
	Node      kv.NodeID
	Old       kv.NodeID // ReplaceReplica: whose replica goes
	Drain     bool      // MoveLeader: away from a draining node
	Reason    string    // for people
}

func (o Operator) String() string {
	if o.Kind == ReplaceReplica {
		return fmt.Sprintf("%v of partition %d on node %d by one on node %d: %s", o.Kind, o.Partition, o.Old, o.Node, o.Reason)
	}
	return fmt.Sprintf("%v of partition %d on node %d: %s", o.Kind, o.Partition, o.Node, o.Reason)
}

// Plan says what to do next: repairs first, the most endangered partition first of all; then
// leaders away from draining nodes; then the balance of leaders.
func Plan(v *View) []Operator {
	p := newPlanner(v)
	p.repair()
	p.drain()
	p.balanceLeaders()
	return p.operators
}

type planner struct {
	view      *View
	nodes     []Node   // sorted by id; loads include what the plan has done so far
	choices   []choice // same order as nodes
	parts     []*Partition
	touched   map[kv.PartitionID]bool // has an operator in this plan
	operators []Operator
	moves     int // for balance
	drains    int
}

func newPlanner(v *View) *planner {
	p := &planner{view: v, nodes: slices.Clone(v.Nodes), touched: map[kv.PartitionID]bool{}}
	slices.SortFunc(p.nodes, func(a, b Node) int { return cmp.Compare(a.Node, b.Node) })
	candidates := make([]Candidate, 0, len(p.nodes))
	for i := range p.nodes {
		candidates = append(candidates, p.nodes[i].Candidate)
	}
	p.choices = choices(candidates)
	for i := range v.Partitions {
		if part := &v.Partitions[i]; part.Leader != 0 && !part.Busy {
			p.parts = append(p.parts, part)
		}
	}
	slices.SortFunc(p.parts, func(a, b *Partition) int { return cmp.Compare(a.Descriptor.Partition, b.Descriptor.Partition) })
	return p
}

func (p *planner) index(n kv.NodeID) (int, bool) {
	return slices.BinarySearchFunc(p.nodes, n, func(a Node, n kv.NodeID) int { return cmp.Compare(a.Node, n) })
}

// node is nil for one that the registry does not have: it will not return.
func (p *planner) node(n kv.NodeID) *Node {
	if i, ok := p.index(n); ok {
		return &p.nodes[i]
	}
	return nil
}

func (p *planner) emit(o Operator) {
	p.operators = append(p.operators, o)
	p.touched[o.Partition] = true
	i, ok := p.index(o.Node)
	if !ok {
		return
	}
	switch o.Kind {
	case AddReplica:
		p.choices[i].Replicas++
	case ReplaceReplica:
		p.choices[i].Replicas++
		if old, ok := p.index(o.Old); ok {
			p.choices[old].Replicas--
		}
	case RemoveReplica:
		p.choices[i].Replicas--
	case MoveLeader:
		p.nodes[i].Leaders++
		if o.Drain {
			p.drains++
		} else {
			p.moves++
		}
	}
}

// health sorts a partition's replicas.
type health struct {
	sound    []kv.Replica // voters on live nodes
	waiting  []kv.Replica // voters on suspected nodes: they may return
	lost     []kv.Replica // voters that will not come back, or hold damaged data
	learners []kv.Replica
}

func (h *health) voters() int { return len(h.sound) + len(h.waiting) + len(h.lost) }

// present counts the voters that count towards the wanted number.
func (h *health) present() int { return len(h.sound) + len(h.waiting) }

// healthy: as many voters as wanted, all sound, and no learner.
func (p *planner) healthy(part *Partition) bool {
	if len(part.Descriptor.Replicas) != part.Want {
		return false
	}
	for _, r := range part.Descriptor.Replicas {
		if r.Role != kv.RoleVoter || p.isLost(part, r) || p.node(r.Node).Liveness != kv.NodeLive {
			return false
		}
	}
	return true
}

func (p *planner) health(part *Partition) health {
	var h health
	for _, r := range part.Descriptor.Replicas {
		n := p.node(r.Node)
		switch {
		case r.Role == kv.RoleLearner:
			h.learners = append(h.learners, r)
		case p.isLost(part, r):
			h.lost = append(h.lost, r)
		case n.Liveness == kv.NodeLive:
			h.sound = append(h.sound, r)
		default:
			h.waiting = append(h.waiting, r)
		}
	}
	return h
}

func (p *planner) isLost(part *Partition, r kv.Replica) bool {
	n := p.node(r.Node)
	return n == nil || n.lost() || slices.Contains(part.Damaged, r.ID)
}

// repair makes at most RepairsMax operators.
func (p *planner) repair() {
	type patient struct {
		part   *Partition
		health health
		spare  int // sound voters above the quorum: the fewer the sooner
	}
	if p.view.RepairsMax <= 0 {
		return
	}
	var patients []patient
	for _, part := range p.parts {
		if !p.healthy(part) {
			h := p.health(part)
			patients = append(patients, patient{part, h, len(h.sound) - (h.voters()/2 + 1)})
		}
	}
	slices.SortStableFunc(patients, func(a, b patient) int { return cmp.Compare(a.spare, b.spare) })
	done := 0
	for i := range patients {
		if done >= p.view.RepairsMax {
			return
		}
		if o, ok := p.repairStep(patients[i].part, &patients[i].health); ok {
			p.emit(o)
			done++
		}
	}
}

func (p *planner) repairStep(part *Partition, h *health) (Operator, bool) {
	if len(h.learners) > 0 {
		return p.learnerStep(part, h)
	}
	switch {
	case h.present() < part.Want:
		if o, ok := p.addStep(part, h); ok {
			return o, true
		}
		return p.makeRoom(part, h)
	case len(h.lost) > 0:
		return remove(part, h.lost[0], p.whyLost(part, h.lost[0])), true
	case h.voters() > part.Want && len(h.waiting) == 0:
		return p.shrinkStep(part, h)
	}
	return Operator{}, false
}

// learnerStep ends what an earlier operator began.
func (p *planner) learnerStep(part *Partition, h *health) (Operator, bool) {
	for _, r := range h.learners {
		switch n := p.node(r.Node); {
		case p.isLost(part, r):
			return remove(part, r, p.whyLost(part, r)), true
		case n.Liveness != kv.NodeLive:
		case h.present() < part.Want:
			return p.add(part, h, r.Node, fmt.Sprintf("replica %d is a learner still, and %d of %d voters are there", r.ID, h.present(), part.Want)), true
		default:
			return remove(part, r, fmt.Sprintf("replica %d is a learner that is not needed any more", r.ID)), true
		}
	}
	return Operator{}, false
}

func (p *planner) addStep(part *Partition, h *health) (Operator, bool) {
	var present []kv.NodeID
	for _, r := range slices.Concat(h.sound, h.waiting) {
		present = append(present, r.Node)
	}
	var usable []choice
	for i := range p.nodes {
		n := &p.nodes[i]
		if _, has := part.Descriptor.ReplicaOn(n.Node); slices.Contains(present, n.Node) || n.eligible() && !has {
			usable = append(usable, p.choices[i])
		}
	}
	chosen := choose(usable, present, 1)
	if len(chosen) == 0 {
		return Operator{}, false
	}
	return p.add(part, h, chosen[0], fmt.Sprintf("it has %d of %d voters", h.present(), part.Want)), true
}

// add makes a voter on a node; if there is a lost one it goes in the same change: a partition that
// counts it beside the new one needs more sound voters for a quorum, not fewer.
func (p *planner) add(part *Partition, h *health, n kv.NodeID, why string) Operator {
	o := Operator{Kind: AddReplica, Partition: part.Descriptor.Partition, Node: n, Reason: why}
	if len(h.lost) > 0 {
		o.Kind, o.Old, o.Reason = ReplaceReplica, h.lost[0].Node, p.whyLost(part, h.lost[0])
	}
	return o
}

// makeRoom removes a damaged replica from a live node, so that a new one can be made there:
// the only way when no other node is free. What is left must have a quorum of sound voters.
func (p *planner) makeRoom(part *Partition, h *health) (Operator, bool) {
	left := h.voters() - 1
	if left < 1 || len(h.sound) < left/2+1 {
		return Operator{}, false
	}
	for _, r := range h.lost {
		if n := p.node(r.Node); n != nil && n.eligible() {
			return remove(part, r, p.whyLost(part, r)+", and no other node is free: its place is taken by a new one"), true
		}
	}
	return Operator{}, false
}

// shrinkStep removes one sound voter too many, never the leader's.
func (p *planner) shrinkStep(part *Partition, h *health) (Operator, bool) {
	worst := -1
	var worstScore []int
	for i, r := range h.sound {
		if r.Node == part.Leader {
			continue
		}
		if s := p.crowding(h.sound, i); worst < 0 || slices.Compare(s, worstScore) > 0 {
			worst, worstScore = i, s
		}
	}
	if worst < 0 {
		return Operator{}, false
	}
	return remove(part, h.sound[worst], fmt.Sprintf("it has %d voters, %d are wanted", h.voters(), part.Want)), true
}

// crowding says how little voter i adds to the spread of its partition; its node's draining
// and load come after that.
func (p *planner) crowding(voters []kv.Replica, i int) []int {
	self, _ := p.index(voters[i].Node)
	var others [][]int
	for j, r := range voters {
		if k, ok := p.index(r.Node); ok && j != i {
			others = append(others, p.choices[k].place)
		}
	}
	own := p.choices[self].place
	score := []int{sharing(others, own, len(own))}
	for depth := 1; depth < len(own); depth++ {
		score = append(score, sharing(others, own, depth))
	}
	for len(score) < tiersMax {
		score = append(score, 0)
	}
	score = score[:tiersMax]
	draining := 0
	if p.nodes[self].Draining {
		draining = 1
	}
	return append(score, draining, p.choices[self].Replicas)
}

// sharing counts the places that agree with one on its first depth tiers.
func sharing(others [][]int, place []int, depth int) int {
	n := 0
	for _, o := range others {
		if len(o) >= depth && o[depth-1] == place[depth-1] {
			n++
		}
	}
	return n
}

// tiersMax is how many tiers of a locality count when a voter is to go.
const tiersMax = 8

func (p *planner) whyLost(part *Partition, r kv.Replica) string {
	n := p.node(r.Node)
	switch {
	case n == nil:
		return fmt.Sprintf("replica %d is on node %d, which is not in the registry", r.ID, r.Node)
	case n.Replaced:
		return fmt.Sprintf("replica %d is on node %d, which came back wiped", r.ID, r.Node)
	case slices.Contains(part.Damaged, r.ID):
		return fmt.Sprintf("replica %d on node %d is damaged", r.ID, r.Node)
	}
	return fmt.Sprintf("replica %d is on node %d, which is dead", r.ID, r.Node)
}

func remove(part *Partition, r kv.Replica, why string) Operator {
	return Operator{Kind: RemoveReplica, Partition: part.Descriptor.Partition, Node: r.Node, Reason: why}
}
