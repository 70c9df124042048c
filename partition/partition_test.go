package partition

import (
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// ask is the only answer that a request gets, once everything has come to rest.
func (w *world) ask(req *kv.Request) (resp *kv.Response, err *kv.Error) {
	w.t.Helper()
	n := 0
	w.onReply = func(id RequestID, r *kv.Response, e *kv.Error) {
		if id == 1000 {
			resp, err, n = r, e, n+1
		}
	}
	w.p.Request(1000, req)
	w.quiesce()
	w.onReply = nil
	if n != 1 {
		w.t.Fatalf("%d answers", n)
	}
	return resp, err
}

func put(id int, k, v string) *kv.Commit {
	return &kv.Commit{ID: testID(id), Term: 2, AsOf: 1, Writes: []kv.Write{{Kind: kv.WritePut, Key: kv.Key(k), Value: []byte(v)}}}
}

func ledWorld(t *testing.T, opts Options) *world {
	w := newWorld(t, opts)
	w.heard = 5
	w.lead(2)
	return w
}

func TestLimitsNameThemselves(t *testing.T) {
	w := ledWorld(t, Options{})
	big := put(1, "k", "")
	big.Writes[0].Value = make([]byte, kv.ValueBytesMax+1)
	many := put(2, "k", "")
	many.Start, many.Reads = 1, make([]kv.ReadMark, kv.CommitKeysMax)
	heavy := &kv.Commit{ID: testID(3), Term: 2, AsOf: 1}
	for i := range 9 {
		heavy.Writes = append(heavy.Writes, kv.Write{Kind: kv.WritePut, Key: kv.Key{'k', byte(i)}, Value: make([]byte, kv.ValueBytesMax)})
	}
	for name, req := range map[string]*kv.Request{
		"value": {Commit: big}, "keys": {Commit: many}, "commit": {Commit: heavy},
		"key":   {Read: &kv.Read{Keys: []kv.Key{append(kv.Key("k"), make([]byte, fullKeyBytesMax)...)}}},
		"many":  {Read: &kv.Read{Keys: make([]kv.Key, kv.GetManyKeysMax+1)}},
		"page":  {Scan: &kv.Scan{Span: w.desc.Span, Bytes: kv.ScanPageBytesMax + 1}},
		"bound": {Scan: &kv.Scan{Span: kv.Span{Start: append(kv.Key("k"), make([]byte, fullKeyBytesMax)...), End: kv.Key("l")}}},
	} {
		if _, err := w.ask(req); err == nil || err.Kind != kv.Limit || err.What == "" || err.Got <= err.LimitValue {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrongPartitionBringsTheDescriptor(t *testing.T) {
	w := ledWorld(t, Options{})
	for _, req := range []*kv.Request{
		{Commit: put(1, "zz", "v")},
		{Generation: 99, Read: &kv.Read{Keys: []kv.Key{kv.Key("A")}}},
		{Scan: &kv.Scan{Span: kv.Span{Start: kv.Key("b")}}},
		{Outcome: &kv.OutcomeOf{ID: testID(1), Term: 2, AsOf: 1, Anchor: kv.Key("zz")}},
	} {
		_, err := w.ask(req)
		if err == nil || err.Kind != kv.WrongPartition || len(err.Descriptors) != 1 || err.Descriptors[0].Generation != 1 || w.desc.Span.Contains(err.Key) {
			t.Errorf("%+v: %+v", req, err)
		}
	}
	// A generation that differs is no error if the key is here.
	if _, err := w.ask(&kv.Request{Generation: 99, Commit: put(2, "k", "v")}); err != nil {
		t.Fatal(err)
	}
}

func TestOverload(t *testing.T) {
	w := ledWorld(t, Options{RequestsMax: 3, CommitBytesMax: 100})
	refused := func(req *kv.Request) {
		t.Helper()
		var kind kv.Kind
		w.onReply = func(_ RequestID, _ *kv.Response, e *kv.Error) { kind = e.Kind }
		w.p.Request(99, req)
		if kind != kv.Unavailable {
			t.Fatalf("the answer is %v", kind)
		}
		w.onReply = nil
	}
	w.p.Request(1, &kv.Request{Commit: put(1, "k", string(make([]byte, 200)))})
	refused(&kv.Request{Commit: put(2, "l", "v")})
	w.p.Request(3, &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}})
	w.p.Request(4, &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}})
	refused(&kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}})
	w.quiesce()
	if _, err := w.ask(&kv.Request{Commit: put(2, "l", "v")}); err != nil {
		t.Fatal(err)
	}
}

// Prepared transactions are bounded; one that is there already is answered all the same.
func TestPreparedIsBounded(t *testing.T) {
	w := ledWorld(t, Options{PreparedMax: 1})
	prepare := func(id int) *kv.Request {
		return &kv.Request{Prepare: &kv.Prepare{
			Attempt: kv.Attempt{ID: testID(id), Term: 1, AsOf: 1, Partition: testPartition + 1, Anchor: kv.Key("a")},
			Writes:  []kv.Write{{Kind: kv.WritePut, Key: kv.Key{'k', byte(id)}}},
		}}
	}
	if _, err := w.ask(prepare(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ask(prepare(2)); err == nil || err.Kind != kv.Unavailable {
		t.Fatalf("beyond the bound the answer is %v", err)
	}
	if _, err := w.ask(prepare(1)); err != nil {
		t.Fatalf("the answer to another copy is %v", err)
	}
	if _, err := w.ask(&kv.Request{Resolve: &kv.Resolve{ID: testID(1)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ask(prepare(2)); err != nil {
		t.Fatalf("when there is room the answer is %v", err)
	}
}

func TestSeenSetIsBounded(t *testing.T) {
	w := ledWorld(t, Options{SeenIDsMax: 10})
	for i := range 9 {
		if _, err := w.ask(&kv.Request{Commit: put(1+i, "k", "v")}); err != nil {
			t.Fatal(err)
		}
	}
	w.p.Request(1, &kv.Request{Commit: put(10, "k", "v")})
	// All are as new as what the node has heard of: the window cannot shrink.
	if _, err := w.ask(&kv.Request{Commit: put(11, "l", "v")}); err == nil || err.Kind != kv.Unavailable {
		t.Fatalf("the answer is %v", err)
	}
	w.heard = kv.MakeTimestamp(5000, 0)
	late := put(11, "l", "v")
	late.AsOf = w.heard
	if _, err := w.ask(&kv.Request{Commit: late}); err != nil {
		t.Fatal(err)
	}
	// The window has moved over the older ones: they are looked up.
	if resp, err := w.ask(&kv.Request{Commit: put(3, "k", "v")}); err != nil || resp.Timestamp == 0 {
		t.Fatalf("the answer is %v, %v", resp, err)
	}
}

func TestAnswersNameTermAndHeard(t *testing.T) {
	w := ledWorld(t, Options{})
	for _, req := range []*kv.Request{
		{Commit: put(1, "k", "v")},
		{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}},
		{Scan: &kv.Scan{Span: w.desc.Span}},
		{Outcome: &kv.OutcomeOf{ID: testID(1), Term: 2, AsOf: 1, Anchor: kv.Key("k")}},
		{Outcome: &kv.OutcomeOf{ID: testID(2), Term: 2, AsOf: 1, Anchor: kv.Key("k")}},
	} {
		resp, err := w.ask(req)
		if err != nil || resp.Term != 2 || resp.Heard < resp.Timestamp || resp.Heard == 0 {
			t.Errorf("%+v, %v", resp, err)
		}
	}
}

// A failing engine fails the commit that is evaluated, and nothing else.
func TestEngineErrors(t *testing.T) {
	w := ledWorld(t, Options{})
	broken := kv.Errorf(kv.Corruption, "a checksum does not match")
	var got []kv.Kind
	w.onReply = func(_ RequestID, _ *kv.Response, e *kv.Error) { got = append(got, e.Kind) }
	q := put(1, "k", "v")
	q.Writes[0].Expect.Kind = kv.ExpectAbsent
	w.p.Request(1, &kv.Request{Commit: q})
	old := put(2, "k", "v")
	old.Term = 1
	w.p.Request(2, &kv.Request{Commit: old})
	for len(w.reads) > 0 {
		w.finish(w.takeRead(0), &ReadResult{Err: broken})
	}
	if len(got) != 2 || got[0] != kv.Corruption || got[1] != kv.Corruption {
		t.Fatalf("the answers are %v", got)
	}
	if w.p.lead.table.Len() != 0 || w.p.Waiting() != 0 {
		t.Fatal("something is left")
	}
}

func TestNotLeading(t *testing.T) {
	w := newWorld(t, Options{})
	if _, err := w.ask(&kv.Request{Commit: put(1, "k", "v")}); err == nil || err.Kind != kv.NotLeader {
		t.Fatalf("the answer is %v", err)
	}
	// None of these may matter.
	w.p.Cancel(1)
	w.p.Drawn(0, 1)
	w.p.Tick()
	w.p.Committed(1, 1)
	w.p.Applied(1, 0, 0)
	w.p.Unlead(0, 0)
	w.p.ReadDone(&ReadTask{}, &ReadResult{})
	if n, b := w.p.Inflight(); n+b+w.p.Waiting() != 0 || w.p.TakeProposal(1) != nil || w.p.ID() != testPartition {
		t.Fatal("it does something")
	}
	if w.p.ProposeGC(1) || w.p.ProposeHorizon(1) || w.p.ProposeDigest(1) || w.p.ProposeDescriptor(w.desc, 1) {
		t.Fatal("it proposes")
	}
}

func TestProposeDescriptor(t *testing.T) {
	w := ledWorld(t, Options{})
	d := w.desc.Clone()
	d.Generation, d.Span.End = 2, kv.Key("n")
	if !w.p.ProposeDescriptor(d, 1) {
		t.Fatal("refused")
	}
	w.quiesce()
	if _, err := w.ask(&kv.Request{Commit: put(1, "p", "v")}); err == nil || err.Kind != kv.WrongPartition || err.Descriptors[0].Generation != 2 {
		t.Fatalf("the answer is %v", err)
	}
}

// What waits for other entries to go with is bounded: then it goes alone.
func TestLazyIsBounded(t *testing.T) {
	w := ledWorld(t, Options{})
	for i := range lazyMax {
		if _, err := w.ask(&kv.Request{Prepare: &kv.Prepare{
			Attempt: kv.Attempt{ID: testID(i + 1), Term: 1, AsOf: 1, Partition: testPartition + 1, Anchor: kv.Key("a")},
			Writes:  []kv.Write{{Kind: kv.WritePut, Key: kv.Key{'k', byte(i)}}},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range lazyMax {
		w.p.Request(RequestID(1000+i), &kv.Request{Partition: testPartition, Resolve: &kv.Resolve{ID: testID(i + 1)}})
		if want := (i + 1) % lazyMax; w.p.lead.log.lazy.Len() != want {
			t.Fatalf("after %d: %d wait, want %d", i+1, w.p.lead.log.lazy.Len(), want)
		}
	}
	if n := w.p.lead.log.queue.Len(); n != lazyMax {
		t.Errorf("%d are to be proposed, want %d", n, lazyMax)
	}
}

// Claims are bounded; beyond that a read does without.
func TestClaimsAreBounded(t *testing.T) {
	w := ledWorld(t, Options{RequestsMax: 2})
	for i := range 4 {
		q := &kv.Read{Keys: []kv.Key{{'k', byte(i)}}, Claim: kv.Age(testID(i + 1))}
		if _, err := w.ask(&kv.Request{Read: q}); err != nil {
			t.Fatal(err)
		}
		if want := min(i+1, 2); w.p.lead.transactions.claims.Len() != want {
			t.Errorf("%d claims after %d, want %d", w.p.lead.transactions.claims.Len(), i+1, want)
		}
	}
}
