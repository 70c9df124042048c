package host

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/proto/peerpb"
)

// Limits of snapshots.
const (
	snapshotsSentMax     = 2 // at once; more wait
	snapshotsQueuedMax   = 1024
	snapshotsReceivedMax = 4 // at once; more are refused, and tried again
)

// snapshots streams replicas to other nodes, and takes in those that come. Each has a
// connection of its own, so that it never stands in the way of the log (L8).
//
// On the wire: a Bulk stream whose first chunk has the header [handshake length 4][handshake]
// [partition 8][span start][span end][system prefix][MsgSnap], texts with their length in front;
// then the engine's chunks, which carry their own checksums and end with totals.
type snapshots struct {
	full      func() bool // the disk: a snapshot would end half taken in
	engine    *mvcc.Engine
	self      handshake // without To
	address   func(kv.NodeID) (string, bool)
	sent      func(s node.SendSnapshot, ok bool)
	received  func(from kv.NodeID, s *node.Snapshot)
	damaged   func(p kv.PartitionID, err error) // a replica that cannot be read to be sent
	limit     *limiter
	logger    hclog.Logger
	admit     func([]byte) (handshake, error)
	metrics   *snapshotMetrics
	receiving chan struct{} // a token for each that is being received

	run *snapshotRun
}

// snapshotRun is the goroutines of snapshots.
type snapshotRun struct {
	work   *queue[snapshotWork]
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

type snapshotWork struct {
	send    *node.SendSnapshot
	discard *node.Snapshot
}

func startSnapshots(s *snapshots) {
	ctx, cancel := context.WithCancel(context.Background())
	s.run = &snapshotRun{work: newQueue[snapshotWork](), ctx: ctx, cancel: cancel}
	s.receiving = make(chan struct{}, snapshotsReceivedMax)
	s.run.group.Go(s.work)
}

func (s *snapshots) close() {
	s.run.cancel()
	s.run.work.close()
	s.run.group.Wait()
}

func (s *snapshots) send(x node.SendSnapshot) {
	if s.run.work.len() > snapshotsQueuedMax {
		s.sent(x, false)
		return
	}
	s.run.work.put(snapshotWork{send: &x})
}

func (s *snapshots) discard(x *node.Snapshot) { s.run.work.put(snapshotWork{discard: x}) }

// work hands out the snapshots to be sent, some at a time.
func (s *snapshots) work() {
	tokens := make(chan struct{}, snapshotsSentMax)
	var group sync.WaitGroup
	defer group.Wait()
	for {
		work, ok := s.run.work.take(nil)
		if !ok {
			return
		}
		for _, w := range work {
			if w.discard != nil {
				if w.discard.Sink != nil {
					w.discard.Sink.Close()
				}
				continue
			}
			tokens <- struct{}{}
			group.Go(func() {
				defer func() { <-tokens }()
				s.stream(w.send)
			})
		}
	}
}

// stream sends one snapshot and tells the node how that ended.
func (s *snapshots) stream(x *node.SendSnapshot) {
	bytes, err := s.transfer(s.run.ctx, x)
	if s.run.ctx.Err() != nil {
		return
	}
	if err != nil {
		s.logger.Warn("a snapshot was not sent", "partition", x.Args.Partition, "to", x.To, "error", err)
	} else {
		s.logger.Info("sent a snapshot", "partition", x.Args.Partition, "to", x.To, "bytes", bytes)
		s.metrics.sent(bytes)
	}
	s.sent(*x, err == nil)
}

func (s *snapshots) transfer(ctx context.Context, x *node.SendSnapshot) (bytes int64, err error) {
	address, ok := s.address(x.To)
	if !ok {
		return 0, kv.Errorf(kv.NotFound, "node %d is not known", x.To)
	}
	source, err := s.engine.NewSnapshotSource(x.Args)
	if err != nil {
		s.unreadable(x, err)
		return 0, err
	}
	defer source.Close()
	if err := node.FillSnapshot(x.Message, source.State()); err != nil {
		return 0, err
	}
	header, err := s.header(x)
	if err != nil {
		return 0, err
	}
	conn, err := dialPeer(address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := peerpb.NewPeerClient(conn).Bulk(ctx)
	if err != nil {
		return 0, err
	}
	if bytes, err = s.pump(ctx, x, stream, source, header); err != nil {
		return bytes, err
	}
	ack, err := stream.CloseAndRecv()
	if err == nil && ack.GetRefused() != "" {
		err = kv.Errorf(kv.Denied, "%s", ack.GetRefused())
	}
	return bytes, err
}

// unreadable tells the node of damage that was met here.
func (s *snapshots) unreadable(x *node.SendSnapshot, err error) {
	if kv.KindOf(err) == kv.Corruption {
		s.damaged(x.Args.Partition, err)
	}
}

// pump sends the header and all chunks.
func (s *snapshots) pump(ctx context.Context, x *node.SendSnapshot, stream grpc.ClientStreamingClient[peerpb.Chunk, peerpb.BulkAck], source *mvcc.SnapshotSource, header []byte) (bytes int64, err error) {
	err = stream.Send(&peerpb.Chunk{Header: header})
	for err == nil {
		var data []byte
		if data, err = source.Next(); err != nil || data == nil {
			s.unreadable(x, err)
			break
		}
		if err = s.limit.wait(ctx, len(data)); err != nil {
			break
		}
		err = stream.Send(&peerpb.Chunk{Offset: uint64(bytes), Data: data})
		bytes += int64(len(data))
	}
	if errors.Is(err, io.EOF) { // the other side has ended the stream, and says why
		if _, why := stream.CloseAndRecv(); why != nil {
			return bytes, why
		}
	}
	return bytes, err
}

func (s *snapshots) header(x *node.SendSnapshot) ([]byte, error) {
	h := s.self
	h.To = x.To
	raw, err := proto.Marshal(x.Message)
	if err != nil {
		return nil, err
	}
	b := kv.AppendBytes(nil, h.append(nil))
	b = binary.BigEndian.AppendUint64(b, uint64(x.Args.Partition))
	b = kv.AppendBytes(b, x.Args.Span.Start)
	b = kv.AppendBytes(b, x.Args.Span.End)
	b = kv.AppendString(b, x.Args.SystemPrefix)
	return kv.AppendBytes(b, raw), nil
}

// bulkHeader is what a snapshot says of itself before it begins.
type bulkHeader struct {
	from    kv.NodeID
	args    mvcc.SnapshotArgs
	message *raftpb.Message
}

func (s *snapshots) decodeHeader(b []byte) (bulkHeader, error) {
	const messageBytesMax = 1 << 20
	d := kv.NewDecoder("the header of a snapshot", b)
	hello := d.Bytes(1 << 10)
	x := bulkHeader{args: mvcc.SnapshotArgs{Partition: kv.PartitionID(d.Uint64())}, message: &raftpb.Message{}}
	const keyMax = kv.KeyspacePrefixBytes + kv.BucketBytes + kv.KeyBytesMax + 1
	x.args.Span.Start, x.args.Span.End = d.Bytes(keyMax), d.Bytes(keyMax)
	x.args.SystemPrefix = d.String(1 << 10)
	raw := d.Bytes(messageBytesMax)
	if err := d.Finish(); err != nil {
		return x, err
	}
	h, err := s.admit(hello)
	if err != nil {
		return x, err
	}
	x.from = h.Node
	if err := proto.Unmarshal(raw, x.message); err != nil || x.message.GetType() != raftpb.MsgSnap {
		return x, kv.Errorf(kv.Corruption, "the header of a snapshot holds no snapshot message")
	}
	return x, nil
}

// bulk takes in one snapshot. It is whole and verified before the node hears of it.
func (s *snapshots) bulk(in grpc.ClientStreamingServer[peerpb.Chunk, peerpb.BulkAck]) error {
	select {
	case s.receiving <- struct{}{}:
		defer func() { <-s.receiving }()
	default:
		return status.Errorf(codes.Unavailable, "%d snapshots are being received, the most that may: try again", snapshotsReceivedMax)
	}
	first, err := in.Recv()
	if err != nil {
		return err
	}
	header, err := s.decodeHeader(first.GetHeader())
	if err != nil {
		return refusal(err)
	}
	if s.full() || kv.KindOf(s.engine.Health()) == kv.DiskFull {
		return status.Error(codes.Unavailable, "the disk of this node is full: it takes no snapshot now")
	}
	sink, err := s.engine.NewSnapshotSink(header.args)
	if err != nil {
		return refusal(err)
	}
	bytes, err := fill(sink, in.Recv)
	if err != nil {
		sink.Close()
		return refusal(err)
	}
	s.metrics.received(bytes)
	s.received(header.from, &node.Snapshot{Partition: header.args.Partition, Message: header.message, Sink: sink})
	return in.SendAndClose(&peerpb.BulkAck{Bytes: uint64(bytes)})
}

// fill reads chunks until the last.
func fill(sink *mvcc.SnapshotSink, recv func() (*peerpb.Chunk, error)) (bytes int64, err error) {
	for done := false; !done; {
		c, err := recv()
		if err != nil {
			return bytes, kv.Errorf(kv.Unavailable, "a snapshot was cut short after %d bytes: %v", bytes, err)
		}
		if c.GetOffset() != uint64(bytes) {
			return bytes, kv.Errorf(kv.Invalid, "a snapshot has %d bytes where byte %d was due", c.GetOffset(), bytes)
		}
		if done, err = sink.Add(c.GetData()); err != nil {
			return bytes, err
		}
		bytes += int64(len(c.GetData()))
	}
	return bytes, nil
}

// refusal makes a typed refusal travel.
func refusal(err error) error {
	code := codes.FailedPrecondition
	if kv.KindOf(err) == kv.NotFound || kv.KindOf(err) == kv.Unavailable {
		code = codes.Unavailable // may go away by itself
	}
	return status.Error(code, kv.AsError(err).Message)
}
