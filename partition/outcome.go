package partition

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// admitOutcome tells what became of a commit, and makes it final (rules E1 to E6, I1): one
// that is not proposed is killed, one that was never seen is marked before it is called
// aborted.
func (l *leader) admitOutcome(id RequestID, q *kv.OutcomeOf) {
	if err := l.checkOutcome(q); err != nil {
		l.sink.Reply(id, nil, err)
		return
	}
	if !l.ownTerm(q.Term) {
		l.lookUpOutcome(id, q)
		return
	}
	t := &ticket{id: id, outcome: true}
	e := l.seen.Look(q.ID)
	switch e.Status {
	case txn.Running:
		l.outcomeOfRunning(t, q, e.Owner.(*commit))
	case txn.Committed:
		l.answerCommitted(t, e.Timestamp, nil)
	case txn.Aborted:
		l.answerAborted(t, nil)
	default:
		full := l.seen.Full(l.sink.Heard())
		if l.beforeWindow(q.AsOf) {
			l.lookUpOutcome(id, q)
			return
		}
		if full { // a mark takes as much room as a commit
			l.sink.Reply(id, nil, l.overloaded("commits of the last moments", l.opts.SeenIDsMax))
			return
		}
		if !invariant.Mutated(invariant.OutcomeNoMark) {
			l.seen.Abort(q.ID, q.AsOf)
		}
		l.answerAborted(t, nil)
	}
}

// lookUpOutcome looks among the records, which outlive the outcomes, and then in the engine (rule E1).
func (l *leader) lookUpOutcome(id RequestID, q *kv.OutcomeOf) {
	if r := l.transactions.recoveries[q.ID]; r != nil {
		r.outcome(l, id, q)
		return
	}
	if r := l.transactions.records[q.ID]; r != nil {
		l.answerCommitted(&ticket{id: id, outcome: true}, r.timestamp, nil)
		return
	}
	l.lookUp(&lookup{id: q.ID, term: q.Term, asOf: q.AsOf, anchor: q.Anchor}, id)
}

// outcomeOfRunning answers for a commit that runs here (rules E2 to E4).
func (l *leader) outcomeOfRunning(t *ticket, q *kv.OutcomeOf, c *commit) {
	spares := q.Ask == kv.AskRead || q.Ask == kv.AskQuery
	switch {
	case c.phase >= phaseQueued && c.others != nil && c.others.staging != nil:
		l.outcomeOfStaging(t, q, c)
	case c.phase >= phaseQueued && q.Ask == kv.AskRead && q.At != 0 && q.At < c.timestamp:
		l.answerUndecided(t) // for this read
	case c.phase >= phaseQueued && q.Ask == kv.AskWound && invariant.Mutated(invariant.WoundProposed):
		l.answerAborted(t, nil)
	case c.phase == phaseCommitted:
		l.answerCommitted(t, c.timestamp, nil)
	case c.phase >= phaseQueued && q.Ask == kv.AskFinal:
		l.join(c, t, t.id) // only the log knows
	case c.phase >= phaseQueued, c.phase == phaseDrawing && spares && !invariant.Mutated(invariant.UndecidedNoWait):
		l.addTicket(t, t.id, c)
		t.copy, c.askers = c.askers, t
	case spares:
		l.answerUndecided(t)
	case q.Ask == kv.AskWound:
		l.abort(c, l.wounded(c, kv.TxID{}))
		l.answerAborted(t, nil)
	default:
		l.abort(c, l.aborted(c.req.ID))
		l.answerAborted(t, nil)
	}
}

// answerUndecided says that a commit is not decided, and will be above whatever the asker has.
func (l *leader) answerUndecided(t *ticket) {
	l.answer(t, &kv.Response{Outcome: kv.OutcomeUnknown, Term: l.term, Heard: l.sink.Heard()}, nil)
}
