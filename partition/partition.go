package partition

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// Partition is the part of one replica that decides: while its node leads the partition's
// group it admits requests, evaluates them, and proposes commands. It belongs to the node's
// loop.
type Partition struct {
	id   kv.PartitionID
	opts Options
	sink Sink
	lead *leader // nil while the node does not lead

	// tokens counts the draws ever asked for, so that no answer is taken for that to a draw
	// of another term (rule A5).
	tokens uint64
	// calling counts the calls to other partitions in the same way.
	calling uint64
	// survivors are what the planted bug EvalSurvives keeps.
	survivors map[uint64]*commit
}

// New makes a partition that does not lead.
func New(id kv.PartitionID, opts Options, sink Sink) *Partition {
	opts.setDefaults()
	return &Partition{id: id, opts: opts, sink: sink}
}

// ID is the partition's number.
func (p *Partition) ID() kv.PartitionID { return p.id }

// Leading reports whether requests are served, and in which term.
func (p *Partition) Leading() (kv.Term, bool) {
	if p.lead == nil {
		return 0, false
	}
	return p.lead.term, true
}

// leader is all volatile state of a leader: it is dropped with the term (rules A4, A5).
type leader struct {
	*Partition
	term     kv.Term
	desc     *kv.Descriptor
	retained retained
	table    *txn.Table
	seen     *txn.Seen
	tickets  tickets
	draws    draws
	log      pipeline
	bytes    int // keys and values of the commits that run and of the locks that are not applied

	transactions transactions
	restoring    bool // what is locked is not known yet
}

// retained is how far back the partition answers.
type retained struct {
	gc, horizon                 kv.Timestamp // applied
	gcProposed, horizonProposed kv.Timestamp // never below the applied ones
}

func (r *retained) applied(gc, horizon kv.Timestamp) {
	r.gc, r.horizon = max(r.gc, gc), max(r.horizon, horizon)
	r.gcProposed, r.horizonProposed = max(r.gcProposed, r.gc), max(r.horizonProposed, r.horizon)
}

// Lead begins to serve in a term. The arguments are the applied state at the moment when an
// entry of the term itself is applied (rule A6): before that the node refuses requests. desc
// must not be changed afterwards.
func (p *Partition) Lead(term kv.Term, desc *kv.Descriptor, gc, horizon kv.Timestamp) {
	invariant.Check(p.lead == nil, "partition %d begins to lead once per term", p.id)
	l := &leader{
		Partition: p, term: term, desc: desc,
		table: txn.NewTable(p.opts.WaitersPerKeyMax), seen: txn.NewSeen(p.opts.SeenIDsMax),
		tickets: tickets{byID: make(map[RequestID]*ticket)}, draws: draws{first: p.tokens},
	}
	l.transactions.byID, l.transactions.records = make(map[kv.TxID]*prepared), make(map[kv.TxID]*resolver)
	l.transactions.calls = make(map[uint64]call)
	l.transactions.recoveries, l.transactions.undecided = make(map[kv.TxID]*recovery), make(map[kv.TxID]kv.Timestamp)
	l.retained.applied(gc, horizon)
	p.lead = l
	l.restore()
}

// Unlead discards all volatile state (rule A5) and answers what waits: NotLeader where
// nothing was done, Ambiguous for what is proposed. leader and term are what the node knows.
func (p *Partition) Unlead(leader kv.NodeID, term kv.Term) {
	l := p.lead
	if l == nil {
		return
	}
	p.lead = nil
	if invariant.Mutated(invariant.EvalSurvives) {
		p.survive(l)
	}
	if invariant.Mutated(invariant.AbortOnDepose) {
		l.abandonProposed()
	}
	for t := l.tickets.oldest; t != nil; t = t.next {
		if c, ok := t.work.(*commit); ok && p.survivors[c.token] == c {
			continue
		}
		p.sink.Reply(t.id, nil, t.work.deposed(l, t, leader, term))
	}
}

// Request admits a request; it is answered by one Reply or by a serving task. The request
// is not changed, and must not be changed by others until then.
func (p *Partition) Request(id RequestID, req *kv.Request) {
	l := p.lead
	if l == nil {
		p.sink.Reply(id, nil, p.notLeader(0, 0))
		return
	}
	if l.full() && !invariant.Mutated(invariant.QueueUnbounded) {
		p.sink.Reply(id, nil, l.overloaded("requests without answer", p.opts.RequestsMax))
		return
	}
	if l.restoring {
		k := &parked{req: req}
		l.addTicket(&k.ticket, id, k)
		return
	}
	l.admit(id, req)
	l.run()
}

func (l *leader) admit(id RequestID, req *kv.Request) {
	switch {
	case req.Commit != nil:
		l.admitCommit(id, req)
	case req.Read != nil:
		l.admitRead(id, req)
	case req.Scan != nil:
		l.admitScan(id, req)
	case req.Outcome != nil:
		l.admitOutcome(id, req.Outcome)
	case req.Prepare != nil:
		l.admitPrepare(id, req)
	case req.Stage != nil:
		l.admitStage(id, req.Stage)
	case req.Resolve != nil:
		l.admitResolve(id, req.Resolve)
	default:
		l.sink.Reply(id, nil, kv.Errorf(kv.Invalid, "the request asks for nothing"))
	}
}

// full reports whether no more requests are admitted. Draws whose askers have given up count too: they
// stay until the oracle answers, and while it cannot be reached clients come and go.
func (l *leader) full() bool {
	return max(l.tickets.len(), l.draws.queue.Len()) >= l.opts.RequestsMax
}

// Cancel says that nobody waits for a request any more: no answer follows. A commit that is
// not proposed and for which no other copy waits is marked aborted; a proposed one goes on.
func (p *Partition) Cancel(id RequestID) {
	l := p.lead
	if l == nil {
		return
	}
	t := l.tickets.byID[id]
	if t == nil {
		return
	}
	l.tickets.remove(t)
	t.work.canceled(l, t)
	l.run()
}

// Drawn brings the answer to a draw.
func (p *Partition) Drawn(token uint64, ts kv.Timestamp) {
	l := p.lead
	if l == nil {
		return
	}
	if c := p.survivors[token]; c != nil {
		c.timestamp, c.guard = ts, txn.Guard{}
		l.propose(c)
		return
	}
	l.draws.answered = true // of one that was given up, too: it was drawn in this term
	if d := l.draws.take(token); d != nil {
		d.drawn(l, ts)
		l.run()
	}
}

// ReadDone brings the result of a task that does not serve. One of another term concerns
// nobody (rule A5).
func (p *Partition) ReadDone(t *ReadTask, r *ReadResult) {
	l := p.lead
	if l == nil || t.Term != l.term {
		return
	}
	if e, ok := t.owner.(evaluator); ok {
		e.evaluated(l, t, r)
		l.run()
	}
}

// Tick moves the window of the seen set forward (rule I6) and ends what waited too long. It
// is called every 100 ms or so.
func (p *Partition) Tick() {
	l := p.lead
	if l == nil {
		return
	}
	if w := p.sink.Heard().UnixMillis() - p.opts.SeenWindow.Milliseconds(); w > 0 {
		l.seen.Slide(kv.MakeTimestamp(w, 0))
	}
	late := p.sink.Now().Add(-p.opts.WaitMax)
	for t := l.tickets.oldest; t != nil && t.arrived <= late; t = l.tickets.oldest {
		l.tickets.remove(t)
		t.work.expired(l, t)
	}
	l.callsTick()
	l.retryTick()
	l.watchTick()
	l.claimsTick()
	l.run()
	l.hurry()
}

// Inflight is what is queued or proposed and not yet applied.
func (p *Partition) Inflight() (commands, bytes int) {
	if p.lead == nil {
		return 0, 0
	}
	return p.lead.log.commands, p.lead.log.bytes
}

// Waiting is the number of requests that wait for an answer here, and of transactions over several
// partitions that are not at their end, and of claims.
func (p *Partition) Waiting() int {
	if p.lead == nil {
		return 0
	}
	s := &p.lead.transactions
	return p.lead.tickets.len() + s.len() + len(s.records) + len(s.undecided) + s.claims.Len()
}

// run lets everything go on that the last event has set free.
func (l *leader) run() {
	for {
		if g := l.table.NextGranted(); g != nil {
			l.granted(g.Owner.(*intent))
		} else if a := l.table.NextReady(); a != nil {
			l.readReady(a.Owner.(*read))
		} else {
			l.closed()
			return
		}
	}
}

func (p *Partition) notLeader(leader kv.NodeID, term kv.Term) *kv.Error {
	e := kv.Errorf(kv.NotLeader, "this node does not lead partition %d: ask its leader", p.id)
	e.Partition, e.Leader, e.Term = p.id, leader, term
	return e
}

func (l *leader) overloaded(what string, limit int) *kv.Error {
	e := kv.Errorf(kv.Unavailable, "partition %d is overloaded: %s are at their limit of %d: try again later", l.id, what, limit)
	e.Partition = l.id
	return e
}
