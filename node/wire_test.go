package node

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
)

func samples() []Message {
	d := &kv.Descriptor{Partition: 7, Keyspace: 2, Span: kv.Span{Start: kv.Key{0, 0, 0, 2}, End: kv.Key{0, 0, 0, 3}}, Generation: 3, NextReplica: 4, Replicas: []kv.Replica{{ID: 1, Node: 1, Role: kv.RoleVoter}, {ID: 3, Node: 2, Role: kv.RoleLearner}}}
	app := &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), To: new(uint64(2)), From: new(uint64(1)), Term: new(uint64(5)), Index: new(uint64(9)),
		Entries: []*raftpb.Entry{{Index: new(uint64(10)), Term: new(uint64(5)), Data: []byte("data")}},
	}
	return []Message{
		{Heartbeat: &replication.Heartbeat{Incarnation: 3, Sent: 1 << 50}},
		{Ack: &replication.HeartbeatAck{Incarnation: 3, Epoch: 3<<32 | 1, Sent: 77, Loop: 2, Loops: 3}},
		{Raft: &replication.Frame{Partition: 7, Tag: 9, Commit: 10, Message: app}, Heard: 11},
		{Draw: &core.Draw{Seq: 1, Count: 64, Loop: 63}},
		{Grant: &core.Grant{Seq: 1, First: 1 << 60, Count: 64, Loop: 63}},
		{Report: &core.Report{
			Loop: 1, Loops: 2, Complete: true, Draining: true, DiskFull: true, Bytes: 5, Replicas: 1, Held: []core.ReplicaRef{{Partition: 7, Replica: 1}}, Damaged: []core.ReplicaRef{{Partition: 8, Replica: 2}},
			Leaders: []core.LeaderReport{{Partition: 7, Term: 5, Descriptor: d, Applied: 10, Keys: 2, Bytes: 3, Garbage: 4}, {Partition: 9, Term: 1}},
		}},
		{Order: &core.Order{Create: d}},
		{Order: &core.Order{Join: &core.JoinOrder{Descriptor: d, Replica: 3}}},
		{Order: &core.Order{Drop: &core.DropOrder{Partition: 7, Replica: 1}}},
		{Order: &core.Order{ChangeReplicas: &core.ReplicaChange{Partition: 7, Generation: 3, Add: 3, Remove: 1, Reason: "node 1 is dead"}}},
		{Order: &core.Order{MoveLeader: &core.LeaderMove{Partition: 7, To: 2, Reason: "balance"}}},
		{OrderDone: &core.OrderDone{Partition: 7, Replica: 1, Dropped: true, Err: "x"}},
		{CoreHint: &CoreHint{Leader: 3}},
		{Registry: &Registry{Nodes: []kv.NodeInfo{{ID: 1, Address: "a:1", Locality: "zone=x", Nonce: 7, Core: true}, {ID: 2, Address: "b:1", Replaced: true}}}},
		{Call: &Call{Number: 3<<32 | 1, Loop: 63, Heard: 1 << 60, Find: 7}},
		{Call: &Call{Number: 3<<32 | 2, Heard: 1 << 60, Request: &kv.Request{Partition: 7, Generation: 3, Prepare: &kv.Prepare{
			Attempt: kv.Attempt{ID: kv.TxID{1}, Term: 5, AsOf: 1 << 59, Age: kv.Age{2}, Partition: 8, Anchor: kv.Key("a")},
			Start:   1 << 58, Reads: []kv.ReadMark{{Key: kv.Key("r")}}, Spans: []kv.Span{{Start: kv.Key("b"), End: kv.Key("c")}},
			Writes: []kv.Write{{Kind: kv.WriteAdd, Key: kv.Key("w"), Delta: -1}},
		}}}},
		{Call: &Call{Number: 3<<32 | 3, Request: &kv.Request{Partition: 7, Resolve: &kv.Resolve{ID: kv.TxID{1}, Commit: 1 << 60}}}},
		{Call: &Call{Number: 3<<32 | 4, Request: &kv.Request{Partition: 7, Outcome: &kv.OutcomeOf{ID: kv.TxID{1}, Term: 5, Anchor: kv.Key("a"), Ask: kv.AskRead, At: 9}}}},
		{CallDone: &CallDone{Number: 3<<32 | 1, Loop: 63, Heard: 1 << 60, Response: &kv.Response{Outcome: kv.OutcomeCommitted, Timestamp: 1 << 59, Term: 5, Sums: []int64{-1}, Heard: 1 << 60}}},
		{CallDone: &CallDone{Number: 3<<32 | 2, Heard: 1 << 60, Err: &kv.Error{Kind: kv.WrongPartition, Message: "not here", Partition: 7, Descriptors: []*kv.Descriptor{d}}}},
		{CallDone: &CallDone{Number: 3<<32 | 3, Err: &kv.Error{Kind: kv.Conflict, Message: "overtaken", Key: kv.Key("r"), ID: kv.TxID{1}}}},
		{Closed: &Closed{Loop: 1, Loops: 2, Epoch: 3<<32 | 1, Seq: 4, Timestamp: 1 << 60, Changed: []ClosedPartition{{7, 5, 10}, {9, 1, 1 << 40}}, Removed: []kv.PartitionID{8}}},
		{Closed: &Closed{Loops: 1, Epoch: 3<<32 | 1, Seq: 5}},
		{ClosedGap: &ClosedGap{Loop: 63, Epoch: 3<<32 | 1}},
		{Retain: &core.Retain{Loop: 63, Ceiling: 1 << 60, Revision: 9, Retentions: []core.KeyspaceRetention{{Keyspace: 2, Retention: time.Hour}, {Keyspace: 1 << 31, Retention: kv.RetentionMax}}}},
		{Digest: &Digest{Partition: 7, Check: 1, Index: 10, Replica: 1, Sum: kv.ReplicaDigest{Hash: 1 << 63, Keys: 2, Versions: 3}}},
	}
}

func TestWireRoundTrip(t *testing.T) {
	for _, m := range samples() {
		b := AppendMessage(nil, &m)
		got, err := DecodeMessage(b)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if m.Raft != nil {
			if !proto.Equal(got.Raft.Message, m.Raft.Message) || got.Raft.Tag != m.Raft.Tag || got.Raft.Commit != m.Raft.Commit {
				t.Errorf("got %+v, want %+v", got.Raft, m.Raft)
			}
			continue
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, want %+v", got, m)
		}
	}
}

// TestWireRefusesLocalMessages: raft's messages to itself never come from another node.
func TestWireRefusesLocalMessages(t *testing.T) {
	m := Message{Raft: &replication.Frame{Message: &raftpb.Message{Type: raftpb.MsgHup.Enum()}}}
	if _, err := DecodeMessage(AppendMessage(nil, &m)); kv.KindOf(err) != kv.Corruption {
		t.Errorf("a MsgHup from another node was taken: %v", err)
	}
}

// TestWireRefuses: what is named by its loop is looked up by it, and a call asks for one thing.
func TestWireRefuses(t *testing.T) {
	for what, m := range map[string]Message{
		"an answer of loop 3 of 3": {Ack: &replication.HeartbeatAck{Loop: 3, Loops: 3}},
		"an answer of no loop":     {Ack: &replication.HeartbeatAck{}},
		"a report of loop 1 of 1":  {Report: &core.Report{Loop: 1, Loops: 1}},
		"a draw of loop 64":        {Draw: &core.Draw{Loop: 64}},
		"an answer of 65 loops":    {Ack: &replication.HeartbeatAck{Loops: 65}},
		"a call of loop 64":        {Call: &Call{Loop: 64, Find: 7}},
		"a call's end of loop 64":  {CallDone: &CallDone{Loop: 64, Err: &kv.Error{Kind: kv.Timeout}}},
		"a table of loop 2 of 2":   {Closed: &Closed{Loop: 2, Loops: 2}},
		"a table of 8193 changes":  {Closed: &Closed{Loops: 1, Changed: make([]ClosedPartition, closedChangesMax+1)}},
		"a gap of loop 64":         {ClosedGap: &ClosedGap{Loop: 64}},
		"a word to loop 64":        {Retain: &core.Retain{Loop: 64}},
		"a call for nothing":       {Call: &Call{}},
		"a call without a part":    {Call: &Call{Request: &kv.Request{Partition: 7}}},
	} {
		if _, err := DecodeMessage(AppendMessage(nil, &m)); kv.KindOf(err) != kv.Corruption {
			t.Errorf("%s was taken: %v", what, err)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for _, m := range samples() {
		f.Add(AppendMessage(nil, &m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil || m.Raft != nil { // protobuf has many encodings of one message
			return
		}
		if again := AppendMessage(nil, &m); !bytes.Equal(again, b) && m.Report == nil && m.OrderDone == nil && m.Call == nil && m.CallDone == nil {
			t.Errorf("%x decodes to %+v, which encodes to %x", b, m, again)
		}
	})
}
