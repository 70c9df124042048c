package check

import (
	"cmp"
	"fmt"
	"slices"
)

// relation is why one transaction comes before another. Relations are bits, so that a set of them is a number.
type relation uint8

const (
	writeWrite relation = 1 << iota // it appended before the other did (ww)
	writeRead                       // the other read what it appended (wr)
	readWrite                       // it read before the other appended (rw)
	realTime                        // it ended before the other began (rt)
	onward                          // a waypoint is left; no relation by itself
)

// dependency says that one transaction comes before another, and why. Either end may be a waypoint.
type dependency struct {
	from, to      int32
	relation      relation
	key           int32
	before, after Element // of the key: what was there, and what came after it
}

// dependencies is the graph. Its nodes are the transactions, and behind them waypoints: nodes that are no
// transactions, by which many can come before many others without an edge for each pair. It costs 1 to
// reach a waypoint, and nothing to leave it.
type dependencies struct {
	l     *lists
	edges []dependency // sorted by from
	start []int32      // the edges of node n are those from start[n] up to start[n+1]
	time  []Time       // of each node: about where it is in the history
}

func newDependencies(l *lists) *dependencies {
	g := &dependencies{l: l}
	for _, t := range l.txs {
		g.time = append(g.time, t.Call)
	}
	ends := make([]*end, len(l.orders))
	for k := range l.orders {
		ends[k] = g.versions(int32(k))
	}
	for i := range l.txs {
		if l.committed[i] {
			g.reads(int32(i), ends)
		}
	}
	g.realTime()
	g.sort()
	return g
}

// waypoint makes a new one.
func (g *dependencies) waypoint(at Time) int32 {
	g.time = append(g.time, at)
	return int32(len(g.time) - 1)
}

func (g *dependencies) add(d dependency) {
	if d.from != d.to {
		g.edges = append(g.edges, d)
	}
}

// end is what a key's order becomes: those who have committed in it, and those whose appends nobody has seen,
// which can only come after all others.
type end struct {
	previous []int32         // of each position the newest committed append below it, -1 if there is none
	next     []int32         // of each position the first committed append at or after it, -1 if there is none
	unseen   map[int32]int32 // the position of each transaction among the unseen
	up, down []int32         // waypoints to all unseen from a position on, and to all up to it
}

// versions adds the edges between those who appended to a key.
func (g *dependencies) versions(key int32) *end {
	l, o := g.l, &g.l.orders[key]
	n := len(o.appends)
	e := &end{previous: make([]int32, n+1), next: make([]int32, n+1)}
	e.previous[0], e.next[n] = -1, -1
	committed := func(i int) bool { w := l.appends[o.appends[i]].tx; return w >= 0 && l.committed[w] }
	for i := range n {
		e.previous[i+1] = e.previous[i]
		if committed(i) {
			e.previous[i+1] = int32(i)
		}
	}
	for i := n - 1; i >= 0; i-- {
		e.next[i] = e.next[i+1]
		if committed(i) {
			e.next[i] = int32(i)
		}
	}
	for i := range n {
		if j := e.next[i+1]; committed(i) && j >= 0 {
			g.add(dependency{l.appends[o.appends[i]].tx, l.appends[o.appends[j]].tx, writeWrite, key, o.elements[i], o.elements[j]})
		}
	}
	g.unseen(key, e)
	return e
}

// unseen adds the edges to those whose appends nobody has seen, and the waypoints by which readers reach them.
func (g *dependencies) unseen(key int32, e *end) {
	l, o := g.l, &g.l.orders[key]
	if len(o.unseen) == 0 {
		return
	}
	e.unseen = map[int32]int32{}
	last := e.previous[len(o.appends)]
	for i, n := range o.unseen {
		w, element := l.appends[n].tx, l.element(n, key)
		e.unseen[w] = int32(i)
		if last >= 0 {
			g.add(dependency{l.appends[o.appends[last]].tx, w, writeWrite, key, o.elements[last], element})
		}
		e.up, e.down = append(e.up, g.waypoint(l.txs[w].Call)), append(e.down, g.waypoint(l.txs[w].Call))
		g.add(dependency{e.up[i], w, onward, key, 0, element})
		g.add(dependency{e.down[i], w, onward, key, 0, element})
		if i > 0 {
			g.add(dependency{from: e.up[i-1], to: e.up[i], relation: onward})
			g.add(dependency{from: e.down[i], to: e.down[i-1], relation: onward})
		}
	}
}

// element is what an unseen append appended: the first of its transaction to the key.
func (l *lists) element(n, key int32) Element {
	for i, m := range l.txs[l.appends[n].tx].Micros {
		at := appended{l.keyOf[int(l.first[l.appends[n].tx])+i], m.Append}
		if at.key == key && m.Append != 0 && l.numbers[at] == n {
			return m.Append
		}
	}
	return 0
}

// reads adds the edges from and to a transaction because of what it read.
func (g *dependencies) reads(tx int32, ends []*end) {
	l, t := g.l, g.l.txs[tx]
	for i, m := range t.Micros {
		if m.Append != 0 || l.bad[int(l.first[tx])+i] {
			continue
		}
		before, own := t.known(i)
		if before != nil {
			continue // the first read has said it
		}
		key := l.keyOf[int(l.first[tx])+i]
		o, e := &l.orders[key], ends[key]
		n := len(m.Read) - len(own)
		if p := e.previous[n]; p >= 0 {
			g.add(dependency{l.appends[o.appends[p]].tx, tx, writeRead, key, o.elements[p], 0})
		}
		if len(own) > 0 {
			continue // it appended to what it read itself
		}
		var read Element
		if n > 0 {
			read = m.Read[n-1]
		}
		if p := e.next[n]; p >= 0 {
			g.add(dependency{tx, l.appends[o.appends[p]].tx, readWrite, key, read, o.elements[p]})
			continue
		}
		g.readEnd(tx, key, read, e)
	}
}

// readEnd is for a read of all that anybody has seen of a key: it comes before all that nobody has seen.
func (g *dependencies) readEnd(tx, key int32, read Element, e *end) {
	if len(e.up) == 0 {
		return
	}
	i, mine := e.unseen[tx]
	switch {
	case !mine:
		g.add(dependency{tx, e.up[0], readWrite, key, read, 0})
		return
	case i > 0:
		g.add(dependency{tx, e.down[i-1], readWrite, key, read, 0})
	}
	if int(i)+1 < len(e.up) {
		g.add(dependency{tx, e.up[i+1], readWrite, key, read, 0})
	}
}

// realTime adds a chain of waypoints, one for each instant at which transactions ended: one that began
// later is reached from there. So the whole of the order costs three edges for each transaction.
func (g *dependencies) realTime() {
	var ended, began []int32
	for i, t := range g.l.txs {
		if !g.l.committed[i] {
			continue
		}
		began = append(began, int32(i))
		if t.Result == Done && t.Return != Never {
			ended = append(ended, int32(i))
		}
	}
	txs := g.l.txs
	slices.SortStableFunc(ended, func(a, b int32) int { return cmp.Compare(txs[a].Return, txs[b].Return) })
	slices.SortStableFunc(began, func(a, b int32) int { return cmp.Compare(txs[a].Call, txs[b].Call) })
	last := int32(-1)
	for _, tx := range began {
		for len(ended) > 0 && txs[ended[0]].Return < txs[tx].Call {
			if at := txs[ended[0]].Return; last < 0 || g.time[last] != at {
				next := g.waypoint(at)
				if last >= 0 {
					g.add(dependency{from: last, to: next, relation: onward})
				}
				last = next
			}
			g.add(dependency{from: ended[0], to: last, relation: realTime})
			ended = ended[1:]
		}
		if last >= 0 {
			g.add(dependency{from: last, to: tx, relation: onward})
		}
	}
}

// sort puts the edges of each node together.
func (g *dependencies) sort() {
	g.start = make([]int32, len(g.time)+1)
	for _, d := range g.edges {
		g.start[d.from+1]++
	}
	for i := range len(g.time) {
		g.start[i+1] += g.start[i]
	}
	sorted := make([]dependency, len(g.edges))
	at := slices.Clone(g.start)
	for _, d := range g.edges {
		sorted[at[d.from]] = d
		at[d.from]++
	}
	g.edges = sorted
}

// of are the edges of a node.
func (g *dependencies) of(n int32) []dependency { return g.edges[g.start[n]:g.start[n+1]] }

// transaction reports whether a node is one.
func (g *dependencies) transaction(n int32) bool { return int(n) < len(g.l.txs) }

// why says in words why one transaction comes before another.
func (g *dependencies) why(d dependency) string {
	l, key := g.l, ""
	if d.relation != realTime {
		key = printable(l.keys[d.key])
	}
	from, to := l.name(d.from), l.name(d.to)
	switch d.relation {
	case writeWrite:
		return fmt.Sprintf("ww %s < %s: in %s, %s appended %d before %s appended %d", from, to, key, from, d.before, to, d.after)
	case writeRead:
		return fmt.Sprintf("wr %s < %s: in %s, %s appended %d, which %s read", from, to, key, from, d.before, to)
	case readWrite:
		if d.before == 0 {
			return fmt.Sprintf("rw %s < %s: %s read %s as empty, to which %s appended %d", from, to, from, key, to, d.after)
		}
		return fmt.Sprintf("rw %s < %s: %s read %s up to %d, after which %s appended %d", from, to, from, key, d.before, to, d.after)
	}
	return fmt.Sprintf("rt %s < %s: %s ended at %s, before %s began at %s", from, to, from, clock(l.txs[d.from].Return), to, clock(l.txs[d.to].Call))
}
