package wire

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
)

// frames opens a batch and takes all its frames.
func frames(t *testing.T, b []byte) []Frame {
	t.Helper()
	batch, err := OpenBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	if batch.Heard != 42 {
		t.Fatalf("heard %v", batch.Heard)
	}
	var all []Frame
	for {
		f, ok := batch.Next()
		if !ok {
			break
		}
		all = append(all, f)
	}
	if err := batch.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRequestsSurvive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		b := AppendHead(nil, 42)
		want := list(rng, 8, func() *kv.Request { return randomRequest(rng) })
		for i, q := range want {
			b = AppendRequest(b, uint64(i)<<i, time.Duration(i)*time.Second, q)
			b = AppendCancel(b, uint64(i))
		}
		all := frames(t, b)
		if len(all) != 2*len(want) {
			t.Fatalf("%d frames for %d requests and as many cancels", len(all), len(want))
		}
		for i, q := range want {
			f := all[2*i]
			var op Op
			if err := DecodeRequest(f.Body, &op); err != nil {
				t.Fatal(err)
			}
			if f.Type != FrameRequest || f.ID != uint64(i)<<i || op.Timeout != time.Duration(i)*time.Second {
				t.Fatalf("frame %d: %v, timeout %v", i, f, op.Timeout)
			}
			if !reflect.DeepEqual(&op.Request, q) {
				t.Fatalf("got  %+v\nwant %+v", op.Request, q)
			}
			if c := all[2*i+1]; c.Type != FrameCancel || c.ID != uint64(i) {
				t.Fatalf("cancel %+v", c)
			}
		}
	}
}

// TestCallsSurvive: between nodes everything travels, also what a client may not ask.
func TestCallsSurvive(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 1000 {
		q := randomCall(rng)
		b := AppendCall(nil, q)
		if got, err := DecodeCall(b); err != nil || !reflect.DeepEqual(got, q) {
			t.Fatalf("%v\ngot  %+v\nwant %+v", err, got, q)
		}
		if got, err := DecodeCall(b[:len(b)-1]); err == nil {
			t.Fatalf("cut short, it is %+v", got)
		}
		f := frames(t, AppendRequest(AppendHead(nil, 42), 1, time.Second, q))[0]
		if err := DecodeRequest(f.Body, &Op{}); err == nil || err.Kind != kv.Invalid {
			t.Fatalf("a client asked %+v: %v", q, err)
		}
		q = randomRequest(rng)
		if got, err := DecodeCall(AppendCall(nil, q)); err != nil || !reflect.DeepEqual(got, q) {
			t.Fatalf("%v\ngot  %+v\nwant %+v", err, got, q)
		}
	}
}

func TestAnswersSurvive(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	a := &kv.Response{Timestamp: 7, Outcome: kv.OutcomeCommitted, Term: 3, Sums: []int64{-1, 2}, Timing: randomTiming(rng)}
	if got, err, bad := DecodeAnswer(AppendAnswer(nil, a, nil)); err != nil || bad != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("%+v, %v, %v", got, err, bad)
	}
	for k := kv.Kind(1); k <= kv.KindMax; k++ {
		e := randomError(rng, k)
		if got, err, bad := DecodeAnswer(AppendAnswer(nil, nil, e)); got != nil || bad != nil || !reflect.DeepEqual(err, e) {
			t.Errorf("%+v, %v, %v", got, err, bad)
		}
	}
	for _, b := range [][]byte{{}, {9}, {answerResponse}, {answerError, 0xff}} {
		if _, _, bad := DecodeAnswer(b); bad == nil || bad.Kind != kv.Invalid {
			t.Errorf("%v was an answer", b)
		}
	}
}

// TestPlainCommitsStayShort: what a transaction over several partitions needs costs the others nothing.
func TestPlainCommitsStayShort(t *testing.T) {
	put := &kv.Request{Partition: 3, Generation: 5, Commit: &kv.Commit{
		ID: kv.TxID{1}, Term: 9, AsOf: 1 << 60, Writes: []kv.Write{{Kind: kv.WritePut, Key: make(kv.Key, 24), Value: make([]byte, 100)}},
	}}
	const want = 2 /* partition, generation */ + 1 /* part */ + 16 /* id */ + 1 /* term */ + 16 /* as of, start */ + 3 /* counts */ + 1 + 25 + 101 /* the write */
	if n := len(AppendCall(nil, put)); n != want {
		t.Errorf("a put takes %d bytes, not %d", n, want)
	}
}

// TestTracesCostOthersNothing: a request that asks for its timing is as long as one that does not, and what
// was not asked for is not in an answer.
func TestTracesCostOthersNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 200 {
		q := randomRequest(rng)
		if rng.IntN(2) == 0 {
			q = randomCall(rng)
		}
		q.Trace = false
		plain := AppendCall(nil, q)
		q.Trace = true
		if n := len(AppendCall(nil, q)); n != len(plain) {
			t.Fatalf("%d bytes, and %d with its timing asked for", len(plain), n)
		}
	}
	answer := kv.Response{Timestamp: 1 << 60, Term: 9}
	if n := len(AppendAnswer(nil, &answer, nil)); n != 1 /* kind */ +1 /* has */ +8+1 {
		t.Errorf("the answer to a put takes %d bytes", n)
	}
	answer.Timing = &kv.Timing{Spent: kv.Spent{LockWait: 1999 * time.Nanosecond, Draw: -1}}
	got, _, bad := DecodeAnswer(AppendAnswer(nil, &answer, nil))
	if bad != nil || got.Timing.Spent != (kv.Spent{LockWait: time.Microsecond}) {
		t.Errorf("%v, %+v: whole microseconds, and none below 0", bad, got)
	}
	e := ErrorOf(&kvpb.Error{Kind: uint32(kv.Conflict), Timing: []byte{1, 2, 3}})
	if e.Kind != kv.Conflict || e.Timing != nil {
		t.Errorf("an error whose timing is damaged became %+v", e)
	}
	long := append(AppendAnswer(nil, &kv.Response{}, nil)[:10], 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0)
	long[1] = hasTiming
	if _, _, bad := DecodeAnswer(long); bad == nil || bad.Kind != kv.Invalid {
		t.Errorf("a duration of 584 thousand years: %v", bad)
	}
}

func TestWithdraw(t *testing.T) {
	b := AppendHead(nil, 42)
	at := len(b)
	b = AppendRequest(b, 9, time.Second, &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}})
	Withdraw(b[at:])
	if all := frames(t, b); len(all) != 1 || all[0].Type != FrameCancel || all[0].ID != 9 {
		t.Fatalf("%+v", all)
	}
}

func TestResponsesSurvive(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	survives := func(a kv.Response) bool {
		a.Heard = 0 // travels in the head
		for _, empty := range []func(){
			func() { a.Rows = clean(a.Rows) }, func() { a.Found = clean(a.Found) }, func() { a.Sums = clean(a.Sums) }, func() { a.Resume = clean(a.Resume) },
		} {
			empty()
		}
		if a.Timing != nil {
			a.Timing = randomTiming(rng)
		}
		for i := range a.Rows {
			a.Rows[i].Key, a.Rows[i].Value = clean(a.Rows[i].Key), clean(a.Rows[i].Value)
		}
		all := frames(t, AppendResponse(AppendHead(nil, 42), 3, &a))
		var p Reply
		if len(all) != 1 || all[0].Type != FrameResponse || all[0].ID != 3 || DecodeResponse(all[0].Body, &p) != nil {
			return false
		}
		return reflect.DeepEqual(p.Response, a)
	}
	if err := quick.Check(survives, nil); err != nil {
		t.Error(err)
	}
}

// clean makes an empty slice nil, as it is after decoding.
func clean[S ~[]E, E any](s S) S {
	if len(s) == 0 {
		return nil
	}
	return s
}

// TestErrorsSurvive ranges over all kinds, both ways that an error travels.
func TestErrorsSurvive(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for k := kv.Kind(1); k <= kv.KindMax; k++ {
		if strings.HasPrefix(k.String(), "kind ") {
			t.Errorf("kind %d has no name", k)
		}
		if c := Code(k); c == codes.OK || k != kv.Ambiguous && c == codes.Unknown || c == codes.Internal && k != kv.Internal {
			t.Errorf("%v has code %v", k, c)
		}
		e := randomError(rng, k)
		all := frames(t, AppendError(AppendHead(nil, 42), 3, e))
		if len(all) != 1 || all[0].Type != FrameError {
			t.Fatalf("%v", all)
		}
		if got := DecodeError(all[0].Body); !reflect.DeepEqual(got, e) {
			t.Errorf("stream: got  %+v\nwant %+v", got, e)
		}
		s := Status(e, protoadapt.MessageV1Of(&kvpb.CommitName{Term: 9}))
		if got := FromStatus(s); !reflect.DeepEqual(got, e) || !Answered(s) {
			t.Errorf("status: got  %+v\nwant %+v", got, e)
		}
		if status.Code(s) != Code(k) || len(status.Convert(s).Details()) != 2 {
			t.Errorf("status: %v, details %v", status.Code(s), status.Convert(s).Details())
		}
	}
	if Code(0) != codes.Internal || Code(kv.KindMax+1) != codes.Internal {
		t.Error("an unknown kind is internal")
	}
}

func TestStatusIsShort(t *testing.T) {
	e := randomError(rand.New(rand.NewPCG(3, 3)), kv.Expectation)
	e.Actual.Value = make([]byte, kv.ValueBytesMax)
	for range 1000 {
		e.Descriptors = append(e.Descriptors, e.Descriptors[0])
	}
	got := FromStatus(Status(e))
	if got.Actual == nil || got.Actual.Value != nil || got.Actual.Version != 9 || len(got.Descriptors) != detailDescriptorsMax {
		t.Errorf("%+v", got)
	}
	if len(e.Actual.Value) != kv.ValueBytesMax || len(e.Descriptors) != 1001 {
		t.Error("the error itself was cut")
	}
}

func TestForeignStatus(t *testing.T) {
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		err := status.Error(c, "x")
		if k := FromStatus(err).Kind; k == 0 || k > kv.KindMax || Answered(err) {
			t.Errorf("%v became %v", c, k)
		}
	}
	for c, want := range map[codes.Code]kv.Kind{codes.Unavailable: kv.Unavailable, codes.DeadlineExceeded: kv.Timeout, codes.ResourceExhausted: kv.Limit} {
		if k := FromStatus(status.Error(c, "x")).Kind; k != want {
			t.Errorf("%v became %v", c, k)
		}
	}
	if FromStatus(nil) != nil {
		t.Error("no error is none")
	}
	// Bytes that are no text must not keep an error from travelling.
	if got := FromStatus(Status(kv.Errorf(kv.Invalid, "key \xff"))); got.Kind != kv.Invalid || got.Message != "key ?" {
		t.Errorf("%+v", got)
	}
	if got := ErrorOf(&kvpb.Error{Kind: 999}); got.Kind != kv.Internal {
		t.Errorf("%+v", got)
	}
}

// same runs a message there and back over random values of one type.
func same[A, M any](t *testing.T, there func(*A) *M, back func(*M) *A, clean func(*A)) {
	t.Helper()
	err := quick.Check(func(a A) bool {
		clean(&a)
		return reflect.DeepEqual(back(there(&a)), &a)
	}, &quick.Config{MaxCount: 50})
	if err != nil {
		t.Error(err)
	}
}

func TestAdminMessages(t *testing.T) {
	same(t, TopologyMessage, TopologyOf, func(a *kv.Topology) {
		a.Keyspaces, a.Partitions, a.Nodes = clean(a.Keyspaces), clean(a.Partitions), clean(a.Nodes)
		for i := range a.Keyspaces {
			a.Keyspaces[i].Partitions &= 0xffff
		}
		for i := range a.Partitions {
			if d := a.Partitions[i].Descriptor; d != nil {
				d.Span.Start, d.Span.End, d.Replicas = append(kv.Key{}, d.Span.Start...), append(kv.Key{}, d.Span.End...), clean(d.Replicas)
			}
		}
	})
	same(t, JoinMessage, JoinOf, func(a *kv.JoinAnswer) { a.Nodes = clean(a.Nodes) })
	same(t, StatusMessage, StatusOf, func(a *kv.Status) { a.Nodes = clean(a.Nodes) })
	same(t, NodeStatusMessage, NodeStatusOf, func(a *kv.NodeStatus) { a.Replicas = clean(a.Replicas) })
	same(t, CheckMessage, CheckOf, func(a *kv.CheckAnswer) { a.Digests = clean(a.Digests) })
	same(t, TransactionsMessage, TransactionsOf, func(a *kv.TransactionsAnswer) {
		a.Transactions = clean(a.Transactions)
		for i := range a.Transactions {
			x := &a.Transactions[i]
			x.AnchorKey, x.Missing, x.Locks = append(kv.Key{}, x.AnchorKey...), clean(x.Missing), clean(x.Locks)
		}
	})
	same(t, CreateKeyspaceMessage, CreateKeyspaceOf, func(a *kv.CreateKeyspace) { a.Partitions &= 0xffff })
}

// BenchmarkPut is a put of 100 bytes there and its answer back, 64 in a batch.
func BenchmarkPut(b *testing.B) {
	const n = 64
	q := &kv.Request{Partition: 3, Generation: 5, Commit: &kv.Commit{
		ID: kv.TxID{1}, Term: 9, AsOf: 1 << 60, Writes: []kv.Write{{Kind: kv.WritePut, Key: make(kv.Key, 24), Value: make([]byte, 100)}},
	}}
	a := &kv.Response{Timestamp: 1 << 60, Term: 9}
	b.ReportAllocs()
	var ops, replies []byte
	for range b.N / n {
		ops, replies = AppendHead(ops[:0], 1<<60), AppendHead(replies[:0], 1<<60)
		for i := range n {
			ops = AppendRequest(ops, uint64(i+1000), 10*time.Second, q)
		}
		batch, _ := OpenBatch(ops)
		for f, ok := batch.Next(); ok; f, ok = batch.Next() {
			op := new(Op)
			if DecodeRequest(f.Body, op) != nil {
				b.Fatal("refused")
			}
			replies = AppendResponse(replies, f.ID, a)
		}
		batch, _ = OpenBatch(replies)
		for f, ok := batch.Next(); ok; f, ok = batch.Next() {
			if DecodeResponse(f.Body, new(Reply)) != nil {
				b.Fatal("refused")
			}
		}
	}
}
