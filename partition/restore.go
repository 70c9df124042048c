package partition

import (
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/txn"
)

// Restore asks for the locks and records that are on the disk: with them a new leader begins.
type Restore struct{ Span kv.Span }

// restored is what was there.
type restored struct {
	locks   []mvcc.Lock // by key; values are left out
	records []mvcc.Record
}

func (x *Restore) execute(r *mvcc.Reader) *ReadResult {
	found := &restored{}
	err := r.Locks(x.Span, func(k *mvcc.Lock) error {
		k.Value = nil
		found.locks = append(found.locks, *k)
		return nil
	})
	if err == nil {
		err = r.Records(x.Span, func(k *mvcc.Record) error {
			found.records = append(found.records, *k)
			return nil
		})
	}
	if err != nil {
		return failed(err)
	}
	return &ReadResult{restored: found}
}

// restoring is a leader that does not know yet what is locked. What earlier leaders proposed is
// applied, and it proposes nothing itself: so what it reads is the state in which it begins.
type restoring struct{}

// parked is a request that waits for that.
type parked struct {
	ticket ticket
	req    *kv.Request
}

func (l *leader) restore() {
	l.restoring = true
	l.sink.Read(&ReadTask{Partition: l.id, Term: l.term, Restore: &Restore{Span: l.desc.Span}, owner: restoring{}})
}

func (restoring) evaluated(l *leader, _ *ReadTask, r *ReadResult) {
	if r.Err != nil {
		l.later(restoring{}, 0)
		return
	}
	l.restoring = false
	l.restoreLocks(r.restored.locks)
	for i := range r.restored.records {
		k := &r.restored.records[i]
		if k.State == mvcc.RecordStaging {
			l.recover(k)
			continue
		}
		l.settle(&resolver{attempt: k.Attempt, timestamp: k.Timestamp, where: k.Participants, roll: txn.NewRoll(len(k.Participants))})
	}
	for t := l.tickets.oldest; t != nil; {
		next := t.next
		if p, ok := t.work.(*parked); ok {
			l.tickets.remove(t)
			l.admit(t.id, p.req)
		}
		t = next
	}
}

func (restoring) retry(l *leader, _ int) { l.restore() }

// restoreLocks makes the lock table of what is on the disk.
func (l *leader) restoreLocks(locks []mvcc.Lock) {
	for i := range locks {
		k := &locks[i]
		p := l.transactions.byID[k.ID]
		if p == nil {
			p = &prepared{Attempt: k.Attempt, phase: locked, arrived: l.sink.Now(), staged: staged{inMemory: k.Staged != 0, at: k.Staged}}
			p.question.at = p.arrived
			p.owner = p // and oldest is 0: when it read is not known, it may have been long ago
			p.guard.Owner = &p.intent
			l.transactions.add(p)
		}
		x := txn.Latch{Span: kv.Span{Start: k.Key}, Mode: txn.Exclusive}
		if k.Strength == mvcc.Shared {
			x = txn.Latch{Span: kv.Span{Start: k.Key, End: k.End}, Wide: len(k.End) > 0, Mode: txn.Shared}
		}
		p.guard.Latches = append(p.guard.Latches, x)
	}
	for p := l.transactions.first; p != nil; p = p.next {
		l.table.Restore(&p.guard)
		l.inquire(p, kv.AskQuery) // its fate may have been told to the leader before
	}
}

func (p *parked) canceled(*leader, *ticket) {}

func (p *parked) expired(l *leader, t *ticket) { l.sink.Reply(t.id, nil, l.waitedTooLong()) }

func (p *parked) deposed(l *leader, _ *ticket, leader kv.NodeID, term kv.Term) *kv.Error {
	return l.notLeader(leader, term)
}
