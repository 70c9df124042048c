package partition

import (
	"reflect"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

const ms = kv.Instant(time.Millisecond)

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// answers are what a world's requests were answered, by id.
func (w *world) answers() map[RequestID]*kv.Response {
	all := map[RequestID]*kv.Response{}
	w.onReply = func(id RequestID, r *kv.Response, e *kv.Error) {
		if e != nil {
			w.t.Errorf("r%d: %v", id, e)
		}
		all[id] = r
	}
	return all
}

// answerDraw answers the oldest draw at a moment.
func (w *world) answerDraw(at kv.Instant) {
	w.now = at
	w.drawn(w.draws[0], w.heard+1)
}

// agree has everything queued committed at one moment, and applied at another.
func (w *world) agree(committed, applied kv.Instant) {
	w.takeAll()
	w.now = committed
	for len(w.inflight) > 0 {
		w.commit()
	}
	w.now = applied
	w.applyTo(len(w.log))
}

// readOne executes the oldest read, and says that it took so long.
func (w *world) readOne(took time.Duration) *ReadTask {
	t := w.takeRead(0)
	r := w.execute(t)
	r.Took = took
	t.Tell(r)
	w.finish(t, r)
	return t
}

// TestTimingOfACommit: a commit that waits for the latch of another, is evaluated, draws and is agreed on.
func TestTimingOfACommit(t *testing.T) {
	w := ledWorld(t, Options{})
	got := w.answers()
	w.p.Request(1, &kv.Request{Commit: put(1, "k", "v")})
	q := put(2, "k", "")
	q.Writes[0] = kv.Write{Kind: kv.WriteAdd, Key: kv.Key("l"), Delta: 1}
	q.Writes = append(q.Writes, kv.Write{Kind: kv.WriteDelete, Key: kv.Key("k")})
	w.now = 3 * ms
	w.p.Request(2, &kv.Request{Commit: q, Trace: true})
	w.answerDraw(10 * ms) // the first one's: the second has its latches now
	w.now = 14 * ms
	if task := w.readOne(millis(2)); !task.Timed() || task.Serve {
		t.Fatalf("%+v", task)
	}
	w.answerDraw(20 * ms)
	w.agree(50*ms, 90*ms)
	want := &kv.Timing{Spent: kv.Spent{LockWait: millis(7), Draw: millis(6), Consensus: millis(30), Storage: millis(2)}}
	if !reflect.DeepEqual(got[2].Timing, want) || got[1].Timing != nil {
		t.Errorf("%+v and %+v, want none and %+v", got[1].Timing, got[2].Timing, want)
	}
	if resp, err := w.ask(&kv.Request{Commit: q, Trace: true}); err != nil || !reflect.DeepEqual(resp.Timing, want) {
		t.Errorf("another copy: %+v, %v", resp, err)
	}
}

// prepareOf is what a transaction anchored elsewhere asks of a participant.
func prepareOf(id int, key string) *kv.Prepare {
	return &kv.Prepare{
		Attempt: kv.Attempt{ID: testID(id), Term: 1, AsOf: 1, Partition: testPartition + 1, Anchor: kv.Key("a")},
		Writes:  []kv.Write{{Kind: kv.WritePut, Key: kv.Key(key), Expect: kv.Expect{Kind: kv.ExpectAbsent}}},
	}
}

// TestTimingOfAPrepare: a participant's is until its locks are committed. What waits for a lock, waits.
func TestTimingOfAPrepare(t *testing.T) {
	w := ledWorld(t, Options{})
	got := w.answers()
	w.p.Request(1, &kv.Request{Prepare: prepareOf(1, "k")})
	w.readOne(0)
	w.agree(0, 0)
	w.now = 5 * ms
	w.p.Request(2, &kv.Request{Prepare: prepareOf(2, "k"), Trace: true})
	w.now = 12 * ms
	w.p.Request(3, &kv.Request{Resolve: &kv.Resolve{ID: testID(1)}})
	w.agree(20*ms, 25*ms)
	w.readOne(millis(1))
	w.now = 26 * ms
	w.agree(30*ms, 37*ms)
	want := &kv.Timing{Spent: kv.Spent{LockWait: millis(20), Consensus: millis(5), Storage: millis(1)}}
	if !reflect.DeepEqual(got[2].Timing, want) || got[1].Timing != nil || got[3].Timing != nil {
		t.Errorf("%+v, %+v and %+v, want only %+v", got[1].Timing, got[2].Timing, got[3].Timing, want)
	}
	w.p.Request(4, &kv.Request{Prepare: prepareOf(2, "k"), Trace: true})
	if !reflect.DeepEqual(got[4].Timing, want) {
		t.Errorf("another copy: %+v", got[4].Timing)
	}
}

// TestTimingOfTwoPhases: an anchor tells what each participant has told it, and how long that took; it waits
// for them on nobody's account. Who does not ask has nobody asked.
func TestTimingOfTwoPhases(t *testing.T) {
	for _, traced := range []bool{true, false} {
		w := ledWorld(t, Options{})
		got := w.answers()
		q := put(1, "k", "v")
		for p := range kv.PartitionID(2) {
			q.Parts = append(q.Parts, kv.Part{Partition: testPartition + 1 + p, Writes: []kv.Write{{Kind: kv.WritePut, Key: kv.Key("zz")}}})
		}
		w.now = ms
		w.p.Request(1, &kv.Request{Commit: q, Trace: traced})
		for _, c := range w.calls {
			if c.req.Trace != traced {
				t.Errorf("traced %t: %+v", traced, c.req)
			}
		}
		told := &kv.Timing{Node: 7, Spent: kv.Spent{LockWait: millis(3), Consensus: millis(4)}}
		if !traced {
			told = nil
		}
		w.now = 11 * ms
		w.p.Answered(w.calls[1].token, &kv.Response{Timing: told}, nil)
		w.now = 21 * ms
		w.p.Answered(w.calls[0].token, &kv.Response{}, nil) // of an acknowledgement before, perhaps
		w.answerDraw(30 * ms)
		w.agree(40*ms, 50*ms)
		want := &kv.Timing{Spent: kv.Spent{Draw: millis(9), Consensus: millis(10)}, Parts: []kv.PartTiming{
			{Partition: testPartition + 1, Elapsed: millis(20)},
			{Partition: testPartition + 2, Node: 7, Elapsed: millis(10), Spent: kv.Spent{LockWait: millis(3), Consensus: millis(4)}},
		}}
		if !traced {
			want = nil
		}
		if !reflect.DeepEqual(got[1].Timing, want) {
			t.Errorf("%+v, want %+v", got[1].Timing, want)
		}
	}
}

// TestTimingOfRefusedPhases: a commit that a participant refuses tells who had answered, and what they had waited
// for. Who could not be asked has not answered.
func TestTimingOfRefusedPhases(t *testing.T) {
	w := ledWorld(t, Options{Node: 4})
	var refusal *kv.Error
	w.onReply = func(_ RequestID, _ *kv.Response, e *kv.Error) { refusal = e }
	q := put(1, "k", "v")
	for p := range kv.PartitionID(3) {
		q.Parts = append(q.Parts, kv.Part{Partition: testPartition + 1 + p, Writes: []kv.Write{{Kind: kv.WritePut, Key: kv.Key("zz")}}})
	}
	w.p.Request(1, &kv.Request{Commit: q, Trace: true})
	w.now = 4 * ms
	w.p.Answered(w.calls[0].token, &kv.Response{Timing: &kv.Timing{Node: 7, Spent: kv.Spent{Consensus: millis(2)}}}, nil)
	w.p.Answered(w.calls[1].token, nil, kv.Errorf(kv.Unavailable, "down"))
	w.now = 9 * ms
	w.p.Answered(w.calls[2].token, nil, &kv.Error{Kind: kv.Conflict, Partition: testPartition + 3, Timing: &kv.Timing{Node: 8, Spent: kv.Spent{LockWait: millis(5)}}})
	want := &kv.Timing{Node: 4, Parts: []kv.PartTiming{
		{Partition: testPartition + 1, Node: 7, Elapsed: millis(4), Spent: kv.Spent{Consensus: millis(2)}},
		{Partition: testPartition + 2},
		{Partition: testPartition + 3, Node: 8, Elapsed: millis(9), Spent: kv.Spent{LockWait: millis(5)}},
	}}
	if refusal == nil || refusal.Kind != kv.Conflict || refusal.Partition != testPartition+3 || !reflect.DeepEqual(refusal.Timing, want) {
		t.Fatalf("%+v, want %+v", refusal, want)
	}
	if p := refusal.Timing.Parts; !p[0].Answered() || p[1].Answered() || !p[2].Answered() {
		t.Errorf("who has answered: %+v", p)
	}
}

// TestTimingOfARefusedPrepare: a participant that refuses tells what it has waited for.
func TestTimingOfARefusedPrepare(t *testing.T) {
	w := ledWorld(t, Options{Node: 4})
	var refusal *kv.Error
	w.onReply = func(id RequestID, _ *kv.Response, e *kv.Error) {
		if id == 2 {
			refusal = e
		}
	}
	w.p.Request(1, &kv.Request{Prepare: prepareOf(1, "k")})
	w.readOne(0)
	w.agree(0, 0)
	q := prepareOf(2, "k")
	q.Writes[0].Expect = kv.Expect{Kind: kv.ExpectValue, Value: []byte("x")}
	w.p.Request(2, &kv.Request{Prepare: q, Trace: true})
	w.now = 12 * ms
	w.p.Request(3, &kv.Request{Resolve: &kv.Resolve{ID: testID(1)}})
	w.agree(20*ms, 25*ms)
	w.readOne(millis(1))
	w.agree(30*ms, 37*ms)
	if want := (&kv.Timing{Node: 4, Spent: kv.Spent{LockWait: millis(25), Storage: millis(1)}}); refusal == nil || refusal.Kind != kv.Expectation || !reflect.DeepEqual(refusal.Timing, want) {
		t.Errorf("%+v, want %+v", refusal, want)
	}
	q = prepareOf(3, "k2")
	w.p.Request(2, &kv.Request{Prepare: q, Trace: true})
	w.now = 40 * ms
	w.p.Request(4, &kv.Request{Resolve: &kv.Resolve{ID: q.ID}}) // it is aborted before the engine has answered
	if want := (&kv.Timing{Node: 4}); refusal == nil || refusal.Kind != kv.Aborted || !reflect.DeepEqual(refusal.Timing, want) {
		t.Errorf("%+v, want %+v", refusal, want)
	}
}

// TestTimingInParallel: a participant's is until its locks are in memory, and stays what it was told to be; in the
// second round it tells of both. The anchor's consensus is that of its own part; of the others it tells how long each took to
// become durable.
func TestTimingInParallel(t *testing.T) {
	w := ledWorld(t, Options{Commit: Parallel, Node: 4})
	got := w.answers()
	q := prepareOf(1, "k")
	q.InMemory = true
	w.p.Request(1, &kv.Request{Prepare: q, Trace: true})
	w.now = 2 * ms
	w.readOne(millis(1))
	w.now = 12 * ms
	stage := &kv.Stage{ID: q.ID, AsOf: 1, Commit: w.heard + 1, Term: 2}
	w.p.Request(2, &kv.Request{Stage: stage})
	w.agree(20*ms, 25*ms)
	w.p.Request(3, &kv.Request{Stage: stage})
	if want := (&kv.Timing{Node: 4, Spent: kv.Spent{Storage: millis(1)}}); !reflect.DeepEqual(got[1].Timing, want) {
		t.Errorf("%+v, want %+v", got[1].Timing, want)
	}
	for _, id := range []RequestID{2, 3} {
		if want := (&kv.Timing{Node: 4, Spent: kv.Spent{Storage: millis(1), Consensus: millis(13)}}); !reflect.DeepEqual(got[id].Timing, want) {
			t.Errorf("r%d: %+v, want %+v", id, got[id].Timing, want)
		}
	}
}

// TestTimingOfStages: the anchor's part of it. A part that is never staged is not told of.
func TestTimingOfStages(t *testing.T) {
	first, both := kv.Spent{LockWait: millis(1)}, kv.Spent{LockWait: millis(1), Consensus: millis(2)}
	for never, want := range map[bool]kv.PartTiming{
		false: {Partition: testPartition + 1, Node: 7, Elapsed: millis(5), Staged: millis(30), Spent: both},
		true:  {Partition: testPartition + 1, Node: 7, Elapsed: millis(5), Spent: first},
	} {
		w := ledWorld(t, Options{Commit: Parallel})
		var told *kv.Timing
		w.onReply = func(_ RequestID, r *kv.Response, e *kv.Error) {
			if e != nil {
				told = e.Timing
			} else {
				told = r.Timing
			}
		}
		q := put(1, "l", "v")
		q.Parts = []kv.Part{{Partition: testPartition + 1, Writes: []kv.Write{{Kind: kv.WritePut, Key: kv.Key("zz")}}}}
		w.p.Request(1, &kv.Request{Commit: q, Trace: true})
		w.now = 5 * ms
		w.p.Answered(w.calls[0].token, &kv.Response{Term: 9, Timing: &kv.Timing{Node: 7, Spent: first}}, nil)
		w.answerDraw(10 * ms)
		w.agree(20*ms, 30*ms)
		w.now = 40 * ms
		if never {
			w.p.Answered(w.calls[1].token, nil, kv.Errorf(kv.Aborted, "never"))
			w.agree(45*ms, 50*ms)
		} else {
			w.p.Answered(w.calls[1].token, &kv.Response{Term: 9, Timing: &kv.Timing{Node: 7, Spent: both}}, nil)
		}
		if spent := (kv.Spent{Draw: millis(5), Consensus: millis(10)}); told == nil || told.Spent != spent || len(told.Parts) != 1 || told.Parts[0] != want {
			t.Errorf("never %t: %+v, want %+v and %+v", never, told, spent, want)
		}
	}
}

// TestTimingOfReads: a read draws, waits for writes under way, reads, and may have to prove that it was led.
func TestTimingOfReads(t *testing.T) {
	w := ledWorld(t, Options{})
	got := w.answers()
	w.p.Request(1, &kv.Request{Commit: put(1, "k", "v")})
	w.now = 2 * ms
	w.p.Request(2, &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}, Trace: true})
	w.p.Request(3, &kv.Request{Scan: &kv.Scan{Span: w.desc.Span}, Trace: true})
	w.p.Request(4, &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}})
	w.answerDraw(5 * ms)
	w.answerDraw(6 * ms)
	w.agree(20*ms, 30*ms)
	for len(w.reads) > 0 {
		w.reads[0].Proven(millis(100))
		w.readOne(millis(1))
	}
	want := map[RequestID]*kv.Timing{
		2: {Spent: kv.Spent{LockWait: millis(28), Consensus: millis(100), Storage: millis(1)}},
		3: {Spent: kv.Spent{Draw: millis(4), LockWait: millis(24), Consensus: millis(100), Storage: millis(1)}},
		1: nil, 4: nil,
	}
	for id, timing := range want {
		if !reflect.DeepEqual(got[id].Timing, timing) {
			t.Errorf("r%d: %+v, want %+v", id, got[id].Timing, timing)
		}
	}
}

// TestTimingOfRefusals: what a commit has waited for when it is refused, whatever for.
func TestTimingOfRefusals(t *testing.T) {
	w := ledWorld(t, Options{WaitMax: time.Second})
	refusals := map[RequestID]*kv.Error{}
	w.onReply = func(id RequestID, _ *kv.Response, e *kv.Error) { refusals[id] = e }
	w.p.Request(1, &kv.Request{Commit: put(1, "k", "v")}) // holds its latch, and never gets its timestamp
	late := put(2, "k", "v")
	w.p.Request(2, &kv.Request{Commit: late, Trace: true})
	drawing := put(3, "l", "v")
	w.now = 10 * ms
	w.p.Request(3, &kv.Request{Commit: drawing, Trace: true})
	absent := put(4, "m", "v")
	absent.Writes[0].Expect = kv.Expect{Kind: kv.ExpectValue, Value: []byte("x")}
	w.p.Request(4, &kv.Request{Commit: absent, Trace: true})
	plain := put(5, "n", "v")
	plain.Writes[0].Expect = absent.Writes[0].Expect
	w.p.Request(5, &kv.Request{Commit: plain})
	w.now = 30 * ms
	for len(w.reads) > 0 {
		w.readOne(millis(3))
	}
	w.now = 2000 * ms
	w.p.Tick()
	for id, want := range map[RequestID]kv.Spent{2: {LockWait: millis(2000)}, 3: {Draw: millis(1990)}, 4: {Storage: millis(3)}} {
		if e := refusals[id]; e == nil || e.Timing == nil || e.Timing.Spent != want {
			t.Errorf("r%d: %+v, want %+v", id, e, want)
		}
	}
	for _, id := range []RequestID{1, 5} {
		if e := refusals[id]; e == nil || e.Timing != nil {
			t.Errorf("r%d, who has not asked: %+v", id, e)
		}
	}
}

// TestTimingOfRefusedReads: what a read has waited for when it ends without an answer.
func TestTimingOfRefusedReads(t *testing.T) {
	w := ledWorld(t, Options{WaitMax: time.Second})
	refusals := map[RequestID]*kv.Error{}
	w.onReply = func(id RequestID, _ *kv.Response, e *kv.Error) { refusals[id] = e }
	w.p.Request(1, &kv.Request{Commit: put(1, "k", "v")})
	w.now = 2 * ms
	read := func(key string, at kv.Timestamp) *kv.Read {
		return &kv.Read{Keys: []kv.Key{kv.Key(key)}, Timestamp: at}
	}
	w.p.Request(2, &kv.Request{Read: read("k", 0), Trace: true}) // waits for the write
	future := w.heard + 1000
	w.p.Request(3, &kv.Request{Read: read("l", future), Trace: true})
	w.p.Request(4, &kv.Request{Scan: &kv.Scan{Span: w.desc.Span}, Trace: true})
	w.p.Request(5, &kv.Request{Read: read("l", future)})
	w.now = 12 * ms
	w.drawn(w.draws[1], w.heard+1)
	w.drawn(w.draws[2], w.heard+1)
	w.now = 2000 * ms
	w.p.Tick()
	for id, want := range map[RequestID]kv.Spent{2: {LockWait: millis(1998)}, 3: {Draw: millis(10)}, 4: {Draw: millis(1998)}} {
		if e := refusals[id]; e == nil || e.Timing == nil || e.Timing.Spent != want {
			t.Errorf("r%d: %+v, want %+v", id, e, want)
		}
	}
	if e := refusals[5]; e == nil || e.Timing != nil {
		t.Errorf("r5, who has not asked: %+v", e)
	}
	w.p.Request(7, &kv.Request{Commit: put(7, "k", "v")})
	w.p.Request(6, &kv.Request{Read: read("k", 0), Trace: true})
	w.now = 2003 * ms
	w.p.Unlead(3, 3)
	if e := refusals[6]; e == nil || e.Kind != kv.NotLeader || e.Timing == nil || e.Timing.LockWait != millis(3) {
		t.Errorf("when the leadership ends: %+v", e)
	}
}

// TestTimingOfACheck: a commit without writes is answered like a read, and tells the same as others.
func TestTimingOfACheck(t *testing.T) {
	w := ledWorld(t, Options{})
	q := &kv.Commit{ID: testID(1), Term: 2, AsOf: 1, Start: 3, Reads: []kv.ReadMark{{Key: kv.Key("k")}}}
	if resp, err := w.ask(&kv.Request{Commit: q, Trace: true}); err != nil || resp.Timing == nil {
		t.Errorf("%+v, %v", resp, err)
	}
}

// TestTimingAtAFollower: the wait for anchors counts, and stays when the read is made again.
func TestTimingAtAFollower(t *testing.T) {
	q := &kv.Request{Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}, Trace: true}
	task := FollowerTask(1, q, 3, 5, 1, 1)
	again := *task
	again.Waited(millis(4))
	res := &ReadResult{Response: &kv.Response{}, Took: millis(1)}
	again.Tell(res)
	if want := (kv.Spent{LockWait: millis(4), Storage: millis(1)}); !task.Timed() || res.Response.Timing.Spent != want {
		t.Errorf("%+v, want %+v", res.Response.Timing, want)
	}
	q.Trace = false
	plain := FollowerTask(1, q, txn.Strong, 5, 1, 1)
	plain.Waited(millis(4))
	plain.Proven(millis(4))
	res = &ReadResult{Response: &kv.Response{}}
	if plain.Tell(res); plain.Timed() || res.Response.Timing != nil {
		t.Error("nobody has asked")
	}
	refusal := kv.Errorf(kv.Invalid, "no")
	res = &ReadResult{Err: refusal, Took: millis(2)}
	if task.Tell(res); refusal.Timing != nil || res.Err.Timing == nil || res.Err.Timing.Spent != (kv.Spent{LockWait: millis(4), Storage: millis(2)}) {
		t.Errorf("a refusal that the engine's state asked for: %+v", res.Err)
	}
	if e := task.Refuse(refusal, nil); e.Timing == nil || e.Timing.Spent != (kv.Spent{LockWait: millis(4)}) || plain.Refuse(refusal, nil) != refusal {
		t.Errorf("a refusal by the node: %+v", e)
	}
}
