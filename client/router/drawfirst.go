package router

import (
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// drawFirst moves the first one of all whose leader draws a timestamp without a message to the front, for the one that
// is asked first draws it for all. The others keep their order. key is any key of one.
func drawFirst[T any](r *Router, all []T, key func(T) kv.Key) {
	if len(all) < 2 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(all, func(one T) bool { return r.session.Map.DrawsFree(key(one)) })
	if i > 0 {
		first := all[i]
		copy(all[1:], all[:i])
		all[0] = first
	}
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
