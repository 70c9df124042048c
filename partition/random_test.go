package partition

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// walk is a random history of one partition: clients with late copies and lost answers,
// draws and reads that take their time, entries that are committed, applied or lost, changes
// of the leader, windows, horizons and collected garbage. Everything comes from the seed.
type walk struct {
	*world
	*history
	rng    *rand.Rand
	keys   []kv.Key
	span   kv.Span
	oracle kv.Timestamp

	batches  []*batch
	executed []executedRead
	messages []func()
	waiting  map[RequestID]*op
	canceled map[RequestID]bool
	order    []RequestID // keys of waiting, in order
	requests RequestID
	ids      int
	old      kv.Timestamp // an older value of heard
	// collected is the G up to which garbage was collected.
	collected kv.Timestamp
	sent      []*kv.Commit
}

// batch is the draws of one turn: they travel together (rule B1).
type batch struct {
	tokens []uint64
	first  kv.Timestamp // 0: not yet assigned
}

type executedRead struct {
	task *ReadTask
	res  *ReadResult
}

func newWalk(t testing.TB, e *mvcc.Engine, seed uint64) *walk {
	prefix := fmt.Sprintf("h%012d/", seed)
	w := &walk{
		history: newHistory(), rng: rand.New(rand.NewPCG(seed, 77)), waiting: map[RequestID]*op{}, canceled: map[RequestID]bool{},
		span: kv.Span{Start: kv.Key(prefix), End: kv.PrefixEnd([]byte(prefix))}, oracle: kv.MakeTimestamp(1_000_000, 0),
	}
	for _, k := range []string{"a", "b", "c"} {
		w.keys = append(w.keys, kv.Key(prefix+k))
	}
	w.world = newWorldOn(t, e, w.span, Options{SeenWindow: time.Second})
	w.heard, w.old = w.oracle, w.oracle
	w.onReply = w.replied
	w.lead(2)
	return w
}

func (w *walk) chance(n int) bool { return w.rng.IntN(n) == 0 }

func (w *walk) key() kv.Key { return w.keys[w.rng.IntN(len(w.keys))] }

// ---- clients

func (w *walk) newCommit() *kv.Commit {
	w.ids++
	q := &kv.Commit{ID: kv.TxID{0: 1, 14: byte(w.ids >> 8), 15: byte(w.ids)}, Term: w.term, AsOf: w.heard}
	if w.chance(8) {
		q.AsOf = w.old
	}
	if w.chance(12) {
		q.Term--
	}
	first := w.rng.IntN(len(w.keys))
	for i := range 1 + w.rng.IntN(5)/4 + w.rng.IntN(5)/4 {
		q.Writes = append(q.Writes, w.newWrite(w.keys[(first+i)%len(w.keys)]))
	}
	if w.chance(4) {
		q.Start = w.heard
		if w.chance(3) {
			q.Start = w.old
		}
		if w.chance(2) {
			q.Reads = append(q.Reads, kv.ReadMark{Key: w.key()})
		} else {
			k := w.key()
			q.Spans = append(q.Spans, kv.Span{Start: k, End: w.span.End})
		}
		if w.chance(5) {
			q.Writes = nil
		}
	}
	return q
}

func (w *walk) newWrite(k kv.Key) kv.Write {
	x := kv.Write{Kind: kv.WritePut, Key: k, Value: fmt.Append(nil, w.rng.IntN(100))}
	switch w.rng.IntN(8) {
	case 0:
		x.Kind, x.Value = kv.WriteDelete, nil
	case 1:
		x.Kind, x.Value, x.Delta = kv.WriteAdd, nil, int64(1+w.rng.IntN(9))
	case 2:
		x.Expect.Kind = kv.ExpectAbsent
	case 3:
		x.Expect = kv.Expect{Kind: kv.ExpectValue, Value: fmt.Append(nil, w.rng.IntN(4))}
	}
	return x
}

func (w *walk) send(o *op, req *kv.Request) {
	w.requests++
	id := w.requests
	w.messages = append(w.messages, func() {
		w.waiting[id] = o
		w.order = append(w.order, id)
		w.p.Request(id, req)
	})
}

func (w *walk) sendCommit(o *op) { w.send(o, &kv.Request{Commit: o.commit}) }

func (w *walk) sendOutcome(o *op) {
	q := o.commit
	if len(q.Writes) > 0 {
		w.send(o, &kv.Request{Outcome: &kv.OutcomeOf{ID: q.ID, Term: q.Term, AsOf: q.AsOf, Anchor: q.Writes[0].Key}})
	}
}

func (w *walk) startOp() {
	switch w.rng.IntN(6) {
	case 0, 1, 2:
		q := w.newCommit()
		w.sent = append(w.sent, q)
		o := w.began(&op{commit: q})
		w.sendCommit(o)
		if w.chance(4) {
			w.sendCommit(o) // a copy that may come much later
		}
	case 3:
		q := &kv.Read{Keys: []kv.Key{w.key()}}
		w.send(w.began(&op{read: q}), &kv.Request{Read: q})
	case 4:
		q := &kv.Read{Keys: w.keys}
		if w.chance(2) {
			q.Timestamp = w.old
		}
		w.send(w.began(&op{read: q}), &kv.Request{Read: q})
	case 5:
		q := &kv.Scan{Span: w.span}
		if w.chance(3) {
			q.Timestamp = w.old
		}
		w.send(w.began(&op{scan: q}), &kv.Request{Scan: q})
	}
}

// replied is a client that gets an answer, unless it is lost.
func (w *walk) replied(id RequestID, resp *kv.Response, err *kv.Error) {
	o := w.waiting[id]
	if o == nil {
		if !w.canceled[id] {
			w.fail("request %d is answered twice", id)
		}
		return
	}
	delete(w.waiting, id)
	if w.chance(15) {
		return // lost on the way; a client that insists has sent copies
	}
	switch {
	case o.commit != nil:
		w.commitReplied(o, resp, err)
	case err == nil:
		o.resp = resp
		w.ended(o)
	case err.Kind != kv.NotLeader && err.Kind != kv.Unavailable && err.Kind != kv.TooOld:
		w.fail("a read is answered %v", err)
	}
}

func (w *walk) commitReplied(o *op, resp *kv.Response, err *kv.Error) {
	switch {
	case err == nil && resp.Outcome == kv.OutcomeAborted:
		w.tell(o, kv.OutcomeAborted, 0, nil)
		return
	case err == nil:
		w.tell(o, kv.OutcomeCommitted, resp.Timestamp, resp.Sums)
		return
	}
	switch err.Kind {
	case kv.Expectation, kv.Invalid:
		w.tell(o, kv.OutcomeAborted, 0, nil)
		if err.Kind == kv.Expectation && o.refused == nil {
			o.refused = err
		}
	case kv.StaleTerm, kv.Conflict, kv.Aborted, kv.TooOld:
		w.overtakenBy(o, err)
		if len(o.commit.Writes) > 0 {
			w.tell(o, kv.OutcomeAborted, 0, nil)
		}
	case kv.NotLeader, kv.Ambiguous, kv.Unavailable:
		switch w.rng.IntN(3) {
		case 0:
			w.sendCommit(o)
		case 1:
			w.sendOutcome(o)
		}
	case kv.Expired:
	default:
		w.fail("a commit is answered %v", err)
	}
}

// ---- the world around

func (w *walk) draw() kv.Timestamp {
	w.oracle += kv.Timestamp(1+w.rng.IntN(100)) << kv.TimestampCounterBits
	return w.oracle
}

func (w *walk) endTurn() {
	if len(w.world.draws) > 0 {
		w.batches = append(w.batches, &batch{tokens: w.world.draws})
		w.world.draws = nil
	}
	w.trace = w.trace[:0]
}

func (w *walk) stepBatch() {
	i := w.rng.IntN(len(w.batches))
	b := w.batches[i]
	if b.first == 0 {
		b.first = w.draw()
		w.oracle += kv.Timestamp(len(b.tokens))
		return
	}
	w.batches = append(w.batches[:i:i], w.batches[i+1:]...)
	for j, token := range b.tokens {
		w.drawn(token, b.first+kv.Timestamp(j))
	}
}

func (w *walk) stepRead() {
	if len(w.reads) > 0 && (len(w.executed) == 0 || w.chance(2)) {
		t := w.takeRead(w.rng.IntN(len(w.reads)))
		w.executed = append(w.executed, executedRead{t, w.execute(t)})
		return
	}
	i := w.rng.IntN(len(w.executed))
	x := w.executed[i]
	w.executed = append(w.executed[:i:i], w.executed[i+1:]...)
	w.finish(x.task, x.res)
}

func (w *walk) changeLeader() {
	if _, leads := w.p.Leading(); leads {
		w.depose(w.rng.IntN(len(w.inflight) + 1))
		return
	}
	w.lead(w.term + 1)
}

func (w *walk) rare() {
	_, leads := w.p.Leading()
	switch w.rng.IntN(10) {
	case 0, 1:
		w.changeLeader()
	case 2:
		if n := len(w.order); n > 0 {
			id := w.order[w.rng.IntN(n)]
			if w.waiting[id] != nil {
				delete(w.waiting, id)
				w.canceled[id] = true // an answer may be under way, with a serving task
				w.p.Cancel(id)
			}
		}
	case 3, 4:
		if len(w.sent) > 0 {
			w.sendCommit(w.byID[w.sent[w.rng.IntN(len(w.sent))].ID])
		}
	case 5, 6:
		if len(w.sent) > 0 {
			w.sendOutcome(w.byID[w.sent[w.rng.IntN(len(w.sent))].ID])
		}
	case 7:
		w.old = w.heard
	case 8:
		if leads {
			w.p.Tick()
		}
	case 9:
		w.retain()
	}
}

// retain moves time forward by more than outcomes are kept for, and H and G after it.
func (w *walk) retain() {
	if w.chance(2) {
		w.oracle += kv.Timestamp(kv.OutcomeHorizon.Milliseconds()-1000) << kv.TimestampCounterBits
		w.heard = w.draw()
	}
	if h := w.heard.UnixMillis() - kv.OutcomeHorizon.Milliseconds(); h > 0 {
		w.p.ProposeHorizon(kv.MakeTimestamp(h, 0))
		w.p.ProposeGC(kv.MakeTimestamp(h-int64(w.rng.IntN(1000)), 0))
	}
}

func (w *walk) collect() {
	if st := w.machine.State(); st.GC > w.collected {
		w.collected = st.GC
		_, err := w.engine.CollectGarbage(mvcc.GCArgs{Span: w.span, Threshold: st.GC, Full: true})
		w.must(err)
	}
}

func (w *walk) step() {
	switch w.rng.IntN(16) {
	case 0, 1:
		if len(w.waiting) < 8 {
			w.startOp()
		}
	case 2, 3, 4, 5:
		if len(w.messages) > 0 {
			i := w.rng.IntN(len(w.messages))
			m := w.messages[i]
			w.messages = append(w.messages[:i:i], w.messages[i+1:]...)
			m()
		}
	case 6, 7, 8:
		if len(w.batches) > 0 {
			w.stepBatch()
		}
	case 9, 10, 11:
		if len(w.reads)+len(w.executed) > 0 {
			w.stepRead()
		}
	case 12:
		w.take(1 + w.rng.IntN(200))
	case 13:
		if _, leads := w.p.Leading(); leads && len(w.inflight) > 0 {
			w.commit()
		}
	case 14:
		if w.applied < len(w.log) {
			w.applyTo(w.applied + 1 + w.rng.IntN(len(w.log)-w.applied))
			w.collect()
		}
	case 15:
		if w.chance(2) {
			w.rare()
		}
	}
	if w.chance(2) {
		w.endTurn()
	}
}

// settle lets everything finish: whoever waits is answered.
func (w *walk) settle() {
	if _, leads := w.p.Leading(); !leads {
		w.lead(w.term + 1)
	}
	for range 10_000 {
		w.endTurn()
		switch {
		case len(w.messages) > 0:
			m := w.messages[0]
			w.messages = w.messages[1:]
			m()
		case len(w.batches) > 0:
			w.stepBatch()
		case len(w.reads)+len(w.executed) > 0:
			w.stepRead()
		case w.take(1<<20) != nil:
		case len(w.inflight) > 0:
			w.commit()
		case w.applied < len(w.log):
			w.applyTo(len(w.log))
		default:
			return
		}
	}
	w.fail("it does not come to rest")
}

// leftovers is what should be gone once everything has finished.
func (w *walk) leftovers() string {
	for _, id := range w.order {
		if w.waiting[id] != nil {
			return fmt.Sprintf("request %d was never answered", id)
		}
	}
	commands, bytes := w.p.Inflight()
	l := w.p.lead
	if commands != 0 || bytes != 0 || w.p.Waiting() != 0 || l.table.Len() != 0 || l.table.Waiting() != 0 || l.bytes != 0 {
		return fmt.Sprintf("left over: %d commands, %d bytes, %d requests, %d keys, %d guards, %d bytes admitted",
			commands, bytes, w.p.Waiting(), l.table.Len(), l.table.Waiting(), l.bytes)
	}
	return ""
}

// runWalk is the problem that clients see in the history of a seed, "" if there is none, and
// what is left over after it. A broken invariant is a problem.
func runWalk(t testing.TB, e *mvcc.Engine, seed uint64, steps int) (problem, leftovers string) {
	w := newWalk(t, e, seed)
	defer func() {
		if r := recover(); r != nil {
			problem = fmt.Sprint(r)
		}
	}()
	for range steps {
		w.step()
	}
	w.settle()
	w.judge(w.log)
	return w.problem, w.leftovers()
}

const walkSteps = 600

var (
	walksFlag = flag.Uint64("walks", 800, "number of random histories")
	firstFlag = flag.Uint64("first", 0, "seed of the first random history")
)

func TestRandomHistories(t *testing.T) {
	walks := *walksFlag
	if testing.Short() {
		walks = min(walks, 100)
	}
	e := newEngine(t)
	for seed := *firstFlag; seed < *firstFlag+walks; seed++ {
		if problem, leftovers := runWalk(t, e, seed, walkSteps); problem+leftovers != "" {
			t.Fatalf("seed %d: %s %s", seed, problem, leftovers)
		}
	}
}

// TestConflictsNameWhoWasInTheWay: some do; the histories check that it is true.
func TestConflictsNameWhoWasInTheWay(t *testing.T) {
	e := newEngine(t)
	named, pending := 0, 0
	for seed := uint64(0); seed < 100; seed++ {
		w := newWalk(t, e, seed)
		for range walkSteps {
			w.step()
		}
		w.settle()
		if w.problem != "" {
			t.Fatalf("seed %d: %s", seed, w.problem)
		}
		named, pending = named+w.named, pending+w.pending
	}
	if named == pending || pending == 0 {
		t.Errorf("%d conflicts say who was in the way, %d of them by a pending version: both must occur", named, pending)
	}
}
