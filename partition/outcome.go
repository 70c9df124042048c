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
		l.outcomeOfRunning(id, t, e.Owner.(*commit))
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

func (l *leader) lookUpOutcome(id RequestID, q *kv.OutcomeOf) {
	l.lookUp(&lookup{id: q.ID, term: q.Term, asOf: q.AsOf, anchor: q.Anchor}, id)
}

func (l *leader) outcomeOfRunning(id RequestID, t *ticket, c *commit) {
	switch {
	case c.phase == phaseCommitted:
		l.answerCommitted(t, c.timestamp, nil)
	case c.phase >= phaseQueued:
		l.join(c, t, id) // only the log knows
	default:
		l.abort(c, l.aborted(c.req.ID))
		l.answerAborted(t, nil)
	}
}
