package partition

import (
	"bytes"
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/txn"
)

// Restoring reports whether this node leads and does not know yet what is locked.
func (p *Partition) Restoring() bool { return p.lead != nil && p.lead.restoring }

// Transactions is the transactions over several partitions that are under way here, the oldest
// first, and how many more than max there are. Without leadership there are none.
func (p *Partition) Transactions(max int) (list []kv.TransactionStatus, more int) {
	l := p.lead
	if l == nil {
		return nil, 0
	}
	all := l.listed()
	slices.SortFunc(all, func(a, b listed) int {
		switch {
		case a.attempt.Age.OlderThan(b.attempt.Age):
			return -1
		case b.attempt.Age.OlderThan(a.attempt.Age):
			return 1
		}
		return bytes.Compare(a.attempt.ID[:], b.attempt.ID[:])
	})
	if len(all) > max {
		all, more = all[:max], len(all)-max
	}
	room := kv.TransactionsBytesMax
	for _, x := range all {
		s := x.status(l)
		l.listLocks(&s, x.guard, &room)
		list = append(list, s)
	}
	return list, more
}

// listed is one transaction in one of its roles.
type listed struct {
	attempt *kv.Attempt
	guard   *txn.Guard // nil: it has no locks
	status  func(l *leader) kv.TransactionStatus
}

// listed collects all, in no order that means anything.
func (l *leader) listed() (all []listed) {
	coordinated := map[kv.TxID]bool{} // looked up only
	add := func(c *commit) {
		if c.others != nil && !coordinated[c.req.ID] {
			coordinated[c.req.ID] = true
			all = append(all, listed{&c.others.attempt, &c.guard, c.status})
		}
	}
	for t := l.tickets.oldest; t != nil; t = t.next {
		if c, ok := t.work.(*commit); ok {
			add(c)
		}
	}
	// Nobody may wait for a commit any more, but then it is proposed, and has a lock.
	l.table.LocksIn(l.desc.Span, func(_ kv.Key, g *txn.Guard) bool {
		if c, ok := g.Owner.(*intent).owner.(*commit); ok {
			add(c)
		}
		return true
	})
	for p := l.transactions.first; p != nil; p = p.next {
		all = append(all, listed{&p.Attempt, &p.guard, p.status})
	}
	for _, r := range l.transactions.recoveries { // to be sorted
		all = append(all, listed{attempt: &r.attempt, status: r.status})
	}
	for _, r := range l.transactions.records { // to be sorted
		if !coordinated[r.attempt.ID] { // until it is applied, the coordinator has its locks
			all = append(all, listed{attempt: &r.attempt, status: r.status})
		}
	}
	return all
}

func statusOf(role, state string, a *kv.Attempt, since time.Duration) kv.TransactionStatus {
	return kv.TransactionStatus{
		Role: role, State: state, ID: a.ID, Age: a.Age, Anchor: a.Partition, AnchorKey: slices.Clone(a.Anchor), Since: max(since, 0),
	}
}

var coordinatorStates = [...]string{
	phasePreparing: "preparing", phaseDrawing: "drawing", phaseQueued: "proposed", phaseProposed: "proposed", phaseCommitted: "committed", phaseOver: "over",
}

func (c *commit) status(l *leader) kv.TransactionStatus {
	s := statusOf("coordinator", coordinatorStates[c.phase], &c.others.attempt, time.Duration(l.sink.Now()-c.first.arrived))
	switch o := c.others; {
	case c.phase == phasePreparing:
		s.Missing = missing(o.where, o.roll)
	case o.staging != nil && c.phase >= phaseQueued && c.phase < phaseCommitted:
		s.State, s.Missing = "staging", missing(o.where, o.staging.roll)
	}
	return s
}

func missing(where []mvcc.Participant, roll *txn.Roll) (ids []kv.PartitionID) {
	for i := range where {
		if !roll.Has(i) {
			ids = append(ids, where[i].Partition)
		}
	}
	return ids
}

var participantStates = [...]string{preparing: "preparing", held: "locked in memory", locking: "locking", locked: "locked", resolving: "resolving", unlocking: "resolving", resolved: "over"}

func (p *prepared) status(l *leader) kv.TransactionStatus {
	since := time.Duration(0)
	if p.phase >= locked || p.since.at != 0 {
		since = l.heardSince(p.since.at)
	} else {
		for t := p.tickets; t != nil; t = t.copy { // the last one is the first copy that still waits
			since = time.Duration(l.sink.Now() - t.arrived)
		}
	}
	return statusOf("participant", participantStates[p.phase], &p.Attempt, since)
}

func (r *resolver) status(l *leader) kv.TransactionStatus {
	s := statusOf("resolver", "resolving", &r.attempt, l.heardSince(r.timestamp))
	s.Missing = missing(r.where, r.roll)
	return s
}

func (r *recovery) status(l *leader) kv.TransactionStatus {
	s := statusOf("coordinator", "recovering", &r.attempt, l.heardSince(r.timestamp))
	s.Missing = missing(r.where, r.roll)
	return s
}

// heardSince is the time of the oracle that has gone by since a timestamp, as far as it was heard of.
func (l *leader) heardSince(t kv.Timestamp) time.Duration {
	return time.Duration(l.sink.Heard().UnixMillis()-t.UnixMillis()) * time.Millisecond
}

// listLocks adds the locks of a transaction, as long as there is room for their keys.
func (l *leader) listLocks(s *kv.TransactionStatus, g *txn.Guard, room *int) {
	if g == nil {
		return
	}
	s.Waiters = g.Waiters()
	l.table.EachLock(g, func(x *txn.Latch, waiters int) {
		n := len(x.Span.Start) + len(x.Span.End)
		if s.MoreLocks > 0 || n > *room {
			s.MoreLocks++
			return
		}
		*room -= n
		s.Locks = append(s.Locks, kv.LockStatus{
			Span:      kv.Span{Start: slices.Clone(x.Span.Start), End: slices.Clone(x.Span.End)},
			Exclusive: x.Mode != txn.Shared, Waiters: waiters,
		})
	})
}
