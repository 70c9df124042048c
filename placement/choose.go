package placement

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/kvd-db/kvd/kv"
)

// Candidate is a node that may take a replica, with what it carries already.
type Candidate struct {
	Node     kv.NodeID
	Locality string
	Replicas int
	Leaders  int
	Bytes    int64
	// Reluctant ones are taken only if there are not enough others, whatever their domain.
	Reluctant bool
}

// Choose picks up to n nodes for new replicas of one partition, the best first. existing are
// the nodes that hold one already, or did until now; they need not be candidates, but only
// those among nodes have a domain. It gives fewer than n if there are not enough nodes, and two in one failure
// domain only if there are not enough domains.
func Choose(nodes []Candidate, existing []kv.NodeID, n int) []kv.NodeID {
	return choose(choices(nodes), existing, n)
}

// choice is a candidate with its place: place[i] numbers the first i+1 tiers of its locality, so
// that two choices of one list agree on them if the numbers are equal.
type choice struct {
	Candidate
	place []int
}

// choices are sorted by node. The numbers in their places are below the sum of all their tiers.
func choices(nodes []Candidate) []choice {
	all := make([]choice, 0, len(nodes))
	numbers := map[string]int{}
	for _, c := range nodes {
		x := choice{Candidate: c}
		prefix := ""
		for _, t := range tiers(c) {
			prefix += "," + t
			if _, known := numbers[prefix]; !known {
				numbers[prefix] = len(numbers)
			}
			x.place = append(x.place, numbers[prefix])
		}
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b choice) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

func choose(nodes []choice, existing []kv.NodeID, n int) []kv.NodeID {
	c := newChooser(nodes)
	for i := range nodes {
		if slices.Contains(existing, nodes[i].Node) {
			c.take(i)
		}
	}
	var chosen []kv.NodeID
	for len(chosen) < n {
		i := c.best(false)
		if i < 0 {
			break
		}
		c.take(i)
		chosen = append(chosen, nodes[i].Node)
	}
	return chosen
}

// chooser picks the nodes of one partition after the other.
type chooser struct {
	nodes  []choice
	order  []int // indexes of nodes: by id, or the least loaded first
	taken  []int // indexes of nodes that the partition has
	counts []int // by number of a place: how many of the taken share it
}

// newChooser begins with the nodes by id.
func newChooser(nodes []choice) *chooser {
	c := &chooser{nodes: nodes, order: make([]int, len(nodes))}
	numbers := 0
	for i := range nodes {
		c.order[i] = i
		for _, p := range nodes[i].place {
			numbers = max(numbers, p+1)
		}
	}
	c.counts = make([]int, numbers)
	return c
}

// take gives the partition a node.
func (c *chooser) take(i int) {
	c.taken = append(c.taken, i)
	for _, p := range c.nodes[i].place {
		c.counts[p]++
	}
}

// clear begins a new partition.
func (c *chooser) clear() {
	for _, i := range c.taken {
		for _, p := range c.nodes[i].place {
			c.counts[p]--
		}
	}
	c.taken = c.taken[:0]
}

// best is the node that the partition should get next; -1 if it has all. byLoad says that the order
// is by load: then the first one that shares nothing with those taken is the best.
func (c *chooser) best(byLoad bool) int {
	best := -1
	for _, i := range c.order {
		x := &c.nodes[i]
		if slices.Contains(c.taken, i) {
			continue
		}
		if byLoad && best >= 0 && x.Reluctant && !c.nodes[best].Reluctant {
			break
		}
		if best < 0 || c.better(x, &c.nodes[best]) {
			best = i
			if byLoad && c.counts[x.place[0]] == 0 {
				break
			}
		}
	}
	return best
}

// better compares lexicographically: willing, a domain of its own, spread over the tiers from the
// coarsest, load, id.
func (c *chooser) better(x, o *choice) bool {
	if x.Reluctant != o.Reluctant {
		return o.Reluctant
	}
	if d := c.shared(x.place, len(x.place)) - c.shared(o.place, len(o.place)); d != 0 {
		return d < 0
	}
	for depth := 1; len(c.taken) > 0 && depth < max(len(x.place), len(o.place)); depth++ {
		if d := c.shared(x.place, depth) - c.shared(o.place, depth); d != 0 {
			return d < 0
		}
	}
	return x.lighter(o) < 0
}

// shared counts the taken places that agree with this one on its first depth tiers.
func (c *chooser) shared(place []int, depth int) int {
	return c.counts[place[min(depth, len(place))-1]]
}

// lighter compares loads: replicas, bytes; ties go to the lower id.
func (c *choice) lighter(o *choice) int {
	return cmp.Or(cmp.Compare(c.Replicas, o.Replicas), cmp.Compare(c.Bytes, o.Bytes), cmp.Compare(c.Node, o.Node))
}

// sortByLoad orders the willing before the reluctant, and the least loaded first.
func (c *chooser) sortByLoad() {
	slices.SortFunc(c.order, c.beforeByLoad)
}

func (c *chooser) beforeByLoad(i, j int) int {
	x, o := &c.nodes[i], &c.nodes[j]
	if x.Reluctant != o.Reluctant {
		if o.Reluctant {
			return -1
		}
		return 1
	}
	return x.lighter(o)
}

// loaded puts a node whose load has grown to its new place in the order, which holds for all others.
func (c *chooser) loaded(i int) {
	at := slices.Index(c.order, i)
	behind := c.order[at+1:]
	n, _ := slices.BinarySearchFunc(behind, i, c.beforeByLoad)
	copy(c.order[at:], behind[:n])
	c.order[at+n] = i
}

// tiers are the parts of a locality, the coarsest first. A node without one shares nothing
// with any other: no part of a locality holds a comma.
func tiers(c Candidate) []string {
	var all []string
	for part := range strings.SplitSeq(c.Locality, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	if all == nil {
		return []string{"node," + strconv.FormatUint(uint64(c.Node), 10)}
	}
	return all
}

// Domains counts the failure domains of some nodes.
func Domains(nodes []Candidate) int {
	var all []string
	for _, c := range nodes {
		all = append(all, strings.Join(tiers(c), ","))
	}
	slices.Sort(all)
	return len(slices.Compact(all))
}

// Voters is how many voters a partition gets that wants some: as many as there are nodes, but
// always an odd number, since an even one survives no more failures than the odd one below it.
func Voters(want, nodes int) int {
	n := min(want, nodes)
	if n > 0 && n%2 == 0 {
		n--
	}
	return n
}

// Place chooses the nodes of count new partitions, voters each (fewer if there are not enough
// nodes). The first of each is its preferred leader. It spreads replicas and leaders as if the
// partitions placed before already lay there.
func Place(nodes []Candidate, count, voters int) [][]kv.NodeID {
	c := newChooser(choices(nodes))
	c.sortByLoad()
	voters = min(voters, len(nodes))
	placed := make([][]kv.NodeID, 0, count)
	ids := make([]kv.NodeID, 0, count*voters)
	for range count {
		c.clear()
		for range voters {
			c.take(c.best(true))
		}
		first := 0
		for i := range c.taken {
			x, f := &c.nodes[c.taken[i]], &c.nodes[c.taken[first]]
			if !x.Reluctant && x.Leaders < f.Leaders {
				first = i
			}
		}
		from := len(ids)
		for i, n := range c.taken {
			ids = append(ids, c.nodes[n].Node)
			if i == first {
				c.nodes[n].Leaders++
			}
			c.nodes[n].Replicas++
			c.loaded(n)
		}
		chosen := ids[from:len(ids):len(ids)]
		if len(chosen) > 0 {
			chosen[0], chosen[first] = chosen[first], chosen[0]
		}
		placed = append(placed, chosen)
	}
	return placed
}

// PreferredLeader is the replica of a new partition that should lead it first: its first one.
func PreferredLeader(d *kv.Descriptor) kv.ReplicaID {
	if len(d.Replicas) == 0 {
		return 0
	}
	return d.Replicas[0].ID
}
