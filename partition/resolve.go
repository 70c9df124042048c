package partition

import (
	"encoding/binary"
	"time"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// transactions are those over several partitions that concern this one: as a participant (prepared)
// and as the anchor, after the commit (records).
type transactions struct {
	byID        map[kv.TxID]*prepared    // never iterated
	first, last *prepared                // in order of arrival
	records     map[kv.TxID]*resolver    // iterated only to be sorted
	calls       map[uint64]call          // of this term, by token; never iterated
	asked       txn.FIFO[asked]          // the same, and answered ones between them, by time
	soon        txn.FIFO[retry]          // by time
	claims      txn.FIFO[*claim]         // those that began, oldest first, until they would end
	learnt      kv.Timestamp             // the newest commit timestamp among the fates told in this term
	recoveries  map[kv.TxID]*recovery    // iterated only to be sorted
	undecided   map[kv.TxID]kv.Timestamp // staged with their anchor here: c; the least is looked for only
}

func (s *transactions) len() int { return len(s.byID) }

func (s *transactions) add(p *prepared) {
	s.byID[p.ID] = p
	p.prev = s.last
	if s.last == nil {
		s.first = p
	} else {
		s.last.next = p
	}
	s.last = p
}

func (s *transactions) remove(p *prepared) {
	delete(s.byID, p.ID)
	if p.prev == nil {
		s.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		s.last = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
}

// admitResolve brings the fate of a transaction. Without a lock of it there is nothing to do, and
// that confirms it (rule F6): but only once this node has proved that it leads, for a deposed leader does not
// see the locks of its successor, and the anchor forgets what all have confirmed.
func (l *leader) admitResolve(id RequestID, q *kv.Resolve) {
	p := l.transactions.byID[q.ID]
	if p == nil && invariant.Mutated(invariant.ResolveAny) {
		p = l.transactions.first
	}
	switch {
	case q.ID.IsZero():
		l.sink.Reply(id, nil, kv.Errorf(kv.Invalid, "a Resolve names no transaction"))
	case p == nil:
		l.confirm(id, q)
	case p.phase < locking: // it is a late copy, or the transaction is aborted (rules H9, P12)
		p.refuse(l, l.aborted(p.ID))
		l.confirm(id, q)
	case p.phase == unlocking:
		l.sink.Reply(id, l.acknowledgement(), nil)
	case invariant.Mutated(invariant.ConfirmEarly):
		l.learn(p, fate{known: true, commit: q.Commit})
		l.sink.Reply(id, l.acknowledgement(), nil)
	default:
		t := &ticket{copy: p.told}
		p.told = t
		l.addTicket(t, id, p)
		l.learn(p, fate{known: true, commit: q.Commit})
	}
}

// confirm says that there is no lock of a transaction. Nobody counts the answers of an aborted one.
func (l *leader) confirm(id RequestID, q *kv.Resolve) {
	if q.Commit == 0 || invariant.Mutated(invariant.ConfirmUnproved) {
		l.sink.Reply(id, l.acknowledgement(), nil)
		return
	}
	b := &barrier{}
	b.tickets = &ticket{}
	l.addTicket(b.tickets, id, b)
	l.propose(b)
}

// learn notes the fate of a transaction, and has its locks removed (rule F3).
func (l *leader) learn(p *prepared, f fate) {
	if !p.fate.known {
		p.fate = f
	}
	l.transactions.learnt = max(l.transactions.learnt, f.commit)
	switch p.phase {
	case locked:
		l.resolve(p)
		if p.fate.commit != 0 {
			l.beginEarly(p)
		}
	case held: // what is not staged cannot be committed: a late copy, or aborted (rule P12)
		p.refuse(l, l.aborted(p.ID))
	}
}

func (l *leader) resolve(p *prepared) {
	p.phase = resolving
	r := &resolution{p: p, first: p.since.proven && p.fate.commit > p.since.at || invariant.Mutated(invariant.FirstUnproven)}
	if p.guard.Waiters() > 0 {
		l.propose(r)
		return
	}
	l.proposeLazily(r)
}

// resolution is the command that turns the locks of a transaction into versions, or drops them. It is
// proposed only while they are in the log, once: so it finds them (rules F5, F6).
type resolution struct {
	p *prepared
	// first says that the keys have no versions of the transaction yet. Had it been resolved here before, in
	// this term or an earlier one, then its commit timestamp would not be above prepared.since.
	first bool
}

func (r *resolution) encodedLen() int {
	n := 1 + len(kv.TxID{}) + 8 + 1 + uvarintLen(uint64(len(r.p.guard.Latches)))
	for i := range r.p.guard.Latches {
		n += 1 + bytesLen(r.p.guard.Latches[i].Span.Start)
	}
	return n
}

func (r *resolution) append(dst []byte) []byte {
	dst = appendResolveHeader(dst, r.p.ID, r.p.fate.commit, r.first)
	dst = binary.AppendUvarint(dst, uint64(len(r.p.guard.Latches)))
	for i := range r.p.guard.Latches {
		strength, key := lockOf(&r.p.guard.Latches[i])
		dst = appendBytes(append(dst, byte(strength)), key)
	}
	return dst
}

func (r *resolution) taken() {}

// committed: whatever becomes of this leader, the locks will go. Only now is the anchor told (rule H7, docs/adr/0025). Who
// reads meanwhile is told what the locks hold; who writes waits until they are gone.
func (r *resolution) committed(l *leader) bool {
	p := r.p
	p.phase = unlocking
	for t := p.told; t != nil; t = t.copy {
		l.answer(t, l.acknowledgement(), nil)
	}
	p.told = nil
	return p.guard.Waiters() > 0
}

// applied: the locks are gone. Whoever waited for that goes on.
func (r *resolution) applied(l *leader) {
	p := r.p
	p.phase = resolved
	l.table.Unlock(&p.guard)
	l.transactions.remove(p)
}

// question is what the anchor of a transaction is being asked, because others wait for its locks.
type question struct {
	ask     kv.AskKind
	pending bool
	at      kv.Instant // of the newest; before there was one, of the arrival

	undecided bool // of the planted bug UndecidedCache
}

// push sees to it that a waiter's wait for a lock ends (rule F1): an older one wounds the holder, a
// younger one asks what became of it.
func (l *leader) push(holder, waiter *intent) {
	id, age := waiter.owner.transaction()
	switch h := holder.owner.(type) {
	case *commit:
		if age.OlderThan(h.req.Age) && h.phase == phasePreparing && !invariant.Mutated(invariant.NoWound) {
			l.abort(h, l.wounded(h, id))
		} else if h.phase == phaseCommitted {
			l.sink.Hasten(l.Partition)
		}
	case *prepared:
		switch h.phase {
		case resolving:
			l.hurry()
		case unlocking:
			l.sink.Hasten(l.Partition)
		}
		l.inquire(h, pushKind(h, age))
	}
}

func pushKind(h *prepared, waiter kv.Age) kv.AskKind {
	if waiter.OlderThan(h.Age) && !invariant.Mutated(invariant.NoWound) {
		return kv.AskWound
	}
	return kv.AskQuery
}

// wounded says that a commit gave way; by is the transaction that waits, zero if that is not known.
func (l *leader) wounded(c *commit, by kv.TxID) *kv.Error {
	e := kv.Errorf(kv.Conflict, "transaction %v gave way to an older one that waits for its locks: run it again under a new id", c.req.ID)
	e.Partition, e.Key, e.ID = l.id, c.req.Writes[0].Key, by
	return e
}

// inquire asks the anchor, unless that is under way.
func (l *leader) inquire(p *prepared, ask kv.AskKind) {
	if p.phase != locked && p.phase != held || p.question.pending && (p.question.ask == kv.AskWound || p.question.ask == ask) {
		return
	}
	p.question.ask, p.question.pending, p.question.at = ask, true, l.sink.Now()
	l.call(l.aboutTo(p, ask, 0), p, int(ask))
}

func (l *leader) aboutTo(p *prepared, ask kv.AskKind, at kv.Timestamp) *kv.Request {
	return &kv.Request{Partition: p.Partition, Outcome: &kv.OutcomeOf{
		ID: p.ID, Term: p.Term, AsOf: p.AsOf, Anchor: p.Anchor, Ask: ask, At: at,
	}}
}

// answered is the anchor's answer to a question of those who wait for the locks.
func (p *prepared) answered(l *leader, ask int, resp *kv.Response, err *kv.Error) {
	if int(p.question.ask) == ask {
		p.question.pending = false
	}
	if p.phase != locked && p.phase != held {
		return
	}
	if err != nil && invariant.Mutated(invariant.Unilateral) {
		l.learn(p, fate{known: true})
		return
	}
	if f, ok := fateIn(resp, err); ok {
		l.learn(p, f)
		return
	}
	l.later(p, 0)
}

// fateIn is what an answer to a question says for ever. "No record" is proof of the abort here: the
// locks are there, and nothing in the log can have removed them but what this leader proposes (rules D8c, E7, F3).
func fateIn(resp *kv.Response, err *kv.Error) (fate, bool) {
	switch {
	case err != nil && err.Kind == kv.Expired:
		return fate{known: true}, true // the outcome is forgotten, so all its participants had confirmed
	case err != nil || resp.Outcome == kv.OutcomeUnknown:
		return fate{}, false
	case resp.Outcome == kv.OutcomeCommitted:
		return fate{known: true, commit: resp.Timestamp}, true
	}
	return fate{known: true}, true
}

// retry asks again while somebody waits.
func (p *prepared) retry(l *leader, _ int) {
	if p.phase != locked && p.phase != held || p.question.pending {
		return
	}
	waits, ask := false, kv.AskQuery
	l.table.Waiters(&p.guard, func(g *txn.Guard) bool {
		_, age := g.Owner.(*intent).owner.transaction()
		waits, ask = true, pushKind(p, age)
		return ask != kv.AskWound
	})
	if waits {
		l.inquire(p, ask)
	}
}

// watchEvery is after how long a lock is asked about even if nobody waits for it.
const watchEvery = 5 * time.Second

// watchTick looks at the locks that stay, so that none is left behind by an anchor that went away
// (rule H9).
func (l *leader) watchTick() {
	old := l.sink.Now().Add(-watchEvery)
	for p := l.transactions.first; p != nil && p.arrived <= old; p = p.next {
		if p.question.at <= old {
			l.inquire(p, kv.AskQuery)
		}
	}
}
