package partition

import (
	"bytes"
	"slices"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/txn"
)

// met is the locks of other transactions that a read meets, and what their anchors say (rule D8). They
// are asked after the read has awaited what is under way here, and before the engine is looked at: a
// transaction that prepares later than that draws later than the read's timestamp.
type met struct {
	locks []metLock // by key
	asked map[*prepared]int
	left  int // questions without an answer, or locks that are not applied

	aborted bool // of the planted bug NoRecAborted: an anchor knew nothing
}

type metLock struct {
	key kv.Key
	p   *prepared
}

// Candidate is a key whose lock belongs to a transaction that is committed at or below the read's
// timestamp: the lock's value is a version at Timestamp, if the lock is still there (rule D8a).
type Candidate struct {
	Key       kv.Key
	ID        kv.TxID
	Timestamp kv.Timestamp
}

// meetLocks serves a read once it is known what the locks in its way come to.
func (l *leader) meetLocks(r *read, id RequestID) {
	if l.table.Locks() == 0 || r.task.Known != nil {
		l.serve(r, id)
		return
	}
	if r.task.Scan != nil {
		l.table.LocksIn(r.task.Scan.Span, func(key kv.Key, g *txn.Guard) bool {
			r.meet(key, g)
			return true
		})
	} else {
		for _, key := range r.keys {
			if g := l.table.LockOn(key); g != nil {
				r.meet(key, g)
			}
		}
	}
	if r.met == nil {
		l.serve(r, id)
		return
	}
	if r.ticket.work == nil {
		l.addTicket(&r.ticket, id, r)
	}
	if invariant.Mutated(invariant.NoRecAborted) {
		l.fillTask(r, id)
		early := r.task
		early.Serve, early.owner = false, r
		l.sink.Read(&early)
	}
	for i := range r.met.locks { // in order of the keys
		l.askFor(r, r.met.locks[i].p)
	}
	if r.met.left == 0 {
		l.serveMet(r)
	}
}

// meet notes a lock that may matter. Those of the coordinators here were awaited if need be (rule
// D3), and what was acknowledged after the read's timestamp was drawn commits above it.
func (r *read) meet(key kv.Key, g *txn.Guard) {
	p, remote := g.Owner.(*intent).owner.(*prepared)
	if !remote || r.at != txn.Strong && p.since.at >= r.at && !p.fate.known || p.staged.ignored(p, r.at) {
		return
	}
	if r.met == nil {
		r.met = &met{asked: map[*prepared]int{}}
	}
	r.met.locks = append(r.met.locks, metLock{key, p})
}

// askFor asks the anchor of a transaction, once for a read (rule D8).
func (l *leader) askFor(r *read, p *prepared) {
	if _, done := r.met.asked[p]; done || p.fate.known || p.staged.durable || p.question.undecided {
		return
	}
	n := len(r.met.asked)
	r.met.asked[p] = n
	r.met.left++
	lockQuestion{r, p}.ask(l, n)
}

// lockQuestion is a read's question about one transaction.
type lockQuestion struct {
	r *read
	p *prepared
}

func (q lockQuestion) ask(l *leader, i int) {
	at := q.r.at
	if at == txn.Strong {
		at = 0
	}
	l.call(l.aboutTo(q.p, kv.AskRead, at), q, i)
}

func (q lockQuestion) waits(l *leader) bool { return l.tickets.byID[q.r.ticket.id] == &q.r.ticket }

func (q lockQuestion) answered(l *leader, i int, resp *kv.Response, err *kv.Error) {
	if !q.waits(l) {
		return // canceled
	}
	if q.p.staged.inMemory {
		if !q.answeredStaged(l, i, resp, err) {
			return
		}
	} else if f, ok := fateIn(resp, err); ok && q.p.phase == locked {
		l.learn(q.p, f)
	} else if err != nil && q.p.phase == locked && !q.p.fate.known {
		l.later(q, i)
		return
	}
	if err == nil {
		q.p.question.undecided = resp.Outcome == kv.OutcomeUnknown && invariant.Mutated(invariant.UndecidedCache)
		q.r.met.aborted = q.r.met.aborted || resp.Outcome == kv.OutcomeAborted
	}
	l.metAnswered(q.r)
}

// metAnswered counts what a read has waited for.
func (l *leader) metAnswered(r *read) {
	if l.tickets.byID[r.ticket.id] != &r.ticket {
		return // canceled
	}
	r.met.left--
	if r.met.left == 0 {
		l.serveMet(r)
	}
}

func (q lockQuestion) retry(l *leader, i int) {
	if q.waits(l) {
		q.ask(l, i)
	}
}

// serveMet has the read made, with the locks whose transactions it must see.
func (l *leader) serveMet(r *read) {
	if r.met.aborted && invariant.Mutated(invariant.NoRecAborted) {
		r.ready = true
		l.serveEarly(r)
		return
	}
	l.awaitLocks(r)
	if r.met.left > 0 {
		return
	}
	for _, k := range r.met.locks {
		if c := k.seen(r); c != 0 {
			r.task.Candidates = append(r.task.Candidates, Candidate{Key: k.key, ID: k.p.ID, Timestamp: c})
		}
	}
	l.serve(r, r.ticket.id)
}

// seen is when the holder of a lock committed, if the read must see that; else 0.
func (k metLock) seen(r *read) kv.Timestamp {
	c := k.p.fate.commit
	if k.p.staged.durable {
		c = k.p.staged.at
	}
	if c > r.at {
		return 0
	}
	return c
}

// awaitLocks waits for what the read must see of locks that are in the log and not yet in the engine, from where
// it will be read (docs/adr/0025).
func (l *leader) awaitLocks(r *read) {
	for _, k := range r.met.locks {
		if k.p.phase == unlocking { // reads are cheaper without it
			l.sink.Hasten(l.Partition)
		}
		if k.p.applies && k.seen(r) != 0 && !invariant.Mutated(invariant.LockUnapplied) {
			k.p.readers = append(k.p.readers, r)
			r.met.left++
		}
	}
	if r.met.left > 0 {
		l.sink.Hasten(l.Partition)
	}
}

// leave takes a read that nobody waits for off the lists of those who wait for locks.
func (m *met) leave(r *read) {
	for _, k := range m.locks {
		k.p.readers = slices.DeleteFunc(k.p.readers, func(x *read) bool { return x == r })
	}
}

// candidate is what a read of a key must take for its newest version beside found, nil if that is it.
func (t *ReadTask) candidate(r *mvcc.Reader, key kv.Key, found mvcc.Version, ok bool) (*mvcc.Version, error) {
	for i := range t.Candidates {
		c := &t.Candidates[i]
		if !bytes.Equal(c.Key, key) {
			continue
		}
		k, there, err := r.LockOn(key)
		if err != nil {
			return nil, err
		}
		if !there || k.ID != c.ID || ok && found.Timestamp >= c.Timestamp && !invariant.Mutated(invariant.LockIsAnswer) {
			return nil, nil // resolved meanwhile, or a late copy under newer versions
		}
		return &mvcc.Version{Timestamp: c.Timestamp, Value: k.Value, Tombstone: k.Write == kv.WriteDelete}, nil
	}
	return nil, nil
}
