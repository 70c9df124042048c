package node

import (
	"bytes"
	"encoding/binary"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/wire"
	"github.com/kvd-db/kvd/replication"
)

// What the first byte of an encoded Message says. Numbers cross the wire: do not reorder.
const (
	wireHeartbeat byte = 1
	wireAck       byte = 2
	wireRaft      byte = 3
	wireDraw      byte = 4
	wireGrant     byte = 5
	wireReport    byte = 6
	wireOrder     byte = 7
	wireOrderDone byte = 8
	wireDigest    byte = 9
	wireCoreHint  byte = 10
	wireRegistry  byte = 11
	wireCall      byte = 12
	wireCallDone  byte = 13
	wireClosed    byte = 14
	wireClosedGap byte = 15
	wireRetain    byte = 16
)

// What the first byte of an encoded order says.
const (
	orderCreate byte = 1
	orderJoin   byte = 2
	orderDrop   byte = 3
	orderChange byte = 4
	orderMove   byte = 5
)

const (
	reportEntriesMax = 1 << 20
	wordMax          = ^uint64(0)
)

// AppendMessage appends the encoding of a message: a byte for its kind, then its fields,
// numbers as unsigned varints, raft's messages in protobuf, what a call asks and is answered as
// package wire lays it out.
func AppendMessage(b []byte, m *Message) []byte {
	switch {
	case m.Raft != nil:
		return appendFrame(append(b, wireRaft), m.Raft, m.Heard)
	case m.Heartbeat != nil:
		return words(append(b, wireHeartbeat), m.Heartbeat.Incarnation, uint64(m.Heartbeat.Sent))
	case m.Ack != nil:
		return words(append(b, wireAck), m.Ack.Incarnation, m.Ack.Epoch, uint64(m.Ack.Sent), uint64(m.Ack.Loop), uint64(m.Ack.Loops))
	case m.Draw != nil:
		return words(append(b, wireDraw), m.Draw.Seq, uint64(m.Draw.Count), uint64(m.Draw.Loop))
	case m.Grant != nil:
		return words(append(b, wireGrant), m.Grant.Seq, uint64(m.Grant.First), uint64(m.Grant.Count), uint64(m.Grant.Loop))
	case m.Report != nil:
		return appendReport(append(b, wireReport), m.Report)
	case m.Order != nil:
		return appendOrder(append(b, wireOrder), m.Order)
	case m.OrderDone != nil:
		d := m.OrderDone
		b = words(append(b, wireOrderDone), uint64(d.Partition), uint64(d.Replica))
		return kv.AppendString(append(b, flag(d.Dropped)), d.Err)
	case m.CoreHint != nil:
		return words(append(b, wireCoreHint), uint64(m.CoreHint.Leader))
	case m.Registry != nil:
		b = words(append(b, wireRegistry), uint64(len(m.Registry.Nodes)))
		for _, i := range m.Registry.Nodes {
			b = kv.AppendNodeInfo(b, i)
		}
		return b
	case m.Digest != nil:
		d := m.Digest
		return words(append(b, wireDigest), uint64(d.Partition), d.Check, uint64(d.Index), uint64(d.Replica), d.Sum.Hash, uint64(d.Sum.Keys), uint64(d.Sum.Versions))
	case m.Call != nil:
		return appendCall(append(b, wireCall), m.Call)
	case m.CallDone != nil:
		d := m.CallDone
		b = words(append(b, wireCallDone), d.Number, uint64(d.Loop), uint64(d.Heard))
		return wire.AppendAnswer(b, d.Response, d.Err)
	case m.Closed != nil:
		return appendClosed(append(b, wireClosed), m.Closed)
	case m.ClosedGap != nil:
		return words(append(b, wireClosedGap), uint64(m.ClosedGap.Loop), m.ClosedGap.Epoch)
	case m.Retain != nil:
		return appendRetain(append(b, wireRetain), m.Retain)
	}
	return b
}

func words(b []byte, ws ...uint64) []byte {
	for _, w := range ws {
		b = binary.AppendUvarint(b, w)
	}
	return b
}

func flag(f bool) byte {
	if f {
		return 1
	}
	return 0
}

func appendFrame(b []byte, f *replication.Frame, heard kv.Timestamp) []byte {
	b = words(b, uint64(f.Partition), f.Tag, uint64(f.Commit), uint64(heard))
	b, err := proto.MarshalOptions{}.MarshalAppend(b, f.Message)
	if err != nil {
		return nil // a raft message always has an encoding; the receiver drops an empty one
	}
	return b
}

func appendCall(b []byte, c *Call) []byte {
	b = words(b, c.Number, uint64(c.Loop), uint64(c.Heard), uint64(c.Find))
	if c.Request == nil {
		return b
	}
	return wire.AppendCall(b, c.Request)
}

func appendReport(b []byte, r *core.Report) []byte {
	b = words(append(b, flag(r.Complete)|flag(r.Draining)<<1|flag(r.DiskFull)<<2), uint64(r.Loop), uint64(r.Loops), uint64(r.Bytes), uint64(r.Replicas))
	b = appendRefs(appendRefs(b, r.Held), r.Damaged)
	b = words(b, uint64(len(r.Leaders)))
	for _, l := range r.Leaders {
		b = words(b, uint64(l.Partition), uint64(l.Term), uint64(l.Applied), uint64(l.Keys), uint64(l.Bytes), uint64(l.Garbage))
		b = append(b, flag(l.Descriptor != nil))
		if l.Descriptor != nil {
			b = kv.AppendDescriptor(b, l.Descriptor)
		}
	}
	return b
}

func appendRefs(b []byte, refs []core.ReplicaRef) []byte {
	b = words(b, uint64(len(refs)))
	for _, x := range refs {
		b = words(b, uint64(x.Partition), uint64(x.Replica))
	}
	return b
}

func appendOrder(b []byte, o *core.Order) []byte {
	switch {
	case o.Create != nil:
		return kv.AppendDescriptor(append(b, orderCreate), o.Create)
	case o.Join != nil:
		return kv.AppendDescriptor(words(append(b, orderJoin), uint64(o.Join.Replica)), o.Join.Descriptor)
	case o.Drop != nil:
		return words(append(b, orderDrop), uint64(o.Drop.Partition), uint64(o.Drop.Replica))
	case o.ChangeReplicas != nil:
		c := o.ChangeReplicas
		return kv.AppendString(words(append(b, orderChange), uint64(c.Partition), uint64(c.Generation), uint64(c.Add), uint64(c.Remove)), c.Reason)
	case o.MoveLeader != nil:
		return kv.AppendString(words(append(b, orderMove), uint64(o.MoveLeader.Partition), uint64(o.MoveLeader.To)), o.MoveLeader.Reason)
	}
	return b
}

// DecodeMessage reads what AppendMessage wrote.
func DecodeMessage(b []byte) (Message, error) {
	if len(b) > 0 {
		switch b[0] {
		case wireRaft:
			return decodeFrame(b[1:])
		case wireCall:
			return decodeCall(b[1:])
		case wireCallDone:
			return decodeCallDone(b[1:])
		}
	}
	var m Message
	d := kv.NewDecoder("a message between nodes", b)
	switch kind := d.Byte(); kind {
	case wireHeartbeat:
		m.Heartbeat = &replication.Heartbeat{Incarnation: word(d), Sent: kv.Instant(word(d))}
	case wireAck:
		m.Ack = &replication.HeartbeatAck{Incarnation: word(d), Epoch: word(d), Sent: kv.Instant(word(d))}
		m.Ack.Loop, m.Ack.Loops = loopOf(d)
	case wireDraw:
		m.Draw = &core.Draw{Seq: word(d), Count: uint32(d.Uvarint(1<<32 - 1)), Loop: loop(d)}
	case wireGrant:
		m.Grant = &core.Grant{Seq: word(d), First: kv.Timestamp(word(d)), Count: uint32(d.Uvarint(1<<32 - 1)), Loop: loop(d)}
	case wireReport:
		m.Report = decodeReport(d)
	case wireOrder:
		m.Order = decodeOrder(d)
	case wireOrderDone:
		m.OrderDone = &core.OrderDone{Partition: kv.PartitionID(word(d)), Replica: kv.ReplicaID(word(d)), Dropped: d.Byte() == 1, Err: d.String(kv.LocalityBytesMax)}
	case wireDigest:
		m.Digest = &Digest{Partition: kv.PartitionID(word(d)), Check: word(d), Index: kv.LogIndex(word(d)), Replica: kv.ReplicaID(word(d))}
		m.Digest.Sum = kv.ReplicaDigest{Hash: word(d), Keys: int64(word(d)), Versions: int64(word(d))}
	case wireCoreHint:
		m.CoreHint = &CoreHint{Leader: kv.NodeID(word(d))}
	case wireRegistry:
		m.Registry = &Registry{}
		for range d.Count(core.NodesMax, 12) {
			m.Registry.Nodes = append(m.Registry.Nodes, d.NodeInfo())
		}
	case wireClosed:
		m.Closed = decodeClosed(d)
	case wireClosedGap:
		m.ClosedGap = &ClosedGap{Loop: loop(d), Epoch: word(d)}
	case wireRetain:
		m.Retain = decodeRetain(d)
	default:
		d.Fail("kind %d is not known", kind)
	}
	return m, d.Finish()
}

func word(d *kv.Decoder) uint64 { return d.Uvarint(wordMax) }

func loop(d *kv.Decoder) int { return int(d.Uvarint(kv.LoopsMax - 1)) }

// loopOf is one of so many.
func loopOf(d *kv.Decoder) (l, loops int) {
	l, loops = loop(d), int(d.Uvarint(kv.LoopsMax))
	if l >= loops {
		d.Fail("loop %d of %d is none", l, loops)
	}
	return l, loops
}

func decodeFrame(b []byte) (Message, error) {
	ws := make([]uint64, 4)
	b, err := takeWords(b, ws)
	if err != nil {
		return Message{}, err
	}
	f := &replication.Frame{Partition: kv.PartitionID(ws[0]), Tag: ws[1], Commit: kv.LogIndex(ws[2])}
	f.Message = &raftpb.Message{}
	if err := proto.Unmarshal(b, f.Message); err != nil {
		return Message{}, kv.Errorf(kv.Corruption, "a raft message between nodes cannot be read: %v", err)
	}
	if f.Message.Type == nil || !fromPeers(f.Message.GetType()) {
		return Message{}, kv.Errorf(kv.Corruption, "a raft message of type %s never comes from another node", f.Message.GetType())
	}
	return Message{Raft: f, Heard: kv.Timestamp(ws[3])}, nil
}

// takeWords reads so many numbers, and returns what follows them.
func takeWords(b []byte, ws []uint64) ([]byte, error) {
	for i := range ws {
		w, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, kv.Errorf(kv.Corruption, "a message between nodes is cut short")
		}
		ws[i], b = w, b[n:]
	}
	return b, nil
}

// decodeCall reads a Call. What it keeps shares no memory with b, as everywhere here.
func decodeCall(b []byte) (Message, error) {
	ws := make([]uint64, 4)
	b, err := takeWords(b, ws)
	if err != nil {
		return Message{}, err
	}
	c := &Call{Number: ws[0], Loop: int(ws[1]), Heard: kv.Timestamp(ws[2]), Find: kv.PartitionID(ws[3])}
	if ws[1] >= kv.LoopsMax || (c.Find != 0) != (len(b) == 0) {
		return Message{}, kv.Errorf(kv.Corruption, "a call between nodes that comes from loop %d, or asks for two things, or for none", ws[1])
	}
	if c.Find == 0 {
		q, bad := wire.DecodeCall(bytes.Clone(b))
		if bad != nil {
			return Message{}, kv.Errorf(kv.Corruption, "a call between nodes cannot be read: %v", bad)
		}
		c.Request = q
	}
	return Message{Call: c}, nil
}

func decodeCallDone(b []byte) (Message, error) {
	ws := make([]uint64, 3)
	b, err := takeWords(b, ws)
	if err != nil {
		return Message{}, err
	}
	if ws[1] >= kv.LoopsMax {
		return Message{}, kv.Errorf(kv.Corruption, "the answer to a call of loop %d: there are %d at most", ws[1], kv.LoopsMax)
	}
	d := &CallDone{Number: ws[0], Loop: int(ws[1]), Heard: kv.Timestamp(ws[2])}
	var bad *kv.Error
	if d.Response, d.Err, bad = wire.DecodeAnswer(bytes.Clone(b)); bad != nil {
		return Message{}, kv.Errorf(kv.Corruption, "the answer to a call between nodes cannot be read: %v", bad)
	}
	if d.Response != nil {
		d.Response.Heard = d.Heard
	}
	return Message{CallDone: d}, nil
}

// fromPeers lists what one replica may say to another; raft's local messages are not among them.
func fromPeers(t raftpb.MessageType) bool {
	switch t {
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgSnap, raftpb.MsgTimeoutNow, raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		return true
	}
	return false
}

func decodeReport(d *kv.Decoder) *core.Report {
	flags := d.Byte()
	r := &core.Report{Complete: flags&1 != 0, Draining: flags&2 != 0, DiskFull: flags&4 != 0}
	r.Loop, r.Loops = loopOf(d)
	r.Bytes, r.Replicas = int64(word(d)), int(d.Uvarint(reportEntriesMax))
	r.Held, r.Damaged = decodeRefs(d), decodeRefs(d)
	for range d.Count(reportEntriesMax, 7) {
		l := core.LeaderReport{
			Partition: kv.PartitionID(word(d)), Term: kv.Term(word(d)),
			Applied: kv.LogIndex(word(d)), Keys: int64(word(d)), Bytes: int64(word(d)), Garbage: int64(word(d)),
		}
		if d.Byte() == 1 {
			l.Descriptor = d.Descriptor()
		}
		r.Leaders = append(r.Leaders, l)
	}
	return r
}

func decodeRefs(d *kv.Decoder) (refs []core.ReplicaRef) {
	for range d.Count(reportEntriesMax, 2) {
		refs = append(refs, core.ReplicaRef{Partition: kv.PartitionID(word(d)), Replica: kv.ReplicaID(word(d))})
	}
	return refs
}

func decodeOrder(d *kv.Decoder) *core.Order {
	o := &core.Order{}
	switch kind := d.Byte(); kind {
	case orderCreate:
		o.Create = d.Descriptor()
	case orderJoin:
		o.Join = &core.JoinOrder{Replica: kv.ReplicaID(word(d))}
		o.Join.Descriptor = d.Descriptor()
	case orderDrop:
		o.Drop = &core.DropOrder{Partition: kv.PartitionID(word(d)), Replica: kv.ReplicaID(word(d))}
	case orderChange:
		o.ChangeReplicas = &core.ReplicaChange{Partition: kv.PartitionID(word(d)), Generation: kv.Generation(word(d)), Add: kv.NodeID(word(d)), Remove: kv.NodeID(word(d))}
		o.ChangeReplicas.Reason = d.String(kv.LocalityBytesMax)
	case orderMove:
		o.MoveLeader = &core.LeaderMove{Partition: kv.PartitionID(word(d)), To: kv.NodeID(word(d)), Reason: d.String(kv.LocalityBytesMax)}
	default:
		d.Fail("order %d is not known", kind)
	}
	return o
}

func appendClosed(b []byte, c *Closed) []byte {
	b = words(b, uint64(c.Loop), uint64(c.Loops), c.Epoch, c.Seq, uint64(c.Timestamp), uint64(len(c.Changed)))
	for i := range c.Changed {
		x := &c.Changed[i]
		b = words(b, uint64(x.Partition), uint64(x.Term), uint64(x.Index))
	}
	b = words(b, uint64(len(c.Removed)))
	for _, p := range c.Removed {
		b = words(b, uint64(p))
	}
	return b
}

func decodeClosed(d *kv.Decoder) *Closed {
	c := &Closed{}
	c.Loop, c.Loops = loopOf(d)
	c.Epoch, c.Seq, c.Timestamp = word(d), word(d), kv.Timestamp(word(d))
	for range d.Count(closedChangesMax, 3) {
		c.Changed = append(c.Changed, ClosedPartition{Partition: kv.PartitionID(word(d)), Term: kv.Term(word(d)), Index: kv.LogIndex(word(d))})
	}
	for range d.Count(closedChangesMax, 1) {
		c.Removed = append(c.Removed, kv.PartitionID(word(d)))
	}
	return c
}

func appendRetain(b []byte, r *core.Retain) []byte {
	b = words(b, uint64(r.Loop), uint64(r.Ceiling), uint64(r.Revision), uint64(len(r.Retentions)))
	for _, k := range r.Retentions {
		b = kv.AppendRetention(words(b, uint64(k.Keyspace)), k.Retention)
	}
	return b
}

func decodeRetain(d *kv.Decoder) *core.Retain {
	r := &core.Retain{Loop: loop(d), Ceiling: kv.Timestamp(word(d)), Revision: kv.Revision(word(d))}
	for range d.Count(core.KeyspacesMax, 2) {
		r.Retentions = append(r.Retentions, core.KeyspaceRetention{Keyspace: kv.KeyspaceID(d.Uvarint(1<<32 - 1)), Retention: d.Retention()})
	}
	return r
}
