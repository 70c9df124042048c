package partition

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/txn"
)

// world is one replica with everything around a Partition: an engine, a log that commits and
// applies what it is told to, draws and reads that wait to be answered. Its trace is the
// effects, in order.
type world struct {
	t       testing.TB
	p       *Partition
	machine *Machine
	engine  *mvcc.Engine
	desc    *kv.Descriptor

	now   kv.Instant
	heard kv.Timestamp
	trace []string

	draws    []uint64 // tokens asked for and not answered
	reads    []*ReadTask
	calls    []worldCall // to other partitions, not answered
	inflight [][]byte    // entries proposed in this term
	log      []logEntry
	applied  int // entries of log
	term     kv.Term
	slowly   bool // what is locked is not read at once

	onReply func(id RequestID, resp *kv.Response, err *kv.Error)
}

type worldCall struct {
	token uint64
	req   *kv.Request
}

type logEntry struct {
	term kv.Term
	data []byte
}

const testPartition kv.PartitionID = 7

func newEngine(t testing.TB) *mvcc.Engine {
	e, err := mvcc.Open(mvcc.Options{Dir: "state", FS: mvcc.NewMemFS(), CacheBytes: 1 << 20, MemTableBytes: 4 << 20, Deterministic: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func newWorld(t testing.TB, opts Options) *world {
	return newWorldOn(t, newEngine(t), kv.Span{Start: kv.Key("a"), End: kv.Key("z")}, opts)
}

// newWorldOn makes a partition of a span in which nothing was ever written.
func newWorldOn(t testing.TB, e *mvcc.Engine, span kv.Span, opts Options) *world {
	w := &world{t: t, engine: e}
	w.desc = &kv.Descriptor{
		Partition: testPartition, Keyspace: 1, Span: span, Generation: 1,
		Replicas: []kv.Replica{{ID: 1, Node: 1, Role: kv.RoleVoter}}, NextReplica: 2,
	}
	w.machine = NewMachine(&mvcc.ReplicaState{Replica: 1, Applied: 1, AppliedTerm: 1, Descriptor: *w.desc})
	b := e.NewBatch()
	w.must(b.SetReplicaState(testPartition, w.machine.State()))
	w.must(b.Commit())
	w.p = New(testPartition, opts, w)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) say(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// flush is the trace since the last flush.
func (w *world) flush() string {
	s := strings.Join(w.trace, "\n")
	w.trace = nil
	if s == "" {
		return "-\n"
	}
	return s + "\n"
}

// ---- Sink

func (w *world) Draw(_ *Partition, token uint64) {
	w.draws = append(w.draws, token)
	w.say("draw #%d", token)
}

func (w *world) Call(_ *Partition, token uint64, to kv.PartitionID, req *kv.Request) {
	w.calls = append(w.calls, worldCall{token, req})
	w.say("call #%d to p%d: %s", token, to, describeCall(req))
}

func (w *world) Read(t *ReadTask) {
	if t.Restore != nil && !w.slowly {
		w.p.ReadDone(t, w.execute(t))
		return
	}
	w.reads = append(w.reads, t)
	w.say("read %s", describe(t))
}

func (w *world) Reply(id RequestID, resp *kv.Response, err *kv.Error) {
	w.say("r%d: %s", id, answer(resp, err))
	if w.onReply != nil {
		w.onReply(id, resp, err)
	}
}

func (w *world) Closed(_ *Partition, t kv.Timestamp) { w.say("closed at %s", stamp(t)) }

func (w *world) Propose(*Partition)  { w.say("propose") }
func (w *world) Hasten(*Partition)   { w.say("hasten") }
func (w *world) Now() kv.Instant     { return w.now }
func (w *world) Heard() kv.Timestamp { return w.heard }

// ---- events

// lead begins a term: what is in the log is applied, and so is the term's first entry.
func (w *world) lead(term kv.Term) {
	w.term = term
	w.log = append(w.log, logEntry{term: term})
	w.applyTo(len(w.log))
	st := w.machine.State()
	w.p.Lead(term, w.desc, st.GC, st.Horizon)
}

// depose ends the term; the first survive entries in flight are committed nevertheless.
func (w *world) depose(survive int) {
	w.p.Unlead(2, w.term+1)
	for _, data := range w.inflight[:survive] {
		w.log = append(w.log, logEntry{w.term, data})
	}
	w.inflight = nil
}

func (w *world) drawn(token uint64, ts kv.Timestamp) {
	w.heard = max(w.heard, ts)
	for i, x := range w.draws {
		if x == token {
			w.draws = append(w.draws[:i:i], w.draws[i+1:]...)
			break
		}
	}
	w.p.Drawn(token, ts)
}

func (w *world) take(maxBytes int) []byte {
	data := w.p.TakeProposal(maxBytes)
	if data != nil {
		w.inflight = append(w.inflight, data)
	}
	return data
}

func (w *world) takeAll() {
	for w.take(1<<20) != nil {
	}
}

// commit commits the oldest entry in flight.
func (w *world) commit() {
	data := w.inflight[0]
	w.inflight = w.inflight[1:]
	w.log = append(w.log, logEntry{w.term, data})
	if !w.p.Committed(w.term, w.lastIndex()) {
		w.say("in no hurry to be applied")
	}
}

// The first entry of the log has index 2: the state begins at 1.
func (w *world) lastIndex() kv.LogIndex { return kv.LogIndex(1 + len(w.log)) }

func (w *world) applyTo(n int) {
	if n == w.applied {
		return
	}
	b := w.engine.NewBatch()
	for ; w.applied < n; w.applied++ {
		e := w.log[w.applied]
		res, err := w.machine.Apply(kv.LogIndex(2+w.applied), e.term, e.data, b)
		w.must(err)
		for _, id := range res.Digests {
			w.say("digest %d at %d", id, res.Index)
		}
		if res.Descriptor != nil {
			w.desc = res.Descriptor
			w.p.SetDescriptor(w.desc)
		}
	}
	w.must(w.machine.Finish(b))
	w.must(b.Commit())
	st := w.machine.State()
	w.p.Applied(st.Applied, st.GC, st.Horizon)
}

// execute runs a task on the state of now.
func (w *world) execute(t *ReadTask) *ReadResult {
	r, err := w.engine.NewReader()
	w.must(err)
	defer r.Close()
	here, ok := t.ExecuteAtHand(w.engine.Newest())
	res := t.Execute(r)
	if ok && !reflect.DeepEqual(here, res) {
		w.t.Errorf("at hand is %+v, and in the engine %+v", here, res)
	}
	return res
}

func (w *world) takeRead(i int) *ReadTask {
	t := w.reads[i]
	w.reads = append(w.reads[:i:i], w.reads[i+1:]...)
	return t
}

// finish delivers a result; the lease holds if the task's term is still that of the leader.
func (w *world) finish(t *ReadTask, res *ReadResult) {
	if !t.Serve {
		w.p.ReadDone(t, res)
		return
	}
	if term, leads := w.p.Leading(); !leads || term != t.Term {
		w.Reply(t.Request, nil, kv.Errorf(kv.NotLeader, "the lease is gone"))
		return
	}
	w.Reply(t.Request, res.Response, res.Err)
}

// quiesce answers and applies everything until nothing is left.
func (w *world) quiesce() {
	for {
		switch {
		case len(w.draws) > 0:
			w.drawn(w.draws[0], w.heard+1)
		case len(w.reads) > 0:
			t := w.takeRead(0)
			w.finish(t, w.execute(t))
		default:
			w.takeAll()
			if len(w.inflight) == 0 {
				w.applyTo(len(w.log))
				if l := w.p.lead; l != nil && l.log.lazy.Len() > 0 {
					l.hurry()
					continue
				}
				if len(w.draws)+len(w.reads) == 0 {
					return
				}
				continue
			}
			w.commit()
		}
	}
}

// ---- printing

func stamp(ts kv.Timestamp) string {
	if ts == txn.Strong {
		return "newest"
	}
	if ts.UnixMillis() == 0 {
		return strconv.FormatUint(uint64(ts), 10)
	}
	s := fmt.Sprintf("%d.%03ds", ts.UnixMillis()/1000, ts.UnixMillis()%1000)
	if ts.Counter() > 0 {
		s += fmt.Sprintf("+%d", ts.Counter())
	}
	return s
}

func describe(t *ReadTask) string {
	to := "evaluate"
	if t.Serve {
		to = fmt.Sprintf("serve r%d", t.Request)
		if t.Follows() {
			to = fmt.Sprintf("follow r%d", t.Request)
		}
	}
	switch {
	case t.Known != nil:
		return to + " what is known"
	case t.Restore != nil:
		return "read what is locked"
	case t.Read != nil:
		return fmt.Sprintf("%s %s at %s", to, t.Read.Keys, stamp(t.At))
	case t.Scan != nil:
		return fmt.Sprintf("%s %s-%s at %s", to, t.Scan.Span.Start, t.Scan.Span.End, stamp(t.At))
	case t.Lookup != nil:
		return fmt.Sprintf("look for id %d at %s", t.Lookup.ID[15], t.Lookup.Anchor)
	}
	e := t.Evaluation
	s := fmt.Sprintf("%s newest %s", to, e.Newest)
	for _, m := range e.Keys {
		s += fmt.Sprintf(" %s>%s?", m.Key, stamp(e.Start))
	}
	for _, x := range e.Spans {
		s += fmt.Sprintf(" %s-%s>%s?", x.Start, x.End, stamp(e.Start))
	}
	return s
}

func describeCall(q *kv.Request) string {
	switch {
	case q.Prepare != nil:
		s := fmt.Sprintf("prepare id %d", q.Prepare.ID[15])
		if q.Prepare.InMemory {
			s = fmt.Sprintf("lock id %d", q.Prepare.ID[15])
		}
		for _, m := range q.Prepare.Reads {
			s += " read " + string(m.Key)
		}
		for _, x := range q.Prepare.Spans {
			s += fmt.Sprintf(" span %s-%s", x.Start, x.End)
		}
		for i := range q.Prepare.Writes {
			s += " write " + string(q.Prepare.Writes[i].Key)
		}
		return s
	case q.Stage != nil && q.Stage.Recover:
		return fmt.Sprintf("is id %d staged at %s in term %d", q.Stage.ID[15], stamp(q.Stage.Commit), q.Stage.Term)
	case q.Stage != nil:
		return fmt.Sprintf("stage id %d at %s in term %d", q.Stage.ID[15], stamp(q.Stage.Commit), q.Stage.Term)
	case q.Resolve != nil && q.Resolve.Commit == 0:
		return fmt.Sprintf("resolve id %d, aborted", q.Resolve.ID[15])
	case q.Resolve != nil:
		return fmt.Sprintf("resolve id %d, committed at %s", q.Resolve.ID[15], stamp(q.Resolve.Commit))
	}
	o := q.Outcome
	return fmt.Sprintf("%s id %d at %s", map[kv.AskKind]string{
		kv.AskWound: "wound", kv.AskQuery: "what of", kv.AskRead: "at " + stamp(o.At) + " what of",
	}[o.Ask], o.ID[15], o.Anchor)
}

func row(r *kv.Row) string { return fmt.Sprintf("%s=%s@%s", r.Key, r.Value, stamp(r.Version)) }

func answer(resp *kv.Response, err *kv.Error) string {
	if err != nil {
		s := err.Kind.String()
		if err.Kind == kv.Expectation {
			if err.Actual == nil {
				return s + ": absent"
			}
			return s + ": " + row(err.Actual)
		}
		if err.Key != nil {
			s += " at " + string(err.Key)
		}
		if err.Kind == kv.StaleTerm {
			s += fmt.Sprintf(", now %d", err.Term)
		}
		return s
	}
	var parts []string
	switch resp.Outcome {
	case kv.OutcomeAborted:
		return "outcome aborted"
	case kv.OutcomeCommitted:
		parts = append(parts, "outcome committed")
	}
	for i := range resp.Rows {
		parts = append(parts, row(&resp.Rows[i]))
	}
	for i, ok := range resp.Found {
		if !ok {
			parts = append(parts, fmt.Sprintf("[%d] absent", i))
		}
	}
	if resp.Count > 0 {
		parts = append(parts, fmt.Sprintf("count %d", resp.Count))
	}
	if resp.Resume != nil {
		parts = append(parts, "resume "+string(resp.Resume))
	}
	if resp.Sums != nil {
		parts = append(parts, fmt.Sprintf("sums %d", resp.Sums))
	}
	return strings.Join(append(parts, "at "+stamp(resp.Timestamp)), " ")
}

func describeEntry(data []byte) string {
	var parts []string
	err := eachCommand(data, func(c *Command) *kv.Error {
		switch c.kind {
		case commandWrite:
			s := fmt.Sprintf("write{id %d at %s:", c.ID[15], stamp(c.Timestamp))
			for _, v := range c.Versions {
				if v.Tombstone {
					s += fmt.Sprintf(" %s deleted", v.Key)
				} else {
					s += fmt.Sprintf(" %s=%s", v.Key, v.Value)
				}
			}
			parts = append(parts, s+"}")
		case commandPrepare, commandRecord, commandResolve, commandForget, commandBarrier, commandStage, commandDecide:
			parts = append(parts, describeTransaction(c))
		case commandGC:
			parts = append(parts, "setGC{"+stamp(c.Timestamp)+"}")
		case commandHorizon:
			parts = append(parts, "setHorizon{"+stamp(c.Timestamp)+"}")
		case commandDigest:
			parts = append(parts, fmt.Sprintf("digest{%d}", c.Digest))
		case commandDescriptor:
			parts = append(parts, fmt.Sprintf("descriptor{%d replaces %d}", c.Descriptor.Generation, c.Generation))
		}
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return strings.Join(parts, " ")
}

func describeTransaction(c *Command) string {
	s := fmt.Sprintf("id %d", c.ID[15])
	for i := range c.Locks {
		switch k := &c.Locks[i]; {
		case k.Strength == mvcc.Shared && len(k.End) > 0:
			s += fmt.Sprintf(" shared %s-%s", k.Key, k.End)
		case k.Strength == mvcc.Shared:
			s += fmt.Sprintf(" shared %s", k.Key)
		case k.Write == kv.WriteDelete:
			s += fmt.Sprintf(" %s deleted", k.Key)
		case k.Write == kv.WritePut:
			s += fmt.Sprintf(" %s=%s", k.Key, k.Value)
		default:
			s += fmt.Sprintf(" %s", k.Key)
		}
	}
	for _, v := range c.Versions {
		if v.Tombstone {
			s += fmt.Sprintf(" %s deleted", v.Key)
		} else {
			s += fmt.Sprintf(" %s=%s", v.Key, v.Value)
		}
	}
	switch c.kind {
	case commandPrepare:
		return "prepare{" + s + "}"
	case commandRecord:
		for _, p := range c.Participants {
			s += fmt.Sprintf(" p%d", p.Partition)
		}
		return "record{" + s + " at " + stamp(c.Timestamp) + "}"
	case commandStage:
		for _, p := range c.Participants {
			s += fmt.Sprintf(" p%d/%d", p.Partition, p.Term)
		}
		return "stage{" + s + " at " + stamp(c.Timestamp) + "}"
	case commandDecide:
		for _, p := range c.Participants {
			s += fmt.Sprintf(" p%d", p.Partition)
		}
		if c.Timestamp == 0 {
			return "decide{" + s + " aborted}"
		}
		return "decide{" + s + " at " + stamp(c.Timestamp) + "}"
	case commandResolve:
		if c.Timestamp == 0 {
			return "drop{" + s + "}"
		}
		if c.First {
			s += " first"
		}
		return "resolve{" + s + " at " + stamp(c.Timestamp) + "}"
	case commandForget:
		return "forget{" + s + "}"
	}
	return "barrier{}"
}
