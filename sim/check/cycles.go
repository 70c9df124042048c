package check

import (
	"fmt"
	"slices"
	"strings"
)

// anomaly is a class of cycles by the relations that are in it.
type anomaly struct {
	name string
	set  relation
}

// The classes of cycles (Adya, 1999), the worst first. Each is looked for only among those that are strongly
// connected without being in a cycle of a worse class.
var anomalies = [...]anomaly{
	{"G0", writeWrite},
	{"G1c", writeWrite | writeRead},
	{"G-single", writeWrite | writeRead | readWrite}, // with one readWrite
	{"G2", writeWrite | writeRead | readWrite},
}

// single is the position of G-single.
const single = 2

// cycles finds the cycles of each class, and those of them that exist only in real time: these are of no
// interest if there is one of the same class, or a worse one, without.
func (g *dependencies) cycles() {
	worst := g.classify(0, len(anomalies), "")
	g.classify(realTime, worst, " in real time")
}

// classify reports one cycle for each strongly connected component, of its worst class, of the first so many
// classes. It returns the worst of all classes found.
func (g *dependencies) classify(more relation, classes int, suffix string) (worst int) {
	worst = classes
	whole := g.components(writeWrite|writeRead|readWrite|more, nil)
	in := g.membership(whole)
	if len(whole) == 0 {
		return worst
	}
	s := newSearch(g)
	done := make([]bool, len(whole)) // a cycle of the component is known, or nobody wants to know
	for class := range classes {
		a := anomalies[class]
		name, parts, inside := a.name+suffix, whole, in
		if class < single {
			parts = g.components(a.set|more, in)
			inside = g.membership(parts)
		}
		for i, p := range parts {
			if done[in[p[0]]] {
				continue
			}
			if g.l.counts[name] < findingsMax && !g.search(s, class, p, a.set|more, inside, int32(i), name) {
				continue
			}
			done[in[p[0]]] = true
			worst = min(worst, class)
		}
	}
	return worst
}

// search reports a shortest cycle of a class in a component; false if there is none.
func (g *dependencies) search(s *search, class int, nodes []int32, set relation, in []int32, component int32, name string) bool {
	var c []dependency
	if class == single {
		s.enter(set&^readWrite, in, component)
		c = s.shortestSingle(nodes)
	} else {
		s.enter(set, in, component)
		c = s.shortest(nodes)
	}
	if c == nil {
		return false
	}
	g.report(name, c)
	return true
}

// membership is the component of each node, -1 if it is in none.
func (g *dependencies) membership(components [][]int32) []int32 {
	in := make([]int32, len(g.time))
	for i := range in {
		in[i] = -1
	}
	for i, c := range components {
		for _, n := range c {
			in[n] = int32(i)
		}
	}
	return in
}

// report writes a cycle down, without its waypoints.
func (g *dependencies) report(name string, cycle []dependency) {
	var steps []dependency
	for _, d := range cycle {
		if g.transaction(d.from) {
			steps = append(steps, d)
		}
		last := &steps[len(steps)-1]
		last.to = d.to
		if d.after != 0 {
			last.after = d.after
		}
	}
	txs := make([]int32, len(steps))
	var b strings.Builder
	fmt.Fprintf(&b, "a cycle of %d transactions", len(steps))
	for i, d := range steps {
		txs[i] = d.from
		fmt.Fprintf(&b, "\n    %s", g.why(d))
	}
	key := ""
	if i := slices.IndexFunc(steps, func(d dependency) bool { return d.relation != realTime }); i >= 0 {
		key = g.l.keys[steps[i].key]
	}
	g.l.found(name, key, b.String(), txs...)
}
