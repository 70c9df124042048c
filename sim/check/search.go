package check

import (
	"cmp"
	"container/heap"
	"math/bits"
	"slices"
)

// stepsMax bounds the search for the shortest cycle of one component: edges that are looked at.
const stepsMax = 20_000_000

// components are the strongly connected components of more than one node among the relations of a set, and inside
// of the given components, if any are given (Tarjan, 1972, without recursion).
func (g *dependencies) components(set relation, in []int32) [][]int32 {
	t := &tarjan{g: g, set: set | onward, in: in, index: make([]int32, len(g.time)), low: make([]int32, len(g.time)), open: make([]bool, len(g.time))}
	for n := range g.time {
		if t.index[n] == 0 && (in == nil || in[n] >= 0) {
			t.walk(int32(n))
		}
	}
	slices.SortFunc(t.found, func(a, b []int32) int { return int(a[0] - b[0]) })
	return t.found
}

// tarjan is one search for components.
type tarjan struct {
	g          *dependencies
	set        relation
	in         []int32
	index, low []int32 // index is 0 for those not yet visited
	open       []bool  // it is on the stack
	stack      []int32
	visited    int32
	found      [][]int32 // each sorted
}

// walkStep is how far the walk is at a node.
type walkStep struct{ node, next int32 }

func (t *tarjan) enter(n int32) walkStep {
	t.visited++
	t.index[n], t.low[n], t.open[n] = t.visited, t.visited, true
	t.stack = append(t.stack, n)
	return walkStep{n, t.g.start[n]}
}

func (t *tarjan) walk(root int32) {
	path := []walkStep{t.enter(root)}
	for len(path) > 0 {
		s := &path[len(path)-1]
		n := s.node
		if s.next == t.g.start[n+1] {
			path = path[:len(path)-1]
			if len(path) > 0 {
				up := path[len(path)-1].node
				t.low[up] = min(t.low[up], t.low[n])
			}
			if t.low[n] == t.index[n] {
				t.close(n)
			}
			continue
		}
		d := &t.g.edges[s.next]
		s.next++
		switch {
		case d.relation&t.set == 0 || t.in != nil && t.in[d.to] != t.in[n]:
		case t.index[d.to] == 0:
			path = append(path, t.enter(d.to))
		case t.open[d.to]:
			t.low[n] = min(t.low[n], t.index[d.to])
		}
	}
}

// close takes a component off the stack.
func (t *tarjan) close(n int32) {
	i := len(t.stack) - 1
	for t.stack[i] != n {
		i--
	}
	c := slices.Clone(t.stack[i:])
	t.stack = t.stack[:i]
	for _, m := range c {
		t.open[m] = false
	}
	if len(c) > 1 {
		slices.Sort(c)
		t.found = append(t.found, c)
	}
}

// topological sorts the nodes of the component by the relations of the set, which make no cycle; those that nothing
// orders, by time, so that few dependencies go against it.
func (s *search) topological(nodes []int32) []int32 {
	for _, n := range nodes {
		for _, d := range s.g.of(n) {
			if s.allows(d) {
				s.waits[d.to]++
			}
		}
	}
	free := &byTime{g: s.g}
	for _, n := range nodes {
		if s.waits[n] == 0 {
			heap.Push(free, n)
		}
	}
	sorted := make([]int32, 0, len(nodes))
	for free.Len() > 0 {
		n := heap.Pop(free).(int32)
		s.at[n] = int32(len(sorted))
		sorted = append(sorted, n)
		for _, d := range s.g.of(n) {
			if !s.allows(d) {
				continue
			}
			if s.waits[d.to]--; s.waits[d.to] == 0 {
				heap.Push(free, d.to)
			}
		}
	}
	return sorted
}

// byTime is a heap of nodes, the earliest on top.
type byTime struct {
	g     *dependencies
	nodes []int32
}

func (h *byTime) Len() int { return len(h.nodes) }
func (h *byTime) Less(i, j int) bool {
	a, b := h.nodes[i], h.nodes[j]
	return h.g.time[a] < h.g.time[b] || h.g.time[a] == h.g.time[b] && a < b
}
func (h *byTime) Swap(i, j int) { h.nodes[i], h.nodes[j] = h.nodes[j], h.nodes[i] }
func (h *byTime) Push(n any)    { h.nodes = append(h.nodes, n.(int32)) }
func (h *byTime) Pop() any {
	n := h.nodes[len(h.nodes)-1]
	h.nodes = h.nodes[:len(h.nodes)-1]
	return n
}

// search looks for paths inside of one component at a time, among the relations of a set. There may be many
// components: what it knows of each node is made once for all.
type search struct {
	g         *dependencies
	set       relation
	in        []int32
	component int32
	steps     int     // edges looked at in this component
	round     int32   // of the present path
	visited   []int32 // the round in which a node was reached
	distance  []int32
	came      []int32 // the edge by which it was reached
	at        []int32 // the place of a node in the topological order of its component
	waits     []int32 // how many must come before a node that are not sorted yet
}

func newSearch(g *dependencies) *search {
	n := len(g.time)
	return &search{g: g, visited: make([]int32, n), distance: make([]int32, n), came: make([]int32, n), at: make([]int32, n), waits: make([]int32, n)}
}

// enter turns to another component.
func (s *search) enter(set relation, in []int32, component int32) {
	s.set, s.in, s.component, s.steps = set|onward, in, component, 0
}

func (s *search) allows(d dependency) bool {
	return d.relation&s.set != 0 && s.in[d.to] == s.component
}

// shortest is a shortest cycle in the component.
func (s *search) shortest(nodes []int32) []dependency {
	var best []dependency
	length := int32(1 << 30)
	for _, n := range nodes {
		if !s.g.transaction(n) {
			continue
		}
		if path, d := s.path(n, n, length-1); path != nil {
			best, length = path, d
		}
		if length == 2 || best != nil && s.steps > stepsMax {
			break
		}
	}
	return best
}

// shortestSingle is a shortest cycle with one readWrite in it and otherwise the relations of the set, which alone make
// none; nil if there is none. All readWrites that go against a topological order of the others are tried, 64 at
// a time, those first that go back the least.
func (s *search) shortestSingle(nodes []int32) []dependency {
	sorted, at := s.topological(nodes), s.at
	var back []dependency
	for _, n := range nodes {
		for _, d := range s.g.of(n) {
			if d.relation == readWrite && s.in[d.to] == s.component && at[d.to] < at[n] {
				back = append(back, d)
			}
		}
	}
	slices.SortStableFunc(back, func(a, b dependency) int { return cmp.Compare(at[a.from]-at[a.to], at[b.from]-at[b.to]) })
	reached := make([]uint64, len(sorted))
	var best []dependency
	length := int32(1 << 30)
	for len(back) > 0 && length > 2 && (best == nil || s.steps <= stepsMax) {
		batch := back[:min(len(back), 64)]
		back = back[len(batch):]
		for hits := s.reach(batch, sorted, reached); hits != 0; hits &= hits - 1 {
			d := batch[bits.TrailingZeros64(hits)]
			cost := int32(1)
			if path, n := s.path(d.to, d.from, length-cost-1); path != nil {
				best, length = append([]dependency{d}, path...), n+cost
			}
		}
	}
	return best
}

// reach tells for each of at most 64 dependencies whether a path leads from its end to its beginning.
func (s *search) reach(batch []dependency, sorted []int32, reached []uint64) (hits uint64) {
	at := s.at
	low, high := int32(len(sorted)), int32(0)
	for i, d := range batch {
		reached[at[d.to]] |= 1 << i
		low, high = min(low, at[d.to]), max(high, at[d.from])
	}
	for i := low; i <= high; i++ {
		if reached[i] == 0 {
			continue
		}
		for _, d := range s.g.of(sorted[i]) {
			s.steps++
			if s.allows(d) {
				reached[at[d.to]] |= reached[i]
			}
		}
	}
	for i, d := range batch {
		hits |= reached[at[d.from]] >> i & 1 << i
	}
	clear(reached[low:])
	return hits
}

// path is a shortest path of at most so many steps; from one node to itself, it is a cycle. A waypoint costs
// nothing to leave: such an edge goes to the head of the queue, all others to the end of it.
func (s *search) path(from, to, most int32) ([]dependency, int32) {
	s.round++
	queue := [2][]int32{{from}, nil} // those at the present distance, and at the next
	s.came[to] = -1
	s.visited[from], s.distance[from], s.came[from] = s.round, 0, -1
	for at := int32(0); at <= most && len(queue[0]) > 0; at++ {
		for len(queue[0]) > 0 {
			n := queue[0][len(queue[0])-1]
			queue[0] = queue[0][:len(queue[0])-1]
			if s.distance[n] < at {
				continue // it was reached again by a shorter way
			}
			if n == to && s.came[n] >= 0 {
				return s.trace(from, to), at
			}
			for i := s.g.start[n]; i < s.g.start[n+1]; i++ {
				s.steps++
				d := s.g.edges[i]
				if !s.allows(d) {
					continue
				}
				cost := int32(1)
				if !s.g.transaction(n) {
					cost = 0
				}
				back := d.to == to && s.came[to] < 0 // a cycle comes back to where it began
				if !back && s.visited[d.to] == s.round && s.distance[d.to] <= at+cost {
					continue
				}
				s.visited[d.to], s.distance[d.to], s.came[d.to] = s.round, at+cost, i
				queue[cost] = append(queue[cost], d.to)
			}
		}
		queue[0], queue[1] = queue[1], queue[0]
	}
	return nil, 0
}

// trace is the way by which the end of a path was reached.
func (s *search) trace(from, to int32) []dependency {
	var path []dependency
	for n := to; len(path) == 0 || n != from; {
		d := s.g.edges[s.came[n]]
		path = append(path, d)
		n = d.from
	}
	slices.Reverse(path)
	return path
}
