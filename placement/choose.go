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

// choices are sorted by node.
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
	var taken [][]int
	free := make([]*choice, 0, len(nodes))
	for i := range nodes {
		if slices.Contains(existing, nodes[i].Node) {
			taken = append(taken, nodes[i].place)
		} else {
			free = append(free, &nodes[i])
		}
	}
	var chosen []kv.NodeID
	for len(chosen) < n && len(free) > 0 {
		best := 0
		for i := 1; i < len(free); i++ {
			if free[i].better(free[best], taken) {
				best = i
			}
		}
		chosen = append(chosen, free[best].Node)
		taken = append(taken, free[best].place)
		free = slices.Delete(free, best, best+1)
	}
	return chosen
}

// better compares lexicographically: willing, a domain of its own, spread over the tiers from the
// coarsest, replicas, bytes. Ties go to the lower id, since choices are sorted by node.
func (c *choice) better(o *choice, taken [][]int) bool {
	if c.Reluctant != o.Reluctant {
		return o.Reluctant
	}
	if d := sharing(taken, c.place, len(c.place)) - sharing(taken, o.place, len(o.place)); d != 0 {
		return d < 0
	}
	for depth := 1; len(taken) > 0 && depth < max(len(c.place), len(o.place)); depth++ {
		if d := sharing(taken, c.place, depth) - sharing(taken, o.place, depth); d != 0 {
			return d < 0
		}
	}
	return cmp.Or(cmp.Compare(c.Replicas, o.Replicas), cmp.Compare(c.Bytes, o.Bytes)) < 0
}

// sharing counts the taken places that agree with this one on its first depth tiers.
func sharing(taken [][]int, place []int, depth int) int {
	depth = min(depth, len(place))
	n := 0
	for _, o := range taken {
		if len(o) >= depth && o[depth-1] == place[depth-1] {
			n++
		}
	}
	return n
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
	load := choices(nodes)
	placed := make([][]kv.NodeID, 0, count)
	for range count {
		chosen := choose(load, nil, voters)
		first := 0
		for i := range chosen {
			if c, f := find(load, chosen[i]), find(load, chosen[first]); !c.Reluctant && c.Leaders < f.Leaders {
				first = i
			}
		}
		for i, n := range chosen {
			c := find(load, n)
			c.Replicas++
			if i == first {
				c.Leaders++
			}
		}
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

func find(sorted []choice, n kv.NodeID) *choice {
	i, _ := slices.BinarySearchFunc(sorted, n, func(c choice, n kv.NodeID) int { return cmp.Compare(c.Node, n) })
	return &sorted[i]
}
