package partition

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// phase of a commit. It only goes up.
type phase uint8

const (
	phasePreparing phase = iota // waits for its latches, for the engine, for its participants
	phaseDrawing                // waits for its timestamp
	phaseQueued                 // a pending version; not yet handed to the log
	phaseProposed               // in the log of this term: the log alone decides
	phaseCommitted              // answered; not yet applied
	phaseOver
)

// commit is a commit that is running: from its mark in the seen set until it is applied
// or aborted.
type commit struct {
	intent
	results   *results
	phase     phase
	timestamp kv.Timestamp
	token     uint64        // phaseDrawing
	tickets   *ticket       // who waits for the answer, in order of arrival
	askers    *ticket       // who waits for the fate (rule E4)
	first     ticket        // memory for the usual one
	others    *participants // of a two-phase commit; else nil
}

// results is what a commit answers beside its timestamp; it outlives the commit in the seen set.
type results struct {
	sums []int64 // of the WriteAdds, in order
	// unwritten says that the commit wrote nothing: each answer needs the lease.
	unwritten bool
	timing    *kv.Timing // nil: nobody asked for it
}

func newCommit(q *kv.Commit) *commit {
	c := &commit{}
	c.owner, c.req = c, q
	return c
}

// start runs a commit whose id was never seen. Nothing is marked if it is refused.
func (l *leader) start(id RequestID, q *kv.Commit, t *timer) {
	c := newCommit(q)
	c.timer = t
	if len(q.Parts) > 0 {
		c.others, c.locks = l.participantsOf(q), true
	}
	if err := c.declare(); err != nil {
		l.sink.Reply(id, nil, err)
		return
	}
	if l.bytes > 0 && l.bytes+c.declared.bytes > l.opts.CommitBytesMax {
		l.sink.Reply(id, nil, l.overloaded("bytes of commits that are not applied", l.opts.CommitBytesMax))
		return
	}
	if l.seen.Full(l.sink.Heard()) {
		l.sink.Reply(id, nil, l.overloaded("commits of the last moments", l.opts.SeenIDsMax))
		return
	}
	if invariant.Mutated(invariant.DrawFirst) {
		l.enter(c, id)
		l.ask(c)
		return
	}
	if !l.table.Acquire(&c.guard) {
		l.sink.Reply(id, nil, l.overloaded("commits that wait for the same key", l.opts.WaitersPerKeyMax))
		return
	}
	l.enter(c, id)
	if len(q.Parts) > 0 {
		l.coordinate(c)
	}
}

func (l *leader) enter(c *commit, id RequestID) {
	l.seen.Start(c.req.ID, c.req.AsOf, c)
	l.bytes += c.declared.bytes
	l.addTicket(&c.first, id, c)
	c.tickets = &c.first
}

// granted goes on with an intent that has all its latches: a lock in the way makes it wait for
// that, holding nothing (rules C2, F2).
func (l *leader) granted(x *intent) {
	if !x.owner.wanted(l) {
		l.table.Drop(&x.guard)
		return
	}
	for holder := l.table.Blocker(&x.guard); holder != nil; holder = l.table.Blocker(&x.guard) {
		h := holder.Owner.(*intent)
		if k, ok := h.owner.(*claim); ok && l.pass(k, x) {
			continue
		} else if !ok {
			l.table.Wait(&x.guard, holder)
			l.push(h, x)
		}
		return
	}
	x.timer.end(l, waiting)
	if x.declared.blind {
		x.owner.ready(l)
		return
	}
	l.evaluate(x)
}

// wanted reports whether the id is still marked running: the mark of a killed commit may have left
// the window (rule I7).
func (c *commit) wanted(l *leader) bool {
	if l.running(c) {
		return true
	}
	l.over(c)
	return false
}

func (c *commit) transaction() (kv.TxID, kv.Age) { return c.req.ID, c.req.Age }

func (c *commit) refuse(l *leader, err *kv.Error) { l.abort(c, err) }

// ready asks for the timestamp, or waits for the other participants, holding locks (rule H2).
func (c *commit) ready(l *leader) {
	if c.others != nil {
		l.locked(c)
		return
	}
	for i := range c.req.Writes {
		if c.req.Writes[i].Kind != kv.WriteAdd {
			continue
		}
		if c.results == nil {
			c.results = &results{}
		}
		c.results.sums = append(c.results.sums, c.declared.values[i].sum)
	}
	l.ask(c)
}

func (l *leader) running(c *commit) bool {
	e := l.seen.Look(c.req.ID)
	if invariant.Mutated(invariant.WindowWaits) || invariant.Mutated(invariant.NoSeen) {
		return e.Status != txn.Aborted
	}
	return e.Status == txn.Running && e.Owner == c
}

// ask asks for the commit timestamp: all latches are held, and what was read is valid
// (rule B2). From here on reads await the commit (rule B3).
func (l *leader) ask(c *commit) {
	if !invariant.Mutated(invariant.DrawFirst) {
		l.table.Asked(&c.guard)
	} else if c.timestamp != 0 {
		l.table.Asked(&c.guard)
		l.drawn(c, c.timestamp)
		return
	}
	c.phase = phaseDrawing
	c.timer.begin(l)
	c.token = l.draw(c)
}

func (c *commit) drawn(l *leader, ts kv.Timestamp) {
	if invariant.Mutated(invariant.DrawFirst) && c.timestamp == 0 {
		c.timestamp, c.phase = ts, phasePreparing
		if !l.table.Acquire(&c.guard) {
			l.abort(c, l.overloaded("commits that wait for the same key", l.opts.WaitersPerKeyMax))
		}
		return
	}
	l.drawn(c, ts)
}

// drawn proposes a commit at its timestamp.
func (l *leader) drawn(c *commit, ts kv.Timestamp) {
	if q := c.req; ts <= q.Start || ts <= q.AsOf {
		l.abort(c, l.fromTheFuture(max(q.Start, q.AsOf)))
		return
	}
	if ts <= c.declared.newest {
		violated("a timestamp is above all versions under its latches (rule B4): %d, %d", ts, c.declared.newest)
	}
	c.timestamp = ts
	c.timer.end(l, drawing)
	if len(c.req.Writes) == 0 {
		l.validated(c)
		return
	}
	c.fillLatches()
	l.table.Propose(&c.guard, ts)
	c.phase = phaseQueued
	if c.others != nil && c.others.staging != nil {
		l.stageAll(c)
		return
	}
	l.propose(c)
	if invariant.Mutated(invariant.ReplyEarly) {
		l.answerAll(c)
	}
}

// validated ends a commit that wrote nothing: what it read was still valid at its timestamp,
// provided that this node led then; so its answer needs the lease.
func (l *leader) validated(c *commit) {
	l.table.Drop(&c.guard)
	l.over(c)
	c.results = &results{unwritten: true}
	l.seen.Finish(c.req.ID, c.req.AsOf, c.timestamp, c.results)
	l.answerAll(c)
}

func (c *commit) taken() { c.phase = phaseProposed }

// committed answers the client: reads await what is not applied (rule C6).
// Whoever reads what was written waits until it is applied, and comes soon. So a commit in one partition is applied now. One
// over several has taken several times as long, and beside that the wait is short: it is applied when somebody waits, for
// what it wrote or for its locks.
func (c *commit) committed(l *leader) bool {
	c.phase = phaseCommitted
	c.timer.end(l, agreeing)
	l.answerAll(c)
	l.answerAskers(c)
	if c.others == nil {
		return true
	}
	l.settle(c.others.record(c))
	return c.guard.Awaited() || c.guard.Waiters() > 0
}

func (l *leader) answerAskers(c *commit) {
	for t := c.askers; t != nil; t = t.copy {
		l.answerCommitted(t, c.timestamp, nil)
	}
	c.askers = nil
}

// applied: the commit's versions are in the engine.
func (c *commit) applied(l *leader) {
	l.table.Applied(&c.guard)
	l.over(c)
	var owner any
	if c.results != nil {
		owner = c.results
	}
	l.seen.Finish(c.req.ID, c.req.AsOf, c.timestamp, owner)
	l.answerAskers(c)
	if c.others != nil && c.others.staging != nil {
		l.settle(c.others.record(c))
	}
}

// answerAll answers everybody who waits for a commit that has happened.
func (l *leader) answerAll(c *commit) {
	c.timed()
	for t := c.tickets; t != nil; t = t.copy {
		l.answerCommitted(t, c.timestamp, c.results)
	}
	c.tickets = nil
}

// answerCommitted answers a ticket, which need not be entered.
func (l *leader) answerCommitted(t *ticket, ts kv.Timestamp, res *results) {
	resp := &kv.Response{Timestamp: ts, Term: l.term, Heard: max(l.sink.Heard(), ts)}
	if t.outcome {
		resp.Outcome = kv.OutcomeCommitted
		l.answer(t, resp, nil)
		return
	}
	if res != nil {
		resp.Sums, resp.Timing = res.sums, res.timing
		if res.unwritten {
			l.serveKnown(t, &ReadResult{Response: resp})
			return
		}
	}
	l.answer(t, resp, nil)
}

// abort ends a commit that is not proposed: its id is marked first (rule C3), then its latches
// go, then everybody is told.
func (l *leader) abort(c *commit, err *kv.Error) {
	err = c.timer.refused(l, c, err)
	ts := l.kill(c)
	for t := ts; t != nil; t = t.copy {
		l.answerAborted(t, err)
	}
	for t := c.askers; t != nil; t = t.copy {
		l.answerAborted(t, err)
	}
	c.askers = nil
}

// answerAborted tells that a commit is finally aborted; err says why.
func (l *leader) answerAborted(t *ticket, err *kv.Error) {
	if t.outcome {
		l.answer(t, &kv.Response{Outcome: kv.OutcomeAborted, Term: l.term, Heard: l.sink.Heard()}, nil)
		return
	}
	l.answer(t, nil, err)
}

// kill marks the id of a commit as aborted and gives up its latches; it returns those who wait.
func (l *leader) kill(c *commit) *ticket {
	invariant.Check(c.phase < phaseQueued, "what is proposed is decided by the log alone: %v", c.req.ID)
	l.seen.Abort(c.req.ID, c.req.AsOf)
	ts := c.tickets
	c.tickets = nil
	if invariant.Mutated(invariant.WindowWaits) && !c.guard.Held() {
		return ts
	}
	if c.phase == phaseDrawing {
		l.draws.take(c.token)
	}
	l.over(c)
	c.task = nil
	l.release(&c.guard)
	if c.others != nil {
		l.abandon(c)
	}
	return ts
}

// release gives up whatever a guard that is not proposed has.
func (l *leader) release(g *txn.Guard) {
	if g.Locked() {
		l.table.Unlock(g)
		return
	}
	l.table.Drop(g)
}

func (l *leader) over(c *commit) {
	c.phase = phaseOver
	l.bytes -= c.declared.bytes
}

// join makes a ticket wait for the fate of a running commit.
func (l *leader) join(c *commit, t *ticket, id RequestID) {
	l.addTicket(t, id, c)
	copies := 1
	end := &c.tickets
	for *end != nil {
		end = &(*end).copy
		copies++
	}
	*end = t
	if copies > l.opts.CopiesMax {
		oldest := c.tickets
		c.tickets = oldest.copy
		l.answer(oldest, nil, l.ambiguous(c, "too many copies of it wait"))
	}
}

func (l *leader) ambiguous(c *commit, why string) *kv.Error {
	e := kv.Errorf(kv.Ambiguous, "commit %v may or may not have happened, because %s: ask for its outcome", c.req.ID, why)
	e.Partition, e.ID = l.id, c.req.ID
	return e
}

// leave takes a ticket off the commit's list.
func (c *commit) leave(t *ticket) {
	for _, list := range []**ticket{&c.tickets, &c.askers} {
		for p := list; *p != nil; p = &(*p).copy {
			if *p == t {
				*p = t.copy
				return
			}
		}
	}
}

func (c *commit) canceled(l *leader, t *ticket) {
	c.leave(t)
	if c.tickets == nil && c.phase < phaseQueued {
		l.abort(c, l.aborted(c.req.ID))
	}
}

func (c *commit) expired(l *leader, t *ticket) {
	c.leave(t)
	switch {
	case c.phase >= phaseQueued && t.outcome:
		l.sink.Reply(t.id, nil, l.waitedTooLong())
		return
	case c.phase >= phaseQueued:
		l.sink.Reply(t.id, nil, l.ambiguous(c, "its entry was not committed in time"))
		return
	}
	err := kv.Errorf(kv.Aborted, "commit %v waited too long in partition %d: run it again under a new id", c.req.ID, l.id)
	err.Partition = l.id
	err = c.timer.refused(l, c, err)
	l.answerAborted(t, err)
	l.abort(c, err)
}

func (c *commit) deposed(l *leader, t *ticket, leader kv.NodeID, term kv.Term) *kv.Error {
	if c.phase >= phaseProposed && !t.outcome {
		return l.ambiguous(c, "the leader that proposed it was replaced")
	}
	return l.notLeader(leader, term)
}
