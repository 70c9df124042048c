package client

import (
	"context"
	"time"

	"github.com/kvd-db/kvd/client/router"
	"github.com/kvd-db/kvd/kv"
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
	// Traced says for which requests RPC is to hear where their time went, which costs their answers a
	// few bytes: it is given the context that RPC is. nil: for none.
	Traced func(ctx context.Context) bool
	// Topology hears when the client has learned a new map.
	Topology func(TopologyEvent)
}

// RPCInfo is one request to one node, or, in a Trace and among Participants, one to a participant of a
// commit, which the leader of the anchor's partition made.
type RPCInfo struct {
	Method, Node string // read, scan, commit, outcome; prepare
	Role         Role
	Partition    uint64
	Start        time.Time
	Elapsed      time.Duration // of a participant: until its acknowledgement or refusal was at the anchor's leader
	// Staged, of a participant of a commit in parallel, is how long it took until its part was known to be durable at
	// the anchor's leader, from when that had the timestamp: the part with the longest was the last.
	Staged    time.Duration
	Bytes     int       // of the answer; of a participant: of the keys and values that it was sent
	Timestamp Timestamp // in the answer: at which was read or committed; 0: none
	Spent     Spent     // of an answer, or a refusal, that was traced (WithTrace, Hooks.Traced)
	// Participants of a commit over several partitions. In a Trace they are spans of their own instead.
	Participants []RPCInfo
	// Err is why there is no answer. Of a participant of a commit that was refused: the refusal, if it was its own, nil if it
	// had acknowledged, or that it had not answered.
	Err error
}

// Told reports whether the request was answered, or refused by a node that told where its time went.
func (i *RPCInfo) Told() bool { return i.Err == nil || kv.AsError(i.Err).Timing != nil }

// Spent is where a node says that the time of a request went: LockWait, Draw (of a timestamp),
// Consensus and Storage. What is left to Elapsed is the network's and queues'.
type Spent = kv.Spent

// Role is as what a node was asked.
type Role string

// The roles.
const (
	RoleReader      Role = "reader"
	RoleAnchor      Role = "anchor" // it decides on the commit
	RoleParticipant Role = "participant"
)

func rpcInfo(i router.RPC) RPCInfo {
	info := RPCInfo{
		Method: i.Method, Node: i.Node, Role: RoleReader, Partition: uint64(i.Partition),
		Start: i.Start, Elapsed: i.Elapsed, Bytes: i.Bytes, Timestamp: i.Timestamp, Spent: i.Spent, Err: i.Err,
	}
	if i.Method == "commit" || i.Method == "outcome" {
		info.Role = RoleAnchor
	}
	for k := range i.Others {
		p := &i.Others[k]
		info.Participants = append(info.Participants, RPCInfo{
			Method: "prepare", Node: p.Node, Role: RoleParticipant, Partition: uint64(p.Partition),
			Start: i.Start, Elapsed: p.Elapsed, Staged: p.Staged, Bytes: p.Bytes, Timestamp: i.Timestamp, Spent: p.Spent, Err: p.Err,
		})
	}
	return info
}

// Trace is what a transaction did, see WithTrace.
type Trace struct {
	// Spans are every copy of every request, in the order of their ends. Behind a commit its participants follow, if
	// it has happened, or was refused with what is known of them.
	Spans    []RPCInfo
	Attempts int
}

func (t *Trace) add(i RPCInfo) {
	participants := i.Participants
	i.Participants = nil
	t.Spans = append(t.Spans, i)
	if i.Told() {
		t.Spans = append(t.Spans, participants...)
	}
}

// TopologyEvent is one piece of news about where keys live. Kind is "map" for a whole map
// that was asked for, "leader" for a partition's new leader, at the addresses From and To.
type TopologyEvent struct {
	Kind      string
	Partition uint64 // 0: all
	From, To  string // HOST:PORT
}

// configure lets a router tell the hooks.
func (h Hooks) configure(c *router.Config) {
	if h.RPC != nil {
		c.OnRPC = func(ctx context.Context, i router.RPC) {
			h.RPC(ctx, rpcInfo(i))
		}
	}
	c.Traced = h.Traced
	if h.Topology != nil {
		c.OnTopology = func(n router.Change) {
			h.Topology(TopologyEvent{Kind: n.Kind, Partition: uint64(n.Partition), From: n.From, To: n.To})
		}
	}
}
