package router

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/kvd-db/kvd/client/session"
)

// startAll starts calls whose answers are needed together: those that go to one node leave in one
// message and are answered in one, as far as that is possible. Finish must follow for each.
func (r *Router) startAll(ctx context.Context, calls []*Call) {
	for _, c := range calls {
		c.begin(ctx)
	}
	byNode := slices.Clone(calls)
	slices.SortStableFunc(byNode, func(a, b *Call) int { return cmp.Compare(a.begun.action.Node, b.begun.action.Node) })
	for len(byNode) > 0 {
		a, n := byNode[0].begun.action, 1
		for n < len(byNode) && byNode[n].begun.action.Node == a.Node {
			n++
		}
		if a.Kind == session.Send {
			r.submitAll(ctx, a, byNode[:n])
		}
		byNode = byNode[n:]
	}
}

// submitAll is submit for calls to one node.
func (r *Router) submitAll(ctx context.Context, a session.Action, calls []*Call) {
	if len(calls) == 1 || r.config.Local != nil {
		for _, c := range calls {
			c.begun.copy, c.begun.action = c.submit(ctx, c.begun.action, c.begun.heard)
		}
		return
	}
	l, err := r.way(ctx, a)
	if err == nil {
		l.submitAll(calls, time.Now())
	}
	for _, c := range calls {
		refused := c.begun.refused
		if err != nil {
			refused = err
		}
		c.begun.copy, c.begun.action = c.submitted(ctx, c.begun.action, l, refused)
	}
}
