package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
)

// plain is a caller in any language: unary calls to one node.
func (w *world) plain(t *testing.T, n int) kvpb.KVClient {
	t.Helper()
	conn, err := grpc.NewClient(w.nodes[n].listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return kvpb.NewKVClient(conn)
}

// TestPlainCalls: every node answers every plain call, whoever leads.
func TestPlainCalls(t *testing.T) {
	w := newWorld(t, 3)
	for _, ks := range keyspaces(t, w.open(t)) {
		for n := range w.nodes {
			t.Run(fmt.Sprint(ks, n), func(t *testing.T) { plainCalls(t, w.plain(t, n), ks, fmt.Sprintf("n%d", n)) })
		}
	}
}

func plainCalls(t *testing.T, c kvpb.KVClient, ks, prefix string) {
	ctx := t.Context()
	key := func(i int) []byte { return fmt.Appendf(nil, "%s-%02d", prefix, i) }
	for i := range 25 {
		done := must[*kvpb.CommitResponse](t)(c.Put(ctx, &kvpb.PutRequest{Keyspace: ks, Key: key(i), Value: key(i)}))
		if done.GetTimestamp() == 0 || len(done.GetName().GetId()) != 16 {
			t.Fatalf("%v", done)
		}
	}
	one := must[*kvpb.GetResponse](t)(c.Get(ctx, &kvpb.GetRequest{Keyspace: ks, Key: key(3)}))
	if !one.GetFound() || string(one.GetPair().GetKey()) != string(key(3)) || string(one.GetPair().GetValue()) != string(key(3)) {
		t.Errorf("get %v", one)
	}
	many := must[*kvpb.GetManyResponse](t)(c.GetMany(ctx, &kvpb.GetManyRequest{Keyspace: ks, Keys: [][]byte{key(1), key(99), key(2)}}))
	if a := many.GetAnswers(); len(a) != 3 || !a[0].GetFound() || a[1].GetFound() || string(a[2].GetPair().GetKey()) != string(key(2)) || many.GetTimestamp() == 0 {
		t.Errorf("get many %v", many)
	}
	sum := must[*kvpb.CommitResponse](t)(c.Add(ctx, &kvpb.AddRequest{Keyspace: ks, Key: []byte(prefix + "+"), Delta: 7}))
	if s := sum.GetSums(); len(s) != 1 || s[0] != 7 {
		t.Errorf("add %v", sum)
	}
	_, err := c.CompareAndSet(ctx, &kvpb.CompareAndSetRequest{
		Keyspace: ks, Key: key(0), Value: nil, Expect: &kvpb.Expectation{Is: &kvpb.Expectation_Absent{Absent: true}},
	})
	if e := wire.FromStatus(err); status.Code(err) != codes.FailedPrecondition || e.Kind != kv.Expectation || string(e.Actual.Value) != string(key(0)) {
		t.Errorf("compare-and-set: %v", err)
	}
	must[*kvpb.CommitResponse](t)(c.Delete(ctx, &kvpb.DeleteRequest{Keyspace: ks, Key: key(24)}))
	pairs, at := pages(t, c, &kvpb.ScanRequest{Keyspace: ks, Start: key(0), End: key(99), Reverse: true, Limit: 20})
	if len(pairs) != 20 || string(pairs[0].GetKey()) != string(key(23)) || at == 0 {
		t.Errorf("scan: %d pairs, first %v, at %d", len(pairs), pairs[0], at)
	}
	stream := must[grpc.ServerStreamingClient[kvpb.ScanPage]](t)(c.Scan(ctx, &kvpb.ScanRequest{Keyspace: ks, Start: key(0), End: key(99), CountOnly: true}))
	if p := must[*kvpb.ScanPage](t)(stream.Recv()); p.GetCount() != 24 {
		t.Errorf("count %v", p)
	}
}

func pages(t *testing.T, c kvpb.KVClient, q *kvpb.ScanRequest) ([]*kvpb.Pair, uint64) {
	t.Helper()
	stream := must[grpc.ServerStreamingClient[kvpb.ScanPage]](t)(c.Scan(t.Context(), q))
	var pairs []*kvpb.Pair
	var at uint64
	for {
		p, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return pairs, at
		}
		if err != nil {
			t.Fatal(err)
		}
		pairs, at = append(pairs, p.GetPairs()...), p.GetTimestamp()
	}
}

func TestPlainCommit(t *testing.T) {
	w := newWorld(t, 3)
	c := w.plain(t, 0)
	ctx := t.Context()
	ranges := keyspaces(t, w.open(t))[1]
	put := func(k string) *kvpb.Write { return &kvpb.Write{Key: []byte(k), Op: &kvpb.Write_Put{Put: []byte("v")}} }
	must[*kvpb.CommitResponse](t)(c.Commit(ctx, &kvpb.CommitRequest{Keyspace: ranges, Writes: []*kvpb.Write{
		put("b1"), put("b2"), {Key: []byte("b3"), Op: &kvpb.Write_Add{Add: 3}}, {Key: []byte("b4"), Op: &kvpb.Write_Delete{Delete: true}},
	}}))
	for name, q := range map[string]*kvpb.CommitRequest{
		"two partitions": {Keyspace: ranges, Writes: []*kvpb.Write{put("b1"), put("c1")}},
		"twice":          {Keyspace: ranges, Writes: []*kvpb.Write{put("b1"), put("b1")}},
		"nothing":        {Keyspace: ranges},
		"no operation":   {Keyspace: ranges, Writes: []*kvpb.Write{{Key: []byte("b")}}},
		"no key":         {Keyspace: ranges, Writes: []*kvpb.Write{put("")}},
		"bad name":       {Keyspace: ranges, Writes: []*kvpb.Write{put("b")}, Name: &kvpb.CommitName{Id: []byte("short")}},
		"hash range":     {Keyspace: "hashes", Ranges: []*kvpb.KeyRange{{}}, Writes: []*kvpb.Write{put("b")}},
		"no keyspace":    {Keyspace: "none", Writes: []*kvpb.Write{put("b")}},
	} {
		_, err := c.Commit(ctx, q)
		e := wire.FromStatus(err)
		want := kv.Invalid
		switch name {
		case "two partitions":
			want = kv.WrongPartition
		case "no keyspace":
			want = kv.NotFound
		}
		if e == nil || e.Kind != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPlainTransaction: a partition's leader gets the parts of a plain transaction as they were said, in full keys.
func TestPlainTransaction(t *testing.T) {
	w := newWorld(t, 3)
	c := w.plain(t, 0)
	ctx := t.Context()
	ranges := keyspaces(t, w.open(t))[1]
	put := func(k string) *kvpb.Write { return &kvpb.Write{Key: []byte(k), Op: &kvpb.Write_Put{Put: []byte("v")}} }
	var seen *kv.Request
	w.do(func() {
		w.fault = func(_ *node, q *kv.Request) fault {
			seen = q
			return none
		}
	})
	age := []byte("0123456789abcdef")
	var other kv.PartitionID
	w.do(func() { other = w.partOf("default", "c1").d.Partition })
	q := &kvpb.CommitRequest{Keyspace: ranges, ReadTimestamp: 1, Writes: []*kvpb.Write{put("b1")}, Age: age, Parts: []*kvpb.CommitPart{{
		Partition: uint64(other), Generation: 2, Keyspace: "default", Reads: [][]byte{[]byte("r")}, Writes: []*kvpb.Write{put("c1")},
		Ranges: []*kvpb.KeyRange{{Start: []byte("d"), End: []byte("e")}},
	}}}
	must[*kvpb.CommitResponse](t)(c.Commit(ctx, q))
	var got *kv.Commit
	w.do(func() { got = seen.Commit })
	full := func(k string) kv.Key { return kv.MakeKey(1, []byte(k)) }
	want := kv.Part{
		Partition: other, Generation: 2, Reads: []kv.ReadMark{{Key: full("r")}}, Spans: []kv.Span{{Start: full("d"), End: full("e")}},
		Writes: []kv.Write{{Kind: kv.WritePut, Key: full("c1"), Value: []byte("v")}},
	}
	if len(got.Parts) != 1 || !reflect.DeepEqual(got.Parts[0], want) || string(got.Age[:]) != string(age) {
		t.Errorf("%+v, age %x", got.Parts, got.Age)
	}
	must[*kvpb.GetResponse](t)(c.Get(ctx, &kvpb.GetRequest{Keyspace: ranges, Key: []byte("b1"), Stamped: true}))
	w.do(func() {
		if !seen.Read.Stamped {
			t.Error("the read is not stamped")
		}
	})
	must[*kvpb.GetResponse](t)(c.Get(ctx, &kvpb.GetRequest{Keyspace: ranges, Key: []byte("b1"), NotBefore: 7}))
	w.do(func() {
		if seen.Read.Stale != (kv.Stale{NotBefore: 7}) {
			t.Errorf("the read is %+v", seen.Read.Stale)
		}
	})
	must[*kvpb.GetManyResponse](t)(c.GetMany(ctx, &kvpb.GetManyRequest{Keyspace: ranges, Keys: [][]byte{[]byte("b1")}, Timestamp: 1 << 60, Follower: true}))
	w.do(func() {
		if seen.Read.Stale != (kv.Stale{Follower: true}) || seen.Read.Timestamp != 1<<60 {
			t.Errorf("the read is %+v", seen.Read)
		}
	})
	one := must[*kvpb.GetResponse](t)(c.Get(ctx, &kvpb.GetRequest{Keyspace: ranges, Key: []byte("b1"), Timestamp: uint64(kv.MakeTimestamp(1<<44, 0))}))
	if one.GetTimestamp() != uint64(kv.MakeTimestamp(1<<44, 0)) {
		t.Errorf("read at %d", one.GetTimestamp())
	}
	q.Age = age[:3]
	if _, err := c.Commit(ctx, q); wire.FromStatus(err).Kind != kv.Invalid {
		t.Errorf("a short age: %v", err)
	}
	q.Age, q.Writes = nil, nil
	if _, err := c.Commit(ctx, q); wire.FromStatus(err).Kind != kv.Invalid {
		t.Errorf("parts only: %v", err)
	}
}

// TestNamedCommit: a caller that names its commits may send them again, to any node.
func TestNamedCommit(t *testing.T) {
	w := newWorld(t, 3)
	ctx := t.Context()
	a, b := w.plain(t, 0), w.plain(t, 1)
	name := must[*kvpb.CommitName](t)(a.NameCommit(ctx, &kvpb.NameCommitRequest{Keyspace: "default", Key: []byte("n")}))
	q := &kvpb.AddRequest{Keyspace: "default", Key: []byte("n"), Delta: 1, Name: name}
	first := must[*kvpb.CommitResponse](t)(a.Add(ctx, q))
	w.do(func() { w.elect(w.partOf("default", "n")) })
	again := must[*kvpb.CommitResponse](t)(b.Add(ctx, q))
	if first.GetTimestamp() != again.GetTimestamp() || again.GetSums()[0] != 1 {
		t.Errorf("%v, then %v", first, again)
	}
	outcome := &kvpb.OutcomeRequest{Keyspace: "default", Key: []byte("n"), Name: name}
	if o := must[*kvpb.OutcomeResponse](t)(b.Outcome(ctx, outcome)); o.GetOutcome() != kvpb.OutcomeResponse_COMMITTED || o.GetTimestamp() != first.GetTimestamp() {
		t.Errorf("outcome %v", o)
	}
	// A name of an older term is dead; the node does not take another one by itself.
	name = must[*kvpb.CommitName](t)(a.NameCommit(ctx, &kvpb.NameCommitRequest{Keyspace: "default", Key: []byte("n")}))
	w.do(func() { w.elect(w.partOf("default", "n")); w.elect(w.partOf("default", "n")) })
	_, err := a.Add(ctx, &kvpb.AddRequest{Keyspace: "default", Key: []byte("n"), Delta: 1, Name: name})
	if e := wire.FromStatus(err); e == nil || e.Kind != kv.StaleTerm || status.Code(err) != codes.Aborted {
		t.Errorf("a dead name: %v", err)
	}
	outcome.Name = name
	if o := must[*kvpb.OutcomeResponse](t)(b.Outcome(ctx, outcome)); o.GetOutcome() != kvpb.OutcomeResponse_ABORTED {
		t.Errorf("outcome %v", o)
	}
}

func TestPlainErrors(t *testing.T) {
	w := newWorld(t, 1)
	c := w.plain(t, 0)
	for name, err := range map[string]error{
		"no key":       second(c.Get(t.Context(), &kvpb.GetRequest{Keyspace: "default"})),
		"no keys":      second(c.GetMany(t.Context(), &kvpb.GetManyRequest{Keyspace: "default"})),
		"no keyspace":  second(c.Get(t.Context(), &kvpb.GetRequest{Key: []byte("k")})),
		"long key":     second(c.Get(t.Context(), &kvpb.GetRequest{Keyspace: "default", Key: make([]byte, kv.KeyBytesMax+1)})),
		"expect":       second(c.CompareAndSet(t.Context(), &kvpb.CompareAndSetRequest{Keyspace: "default", Key: []byte("k")})),
		"not absent":   second(c.CompareAndSet(t.Context(), &kvpb.CompareAndSetRequest{Keyspace: "default", Key: []byte("k"), Expect: &kvpb.Expectation{Is: &kvpb.Expectation_Absent{}}})),
		"outcome name": second(c.Outcome(t.Context(), &kvpb.OutcomeRequest{Keyspace: "default", Key: []byte("k")})),
	} {
		if status.Code(err) != codes.InvalidArgument || !wire.Answered(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ambiguous(t, w, c)
}

// ambiguous: the error of a commit whose outcome is not known brings its name.
func ambiguous(t *testing.T, w *world, c kvpb.KVClient) {
	w.do(func() { w.fault = func(*node, *kv.Request) fault { return silent } })
	ctx, cancel := contextSoon(t)
	defer cancel()
	_, err := c.Put(ctx, &kvpb.PutRequest{Keyspace: "default", Key: []byte("k")})
	if status.Code(err) == codes.DeadlineExceeded {
		return // gRPC's own answer was faster
	}
	for _, d := range status.Convert(err).Details() {
		if n, ok := d.(*kvpb.CommitName); ok && len(n.GetId()) == 16 && status.Code(err) == codes.Unknown {
			return
		}
	}
	t.Errorf("%v with details %v", err, status.Convert(err).Details())
}

func contextSoon(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 100*time.Millisecond)
}

func second[T any](_ T, err error) error { return err }

// TestAdminIsPassedOn: node 1 leads the core; every other node passes the question on, once.
func TestAdminIsPassedOn(t *testing.T) {
	w := newWorld(t, 3)
	for _, n := range w.nodes {
		conn, err := grpc.NewClient(n.listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		a := kvpb.NewAdminClient(conn)
		must[*kvpb.CreateKeyspaceResponse](t)(a.CreateKeyspace(t.Context(), &kvpb.CreateKeyspaceRequest{Name: fmt.Sprint(n.id), Scheme: uint32(kv.SchemeRange)}))
		_, err = a.CreateKeyspace(t.Context(), &kvpb.CreateKeyspaceRequest{Name: fmt.Sprint(n.id), Scheme: uint32(kv.SchemeRange)})
		if status.Code(err) != codes.AlreadyExists {
			t.Errorf("node %d: %v", n.id, err)
		}
		if _, err := a.Join(t.Context(), &kvpb.JoinRequest{}); wire.FromStatus(err).Kind != kv.Invalid {
			t.Errorf("node %d: %v", n.id, err)
		}
	}
	c := w.open(t)
	if got := must[[]kv.Keyspace](t)(c.Admin().Keyspaces(t.Context())); len(got) != 4 {
		t.Errorf("%v", got)
	}
}
