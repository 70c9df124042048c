package partition

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// read is a read that is not yet handed over by serve: it waits for its timestamp, or
// for writes under way (rule D2). Afterwards nothing of it is left here.
type read struct {
	ticket ticket
	await  txn.Await
	keys   []kv.Key // of a Read, or the key that the answer of a refused commit reveals
	at     kv.Timestamp
	task   ReadTask
	met    *met // locks of others; nil: none

	token   uint64 // of the draw
	drawing bool
	early   *ReadResult // of the planted bug SnapBeforeAwait
	ready   bool

	notBefore kv.Timestamp // what is drawn must not be below it
}

func (l *leader) admitRead(id RequestID, req *kv.Request) {
	q := req.Read
	if err := l.checkRead(q); err != nil {
		l.sink.Reply(id, nil, err)
		return
	}
	r := &read{keys: q.Keys, at: q.Timestamp, task: ReadTask{Read: q, timer: l.newTimer(req.Trace)}}
	switch {
	case !q.Claim.IsZero():
		l.claim(r, id, q.Claim)
	case q.Timestamp != 0 || q.NotBefore != 0:
		l.readAt(r, id, q.NotBefore)
	case len(q.Keys) == 1 && !q.Stamped:
		r.at = txn.Strong
		l.await(r, id)
	default:
		l.drawForRead(r, id)
	}
}

// readAt begins a read that has a timestamp, or says what it must not be below: then it is the newest
// closed one, which is no draw away, or one that is drawn.
func (l *leader) readAt(r *read, id RequestID, notBefore kv.Timestamp) {
	if t := l.draws.closing.newest; r.at == 0 && notBefore <= t && t >= l.retained.gc {
		r.at = t
	}
	if r.at == 0 || l.unproven(r.at) {
		r.notBefore = notBefore
		l.drawForRead(r, id)
		return
	}
	l.await(r, id)
}

func (l *leader) checkRead(q *kv.Read) *kv.Error {
	if len(q.Keys) == 0 {
		return kv.Errorf(kv.Invalid, "a read names no key")
	}
	if len(q.Keys) > kv.GetManyKeysMax {
		return kv.LimitError("the number of keys of one read", kv.GetManyKeysMax, int64(len(q.Keys)), "split the read")
	}
	for _, k := range q.Keys {
		if err := l.checkKey(k); err != nil {
			return err
		}
	}
	return l.checkBound(q.Timestamp, q.NotBefore)
}

func (l *leader) admitScan(id RequestID, req *kv.Request) {
	q := req.Scan
	if err := l.checkScan(q); err != nil {
		l.sink.Reply(id, nil, err)
		return
	}
	r := &read{at: q.Timestamp, task: ReadTask{Scan: q, timer: l.newTimer(req.Trace)}}
	if q.Timestamp != 0 || q.NotBefore != 0 {
		l.readAt(r, id, q.NotBefore)
		return
	}
	l.drawForRead(r, id)
}

// unproven reports whether nothing shows yet that a timestamp was drawn (docs/adr/0005).
func (l *leader) unproven(ts kv.Timestamp) bool {
	return ts > l.sink.Heard() && !invariant.Mutated(invariant.HeardUnproven)
}

// drawForRead gives a read of more than one key its timestamp: what is newest for one key and
// newest for another is not one state, since versions are applied in the order of the log (rule B5).
// A read that brings a timestamp which this node has not heard of draws as well: what it
// brought is from the past if a timestamp drawn now is above it.
func (l *leader) drawForRead(r *read, id RequestID) {
	l.addTicket(&r.ticket, id, r)
	r.drawing = true
	r.token = l.draw(r)
}

// drawn looks for writes under way only now that r is known (rule D1).
func (r *read) drawn(l *leader, ts kv.Timestamp) {
	r.drawing = false
	r.task.timer.end(l, drawing)
	if asked := max(r.at, r.notBefore); asked >= ts {
		l.answer(&r.ticket, nil, r.refused(l, l.fromTheFuture(asked)))
		return
	}
	if r.at == 0 {
		r.at = ts
	}
	if invariant.Mutated(invariant.AwaitBeforeDraw) {
		l.serve(r, r.ticket.id)
		return
	}
	l.await(r, r.ticket.id)
}

// await waits for the writes under way that the read may have to see, and then serves it.
func (l *leader) await(r *read, id RequestID) {
	r.await.Owner, r.await.At = r, r.at
	if l.nothingToAwait(r) {
		l.meetLocks(r, id)
		return
	}
	l.sink.Hasten(l.Partition) // it may wait for what is committed: of the rest Guard.Awaited tells then
	if r.ticket.work == nil {
		l.addTicket(&r.ticket, id, r)
	}
	if invariant.Mutated(invariant.SnapBeforeAwait) && r.task.Known == nil {
		l.fillTask(r, id)
		early := r.task
		early.Serve, early.owner = false, r
		l.sink.Read(&early)
	}
}

func (l *leader) nothingToAwait(r *read) bool {
	if r.task.Scan != nil {
		return l.table.AwaitSpan(&r.await, r.task.Scan.Span)
	}
	return l.table.AwaitKeys(&r.await, r.keys)
}

// readReady serves a read whose awaited writes are decided.
func (l *leader) readReady(r *read) {
	if invariant.Mutated(invariant.SnapBeforeAwait) && r.task.Known == nil {
		r.ready = true
		l.serveEarly(r)
		return
	}
	l.meetLocks(r, r.ticket.id)
}

// evaluated is reached through the planted bug SnapBeforeAwait only.
func (r *read) evaluated(l *leader, _ *ReadTask, res *ReadResult) {
	r.early = res
	l.serveEarly(r)
}

func (l *leader) serveEarly(r *read) {
	if r.ready && r.early != nil && l.tickets.byID[r.ticket.id] == &r.ticket {
		l.serveKnown(&r.ticket, r.early)
	}
}

func (l *leader) fillTask(r *read, id RequestID) {
	t := &r.task
	t.Request, t.Partition, t.Term, t.Serve = id, l.id, l.term, true
	t.At, t.heard = r.at, l.sink.Heard()
}

// serve hands a read over to be executed, at hand or by the reader pool. Only now may the engine snapshot be taken
// (rule D4).
func (l *leader) serve(r *read, id RequestID) {
	if r.ticket.work != nil {
		l.tickets.remove(&r.ticket)
	}
	l.fillTask(r, id)
	r.task.timer.end(l, waiting)
	l.sink.Read(&r.task)
}

// serveKnown answers a ticket with what is known already but holds only under the lease.
func (l *leader) serveKnown(t *ticket, res *ReadResult) {
	l.tickets.remove(t)
	l.sink.Read(&ReadTask{Request: t.id, Partition: l.id, Term: l.term, Serve: true, Known: res})
}

func (r *read) canceled(l *leader, _ *ticket) {
	if r.drawing {
		l.draws.take(r.token)
	}
	l.table.Forget(&r.await)
	if r.met != nil {
		r.met.leave(r)
	}
}

func (r *read) expired(l *leader, t *ticket) {
	r.canceled(l, t)
	l.sink.Reply(t.id, nil, r.refused(l, l.waitedTooLong()))
}

func (r *read) deposed(l *leader, _ *ticket, leader kv.NodeID, term kv.Term) *kv.Error {
	return r.refused(l, l.notLeader(leader, term))
}
