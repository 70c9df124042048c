package store

import (
	"context"
	"sync"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// Request is one copy of one request to one node, and what became of it.
type Request struct {
	Method    string // read, scan, commit, outcome
	Node      string // address
	Partition kv.PartitionID
	Others    []kv.PartitionID // of a commit: whom the partition's leader had prepare
	Start     time.Time
	Elapsed   time.Duration
	Bytes     int          // of the answer
	Timestamp kv.Timestamp // in the answer: at which was read or committed; 0: none
	Err       error
}

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

// noteRPC is the client's hook.
func noteRPC(ctx context.Context, i client.RPCInfo) {
	t := TraceOf(ctx)
	if t == nil {
		return
	}
	r := Request{
		Method: i.Method, Node: i.Node, Partition: kv.PartitionID(i.Partition),
		Start: i.Start, Elapsed: i.Elapsed, Bytes: i.Bytes, Timestamp: i.Timestamp, Err: i.Err,
	}
	for _, p := range i.Others {
		r.Others = append(r.Others, kv.PartitionID(p))
	}
	t.Add(r)
}
