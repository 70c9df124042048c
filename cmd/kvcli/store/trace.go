package store

import (
	"context"
	"sync"

	"github.com/kvd-db/kvd/client"
)

// Request is one copy of one request to one node, or one participant of a commit, and what became of it.
type Request = client.RPCInfo

// The roles of a Request.
const (
	RoleReader      = client.RoleReader
	RoleAnchor      = client.RoleAnchor
	RoleParticipant = client.RoleParticipant
)

// Trace collects requests, in the order of their ends.
type Trace struct {
	mu   sync.Mutex
	list []Request
}

// Add notes a request.
func (t *Trace) Add(r Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, r)
}

// Requests is what was noted so far.
func (t *Trace) Requests() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list[:len(t.list):len(t.list)]
}

type traceKey struct{}

// WithTrace is a context whose requests are noted, if the Store was opened with Options.Traced.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf is the Trace of a context; nil if it has none.
func TraceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// hooks note what is sent under a context of WithTrace.
func hooks() client.Hooks {
	return client.Hooks{
		RPC: func(ctx context.Context, i client.RPCInfo) {
			if t := TraceOf(ctx); t != nil {
				t.Add(i)
			}
		},
		Traced: func(ctx context.Context) bool { return TraceOf(ctx) != nil },
	}
}
