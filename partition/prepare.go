package partition

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/txn"
)

// preparedPhase of a participant's part of a transaction. It only goes up.
type preparedPhase uint8

const (
	preparing preparedPhase = iota // waits for its latches and for the engine
	held                           // locked in memory and acknowledged, of a parallel commit (rule P1)
	locking                        // its locks are on their way to the log
	locked                         // and there (of a parallel commit: in the engine): acknowledged
	resolving                      // their removal is on its way
	unlocking                      // and in the log: confirmed
	resolved
)

// prepared is what a transaction with its anchor elsewhere reads and writes here, from its Prepare
// until its locks are resolved.
type prepared struct {
	intent
	kv.Attempt
	phase preparedPhase
	// oldest is what must not be below G: s, or for blind ones what their client had heard of (rule H3).
	oldest kv.Timestamp
	audience
	fate     fate
	since    since
	question question
	arrived  kv.Instant
	staged   staged // of a parallel commit
	applies  bool   // its locks are on their way to the log, or from there to the engine
	neighbors
}

// audience is who waits for what becomes of a transaction here.
type audience struct {
	tickets *ticket // copies of the Prepare
	told    *ticket // Resolves that wait until the removal of the locks is in the log
	readers []*read // wait until the locks are in the engine
}

// neighbors of a transaction in the order of arrival.
type neighbors struct{ prev, next *prepared }

// since is a bound of timestamps, as of when the locks of a prepare were committed, or held in memory.
type since struct {
	// at is the newest timestamp heard of then. The acknowledgement came later, and so did the draw of
	// the commit timestamp: it is above at (rule B2). 0: an earlier leader may have acknowledged.
	at kv.Timestamp
	// proven says that at is not below the commit timestamp of anything that was resolved here before: what was
	// resolved in this term, its leader was told of; what was resolved in an earlier one was drawn before a
	// draw that was answered in this one.
	proven bool
}

func (l *leader) sinceNow() since { return since{at: l.newestHere(), proven: l.draws.answered} }

// fate is what the anchor said of a transaction.
type fate struct {
	known  bool
	commit kv.Timestamp // 0: aborted
}

// admitPrepare locks what a transaction reads and writes here (rule H3).
func (l *leader) admitPrepare(id RequestID, req *kv.Request) {
	q := req.Prepare
	if err := l.checkPrepare(q); err != nil {
		l.sink.Reply(id, nil, err)
		return
	}
	if p := l.transactions.byID[q.ID]; p != nil {
		l.prepareAgain(p, id)
		return
	}
	if q.InMemory && l.promisedNever(q) {
		l.sink.Reply(id, nil, l.aborted(q.ID))
		return
	}
	p := &prepared{Attempt: q.Attempt, arrived: l.sink.Now(), staged: staged{inMemory: q.InMemory}}
	p.question.at = p.arrived
	p.intent = intent{owner: p, req: &kv.Commit{Start: q.Start, Reads: q.Reads, Spans: q.Spans, Writes: q.Writes}, locks: true, timer: l.newTimer(req.Trace)}
	p.oldest = q.Start
	if p.oldest == 0 {
		p.oldest = q.AsOf
	}
	if err := p.declare(); err != nil {
		l.sink.Reply(id, nil, err)
		return
	}
	switch {
	case l.bytes > 0 && l.bytes+p.declared.bytes > l.opts.CommitBytesMax:
		l.sink.Reply(id, nil, l.overloaded("bytes of commits that are not applied", l.opts.CommitBytesMax))
		return
	case l.transactions.len() >= l.opts.PreparedMax:
		l.sink.Reply(id, nil, l.overloaded("prepared transactions", l.opts.PreparedMax))
		return
	case !l.table.Acquire(&p.guard):
		l.sink.Reply(id, nil, l.overloaded("commits that wait for the same key", l.opts.WaitersPerKeyMax))
		return
	}
	l.bytes += p.declared.bytes
	l.transactions.add(p)
	p.tickets = &ticket{}
	l.addTicket(p.tickets, id, p)
}

// prepareAgain answers another copy of a Prepare.
func (l *leader) prepareAgain(p *prepared, id RequestID) {
	if p.phase >= locked || p.phase == held || p.phase == locking && invariant.Mutated(invariant.DupAck) {
		l.sink.Reply(id, p.acknowledgement(l), nil)
		return
	}
	copies := 1
	for t := p.tickets; t != nil; t = t.copy {
		copies++
	}
	if oldest := p.tickets; oldest != nil && copies > l.opts.CopiesMax {
		p.tickets = oldest.copy
		l.answer(oldest, nil, l.waitedTooLong())
	}
	t := &ticket{copy: p.tickets}
	p.tickets = t
	l.addTicket(t, id, p)
}

func (l *leader) acknowledgement() *kv.Response {
	return &kv.Response{Term: l.term, Heard: l.sink.Heard()}
}

func (p *prepared) acknowledgement(l *leader) *kv.Response {
	resp := l.acknowledgement()
	resp.Timing = p.timer.timing()
	return resp
}

func (p *prepared) wanted(*leader) bool { return p.phase == preparing }

func (p *prepared) transaction() (kv.TxID, kv.Age) { return p.ID, p.Age }

// ready queues the locks, with what the writes come to, for the log.
func (p *prepared) ready(l *leader) {
	if p.oldest < l.retained.gcProposed && !invariant.Mutated(invariant.NoGCCommit) {
		p.refuse(l, tooOld(l.id, p.oldest, l.retained.gcProposed))
		return
	}
	if p.staged.inMemory {
		l.hold(p)
		return
	}
	p.phase, p.applies = locking, true
	p.timer.begin(l)
	l.propose(p)
	if invariant.Mutated(invariant.AckEarly) {
		l.acknowledge(p)
	}
}

func (l *leader) acknowledge(p *prepared) {
	for t := p.tickets; t != nil; t = t.copy {
		l.answer(t, p.acknowledgement(l), nil)
	}
	p.tickets = nil
}

func (p *prepared) refuse(l *leader, err *kv.Error) {
	p.refused(l, err)
	for t := l.dropPrepare(p); t != nil; t = t.copy {
		l.answer(t, nil, err)
	}
}

// refuseBy reveals what a key holds: so it is told once the version is applied and an entry of this
// term, proposed now, has proved that this node leads.
func (p *prepared) refuseBy(l *leader, _ kv.Key, err *kv.Error) {
	p.refused(l, err)
	l.propose(&barrier{tickets: l.dropPrepare(p), err: err})
}

// barrier is a command that does nothing: once it is applied, everything before it is, and this node
// led when it was proposed.
type barrier struct {
	tickets *ticket   // who waits for that
	err     *kv.Error // what they are told; nil: that all is well
}

func (b *barrier) encodedLen() int          { return 1 }
func (b *barrier) append(dst []byte) []byte { return append(dst, byte(commandBarrier)) }
func (b *barrier) taken()                   {}
func (b *barrier) committed(*leader) bool   { return true }

func (b *barrier) applied(l *leader) {
	for t := b.tickets; t != nil; t = t.copy {
		switch {
		case l.tickets.byID[t.id] != t: // waited too long
		case b.err != nil:
			l.answer(t, nil, b.err)
		default:
			l.answer(t, l.acknowledgement(), nil)
		}
	}
}

func (b *barrier) canceled(*leader, *ticket) {}

func (b *barrier) expired(l *leader, t *ticket) { l.sink.Reply(t.id, nil, l.waitedTooLong()) }

func (b *barrier) deposed(l *leader, _ *ticket, leader kv.NodeID, term kv.Term) *kv.Error {
	return l.notLeader(leader, term)
}

// dropPrepare ends a prepare that is not proposed; it returns those who wait for it.
func (l *leader) dropPrepare(p *prepared) *ticket {
	invariant.Check(p.phase < locking, "what is proposed is decided by the log alone: %v", p.ID)
	p.phase, p.task = resolved, nil
	l.release(&p.guard)
	l.moves(p)
	l.bytes -= p.declared.bytes
	l.transactions.remove(p)
	ts := p.tickets
	p.tickets = nil
	return ts
}

func (p *prepared) taken() {}

// committed: whatever becomes of this leader, the locks will be there. Only now is the prepare acknowledged (rule H3,
// docs/adr/0025). A part of a parallel commit is locked in memory already, and acknowledged once it is applied.
func (p *prepared) committed(l *leader) bool {
	if !p.staged.inMemory {
		p.since = l.sinceNow()
		if invariant.Mutated(invariant.NoShared) {
			p.shareNothing(l)
		} else {
			l.table.Lock(&p.guard)
		}
		p.durable(l)
	}
	return p.staged.inMemory
}

// durable acknowledges what is locked durably.
func (p *prepared) durable(l *leader) {
	p.phase = locked
	p.timer.end(l, agreeing)
	l.acknowledge(p)
	if p.fate.known {
		l.resolve(p)
	}
}

// applied: the locks are in the engine, with what they hold.
func (p *prepared) applied(l *leader) {
	l.bytes -= p.declared.bytes
	p.applies = false
	p.req, p.declared = nil, declared{}
	for i := range p.guard.Latches {
		p.guard.Latches[i].Write = txn.Pending{} // the engine has it
	}
	if p.staged.inMemory {
		p.durable(l)
		if !p.fate.known {
			p.retry(l, 0) // who came while it was on its way has not asked
		}
	}
	for _, r := range p.readers {
		l.metAnswered(r)
	}
	p.readers = nil
}

// newestHere is the newest timestamp that is known here: heard of, or of a transaction whose fate was told.
func (l *leader) newestHere() kv.Timestamp { return max(l.sink.Heard(), l.transactions.learnt) }

// shareNothing is the planted bug NoShared: what was read is free once it was validated.
func (p *prepared) shareNothing(l *leader) {
	l.table.Drop(&p.guard)
	var kept []txn.Latch
	for i := range p.guard.Latches {
		if x := &p.guard.Latches[i]; x.Mode != txn.Shared {
			kept = append(kept, txn.Latch{Span: x.Span, Mode: x.Mode})
		}
	}
	p.guard = txn.Guard{Owner: &p.intent, Latches: kept}
	l.table.Restore(&p.guard)
}

func (p *prepared) encodedLen() int {
	if p.staged.at != 0 {
		return stageLen(&p.intent, &p.Attempt, nil)
	}
	n := 1 + attemptLen(&p.Attempt) + uvarintLen(uint64(p.locks()))
	for i := range p.req.Writes {
		v, tombstone := p.written(i)
		n += exclusiveLen(p.req.Writes[i].Key, v, tombstone)
	}
	p.eachShared(func(s kv.Span) { n += 1 + bytesLen(s.Start) + bytesLen(s.End) })
	return n
}

func (p *prepared) append(dst []byte) []byte {
	if p.staged.at != 0 {
		return appendStage(dst, &p.intent, &p.Attempt, p.staged.at, nil)
	}
	dst = appendPrepareHeader(dst, &p.Attempt, p.locks())
	for i := range p.req.Writes {
		v, tombstone := p.written(i)
		dst = appendExclusive(dst, p.req.Writes[i].Key, v, tombstone)
	}
	p.eachShared(func(s kv.Span) { dst = appendShared(dst, s) })
	return dst
}

// eachShared calls f for what is locked shared; a key has no End.
func (p *prepared) eachShared(f func(kv.Span)) {
	if invariant.Mutated(invariant.SharedVolatile) || invariant.Mutated(invariant.NoShared) {
		return
	}
	for i := range p.guard.Latches {
		if x := &p.guard.Latches[i]; x.Mode == txn.Shared {
			f(x.Span)
		}
	}
}

func (p *prepared) locks() int {
	n := len(p.req.Writes)
	p.eachShared(func(kv.Span) { n++ })
	return n
}

func (p *prepared) canceled(_ *leader, t *ticket) { p.leave(t) }

func (p *prepared) leave(t *ticket) {
	for _, list := range []**ticket{&p.tickets, &p.told} {
		for x := list; *x != nil; x = &(*x).copy {
			if *x == t {
				*x = t.copy
				return
			}
		}
	}
}

func (p *prepared) expired(l *leader, t *ticket) {
	p.leave(t)
	l.sink.Reply(t.id, nil, l.waitedTooLong())
	if p.phase == preparing {
		err := kv.Errorf(kv.Aborted, "transaction %v waited too long in partition %d: run it again under a new id", p.ID, l.id)
		p.refuse(l, err)
	}
}

func (p *prepared) deposed(l *leader, _ *ticket, leader kv.NodeID, term kv.Term) *kv.Error {
	return l.notLeader(leader, term)
}

// lockOf is what the latch of a guard is on the disk.
func lockOf(x *txn.Latch) (strength mvcc.Strength, key kv.Key) {
	if x.Mode == txn.Shared {
		return mvcc.Shared, x.Span.Start
	}
	return mvcc.Exclusive, x.Span.Start
}
