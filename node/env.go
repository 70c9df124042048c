package node

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/partition"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// env is the node as its groups see it.
type env struct{ n *Node }

func (e env) Now() kv.Instant    { return e.n.now }
func (e env) Rand(m int64) int64 { return e.n.rng.Int64N(max(m, 1)) }

func (e env) Send(to kv.NodeID, f replication.Frame) {
	heard := e.n.system.heard
	if invariant.Mutated(invariant.HeardInvented) {
		heard += kv.MakeTimestamp(20, 0)
	}
	e.n.send(to, Message{Raft: &f, Heard: heard})
}

func (e env) SendHeartbeat(to kv.NodeID, h replication.Heartbeat) {
	e.n.send(to, Message{Heartbeat: &h})
}

func (e env) SendHeartbeatAck(to kv.NodeID, a replication.HeartbeatAck) {
	e.n.send(to, Message{Ack: &a})
}

func (e env) Append(a *replication.Append) {
	e.n.out.Appends = append(e.n.out.Appends, a)
	for i := range a.Log.Entries {
		e.n.keep.appended += int64(len(a.Log.Entries[i].Data))
	}
}

func (e env) Apply(g *replication.Group, es []*raftpb.Entry, cs []*raftpb.ConfState, done replication.Responses) {
	e.n.committed(g, es, cs, done)
}

func (e env) SendSnapshot(g *replication.Group, to kv.ReplicaID, m *raftpb.Message) {
	e.n.sendSnapshot(g, to, m)
}

func (e env) Install(g *replication.Group, s *raftpb.Snapshot) { e.n.install(g, s) }
func (e env) Changed(g *replication.Group)                     { e.n.changed(g) }

func (e env) ReadReady(g *replication.Group, ctx uint64, index kv.LogIndex) {
	e.n.readReady(g, ctx, index)
}

func (e env) ReadEntry(p wal.Position, out *wal.Entry) error { return e.n.cfg.ReadEntry(p, out) }
func (e env) Faulty(g *replication.Group, err error)         { e.n.faultyGroup(g, err) }

// partitionSink is the node as its partitions see it.
type partitionSink struct{ n *Node }

func (s partitionSink) Now() kv.Instant     { return s.n.now }
func (s partitionSink) Heard() kv.Timestamp { return s.n.system.heard }

func (s partitionSink) Draw(p *partition.Partition, token uint64) {
	s.n.draws.add(s.n, s.n.replicas[p.ID()], token)
}

func (s partitionSink) Read(t *partition.ReadTask) { s.n.read(t) }

func (s partitionSink) Reply(id RequestID, resp *kv.Response, err *kv.Error) {
	s.n.reply(id, resp, err)
}

func (s partitionSink) Call(p *partition.Partition, token uint64, to kv.PartitionID, req *kv.Request) {
	s.n.call(s.n.replicas[p.ID()], token, to, req)
}

func (s partitionSink) Closed(p *partition.Partition, _ kv.Timestamp) {
	s.n.closed.closedBy(s.n.replicas[p.ID()])
}

func (s partitionSink) Propose(p *partition.Partition) {
	if r := s.n.replicas[p.ID()]; r != nil {
		s.n.queue(r)
		s.n.activate(r)
	}
}

func (s partitionSink) Hasten(p *partition.Partition) {
	if r := s.n.replicas[p.ID()]; r != nil {
		s.n.hasten(r)
	}
}

// coreSink is the node as the core's machine sees it.
type coreSink struct{ n *Node }

func (s coreSink) Propose(cmd []byte) {
	s.n.keep.coreCommands = append(s.n.keep.coreCommands, cmd)
	if r := s.n.replicas[kv.SystemPartition]; r != nil {
		s.n.queue(r)
	}
}

func (s coreSink) Order(to kv.NodeID, o core.Order) { s.n.send(to, Message{Order: &o}) }
func (s coreSink) Retain(to kv.NodeID, r core.Retain) {
	s.n.send(to, Message{Retain: &r})
}

func (s coreSink) Grant(to kv.NodeID, g core.Grant) { s.n.grant(to, g) }

func (s coreSink) Reply(id core.RequestID, resp *kv.AdminResponse, err *kv.Error) {
	s.n.adminReply(RequestID(id), resp, err)
}

func (n *Node) send(to kv.NodeID, m Message) {
	n.out.Sends = append(n.out.Sends, Send{To: to, Message: m})
}

func (n *Node) reply(id RequestID, resp *kv.Response, err *kv.Error) {
	if resp != nil {
		resp.Heard = n.system.heard
	}
	if id&OwnRequest != 0 {
		n.replyCall(id, resp, err)
		return
	}
	n.out.Replies = append(n.out.Replies, Reply{ID: id, Response: resp, Err: err})
}

func (n *Node) adminReply(id RequestID, resp *kv.AdminResponse, err *kv.Error) {
	if resp != nil && resp.Topology != nil {
		resp.Topology.Heard, resp.Topology.CoreLeader = n.system.heard, n.oracle()
	}
	n.out.AdminReplies = append(n.out.AdminReplies, AdminReply{ID: id, Response: resp, Err: err})
}
