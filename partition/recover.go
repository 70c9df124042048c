package partition

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/txn"
)

// recovery is what a leader does about a record STAGING of an earlier term: whether all parts are durable
// only the participants know (rule P9). The own part of the transaction is restored like that of a participant
// whose anchor is here.
type recovery struct {
	attempt   kv.Attempt
	timestamp kv.Timestamp
	where     []mvcc.Participant
	roll      *txn.Roll // participants whose part is durable
	over      bool      // the entry that decides is on its way
	tickets   *ticket   // who waits for that
}

// recover asks all participants. What they have not staged by then they never will.
func (l *leader) recover(k *mvcc.Record) {
	r := &recovery{attempt: k.Attempt, timestamp: k.Timestamp, where: k.Participants, roll: txn.NewRoll(len(k.Participants))}
	l.transactions.recoveries[k.ID], l.transactions.undecided[k.ID] = r, k.Timestamp
	if invariant.Mutated(invariant.PCPresume) {
		r.decide(l, 0)
		return
	}
	for i := range r.where {
		r.retry(l, i)
	}
}

func (r *recovery) retry(l *leader, i int) {
	if !r.over && !r.roll.Has(i) {
		l.call(stageRequest(&r.attempt, r.timestamp, r.where[i], true), r, i)
	}
}

func (r *recovery) answered(l *leader, i int, _ *kv.Response, err *kv.Error) {
	switch {
	case r.over:
	case err == nil && r.roll.Answered(i):
		r.decide(l, r.timestamp)
	case err == nil:
	case err.Kind == kv.Aborted:
		r.decide(l, 0)
	default:
		l.later(r, i)
	}
}

func (r *recovery) decide(l *leader, commit kv.Timestamp) {
	r.over = true
	d := &decision{by: r, attempt: &r.attempt, commit: commit, guard: &txn.Guard{}}
	if commit != 0 {
		d.where = r.where
	}
	if p := l.transactions.byID[r.attempt.ID]; p != nil {
		d.guard = &p.guard
	}
	l.propose(d)
}

// decided ends the own part, and goes on as after any commit or abort.
func (r *recovery) decided(l *leader, committed bool) {
	delete(l.transactions.recoveries, r.attempt.ID)
	if p := l.transactions.byID[r.attempt.ID]; p != nil {
		(&resolution{p: p}).applied(l)
	}
	err := l.aborted(r.attempt.ID)
	for t := r.tickets; t != nil; t = t.copy {
		if committed {
			l.answerCommitted(t, r.timestamp, nil)
		} else {
			l.answerAborted(t, err)
		}
	}
	r.tickets = nil
	if committed {
		l.settle(&resolver{attempt: r.attempt, timestamp: r.timestamp, where: r.where, roll: txn.NewRoll(len(r.where))})
		return
	}
	for i := range r.where {
		l.call(&kv.Request{Partition: r.where[i].Partition, Resolve: &kv.Resolve{ID: r.attempt.ID}}, nil, i)
	}
}

// outcome answers a question: a read below the timestamp need not wait.
func (r *recovery) outcome(l *leader, id RequestID, q *kv.OutcomeOf) {
	t := &ticket{id: id, outcome: true}
	if q.Ask == kv.AskRead && q.At != 0 && q.At < r.timestamp {
		l.answerUndecided(t)
		return
	}
	r.join(l, t)
}

// join makes a ticket wait for the decision.
func (r *recovery) join(l *leader, t *ticket) {
	t.copy, r.tickets = r.tickets, t
	l.addTicket(t, t.id, r)
}

func (r *recovery) canceled(_ *leader, t *ticket) {
	for p := &r.tickets; *p != nil; p = &(*p).copy {
		if *p == t {
			*p = t.copy
			return
		}
	}
}

func (r *recovery) expired(l *leader, t *ticket) {
	r.canceled(l, t)
	l.sink.Reply(t.id, nil, l.waitedTooLong())
}

func (r *recovery) deposed(l *leader, _ *ticket, leader kv.NodeID, term kv.Term) *kv.Error {
	return l.notLeader(leader, term)
}
