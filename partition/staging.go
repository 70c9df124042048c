package partition

import (
	"encoding/binary"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/txn"
)

// staging is the second round of a parallel commit, as the coordinator sees it: all parts are on their
// way to their logs at once, and the transaction is committed as soon as all are there (rules P2, P5).
type staging struct {
	roll *txn.Roll // participants whose part is durable
	own  bool      // the record is, with the own part
	// begun is when the timestamp was drawn.
	begun kv.Instant
	// decided: the entry that ends it is on its way. Nothing is counted any more (rule P8).
	decided bool
}

// stageAll has all parts staged, the own one among them.
func (l *leader) stageAll(c *commit) {
	l.transactions.undecided[c.req.ID] = c.timestamp
	c.others.staging.begun = l.sink.Now()
	l.propose(&stageEntry{c})
	for i := range c.others.where {
		stageCall{c}.retry(l, i)
	}
}

// stageEntry is the command with the record STAGING and the anchor's own part.
type stageEntry struct{ c *commit }

func (e *stageEntry) encodedLen() int {
	return stageLen(&e.c.intent, &e.c.others.attempt, e.c.others.where)
}

func (e *stageEntry) append(dst []byte) []byte {
	return appendStage(dst, &e.c.intent, &e.c.others.attempt, e.c.timestamp, e.c.others.where)
}

func (e *stageEntry) taken() { e.c.phase = max(e.c.phase, phaseProposed) }

func (e *stageEntry) committed(l *leader) bool {
	e.c.others.staging.own = true
	if e.c.phase < phaseCommitted { // else its timing was told
		e.c.timer.end(l, agreeing)
	}
	l.count(e.c)
	return true
}

func (e *stageEntry) applied(*leader) {}

// stageCall asks a participant to stage its part.
type stageCall struct{ c *commit }

func (s stageCall) retry(l *leader, i int) {
	o := s.c.others
	if o.staging.decided || o.staging.roll.Has(i) {
		return
	}
	l.call(stageRequest(&o.attempt, s.c.timestamp, o.where[i], false), s, i)
}

func stageRequest(a *kv.Attempt, c kv.Timestamp, to mvcc.Participant, recover bool) *kv.Request {
	return &kv.Request{Partition: to.Partition, Stage: &kv.Stage{ID: a.ID, AsOf: a.AsOf, Commit: c, Term: to.Term, Recover: recover}}
}

// answered counts a part that is durable; "never" ends the transaction (rules P5, P8).
func (s stageCall) answered(l *leader, i int, resp *kv.Response, err *kv.Error) {
	o := s.c.others.staging
	switch {
	case o.decided:
	case err == nil:
		s.c.timer.staged(l, s.c, i, resp)
		o.roll.Answered(i)
		l.count(s.c)
	case err.Kind == kv.Aborted:
		l.unstage(s.c)
	case invariant.Mutated(invariant.PCTimeout) && err.Kind == kv.Timeout:
		l.unstage(s.c)
	default:
		l.later(s, i)
	}
}

// count commits a transaction of which all parts are durable: the client and reads are told at once, whoever would
// resolve is not before the log says so (rules P5, P6).
func (l *leader) count(c *commit) {
	s := c.others.staging
	if s.decided || !s.roll.All() || !s.own && !invariant.Mutated(invariant.PCReplyEarly) {
		return
	}
	s.decided = true
	c.phase = phaseCommitted
	l.answerAll(c)
	c.tellAskers(l, func(t *ticket) bool { return t.reads || invariant.Mutated(invariant.PCTellEarly) })
	if invariant.Mutated(invariant.PCResolveEarly) {
		r := c.others.record(c)
		for i := range r.where {
			l.call(&kv.Request{Partition: r.where[i].Partition, Resolve: &kv.Resolve{ID: c.req.ID, Commit: c.timestamp}}, nil, i)
		}
	}
	l.propose(&decision{by: c, attempt: &c.others.attempt, commit: c.timestamp, where: c.others.where, guard: &c.guard})
}

// tellAskers tells those who ask that a transaction is committed.
func (c *commit) tellAskers(l *leader, which func(*ticket) bool) {
	for p := &c.askers; *p != nil; {
		t := *p
		if !which(t) {
			p = &t.copy
			continue
		}
		*p = t.copy
		l.answerCommitted(t, c.timestamp, nil)
	}
}

// unstage aborts what may be staged by an entry of the anchor's log; nobody is told before it is applied (rule P8).
func (l *leader) unstage(c *commit) {
	c.others.staging.decided = true
	l.propose(&decision{by: c, attempt: &c.others.attempt, guard: &c.guard})
}

// decision is the command that ends a staging at the anchor: STAGING becomes COMMITTED, or goes.
type decision struct {
	by      decider
	attempt *kv.Attempt
	commit  kv.Timestamp // c; 0: aborted
	where   []mvcc.Participant
	guard   *txn.Guard // of the own part
}

// decider is whose staging it is: the coordinator's, or that of a later leader.
type decider interface {
	// decided: the decision is applied.
	decided(l *leader, committed bool)
}

func (d *decision) encodedLen() int {
	return recordHeaderLen(d.attempt, d.where) + lockKeysLen(d.guard)
}

func (d *decision) append(dst []byte) []byte {
	dst = appendRecordHeader(dst, commandDecide, d.attempt, d.commit, d.where)
	return appendGuardKeys(dst, d.guard)
}

func (d *decision) taken()                 {}
func (d *decision) committed(*leader) bool { return true }

func (d *decision) applied(l *leader) {
	delete(l.transactions.undecided, d.attempt.ID)
	d.by.decided(l, d.commit != 0)
}

// decided ends the coordinator's part.
func (c *commit) decided(l *leader, committed bool) {
	switch {
	case c.phase == phaseOver: // of a planted bug
	case committed:
		c.applied(l)
	default:
		l.withdraw(c, l.aborted(c.req.ID))
	}
}

// withdraw ends a staged commit that the log has aborted.
func (l *leader) withdraw(c *commit, err *kv.Error) {
	err = c.timer.refused(l, c, err)
	l.seen.Abort(c.req.ID, c.req.AsOf)
	l.table.Withdraw(&c.guard)
	l.over(c)
	for _, list := range []**ticket{&c.tickets, &c.askers} {
		for t := *list; t != nil; t = t.copy {
			l.answerAborted(t, err)
		}
		*list = nil
	}
	l.abandon(c)
}

// outcomeOfStaging answers for a commit whose parts are on their way, or there. Nobody kills it, and nobody who could
// resolve is told before it is decided in the log (rules P6, P8).
func (l *leader) outcomeOfStaging(t *ticket, q *kv.OutcomeOf, c *commit) {
	reads := q.Ask == kv.AskRead
	switch {
	case reads && q.At != 0 && q.At < c.timestamp:
		l.answerUndecided(t)
	case q.Ask == kv.AskWound && invariant.Mutated(invariant.PCWound):
		c.others.staging.decided = true
		l.withdraw(c, l.wounded(c, kv.TxID{}))
		l.answerAborted(t, nil)
	case c.phase == phaseCommitted && (reads || q.Ask == kv.AskFinal || invariant.Mutated(invariant.PCTellEarly)):
		l.answerCommitted(t, c.timestamp, nil)
	case q.Ask == kv.AskFinal:
		l.join(c, t, t.id)
	default:
		t.reads = reads
		l.addTicket(t, t.id, c)
		t.copy, c.askers = c.askers, t
	}
}

func lockKeysLen(g *txn.Guard) int {
	n := uvarintLen(uint64(len(g.Latches)))
	for i := range g.Latches {
		n += 1 + bytesLen(g.Latches[i].Span.Start)
	}
	return n
}

// appendGuardKeys encodes which locks a guard has.
func appendGuardKeys(dst []byte, g *txn.Guard) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(g.Latches)))
	for i := range g.Latches {
		strength, key := lockOf(&g.Latches[i])
		dst = appendBytes(append(dst, byte(strength)), key)
	}
	return dst
}
