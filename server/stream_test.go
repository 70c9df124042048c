package server

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kvd-db/kvd/host/door"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
)

// fake is a backend that holds what it is given until the test answers it.
type fake struct {
	mu       sync.Mutex
	heard    kv.Timestamp
	taken    chan *Submission
	canceled chan *Submission
}

func (f *fake) Submit(batch []*Submission) {
	for _, s := range batch {
		f.taken <- s
	}
}

func (f *fake) Cancel(s *Submission) { f.canceled <- s }

func (f *fake) Admin(context.Context, *kv.AdminRequest) (*kv.AdminResponse, error) {
	return nil, kv.Errorf(kv.Unavailable, "not here")
}

func (f *fake) Info() kv.NodeInfo { return kv.NodeInfo{ID: 1, Address: "none"} }

func (f *fake) Heard() kv.Timestamp {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard
}

// rig is one stream to a server over a fake backend.
type rig struct {
	t       *testing.T
	backend *fake
	server  *Server
	stream  carrier
	replies chan wire.Frame
	beats   chan kv.Timestamp // of batches without frames
	ended   chan error
}

// carrier is the client's end of a stream.
type carrier interface {
	Send(batch []byte) error
	Recv() ([]byte, error)
	CloseSend() error
}

// grpcCarrier is that of a KV.Stream.
type grpcCarrier struct{ kvpb.KV_StreamClient }

func (c grpcCarrier) Send(b []byte) error {
	return c.KV_StreamClient.Send(&kvpb.OpBatch{Frames: b})
}

func (c grpcCarrier) Recv() ([]byte, error) {
	m, err := c.KV_StreamClient.Recv()
	return m.GetFrames(), err
}

// pipeCarrier is that of a pipe.
type pipeCarrier struct {
	*wire.Pipe
	conn *net.TCPConn
}

func (c pipeCarrier) CloseSend() error { return c.conn.CloseWrite() }

// overBoth runs a test over both that can carry a stream.
func overBoth(t *testing.T, test func(*testing.T, *rig)) {
	t.Run("grpc", func(t *testing.T) { test(t, newRig(t, openGRPC)) })
	t.Run("pipe", func(t *testing.T) { test(t, newRig(t, openPipe)) })
}

func openGRPC(t *testing.T, address string) carrier {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MessageBytesMax), grpc.MaxCallSendMsgSize(wire.MessageBytesMax)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s, err := kvpb.NewKVClient(conn).Stream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return grpcCarrier{s}
}

func openPipe(t *testing.T, address string) carrier {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(wire.PipeMagic)); err != nil {
		t.Fatal(err)
	}
	return pipeCarrier{wire.NewPipe(conn, 0), conn.(*net.TCPConn)}
}

func newRig(t *testing.T, open func(*testing.T, string) carrier) *rig {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, replies: make(chan wire.Frame, 2*OpsInFlightMax), beats: make(chan kv.Timestamp, 100), ended: make(chan error, 1),
		backend: &fake{heard: 5, taken: make(chan *Submission, 2*OpsInFlightMax), canceled: make(chan *Submission, 2*OpsInFlightMax)},
	}
	g := grpc.NewServer(GRPCOptions()...)
	r.server = Register(g, r.backend, Options{})
	d := door.Open(l, r.server.Plain())
	go g.Serve(d)
	t.Cleanup(func() {
		r.server.Close()
		g.Stop()
		d.Close()
	})
	r.stream = open(t, l.Addr().String())
	go r.receive()
	return r
}

func (r *rig) receive() {
	for {
		m, err := r.stream.Recv()
		if err != nil {
			r.ended <- err
			return
		}
		b, bad := wire.OpenBatch(m)
		if bad != nil {
			r.ended <- bad
			return
		}
		n := 0
		for f, ok := b.Next(); ok; f, ok = b.Next() {
			if f.ID == 0 && f.Type == wire.FrameError {
				r.ended <- wire.DecodeError(f.Body)
				return
			}
			r.replies <- f
			n++
		}
		if n == 0 {
			r.beats <- b.Heard
		}
	}
}

func (r *rig) send(frames []byte) {
	r.t.Helper()
	if err := r.stream.Send(frames); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) ask(id uint64, timeout time.Duration, q *kv.Request) {
	r.t.Helper()
	r.send(wire.AppendRequest(wire.AppendHead(nil, 0), id, timeout, q))
}

func within[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// refused is the kind of the error that is answered to an id.
func (r *rig) refused(id uint64) *kv.Error {
	r.t.Helper()
	f := within(r.t, r.replies)
	if f.ID != id || f.Type != wire.FrameError {
		r.t.Fatalf("%+v in place of the error of %d", f, id)
	}
	return wire.DecodeError(f.Body)
}

func readOf(keys ...string) *kv.Request {
	q := &kv.Request{Partition: 2, Read: &kv.Read{}}
	for _, k := range keys {
		q.Read.Keys = append(q.Read.Keys, kv.MakeKey(1, []byte(k)))
	}
	return q
}

func TestStreamAnswers(t *testing.T) { overBoth(t, testStreamAnswers) }

func testStreamAnswers(t *testing.T, r *rig) {
	if heard := within(t, r.beats); heard != 5 {
		t.Errorf("the first batch says %v", heard)
	}
	b := wire.AppendHead(nil, 0)
	for id := range uint64(3) {
		b = wire.AppendRequest(b, id, time.Minute, readOf("k"))
	}
	r.send(b)
	for range 3 {
		s := within(t, r.backend.taken)
		if string(s.Request.Read.Keys[0].Next()) != string(kv.MakeKey(1, []byte("k\x00"))) {
			t.Errorf("%+v", s.Request)
		}
		s.Asker.Answer(&kv.Response{Count: 9}, nil)
	}
	seen := map[uint64]bool{}
	for range 3 {
		f := within(t, r.replies)
		var p wire.Reply
		if err := wire.DecodeResponse(f.Body, &p); err != nil || p.Response.Count != 9 {
			t.Errorf("%v, %+v", err, p.Response)
		}
		seen[f.ID] = true
	}
	if len(seen) != 3 {
		t.Errorf("answered: %v", seen)
	}
	r.ask(7, time.Minute, readOf("k"))
	within(t, r.backend.taken).Asker.Answer(nil, &kv.Error{Kind: kv.NotLeader, Leader: 3, Term: 4})
	if e := r.refused(7); e.Kind != kv.NotLeader || e.Leader != 3 || e.Term != 4 {
		t.Errorf("%+v", e)
	}
}

func TestStreamRefuses(t *testing.T) { overBoth(t, testStreamRefuses) }

func testStreamRefuses(t *testing.T, r *rig) {
	big := make([]byte, kv.ValueBytesMax+1)
	key := kv.MakeKey(1, []byte("k"))
	id := kv.TxID{1}
	put := func(v []byte) []kv.Write { return []kv.Write{{Kind: kv.WritePut, Key: key, Value: v}} }
	parts := func(own []kv.Write, p kv.Part) *kv.Request {
		return &kv.Request{Partition: 2, Commit: &kv.Commit{ID: id, Writes: own, Parts: []kv.Part{p}}}
	}
	for i, x := range []struct {
		want kv.Kind
		q    *kv.Request
	}{
		{kv.Invalid, &kv.Request{Read: &kv.Read{Keys: []kv.Key{key}}}},
		{kv.Invalid, &kv.Request{Partition: 2}},
		{kv.Invalid, readOf()},
		{kv.Invalid, &kv.Request{Partition: 2, Read: &kv.Read{Keys: []kv.Key{kv.Key("abcd")}}}},
		{kv.Limit, readOf(make2("k", kv.GetManyKeysMax+1)...)},
		{kv.Limit, readOf(string(make([]byte, kv.KeyBytesMax+3)))},
		{kv.Limit, &kv.Request{Partition: 2, Commit: &kv.Commit{ID: id, Writes: put(big)}}},
		{kv.Invalid, &kv.Request{Partition: 2, Commit: &kv.Commit{ID: id}}},
		{kv.Invalid, &kv.Request{Partition: 2, Commit: &kv.Commit{Writes: put(nil)}}},
		{kv.Limit, &kv.Request{Partition: 2, Commit: &kv.Commit{ID: id, Writes: make2(put(nil)[0], kv.CommitKeysMax+1)}}},
		{kv.Limit, &kv.Request{Partition: 2, Commit: &kv.Commit{ID: id, Writes: make2(put(big[1:])[0], 9)}}},
		{kv.Invalid, &kv.Request{Partition: 2, Outcome: &kv.OutcomeOf{ID: id}}},
		{kv.Invalid, &kv.Request{Partition: 2, Outcome: &kv.OutcomeOf{ID: id, Anchor: key, Ask: kv.AskQuery}}},
		{kv.Invalid, &kv.Request{Partition: 2, Prepare: &kv.Prepare{Writes: put(nil)}}},
		{kv.Invalid, &kv.Request{Partition: 2, Resolve: &kv.Resolve{ID: id}}},
		{kv.Invalid, parts(nil, kv.Part{Partition: 3, Writes: put(nil)})},
		{kv.Invalid, parts(put(nil), kv.Part{Writes: put(nil)})},
		{kv.Invalid, parts(put(nil), kv.Part{Partition: 3})},
		{kv.Limit, parts(put(nil), kv.Part{Partition: 3, Writes: put(big)})},
		{kv.Limit, parts(put(nil), kv.Part{Partition: 3, Reads: make2(kv.ReadMark{Key: key}, kv.CommitKeysMax)})},
	} {
		if x.q.Commit != nil && len(x.q.Commit.Writes) == 9 { // too long for a message: asked without the wire
			if err := checkLimits(x.q); err == nil || err.Kind != x.want {
				t.Errorf("%d: %v", i, err)
			}
			continue
		}
		id := uint64(i + 1)
		r.ask(id, time.Minute, x.q)
		if e := r.refused(id); e.Kind != x.want {
			t.Errorf("%d: %v", i, e)
		}
	}
	if len(r.backend.taken) != 0 {
		t.Error("the backend saw a request that is beyond the limits")
	}
}

func make2[T any](v T, n int) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func TestStreamCancel(t *testing.T) { overBoth(t, testStreamCancel) }

func testStreamCancel(t *testing.T, r *rig) {
	r.send(wire.AppendCancel(wire.AppendRequest(wire.AppendHead(nil, 0), 1, time.Minute, readOf("k")), 1))
	s := within(t, r.backend.taken)
	if c := within(t, r.backend.canceled); c != s {
		t.Error("another one was canceled")
	}
	s.Asker.Answer(&kv.Response{}, nil) // must go nowhere
	r.ask(2, time.Minute, readOf("k"))
	within(t, r.backend.taken).Asker.Answer(&kv.Response{}, nil)
	if f := within(t, r.replies); f.ID != 2 {
		t.Errorf("%+v", f)
	}
}

func TestStreamBounds(t *testing.T) { overBoth(t, testStreamBounds) }

func testStreamBounds(t *testing.T, r *rig) {
	b := wire.AppendHead(nil, 0)
	for id := range uint64(OpsInFlightMax + 1) {
		b = wire.AppendRequest(b, id, time.Minute, readOf("k"))
	}
	r.send(b)
	if e := r.refused(OpsInFlightMax); e.Kind != kv.Unavailable {
		t.Errorf("one too many: %v", e)
	}
	// Canceled ones still count: the backend has them.
	r.send(wire.AppendCancel(wire.AppendHead(nil, 0), 0))
	within(t, r.backend.canceled)
	r.ask(OpsInFlightMax+2, time.Minute, readOf("k"))
	if e := r.refused(OpsInFlightMax + 2); e.Kind != kv.Unavailable {
		t.Errorf("a canceled one made room: %v", e)
	}
	for range OpsInFlightMax {
		within(t, r.backend.taken).Asker.Answer(&kv.Response{}, nil)
	}
	for range OpsInFlightMax - 1 {
		within(t, r.replies)
	}
	r.ask(OpsInFlightMax+3, time.Minute, readOf("k"))
	within(t, r.backend.taken).Asker.Answer(&kv.Response{}, nil)
	if f := within(t, r.replies); f.Type != wire.FrameResponse {
		t.Errorf("there is room again: %+v", f)
	}
	scan := &kv.Request{Partition: 2, Scan: &kv.Scan{}}
	b = wire.AppendHead(nil, 0)
	pages := uint64(InFlightBytesMax / kv.ScanPageBytesMax)
	for id := range pages + 1 {
		b = wire.AppendRequest(b, id, time.Minute, scan)
	}
	r.send(b)
	if e := wire.DecodeError(within(t, r.replies).Body); e.Kind != kv.Unavailable {
		t.Errorf("one page too many: %v", e)
	}
}

func TestStreamLongAnswer(t *testing.T) { overBoth(t, testStreamLongAnswer) }

func testStreamLongAnswer(t *testing.T, r *rig) {
	row := kv.Row{Key: kv.Key("k"), Value: make([]byte, kv.ValueBytesMax)}
	r.ask(1, time.Minute, readOf("k"))
	within(t, r.backend.taken).Asker.Answer(&kv.Response{Rows: make2(row, 9)}, nil)
	if e := r.refused(1); e.Kind != kv.Limit {
		t.Errorf("an answer of 72 MiB: %v", e)
	}
	r.ask(2, time.Minute, readOf("k"))
	within(t, r.backend.taken).Asker.Answer(&kv.Response{Rows: make2(row, 8)}, nil)
	if f := within(t, r.replies); f.Type != wire.FrameResponse || len(f.Body) < 8*kv.ValueBytesMax {
		t.Errorf("an answer of 64 MiB: type %d, %d bytes", f.Type, len(f.Body))
	}
}

func TestStreamTimeout(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a tick")
	}
	overBoth(t, testStreamTimeout)
}

func testStreamTimeout(t *testing.T, r *rig) {
	r.ask(1, time.Millisecond, readOf("k"))
	r.ask(2, time.Minute, readOf("k"))
	s := within(t, r.backend.taken)
	if e := r.refused(1); e.Kind != kv.Timeout {
		t.Errorf("%v", e)
	}
	if within(t, r.backend.canceled) != s {
		t.Error("another one was canceled")
	}
	s.Asker.Answer(&kv.Response{}, nil)
	within(t, r.backend.taken).Asker.Answer(&kv.Response{}, nil)
	if f := within(t, r.replies); f.ID != 2 {
		t.Errorf("%+v", f)
	}
}

func TestStreamHeartbeat(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a tick")
	}
	overBoth(t, testStreamHeartbeat)
}

func testStreamHeartbeat(t *testing.T, r *rig) {
	within(t, r.beats)
	r.backend.mu.Lock()
	r.backend.heard = 6
	r.backend.mu.Unlock()
	if heard := within(t, r.beats); heard != 6 {
		t.Errorf("heard %v", heard)
	}
	within(t, r.beats) // even without news
}

func TestStreamEnds(t *testing.T) {
	for name, end := range map[string]func(*rig){
		"the client closes":  func(r *rig) { r.stream.CloseSend() },
		"what is no batch":   func(r *rig) { r.send([]byte("nonsense")) },
		"the server closes":  func(r *rig) { r.server.Close() },
		"a frame is damaged": func(r *rig) { r.send(append(wire.AppendHead(nil, 0), 9, 9, 9)) },
	} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, r *rig) {
				r.ask(1, time.Minute, readOf("k"))
				s := within(t, r.backend.taken)
				end(r)
				if within(t, r.backend.canceled) != s {
					t.Error("another one was canceled")
				}
				err := within(t, r.ended)
				if why := wire.FromStatus(err); (name == "what is no batch" || name == "a frame is damaged") && why.Kind != kv.Invalid && kv.KindOf(err) != kv.Invalid {
					t.Errorf("%v", err)
				}
				s.Asker.Answer(&kv.Response{}, nil) // goes nowhere
			})
		})
	}
}
