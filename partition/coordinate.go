package partition

import (
	"bytes"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/txn"
)

// participants are the other partitions of a two-phase commit, as the coordinator at the anchor's
// leader sees them. Until the commit is proposed all of this is in memory only (transactions.md, H).
type participants struct {
	attempt kv.Attempt
	where   []mvcc.Participant // in the order of Commit.Parts
	roll    *txn.Roll          // who has acknowledged
	held    bool               // the own part is locked
	staging *staging           // of a parallel commit; else nil
}

func (l *leader) participantsOf(q *kv.Commit) *participants {
	o := &participants{
		attempt: kv.Attempt{ID: q.ID, Term: q.Term, AsOf: q.AsOf, Age: q.Age, Partition: l.id, Anchor: q.Writes[0].Key},
		where:   make([]mvcc.Participant, len(q.Parts)),
		roll:    txn.NewRoll(len(q.Parts)),
	}
	if l.opts.Commit == Parallel {
		o.staging = &staging{roll: txn.NewRoll(len(q.Parts))}
	}
	for i := range q.Parts {
		o.where[i] = mvcc.Participant{Partition: q.Parts[i].Partition, Span: extent(&q.Parts[i])}
	}
	return o
}

// extent is the smallest span with all that a part touches.
func extent(p *kv.Part) (s kv.Span) {
	first := true
	grow := func(x kv.Span) {
		if first || bytes.Compare(x.Start, s.Start) < 0 {
			s.Start = x.Start
		}
		if first || len(s.End) != 0 && (len(x.End) == 0 || bytes.Compare(x.End, s.End) > 0) {
			s.End = x.End
		}
		first = false
	}
	for _, m := range p.Reads {
		grow(kv.Span{Start: m.Key, End: m.Key.Next()})
	}
	for _, x := range p.Spans {
		grow(x)
	}
	for i := range p.Writes {
		grow(kv.Span{Start: p.Writes[i].Key, End: p.Writes[i].Key.Next()})
	}
	return s
}

// coordinate asks all participants to prepare, while the own part waits for its latches (rule H2).
func (l *leader) coordinate(c *commit) {
	for i := range c.req.Parts {
		l.prepareAt(c, i)
	}
}

func (l *leader) prepareAt(c *commit, i int) {
	p := &c.req.Parts[i]
	l.call(&kv.Request{
		Partition: p.Partition, Generation: p.Generation, Trace: c.timer != nil,
		Prepare: &kv.Prepare{
			Attempt: c.others.attempt, InMemory: c.others.staging != nil,
			Start: c.req.Start, Reads: p.Reads, Spans: p.Spans, Writes: p.Writes,
		},
	}, c, i)
}

// answered is a participant's acknowledgement or refusal; late ones are dropped (rule H4).
func (c *commit) answered(l *leader, i int, resp *kv.Response, err *kv.Error) {
	c.timer.part(l, c, i, resp, err)
	if err == nil && c.others.staging != nil && !c.others.roll.Has(i) {
		c.others.where[i].Term = resp.Term
	}
	switch {
	case c.phase != phasePreparing && !invariant.Mutated(invariant.DrawFirst2):
	case err == nil && c.others.roll.Answered(i):
		l.prepared(c)
	case err == nil:
	case passing(err):
		l.later(c, i)
	case c.phase < phaseQueued:
		l.abort(c, err)
	}
}

// retry asks a participant again.
func (c *commit) retry(l *leader, i int) {
	if c.phase < phaseQueued && !c.others.roll.Has(i) {
		l.prepareAt(c, i)
	}
}

// passing reports whether a call may succeed if it is made again; otherwise it was refused.
func passing(err *kv.Error) bool {
	switch err.Kind {
	case kv.NotLeader, kv.Unavailable, kv.Timeout, kv.Closed, kv.Canceled:
		return true
	}
	return false
}

// locked holds the own part in locks, which can be wounded (rules F2, H2).
func (l *leader) locked(c *commit) {
	if !invariant.Mutated(invariant.AnchorLatch) {
		l.table.Lock(&c.guard)
	}
	c.others.held = true
	if invariant.Mutated(invariant.DrawFirst2) {
		c.token = l.draw(c)
		return
	}
	if c.others.roll.All() {
		l.ask(c)
	}
}

// prepared goes on once all participants have acknowledged (rule H5).
func (l *leader) prepared(c *commit) {
	if !c.others.held {
		return
	}
	if !invariant.Mutated(invariant.DrawFirst2) {
		l.ask(c)
	} else if c.timestamp != 0 {
		l.table.Asked(&c.guard)
		l.drawn(c, c.timestamp)
	}
}

// abandon tells the participants of an aborted commit; that may be lost, and they then find out
// when somebody meets the locks (rules H6, H9).
func (l *leader) abandon(c *commit) {
	for i := range c.req.Parts {
		l.call(&kv.Request{Partition: c.req.Parts[i].Partition, Resolve: &kv.Resolve{ID: c.req.ID}}, nil, i)
	}
}

// resolver tells the participants of a commit that its entry is in the log here, until all have
// confirmed; then the record goes (rules H7, H8).
type resolver struct {
	attempt   kv.Attempt
	timestamp kv.Timestamp
	where     []mvcc.Participant
	roll      *txn.Roll // who has confirmed
}

func (o *participants) record(c *commit) *resolver {
	return &resolver{attempt: o.attempt, timestamp: c.timestamp, where: o.where, roll: txn.NewRoll(len(o.where))}
}

func (l *leader) settle(r *resolver) {
	l.transactions.records[r.attempt.ID] = r
	for i := range r.where {
		r.retry(l, i)
	}
}

func (r *resolver) retry(l *leader, i int) {
	if !r.roll.Has(i) {
		l.call(&kv.Request{
			Partition: r.where[i].Partition,
			Resolve:   &kv.Resolve{ID: r.attempt.ID, Commit: r.timestamp},
		}, r, i)
	}
}

func (r *resolver) answered(l *leader, i int, _ *kv.Response, err *kv.Error) {
	if err != nil {
		l.later(r, i)
		return
	}
	if r.roll.Answered(i) {
		l.proposeLazily(&forget{r})
	}
}

// forget removes the record of a commit; its outcome stays, as the version at the anchor (rule I2).
type forget struct{ r *resolver }

func (f *forget) command() *Command {
	return &Command{kind: commandForget, Attempt: kv.Attempt{ID: f.r.attempt.ID, Anchor: f.r.attempt.Anchor}}
}

func (f *forget) encodedLen() int          { return 1 + len(kv.TxID{}) + bytesLen(f.r.attempt.Anchor) }
func (f *forget) append(dst []byte) []byte { return appendCommand(dst, f.command()) }
func (f *forget) taken()                   {}
func (f *forget) committed(*leader) bool   { return false }

func (f *forget) applied(l *leader) { delete(l.transactions.records, f.r.attempt.ID) }

// abandonProposed is the planted bug AbortOnDepose: a deposed coordinator takes what it proposed for
// lost (rule H6).
func (l *leader) abandonProposed() {
	for t := l.tickets.oldest; t != nil; t = t.next {
		if c, ok := t.work.(*commit); ok && c.others != nil && c.phase >= phaseQueued {
			l.abandon(c)
		}
	}
}
