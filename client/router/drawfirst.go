package router

import "github.com/kvd-db/kvd/kv"

// drawFirst moves to the front whom to ask first of all, who draws the timestamp for all. Every node but the one that
// leads the core sends one message to the oracle in any case, to draw or to prove that the timestamp was drawn
// (docs/adr/0005); what is drawn elsewhere the oracle's node knows already. So of two nodes the other one is asked first,
// and draws where it would have to prove; of more the oracle's, so that the others prove side by side and not after a
// draw that is as long. The others keep their order. key is any key of one.
func drawFirst[T any](r *Router, all []T, key func(T) kv.Key) {
	if len(all) < 2 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &r.session.Map
	atCore, elsewhere := -1, -1
	var other kv.NodeID // that leads elsewhere
	several := false    // there are more such
	for i := range all {
		leader := kv.NodeID(0)
		if p, ok := m.Find(key(all[i]), false); ok {
			leader = p.Leader
		}
		switch {
		case leader == m.CoreLeader() && atCore < 0:
			atCore = i
		case leader == m.CoreLeader():
		case elsewhere < 0:
			elsewhere, other = i, leader
		default:
			several = several || leader != other
		}
	}
	switch {
	case m.CoreLeader() == 0 || atCore < 0 || elsewhere < 0:
	case several:
		toFront(all, atCore)
	default:
		toFront(all, elsewhere)
	}
}

func toFront[T any](all []T, i int) {
	first := all[i]
	copy(all[1:], all[:i])
	all[0] = first
}

// Anchor is the position of the write of a commit that is its best anchor, as the map has it now (session.Map.Anchor).
func (r *Router) Anchor(writes []kv.Write) int {
	if len(writes) < 2 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session.Map.Anchor(writes)
}

// spans is the spans of a query in the order in which they are asked for first: any will do, since rows are merged and
// counts are added up.
func (r *Router) spans(q *ScanQuery) []kv.Span {
	spans := q.Spans()
	if q.At == 0 && q.Stale.NotBefore == 0 {
		drawFirst(r, spans, func(s kv.Span) kv.Key { return s.Start })
	}
	return spans
}
