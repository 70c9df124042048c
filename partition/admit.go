package partition

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// admitCommit is rule C1. Within the term and the window the seen set alone decides (rule
// I8); otherwise what has happened is looked up before anything is refused.
func (l *leader) admitCommit(id RequestID, req *kv.Request) {
	q := req.Commit
	if err := l.checkCommit(q); err != nil {
		l.sink.Reply(id, nil, err)
		return
	}
	if l.ownTerm(q.Term) {
		if e := l.seen.Look(q.ID); e.Status != txn.Unknown {
			l.answerSeen(id, q, e)
			return
		}
		if !l.beforeWindow(q.AsOf) {
			l.start(id, q, l.newTimer(req.Trace))
			return
		}
	}
	k := &lookup{id: q.ID, term: q.Term, asOf: q.AsOf, commit: q}
	if len(q.Writes) > 0 {
		k.anchor = q.Writes[0].Key
	}
	l.lookUp(k, id)
}

// ownTerm reports whether an id of a term can be committed here (rule A2).
func (l *leader) ownTerm(t kv.Term) bool { return t == l.term || invariant.Mutated(invariant.NoTerm) }

// beforeWindow reports whether an id that is not in the seen set may have been there, or may
// be older than what outcomes are kept for (rules I3, I6).
func (l *leader) beforeWindow(asOf kv.Timestamp) bool {
	if l.retained.horizon != 0 && asOf <= l.retained.horizon && !invariant.Mutated(invariant.NoHorizon) {
		return true
	}
	return asOf <= l.seen.Window() && !invariant.Mutated(invariant.WindowForgets)
}

// answerSeen answers a copy of a commit that was seen in this term.
func (l *leader) answerSeen(id RequestID, q *kv.Commit, e txn.Entry) {
	t := &ticket{id: id}
	switch e.Status {
	case txn.Running:
		c := e.Owner.(*commit)
		if c.phase == phaseCommitted {
			l.answerCommitted(t, c.timestamp, c.results)
			return
		}
		l.join(c, t, id)
	case txn.Aborted:
		l.answer(t, nil, l.aborted(q.ID))
	case txn.Committed:
		res, _ := e.Owner.(*results)
		l.answerCommitted(t, e.Timestamp, res)
	}
}

// lookup is a commit, or the question for its outcome, that waits for what the engine
// knows of it.
type lookup struct {
	ticket ticket
	id     kv.TxID
	term   kv.Term
	asOf   kv.Timestamp
	anchor kv.Key     // nil: the commit writes nothing, there is nothing to find
	commit *kv.Commit // nil: an Outcome
}

func (l *leader) lookUp(k *lookup, id RequestID) {
	if k.term > l.term && k.commit == nil && invariant.Mutated(invariant.GhostNoTerm) {
		l.answerAborted(&ticket{id: id, outcome: true}, nil)
		return
	}
	if k.term > l.term && !invariant.Mutated(invariant.NoTerm) {
		l.sink.Reply(id, nil, l.notLeader(0, k.term)) // a later leader knows more (rule E5)
		return
	}
	k.ticket.id, k.ticket.outcome = id, k.commit == nil
	if r := l.transactions.recoveries[k.id]; r != nil {
		r.join(l, &k.ticket)
		return
	}
	if k.anchor == nil {
		l.notFound(k, l.retained.horizon)
		return
	}
	find := &Lookup{Anchor: k.anchor, ID: k.id, AsOf: k.asOf}
	if k.commit != nil && len(k.commit.Parts) == 0 {
		for i := range k.commit.Writes {
			if w := &k.commit.Writes[i]; w.Kind == kv.WriteAdd {
				find.Sums = append(find.Sums, w.Key)
			}
		}
	}
	l.addTicket(&k.ticket, id, k)
	l.sink.Read(&ReadTask{Request: id, Partition: l.id, Term: l.term, Lookup: find, owner: k})
}

func (k *lookup) evaluated(l *leader, _ *ReadTask, r *ReadResult) {
	if l.tickets.byID[k.ticket.id] != &k.ticket {
		return // canceled
	}
	switch {
	case r.Err != nil:
		l.answer(&k.ticket, nil, r.Err)
	case r.Committed != 0 && !invariant.Mutated(invariant.OutcomeForgotten):
		l.answerCommitted(&k.ticket, r.Committed, &results{sums: r.Sums})
	default:
		l.notFound(k, r.Horizon)
	}
}

// notFound answers for an id that no version carries, in a state with the horizon given. A
// commit of an older term that is not there never will be (rule E6), nor will one of this
// term that is neither there nor seen and lies before the window (rule I6).
func (l *leader) notFound(k *lookup, horizon kv.Timestamp) {
	switch {
	case horizon != 0 && k.asOf <= horizon && !invariant.Mutated(invariant.NoHorizon):
		e := kv.Errorf(kv.Expired, "commit %v is from %v, and outcomes are known from %v on: it was not executed now", k.id, k.asOf, horizon)
		e.Partition = l.id
		l.answer(&k.ticket, nil, e)
	case k.commit == nil:
		l.answerAborted(&k.ticket, nil)
	case k.term != l.term && invariant.Mutated(invariant.SelfRestart):
		l.tickets.remove(&k.ticket)
		q := *k.commit
		q.Term = l.term
		l.admitCommit(k.ticket.id, &kv.Request{Commit: &q})
	case k.term != l.term && !invariant.Mutated(invariant.NoTerm):
		e := kv.Errorf(kv.StaleTerm, "commit %v names term %d, partition %d is in term %d: commit under a new id", k.id, k.term, l.id, l.term)
		e.Partition, e.Term = l.id, l.term
		l.answer(&k.ticket, nil, e)
	default:
		l.answer(&k.ticket, nil, l.aborted(k.id))
	}
}

func (l *leader) aborted(id kv.TxID) *kv.Error {
	e := kv.Errorf(kv.Aborted, "commit %v was not executed and never will be: run it again under a new id", id)
	e.Partition = l.id
	return e
}

func (k *lookup) canceled(*leader, *ticket) {}

func (k *lookup) expired(l *leader, t *ticket) {
	l.sink.Reply(t.id, nil, l.waitedTooLong())
}

func (k *lookup) deposed(l *leader, _ *ticket, leader kv.NodeID, term kv.Term) *kv.Error {
	return l.notLeader(leader, term)
}

func (l *leader) waitedTooLong() *kv.Error {
	e := kv.Errorf(kv.Unavailable, "the request waited %v in partition %d, the limit: try again later", l.opts.WaitMax, l.id)
	e.Partition = l.id
	return e
}
