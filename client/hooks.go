package client

import (
	"context"
	"time"

	"github.com/kvd-db/kvd/client/router"
)

// Hooks hear of what a client does. All are optional; they are called synchronously and
// must neither block nor call the client.
type Hooks struct {
	// TxStart hears of every transaction before it begins, and of every single write before it is
	// first sent; what it returns is the context of all that follows.
	TxStart func(ctx context.Context, id TxID, tag string) context.Context
	// TxRetry hears of every wait before a transaction's next attempt, attempt counting those so
	// far, and before a single write is sent again, attempt counting the copies sent.
	TxRetry func(ctx context.Context, id TxID, attempt int, err error, wait time.Duration)
	// TxEnd hears of the end of every transaction and every single write. err is nil if it has
	// committed.
	TxEnd func(ctx context.Context, c Commit, err error)
	// RPC hears of every copy of every request, when its fate is known.
	RPC func(ctx context.Context, info RPCInfo)
	// Topology hears when the client has learned a new map.
	Topology func(TopologyEvent)
}

// RPCInfo is one request to one node.
type RPCInfo struct {
	Method, Node string
	Partition    uint64
	Start        time.Time
	Elapsed      time.Duration
	Bytes        int       // of the answer
	Timestamp    Timestamp // in the answer: at which was read or committed; 0: none
	Others       []uint64  // of a commit: the partitions whom this one's leader had prepare
	Err          error
}

func rpcInfo(i router.RPC) RPCInfo {
	info := RPCInfo{
		Method: i.Method, Node: i.Node, Partition: uint64(i.Partition),
		Start: i.Start, Elapsed: i.Elapsed, Bytes: i.Bytes, Timestamp: i.Timestamp, Err: i.Err,
	}
	for _, p := range i.Others {
		info.Others = append(info.Others, uint64(p))
	}
	return info
}

// Trace is what a transaction did, see WithTrace.
type Trace struct {
	Spans    []RPCInfo // every copy of every request, in the order of their ends
	Attempts int
}

// TopologyEvent is one piece of news about where keys live. Kind is "map" for a whole map
// that was asked for, "leader" for a partition's new leader, at the addresses From and To.
type TopologyEvent struct {
	Kind      string
	Partition uint64
	From, To  string
}

// configure lets a router tell the hooks.
func (h Hooks) configure(c *router.Config) {
	if h.RPC != nil {
		c.OnRPC = func(ctx context.Context, i router.RPC) {
			h.RPC(ctx, rpcInfo(i))
		}
	}
	if h.Topology != nil {
		c.OnTopology = func(n router.Change) {
			h.Topology(TopologyEvent{Kind: n.Kind, Partition: uint64(n.Partition), From: n.From, To: n.To})
		}
	}
}
