package sim

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// hand drives the groups of one node by hand: writes wait until it completes them, messages
// are kept for it to look at.
type hand struct {
	now     kv.Instant
	set     *replication.Set
	group   *replication.Group
	sent    []replication.Frame
	writes  []*replication.Append
	applies []handApply
}

type handApply struct {
	entries []*raftpb.Entry
	done    replication.Responses
}

var _ replication.Env = (*hand)(nil)

func (h *hand) Now() kv.Instant                                                { return h.now }
func (h *hand) Rand(int64) int64                                               { return 0 }
func (h *hand) Send(_ kv.NodeID, f replication.Frame)                          { h.sent = append(h.sent, f) }
func (h *hand) SendHeartbeat(kv.NodeID, replication.Heartbeat)                 {}
func (h *hand) SendHeartbeatAck(kv.NodeID, replication.HeartbeatAck)           {}
func (h *hand) SendSnapshot(*replication.Group, kv.ReplicaID, *raftpb.Message) {}
func (h *hand) Append(a *replication.Append)                                   { h.writes = append(h.writes, a) }
func (h *hand) Install(*replication.Group, *raftpb.Snapshot)                   {}
func (h *hand) Discard(*replication.Group)                                     {}
func (h *hand) Changed(*replication.Group)                                     {}
func (h *hand) ReadReady(*replication.Group, uint64, kv.LogIndex)              {}
func (h *hand) ReadEntry(wal.Position, *wal.Entry) error                       { return wal.ErrUnavailable }
func (h *hand) Faulty(*replication.Group, error)                               {}
func (h *hand) Apply(_ *replication.Group, es []*raftpb.Entry, _ []*raftpb.ConfState, d replication.Responses) {
	h.applies = append(h.applies, handApply{es, d})
}

// newHand opens replica self of a partition on node self; the ids of replicas are those of their nodes.
func newHand(self kv.NodeID, conf *raftpb.ConfState, nodes int) (*hand, error) {
	h := &hand{}
	h.set = replication.NewSet(0, replication.Options{
		Self: self, Incarnation: 1, Fresh: true, Params: replication.DefaultParams(), Cache: wal.NewCache(1 << 16),
		Logger: quietLogger{},
	}, h)
	d := &kv.Descriptor{Partition: 3, Generation: 1, NextReplica: kv.ReplicaID(nodes + 1)}
	for i := range nodes {
		id := kv.NodeID(i + 1)
		d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(id), Node: id, Role: kv.RoleVoter})
		h.set.Connect(id)
	}
	view := wal.NewView(3, h.set.Cache())
	created := wal.Append{Group: 3, Mark: wal.Mark{Kind: wal.MarkCreate, Replica: kv.ReplicaID(self), Index: 1, Term: 1}}
	view.Stored(&created, []wal.Position{{Segment: 1}})
	var err error
	h.group, err = h.set.Open(replication.OpenGroup{
		Descriptor: d, Replica: kv.ReplicaID(self), View: view, HardState: wal.HardState{Term: 1, Commit: 1},
		Applied: 1, AppliedTerm: 1, Conf: raftpb.EnsureConfState(conf),
	})
	return h, err
}

// at moves the clock.
func (h *hand) at(now ns) {
	h.now = kv.Instant(now)
	h.set.Advance()
}

// disk completes all writes and applies that wait, and those that they cause.
func (h *hand) disk() {
	h.set.Drain()
	for len(h.writes)+len(h.applies) > 0 {
		for len(h.writes) > 0 {
			a := h.writes[0]
			h.writes = h.writes[1:]
			pos := make([]wal.Position, len(a.Log.Entries)+1)
			for i := range pos {
				pos[i].Segment = 1
			}
			h.set.Stored(a, pos)
		}
		for len(h.applies) > 0 {
			x := h.applies[0]
			h.applies = h.applies[1:]
			if n := len(x.entries); n > 0 {
				e := x.entries[n-1]
				h.set.Applied(h.group, kv.LogIndex(e.GetIndex()), kv.Term(e.GetTerm()), x.done)
			}
		}
		h.set.Drain()
	}
}

func (h *hand) receive(from kv.NodeID, tag uint64, m *raftpb.Message) {
	m.From, m.To = new(uint64(from)), new(uint64(h.group.Replica()))
	h.set.Receive(from, replication.Frame{Partition: 3, Message: m, Tag: tag})
	h.set.Drain()
}

func raftMessage(t raftpb.MessageType, term, index, logTerm uint64) *raftpb.Message {
	return &raftpb.Message{Type: t.Enum(), Term: new(term), Index: new(index), LogTerm: new(logTerm), Commit: new(uint64(1))}
}

// playFrame: an append of term 5 is stepped under one promise and waits for the disk; the
// promise lapses; the replica votes in term 6; a new promise is given; only then the disk answers. That answer of term 5 must
// not carry the new promise's epoch (rule L13).
func playFrame() *Violation {
	h, err := newHand(2, &raftpb.ConfState{Voters: []uint64{1, 2, 3}}, 3)
	if err != nil {
		return failed("frame", "%v", err)
	}
	h.at(1 * ms)
	h.set.Heartbeat(1, replication.Heartbeat{Incarnation: 1})
	h.at(2 * ms)
	app := raftMessage(raftpb.MsgApp, 5, 1, 1)
	app.Entries = []*raftpb.Entry{{Term: new(uint64(5)), Index: new(uint64(2)), Type: raftpb.EntryNormal.Enum()}}
	h.receive(1, 0, app)
	h.at(700 * ms)
	h.receive(3, 0, raftMessage(raftpb.MsgVote, 6, 2, 5))
	h.at(710 * ms)
	h.set.Heartbeat(1, replication.Heartbeat{Incarnation: 1, Sent: kv.Instant(700 * ms)})
	h.disk()
	voted, answered := false, false
	for _, f := range h.sent {
		t, term := f.Message.GetType(), f.Message.GetTerm()
		voted = voted || t == raftpb.MsgVoteResp && term == 6 && !f.Message.GetReject()
		if t != raftpb.MsgAppResp || term != 5 {
			continue
		}
		answered = true
		if f.Tag != 0 {
			return failed("promises belong to terms", "an answer of term 5 carries epoch %x, which was promised after the replica had voted in term 6", f.Tag)
		}
	}
	if !voted || !answered {
		return failed("frame", "the script does not do what it should: voted %v, answered %v", voted, answered)
	}
	return nil
}

// playJointUnion: replica 1 leads a group between {1,2,3} and {1,4,5}. All have acknowledged it, but only 2 and 3
// go on promising: that is a majority of the five, and none of the second half (rule L15).
func playJointUnion() *Violation {
	h, err := newHand(1, &raftpb.ConfState{Voters: []uint64{1, 2, 3}, VotersOutgoing: []uint64{1, 4, 5}}, 5)
	if err != nil {
		return failed("jointunion", "%v", err)
	}
	promise := func(sent ns, nodes ...kv.NodeID) {
		for _, n := range nodes {
			h.set.HeartbeatAck(n, replication.HeartbeatAck{Incarnation: 1, Epoch: 1<<32 | 1, Sent: kv.Instant(sent), Loops: 1})
		}
	}
	h.at(1 * ms)
	promise(1*ms, 2, 3, 4, 5)
	h.receive(2, 0, raftMessage(raftpb.MsgTimeoutNow, 1, 0, 0))
	h.disk()
	for _, n := range []kv.NodeID{2, 3, 4, 5} {
		h.receive(n, 0, raftMessage(raftpb.MsgVoteResp, 2, 0, 0))
		h.disk()
	}
	for _, n := range []kv.NodeID{2, 3, 4, 5} {
		h.receive(n, 1<<32|1, raftMessage(raftpb.MsgAppResp, 2, 2, 0))
		h.disk()
	}
	if !h.group.Leads() || !h.group.Serves() || h.group.LeaseUntil() <= h.now {
		return failed("jointunion", "the script does not do what it should: leads %v, serves %v, lease until %d", h.group.Leads(), h.group.Serves(), h.group.LeaseUntil())
	}
	for t := 101 * ms; t <= 901*ms; t += 100 * ms {
		h.at(t)
		promise(t, 2, 3)
	}
	if until := h.group.LeaseUntil(); until > h.now {
		return failed("both halves promise", "the leader has a lease for %d ms more, and nobody of {4,5} promises anything", ns(until-h.now)/ms)
	}
	return nil
}

func failed(check, format string, args ...any) *Violation {
	return &Violation{Check: check, Text: fmt.Sprintf(format, args...)}
}

// quietLogger drops what raft says.
type quietLogger struct{ raft.Logger }

func (quietLogger) Debug(...any)            {}
func (quietLogger) Debugf(string, ...any)   {}
func (quietLogger) Info(...any)             {}
func (quietLogger) Infof(string, ...any)    {}
func (quietLogger) Warning(...any)          {}
func (quietLogger) Warningf(string, ...any) {}
func (quietLogger) Error(...any)            {}
func (quietLogger) Errorf(string, ...any)   {}

func (quietLogger) Fatal(v ...any)                 { panic(fmt.Sprint(v...)) }
func (quietLogger) Fatalf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
func (quietLogger) Panic(v ...any)                 { panic(fmt.Sprint(v...)) }
func (quietLogger) Panicf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
