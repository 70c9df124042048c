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

func randomBytes(rng *rand.Rand, max int) []byte {
	n := rng.IntN(max + 1)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func list[T any](rng *rand.Rand, max int, one func() T) []T {
	var l []T
	for range rng.IntN(max + 1) {
		l = append(l, one())
	}
	return l
}

func randomSpan(rng *rand.Rand) kv.Span {
	return kv.Span{Start: randomBytes(rng, 20), End: randomBytes(rng, 20)}
}

func randomID(rng *rand.Rand) (id kv.TxID) {
	for i := range id {
		id[i] = byte(rng.Uint32())
	}
	return id
}

func randomReads(rng *rand.Rand) []kv.ReadMark {
	return list(rng, 3, func() kv.ReadMark { return kv.ReadMark{Key: randomBytes(rng, 40)} })
}

func randomSpans(rng *rand.Rand) []kv.Span {
	return list(rng, 3, func() kv.Span { return randomSpan(rng) })
}

func randomWrites(rng *rand.Rand) []kv.Write {
	return list(rng, 3, func() kv.Write { return randomWrite(rng) })
}

// randomRequest is one that a client may send.
func randomRequest(rng *rand.Rand) *kv.Request {
	q := &kv.Request{Partition: kv.PartitionID(rng.Uint64()), Generation: kv.Generation(rng.Uint32())}
	key := func() kv.Key { return randomBytes(rng, 300) }
	at := kv.Timestamp(rng.Uint64())
	switch rng.IntN(4) {
	case 0:
		q.Read = &kv.Read{Timestamp: at, Keys: list(rng, 4, key), Stamped: rng.IntN(2) == 0, Stale: randomStale(rng)}
		if q.Read.Keys == nil {
			q.Read.Keys = []kv.Key{}
		}
	case 1:
		q.Scan = &kv.Scan{
			Span: randomSpan(rng), Timestamp: at, Reverse: rng.IntN(2) == 0, KeysOnly: rng.IntN(2) == 0, CountOnly: rng.IntN(2) == 0,
			Keys: rng.IntN(kv.ScanPageKeysMax), Bytes: rng.IntN(kv.ScanPageBytesMax), Stale: randomStale(rng),
		}
	case 2:
		q.Commit = &kv.Commit{
			ID: randomID(rng), Term: kv.Term(rng.Uint64()), AsOf: at, Start: at / 3,
			Reads: randomReads(rng), Spans: randomSpans(rng), Writes: randomWrites(rng),
		}
		if q.Commit.Writes == nil {
			q.Commit.Writes = []kv.Write{}
		}
		if rng.IntN(2) == 0 {
			q.Commit.Age = kv.Age(randomID(rng))
		}
		if rng.IntN(2) == 0 {
			q.Commit.Parts = list(rng, 3, func() kv.Part {
				return kv.Part{
					Partition: kv.PartitionID(rng.Uint64()), Generation: kv.Generation(rng.Uint64()),
					Reads: randomReads(rng), Spans: randomSpans(rng), Writes: randomWrites(rng),
				}
			})
		}
	default:
		q.Outcome = &kv.OutcomeOf{ID: randomID(rng), Term: 7, AsOf: at, Anchor: key()}
	}
	return q
}

func randomStale(rng *rand.Rand) (s kv.Stale) {
	s.Follower = rng.IntN(2) == 0
	if rng.IntN(2) == 0 {
		s.NotBefore = kv.Timestamp(rng.Uint64())
	}
	return s
}

// randomCall is one that only a node sends.
func randomCall(rng *rand.Rand) *kv.Request {
	q := &kv.Request{Partition: kv.PartitionID(rng.Uint64()), Generation: kv.Generation(rng.Uint32())}
	at := kv.Timestamp(rng.Uint64())
	switch rng.IntN(4) {
	case 0:
		q.Prepare = &kv.Prepare{
			InMemory: rng.IntN(2) == 0,
			Attempt: kv.Attempt{
				ID: randomID(rng), Term: kv.Term(rng.Uint64()), AsOf: at, Age: kv.Age(randomID(rng)),
				Partition: kv.PartitionID(rng.Uint64()), Anchor: randomBytes(rng, 40),
			},
			Start: at / 3, Reads: randomReads(rng), Spans: randomSpans(rng), Writes: randomWrites(rng),
		}
	case 1:
		q.Stage = &kv.Stage{ID: randomID(rng), AsOf: at, Commit: at / 7, Term: kv.Term(rng.Uint64()), Recover: rng.IntN(2) == 0}
	case 2:
		q.Resolve = &kv.Resolve{ID: randomID(rng), Commit: at}
	default:
		q.Outcome = &kv.OutcomeOf{ID: randomID(rng), Term: 7, AsOf: at, Anchor: randomBytes(rng, 40), Ask: kv.AskKind(1 + rng.IntN(3)), At: at / 5}
	}
	return q
}

func randomWrite(rng *rand.Rand) kv.Write {
	w := kv.Write{Kind: kv.WriteKind(1 + rng.IntN(3)), Key: randomBytes(rng, 40)}
	switch w.Kind {
	case kv.WritePut:
		w.Value = randomBytes(rng, 1000)
	case kv.WriteAdd:
		w.Delta = int64(rng.Uint64())
	}
	w.Expect.Kind = kv.ExpectKind(rng.IntN(4))
	switch w.Expect.Kind {
	case kv.ExpectVersion:
		w.Expect.Version = kv.Timestamp(rng.Uint64())
	case kv.ExpectValue:
		w.Expect.Value = randomBytes(rng, 30)
	}
	return w
}

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
	a := &kv.Response{Timestamp: 7, Outcome: kv.OutcomeCommitted, Term: 3, Sums: []int64{-1, 2}}
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
	survives := func(a kv.Response) bool {
		a.Heard = 0 // travels in the head
		for _, empty := range []func(){
			func() { a.Rows = clean(a.Rows) }, func() { a.Found = clean(a.Found) }, func() { a.Sums = clean(a.Sums) }, func() { a.Resume = clean(a.Resume) },
		} {
			empty()
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

func randomError(rng *rand.Rand, k kv.Kind) *kv.Error {
	e := &kv.Error{
		Kind: k, Message: "message", Key: randomBytes(rng, 20), Leader: kv.NodeID(rng.Uint64()), Partition: 5, Term: kv.Term(rng.Uint64()),
		What: "what", LimitValue: -1, Got: 1 << 50, Actual: &kv.Row{Key: []byte("k"), Value: []byte("v"), Version: 9},
	}
	e.Descriptors = []*kv.Descriptor{{
		Partition: 3, Keyspace: 4, Span: kv.Span{Start: kv.Key("a"), End: kv.Key("b")}, Generation: 6, NextReplica: 7,
		Replicas: []kv.Replica{{ID: 1, Node: 2, Role: kv.RoleVoter}, {ID: 2, Node: 3, Role: kv.RoleLearner}},
	}}
	copy(e.ID[:], "0123456789abcdef")
	return e
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

func TestRefusesWhatIsNotABatch(t *testing.T) {
	good := AppendRequest(AppendHead(nil, 42), 1, 0, &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}})
	for name, b := range map[string][]byte{
		"empty": {}, "version": append([]byte{2}, good[1:]...), "head": good[:5], "length": good[:HeadBytes+2], "frame": good[:len(good)-1],
		"no frame": append(AppendHead(nil, 42), 0, 0, 0, 0),
	} {
		batch, err := OpenBatch(b)
		for err == nil {
			if _, ok := batch.Next(); !ok {
				err = batch.Err()
				break
			}
		}
		if err == nil || err.Kind != kv.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	body := frames(t, good)[0].Body
	for name, b := range map[string][]byte{
		"empty": {}, "no part": {0, 0, 0, 0}, "part": {0, 0, 0, 10}, "rest": append(append([]byte{}, body...), 0), "short": body[:len(body)-1],
		"a count beyond its input": {0, 0, 0, partRead, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 3},
	} {
		if err := DecodeRequest(b, &Op{}); err == nil || err.Kind != kv.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzBatch: whatever the input is, it is refused, or decodes to what encodes to the same again.
func FuzzBatch(f *testing.F) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 30 {
		b := AppendHead(nil, 42)
		for i := range 3 {
			b = AppendRequest(b, uint64(i), time.Second, randomRequest(rng))
		}
		b = AppendResponse(b, 1, &kv.Response{Rows: []kv.Row{{Key: kv.Key("k"), Value: []byte("v"), Version: 1}}, Found: []bool{true, false}, Sums: []int64{-1}})
		f.Add(AppendError(AppendCancel(b, 7), 8, randomError(rng, kv.NotLeader)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		batch, err := OpenBatch(b)
		if err != nil {
			return
		}
		for {
			frame, ok := batch.Next()
			if !ok {
				return
			}
			fuzzFrame(t, frame)
		}
	})
}

func fuzzFrame(t *testing.T, f Frame) {
	switch f.Type {
	case FrameRequest:
		var first, second Op
		if DecodeRequest(f.Body, &first) != nil {
			return
		}
		again := frames(t, AppendRequest(AppendHead(nil, 42), f.ID, first.Timeout, &first.Request))
		if err := DecodeRequest(again[0].Body, &second); err != nil || !reflect.DeepEqual(first.Request, second.Request) {
			t.Fatalf("%v: %+v became %+v", err, first.Request, second.Request)
		}
	case FrameResponse:
		var first, second Reply
		if DecodeResponse(f.Body, &first) != nil {
			return
		}
		again := frames(t, AppendResponse(AppendHead(nil, 42), f.ID, &first.Response))
		if err := DecodeResponse(again[0].Body, &second); err != nil || len(first.Response.Rows) != len(second.Response.Rows) {
			t.Fatalf("%v: %+v became %+v", err, first.Response, second.Response)
		}
	case FrameError:
		if e := DecodeError(f.Body); e.Kind == 0 || e.Kind > kv.KindMax {
			t.Fatalf("%+v", e)
		}
	}
}

// FuzzCall: what nodes ask each other, as FuzzBatch.
func FuzzCall(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 30 {
		f.Add(AppendCall(nil, randomCall(rng)))
		f.Add(AppendCall(nil, randomRequest(rng)))
	}
	f.Add(AppendAnswer(nil, &kv.Response{Timestamp: 7, Outcome: kv.OutcomeCommitted}, nil))
	f.Add(AppendAnswer(nil, nil, randomError(rng, kv.Conflict)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := DecodeCall(b); err == nil {
			again, err := DecodeCall(AppendCall(nil, q))
			if err != nil || !reflect.DeepEqual(again, q) {
				t.Fatalf("%v: %+v became %+v", err, q, again)
			}
		}
		a, answer, bad := DecodeAnswer(b)
		if (a == nil) == (answer == nil) && bad == nil || bad != nil && bad.Kind != kv.Invalid {
			t.Fatalf("%+v, %v, %v", a, answer, bad)
		}
		if a != nil {
			if again, _, bad := DecodeAnswer(AppendAnswer(nil, a, nil)); bad != nil || again.Timestamp != a.Timestamp || again.Outcome != a.Outcome {
				t.Fatalf("%v: %+v became %+v", bad, a, again)
			}
		}
	})
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
