package partition

import (
	"encoding/binary"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/txn"
)

// staged is what of a participant's part is of parallel commit (transactions.md, P). Such a part is locked
// in memory first, and its locks come into the log with the commit timestamp.
type staged struct {
	inMemory bool
	at       kv.Timestamp // c, once it is on its way to the log; 0: not yet
	// durable: the anchor has told a read that all parts are durable. So it is committed, but to resolve
	// it is not allowed before the anchor's log says so (rule P6).
	durable bool
	stays   uint64 // number of the closing that waits, or has waited, for it; 0: none
}

// hold acknowledges what is locked in memory and validated (rule P1). Nothing of it outlives this term.
func (l *leader) hold(p *prepared) {
	l.table.Lock(&p.guard)
	p.phase, p.since = held, l.sinceNow()
	l.acknowledge(p)
}

// promisedNever reports whether a transaction may not be locked in memory here: "never" was said of it
// in this term (rule P7), or may have been, and the mark has left the window.
func (l *leader) promisedNever(q *kv.Prepare) bool {
	return l.seen.Look(q.ID).Status == txn.Aborted || q.AsOf <= l.seen.Window()
}

// admitStage puts what is locked in memory into the log, at its commit timestamp (rules P2 to P5), or says
// what became of it (rule P9).
func (l *leader) admitStage(id RequestID, q *kv.Stage) {
	p := l.transactions.byID[q.ID]
	switch {
	case q.ID.IsZero() || q.Commit == 0 || q.Term == 0:
		l.sink.Reply(id, nil, kv.Errorf(kv.Invalid, "a Stage names no transaction, no timestamp or no term"))
	case q.Term > l.term: // a later leader knows more
		l.sink.Reply(id, nil, l.notLeader(0, q.Term))
	case p != nil && p.staged.at == q.Commit && p.phase >= locked:
		l.sink.Reply(id, p.acknowledgement(l), nil)
	case p != nil && p.staged.at == q.Commit && p.phase == locking:
		l.awaitStaged(p, id)
	case q.Recover, p == nil, p.phase != held, q.Term != l.term && !invariant.Mutated(invariant.PCNoTerm), l.closedAt(q.Commit), p.isOver(q.Commit):
		l.sayNever(id, q, p)
	default:
		l.stage(p, id, q.Commit)
	}
}

// closedAt reports whether nothing may be staged at c any more: in-memory locks hold back neither what is
// closed nor G (rule P4).
func (l *leader) closedAt(c kv.Timestamp) bool {
	return c <= max(l.draws.closing.newest, l.retained.gcProposed) && !invariant.Mutated(invariant.PCClosedNoHold)
}

// isOver reports whether what is locked in memory is a late copy, of a transaction that was resolved here at c: then
// this leader was told of c before. The timestamp of one that is not over was drawn after its lock was
// acknowledged, so above all that was heard of then (rule B2). Most Stages of another term are over, too, so the planted
// bug PCNoTerm goes through both guards.
func (p *prepared) isOver(c kv.Timestamp) bool {
	return c <= p.since.at && !invariant.Mutated(invariant.StageOver) && !invariant.Mutated(invariant.PCNoTerm)
}

func (l *leader) stage(p *prepared, id RequestID, c kv.Timestamp) {
	if c <= p.declared.newest {
		violated("a timestamp is above all versions under its locks (rule B4): %d, %d", c, p.declared.newest)
	}
	p.phase, p.applies, p.staged.at, p.timer = locking, true, c, p.timer.again(l)
	l.moves(p)
	l.awaitStaged(p, id)
	l.propose(p)
	if invariant.Mutated(invariant.PCAckEarly) {
		l.acknowledge(p)
	}
}

func (l *leader) awaitStaged(p *prepared, id RequestID) {
	t := &ticket{copy: p.tickets}
	p.tickets = t
	l.addTicket(t, id, p)
}

// sayNever promises that a transaction will not be staged here in the term that was named: who counts on
// that may abort it, while a deposed coordinator still counts acknowledgements (rule P7).
func (l *leader) sayNever(id RequestID, q *kv.Stage, p *prepared) {
	if !invariant.Mutated(invariant.PCNoPrevent) {
		if q.Term == l.term {
			if l.seen.Full(l.sink.Heard()) {
				l.sink.Reply(id, nil, l.overloaded("commits of the last moments", l.opts.SeenIDsMax))
				return
			}
			l.seen.Abort(q.ID, q.AsOf)
		}
		if p != nil && p.phase < locking {
			p.refuse(l, l.aborted(p.ID))
		}
	}
	l.sink.Reply(id, nil, l.aborted(q.ID))
}

// ignored reports whether a read at a timestamp need not look at the locks of a participant's part: they
// are staged above it (rule P10). What is only in memory may have its timestamp below it (rule P11).
func (s *staged) ignored(p *prepared, at kv.Timestamp) bool {
	switch {
	case !s.inMemory:
		return false
	case invariant.Mutated(invariant.PCIgnoreMem) && p.phase < locked, invariant.Mutated(invariant.PCIgnoreStage) && p.phase >= locked:
		return true
	}
	return s.at > at
}

// ignoredByFollower is the same for a lock in the engine.
func ignoredByFollower(k *mvcc.Lock, at kv.Timestamp) bool {
	return k.Staged > at || k.Staged != 0 && invariant.Mutated(invariant.PCIgnoreStage)
}

// answeredStaged takes the answer to a read's question about a part of a parallel commit. It reports false if
// the read has to ask again.
func (q lockQuestion) answeredStaged(l *leader, i int, resp *kv.Response, err *kv.Error) bool {
	p := q.p
	f, ok := fateIn(resp, err)
	switch {
	case p.phase > locked || p.fate.known:
	case ok && f.commit != 0 && p.phase != held:
		p.staged.durable = true
	case ok:
		l.learn(p, f)
	case err != nil:
		l.later(q, i)
		return false
	}
	return true
}

// stageLen is the length of what appendStage appends.
func stageLen(x *intent, a *kv.Attempt, where []mvcc.Participant) int {
	n := recordHeaderLen(a, where) + uvarintLen(uint64(len(x.guard.Latches)))
	for i := range x.req.Writes {
		v, tombstone := x.written(i)
		n += exclusiveLen(x.req.Writes[i].Key, v, tombstone)
	}
	for i := range x.guard.Latches {
		if s := &x.guard.Latches[i]; s.Mode == txn.Shared {
			n += 1 + bytesLen(s.Span.Start) + bytesLen(s.Span.End)
		}
	}
	return n
}

// appendStage encodes a transaction's part of this partition, with all its locks; at the anchor where names the others.
func appendStage(dst []byte, x *intent, a *kv.Attempt, c kv.Timestamp, where []mvcc.Participant) []byte {
	dst = appendRecordHeader(dst, commandStage, a, c, where)
	dst = binary.AppendUvarint(dst, uint64(len(x.guard.Latches)))
	for i := range x.req.Writes {
		v, tombstone := x.written(i)
		dst = appendExclusive(dst, x.req.Writes[i].Key, v, tombstone)
	}
	for i := range x.guard.Latches {
		if s := &x.guard.Latches[i]; s.Mode == txn.Shared {
			dst = appendShared(dst, s.Span)
		}
	}
	return dst
}
