package partition

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// TestStories runs the scripts under testdata, one situation each. The commands:
//
//	lead term=T [slowly]             a term begins; everything in the log is applied, and what is locked is read, or by a later read
//	depose [survive=N]               it ends; N entries in flight are committed all the same
//	heard TS                         the node hears of a timestamp
//	commit r=R id=I [term= asof= start=]   with one line per part:
//	    put K V | del K | add K N  [if-absent | if-version TS | if-value V] ;  read K ; span A B
//	get r=R K... [at=TS | not-before=TS] [claim=AGE]    scan r=R A B [at=TS] [reverse] [count] [keys=N]
//	outcome r=R id=I K [term= asof=]
//	prepare r=R id=I anchor=K [p=8] [term=1 asof= start= age=]   with lines as for commit
//	lock r=R id=I anchor=K ...       as prepare, in memory
//	stage r=R id=I at=TS [term=1 asof=] [recover]
//	resolve r=R id=I [at=TS]         ask r=R id=I K wound|query|read [at=TS] [term= asof=]
//	answered #N [ok | never | committed=TS | aborted | undecided | KIND]   the answer to a call
//	close TS                         the node closes a timestamp that it has drawn
//	follow r=R get K... | scan A B [keys=N] at=TS [applied=N] [replica=N]   a read at a replica that does not lead
//	anchor N [committed=TS | aborted | undecided | KIND]   the answer to its question N
//	drawn #N TS                      cancel r=R
//	take [max=BYTES]                 the next entry is handed to the log
//	commit-entry | apply             the oldest entry in flight is committed | all committed are applied
//	snapshot                         the oldest read is executed; finish delivers it
//	read                             both
//	tick [now=SECONDS]               gc TS | horizon TS | digest N
//	collect                          what G allows is collected
//	settle                           everything is answered, committed and applied
//	show                             what is left
//	transactions [max=N]             those that are listed, with their locks
//
// A commit's lines after "part P" are for partition P; age=N gives it an age.
// A timestamp is a number, or seconds with an s. The output is the effects in order. Which rules a script shows, it
// says in a line "# Shows A1, C5b.": each rule must be in one (package sim), and with the planted bug of a rule
// one that shows it must come out differently (TestStoriesShowMutants).
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := newStory(t, path)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			return s.step(d)
		})
	})
}

func newStory(t testing.TB, path string) *story {
	opts := Options{WaitersPerKeyMax: 4, CopiesMax: 2, RequestsMax: 20}
	if strings.HasPrefix(filepath.Base(path), "parallel") {
		opts.Commit = Parallel
	}
	s := &story{world: newWorld(t, opts)}
	s.heard = 5
	return s
}

// step is what a line of a script comes to.
func (s *story) step(d *datadriven.TestData) string {
	s.run(d)
	return s.flush()
}

type story struct {
	*world
	task     *ReadTask
	result   *ReadResult
	follower follower
}

func (s *story) run(d *datadriven.TestData) {
	switch d.Cmd {
	case "lead":
		s.slowly = len(s.words(d)) > 0
		s.lead(kv.Term(s.number(d, "term", 1)))
	case "depose":
		s.depose(s.number(d, "survive", 0))
	case "heard":
		s.heard = s.stamp(d.CmdArgs[0].Key)
	case "commit":
		s.p.Request(s.request(d), &kv.Request{Commit: s.parseCommit(d)})
	case "get":
		q := &kv.Read{Timestamp: s.stampArg(d, "at", 0), Stale: s.stale(d), Claim: s.age(d, "claim")}
		for _, k := range s.words(d) {
			q.Keys = append(q.Keys, kv.Key(k))
		}
		s.p.Request(s.request(d), &kv.Request{Read: q})
	case "scan":
		w := s.words(d)
		q := &kv.Scan{Span: kv.Span{Start: kv.Key(w[0]), End: kv.Key(w[1])}, Timestamp: s.stampArg(d, "at", 0), Keys: s.number(d, "keys", 0), Stale: s.stale(d)}
		for _, x := range w[2:] {
			q.Reverse = q.Reverse || x == "reverse"
			q.CountOnly = q.CountOnly || x == "count"
		}
		s.p.Request(s.request(d), &kv.Request{Scan: q})
	case "prepare", "lock":
		c := s.parseCommit(d)
		q := &kv.Prepare{InMemory: d.Cmd == "lock", Start: c.Start, Reads: c.Reads, Spans: c.Spans, Writes: c.Writes}
		q.Attempt = kv.Attempt{ID: c.ID, Term: kv.Term(s.number(d, "term", 1)), AsOf: c.AsOf, Age: c.Age, Partition: kv.PartitionID(s.number(d, "p", 8))}
		q.Anchor = kv.Key(s.argument(d, "anchor"))
		s.p.Request(s.request(d), &kv.Request{Prepare: q})
	case "resolve":
		s.p.Request(s.request(d), &kv.Request{Resolve: &kv.Resolve{ID: testID(s.number(d, "id", 0)), Commit: s.stampArg(d, "at", 0)}})
	case "stage":
		s.p.Request(s.request(d), &kv.Request{Stage: &kv.Stage{
			ID: testID(s.number(d, "id", 0)), AsOf: s.stampArg(d, "asof", 1), Commit: s.stampArg(d, "at", 0),
			Term: kv.Term(s.number(d, "term", int(s.term))), Recover: len(s.words(d)) > 0,
		}})
	case "ask":
		w := s.words(d)
		s.p.Request(s.request(d), &kv.Request{Outcome: &kv.OutcomeOf{
			ID: testID(s.number(d, "id", 0)), Term: kv.Term(s.number(d, "term", int(s.term))), AsOf: s.stampArg(d, "asof", 1), Anchor: kv.Key(w[0]),
			Ask: map[string]kv.AskKind{"wound": kv.AskWound, "query": kv.AskQuery, "read": kv.AskRead}[w[1]], At: s.stampArg(d, "at", 0),
		}})
	case "answered":
		s.answered(d)
	case "outcome":
		s.p.Request(s.request(d), &kv.Request{Outcome: &kv.OutcomeOf{
			ID: testID(s.number(d, "id", 0)), Term: kv.Term(s.number(d, "term", int(s.term))), AsOf: s.stampArg(d, "asof", 1), Anchor: kv.Key(s.words(d)[0]),
		}})
	case "close":
		s.say("%v", s.p.Close(s.stamp(d.CmdArgs[0].Key)))
	case "follow", "anchor":
		s.follow(d)
	case "cancel":
		s.p.Cancel(s.request(d))
	case "drawn":
		s.drawn(uint64(s.atoi(strings.TrimPrefix(d.CmdArgs[0].Key, "#"))), s.stamp(d.CmdArgs[1].Key))
	default:
		s.runLog(d)
	}
}

func (s *story) runLog(d *datadriven.TestData) {
	switch d.Cmd {
	case "take":
		if data := s.take(s.number(d, "max", 1<<20)); data != nil {
			s.say("entry %s", describeEntry(data))
		}
	case "commit-entry":
		s.commit()
	case "apply":
		s.applyTo(len(s.log))
	case "snapshot":
		s.task = s.takeRead(0)
		s.result = s.execute(s.task)
	case "finish":
		s.world.finish(s.task, s.result)
	case "read":
		if len(s.reads) == 0 {
			s.t.Fatalf("%s: there is nothing to read", d.Pos)
		}
		t := s.takeRead(0)
		s.world.finish(t, s.execute(t))
	case "tick":
		s.now = kv.Instant(s.number(d, "now", 0)) * kv.Instant(time.Second)
		s.p.Tick()
	case "gc":
		s.say("%v", s.p.ProposeGC(s.stamp(d.CmdArgs[0].Key)))
	case "horizon":
		s.say("%v", s.p.ProposeHorizon(s.stamp(d.CmdArgs[0].Key)))
	case "digest":
		s.say("%v", s.p.ProposeDigest(uint64(s.atoi(d.CmdArgs[0].Key))))
	case "collect":
		res, err := s.engine.CollectGarbage(mvcc.GCArgs{Span: s.desc.Span, Threshold: s.machine.State().GC, Full: true})
		s.must(err)
		s.say("%d versions", res.Versions)
	case "settle":
		s.quiesce()
	case "show":
		s.show()
	case "transactions":
		s.transactions(s.number(d, "max", kv.TransactionsMax))
	default:
		s.t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	}
}

func (s *story) show() {
	commands, bytes := s.p.Inflight()
	if l := s.p.lead; l != nil && l.table.Locks()+l.transactions.len()+len(l.transactions.records) > 0 {
		s.say("locked by %d, prepared %d, records %d", l.table.Locks(), l.transactions.len(), len(l.transactions.records))
	}
	s.say("waiting %d, in flight %d commands, %d bytes", s.p.Waiting(), commands, bytes)
	if l := s.p.lead; l != nil {
		s.say("keys latched or pending %d, ids seen %d, window %s, admitted %d bytes", l.table.Len(), l.seen.Len(), stamp(l.seen.Window()), l.bytes)
		s.say("G %s, proposed %s; H %s, proposed %s", stamp(l.retained.gc), stamp(l.retained.gcProposed), stamp(l.retained.horizon), stamp(l.retained.horizonProposed))
	}
}

func testID(n int) (id kv.TxID) {
	id[15] = byte(n)
	return id
}

func (s *story) atoi(x string) int {
	n, err := strconv.Atoi(x)
	s.must(err)
	return n
}

func (s *story) number(d *datadriven.TestData, name string, otherwise int) int {
	if a, ok := d.Arg(name); ok {
		return s.atoi(a.Vals[0])
	}
	return otherwise
}

func (s *story) stampArg(d *datadriven.TestData, name string, otherwise kv.Timestamp) kv.Timestamp {
	if a, ok := d.Arg(name); ok {
		return s.stamp(a.Vals[0])
	}
	return otherwise
}

func (s *story) stamp(x string) kv.Timestamp {
	if sec, ok := strings.CutSuffix(x, "s"); ok {
		return kv.MakeTimestamp(int64(s.atoi(sec))*1000, 0)
	}
	return kv.Timestamp(s.atoi(x))
}

func (s *story) stale(d *datadriven.TestData) kv.Stale {
	return kv.Stale{NotBefore: s.stampArg(d, "not-before", 0)}
}

// words are the arguments without value.
func (s *story) words(d *datadriven.TestData) (ws []string) {
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			ws = append(ws, a.Key)
		}
	}
	return ws
}

func (s *story) request(d *datadriven.TestData) RequestID { return RequestID(s.number(d, "r", 0)) }

func (s *story) age(d *datadriven.TestData, name string) (age kv.Age) {
	age[15] = byte(s.number(d, name, 0))
	return age
}

func (s *story) parseCommit(d *datadriven.TestData) *kv.Commit {
	q := &kv.Commit{
		ID: testID(s.number(d, "id", 0)), Term: kv.Term(s.number(d, "term", int(s.term))),
		AsOf: s.stampArg(d, "asof", 1), Start: s.stampArg(d, "start", 0),
	}
	q.Age = s.age(d, "age")
	own := &kv.Part{}
	part := own
	for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
		f := strings.Fields(line)
		switch f[0] {
		case "part":
			q.Parts = append(q.Parts, kv.Part{Partition: kv.PartitionID(s.atoi(f[1]))})
			part = &q.Parts[len(q.Parts)-1]
		case "read":
			part.Reads = append(part.Reads, kv.ReadMark{Key: kv.Key(f[1])})
		case "span":
			part.Spans = append(part.Spans, kv.Span{Start: kv.Key(f[1]), End: kv.Key(f[2])})
		default:
			part.Writes = append(part.Writes, s.parseWrite(f))
		}
	}
	q.Reads, q.Spans, q.Writes = own.Reads, own.Spans, own.Writes
	return q
}

// argument is an argument's text.
func (s *story) argument(d *datadriven.TestData, name string) string {
	a, ok := d.Arg(name)
	if !ok {
		s.t.Fatalf("%s: %s= is missing", d.Pos, name)
	}
	return a.Vals[0]
}

// answered answers a call.
func (s *story) answered(d *datadriven.TestData) {
	token := uint64(s.atoi(strings.TrimPrefix(d.CmdArgs[0].Key, "#")))
	resp, err := s.parseAnswer(d, d.CmdArgs[1])
	for i, c := range s.calls {
		if c.token == token {
			s.calls = append(s.calls[:i:i], s.calls[i+1:]...)
			break
		}
	}
	s.p.Answered(token, resp, err)
}

func (s *story) parseWrite(f []string) kv.Write {
	w := kv.Write{Key: kv.Key(f[1])}
	rest := f[2:]
	switch f[0] {
	case "put":
		w.Kind, w.Value, rest = kv.WritePut, []byte(f[2]), f[3:]
	case "add":
		w.Kind, w.Delta, rest = kv.WriteAdd, int64(s.atoi(f[2])), f[3:]
	case "del":
		w.Kind = kv.WriteDelete
	default:
		s.t.Fatalf("unknown write %v", f)
	}
	if len(rest) == 0 {
		return w
	}
	switch rest[0] {
	case "if-absent":
		w.Expect.Kind = kv.ExpectAbsent
	case "if-version":
		w.Expect = kv.Expect{Kind: kv.ExpectVersion, Version: s.stamp(rest[1])}
	case "if-value":
		w.Expect = kv.Expect{Kind: kv.ExpectValue, Value: []byte(rest[1])}
	}
	return w
}
