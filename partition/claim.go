package partition

import (
	"bytes"
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// claim is keys that a transaction is about to write, as it says when it reads them: until its commit
// comes nobody else writes them, so that it is not overtaken again and again. Transactions that claim a key get it
// one after the other, each with the version of the one before.
//
// It is no lock of the rules. It is in the memory of this leader only, a commit is validated as if there were no
// claims, and one that is as old as claimMax is dropped, which also ends those of two that wait for each other.
type claim struct {
	intent
	age    kv.Age
	read   *read      // that waits for the keys
	at     kv.Instant // since when they are held
	phase  claimPhase
	ticket ticket
}

type claimPhase uint8

const (
	claimWaits claimPhase = iota
	claimEarly            // the read goes on; the keys are still locked by one that is committed
	claimHeld
	claimOver
)

// claimMax is how long keys are kept for a transaction whose commit does not come. Ticks end claims, so it
// may be a tick more.
const claimMax = 100 * time.Millisecond

// claim has a read wait until its transaction has the keys; then its timestamp is drawn.
func (l *leader) claim(r *read, id RequestID, age kv.Age) {
	k := &claim{age: age, read: r}
	writes := make([]kv.Write, len(r.keys))
	for i, key := range r.keys {
		writes[i] = kv.Write{Kind: kv.WritePut, Key: key}
	}
	k.intent = intent{owner: k, req: &kv.Commit{Writes: writes}, locks: true}
	if err := k.declare(); err != nil {
		l.sink.Reply(id, nil, err)
		return
	}
	if l.transactions.claims.Len() >= l.opts.RequestsMax || !l.table.Acquire(&k.guard) {
		l.claimed(r, id) // it does without
		return
	}
	l.addTicket(&k.ticket, id, k)
}

func (k *claim) wanted(*leader) bool { return k.phase == claimWaits || k.phase == claimEarly }

// transaction has no age: who claims asks what became of a holder, and wounds nobody.
func (k *claim) transaction() (kv.TxID, kv.Age) { return kv.TxID{}, kv.Age{} }

// ready keeps the keys and reads them.
func (k *claim) ready(l *leader) {
	l.table.Lock(&k.guard)
	was := k.phase
	k.phase = claimHeld
	if was == claimWaits {
		l.begin(k)
	}
}

// begin lets the read of a claim go on. From now on the claim is to end.
func (l *leader) begin(k *claim) {
	k.at = l.sink.Now()
	l.transactions.claims.Push(k)
	l.tickets.remove(&k.ticket)
	r := k.read
	k.read = nil
	r.task.timer.end(l, waiting)
	l.claimed(r, k.ticket.id)
}

// beginEarly lets the first claim that waits for a transaction's locks read, once the transaction is known to be
// committed: the read takes the values of the locks (rule D8a), and need not wait until they are versions.
func (l *leader) beginEarly(p *prepared) {
	var first *claim
	l.table.Waiters(&p.guard, func(g *txn.Guard) bool {
		k, ok := g.Owner.(*intent).owner.(*claim)
		if ok && k.phase == claimWaits && k.meetsOnly(l, p) {
			first = k
		}
		return false
	})
	if first != nil {
		first.phase = claimEarly
		l.begin(first)
	}
}

// meetsOnly reports whether no key of a claim is locked by another than p.
func (k *claim) meetsOnly(l *leader, p *prepared) bool {
	return !slices.ContainsFunc(k.guard.Latches, func(x txn.Latch) bool {
		g := l.table.LockOn(x.Span.Start)
		return g != nil && g != &p.guard
	})
}

// claimed goes on with a read that waited for a claim.
func (l *leader) claimed(r *read, id RequestID) {
	if r.at != 0 {
		l.readAt(r, id, 0)
		return
	}
	l.drawForRead(r, id)
}

// Nothing is evaluated for a claim, so it is not refused.
func (k *claim) refuse(l *leader, err *kv.Error)             { l.answer(&k.ticket, nil, err) }
func (k *claim) refuseBy(l *leader, _ kv.Key, err *kv.Error) { l.answer(&k.ticket, nil, err) }

// unclaim ends a claim; those behind it go on.
func (l *leader) unclaim(k *claim) {
	was := k.phase
	k.phase = claimOver
	switch was {
	case claimWaits, claimEarly:
		l.table.Drop(&k.guard)
	case claimHeld:
		l.table.Unlock(&k.guard)
	}
}

// pass is what an intent does about a claim in its way; it has the latches. It goes on if the claim is its own
// transaction's, which has served its purpose then, or if it only reads what is claimed. If it read what it
// writes, then before whoever claims it, and is refused: it has to claim the key itself. Other claims, and
// writes of what was not read, wait. So no transaction waits for a claim while it holds locks that it needs not have.
func (l *leader) pass(k *claim, x *intent) (goesOn bool) {
	_, age := x.owner.transaction()
	other, claims := x.owner.(*claim)
	if claims {
		age = other.age
	}
	if age == k.age && !age.IsZero() {
		l.unclaim(k)
		return true
	}
	if claims {
		l.table.Wait(&x.guard, &k.guard)
		return false
	}
	key := l.claimedOf(k, x)
	switch {
	case key == nil:
		l.unclaim(k)
		return true
	case x.reads(key):
		id, _ := x.owner.transaction()
		err := keyError(kv.Conflict, key, "claimed by a transaction that commit %v would overtake: claim it, or read again, and commit under a new id", id)
		err.Partition = l.id
		x.owner.refuse(l, err)
	default:
		l.table.Wait(&x.guard, &k.guard)
	}
	return false
}

// claimedOf is a key of a claim that x writes; nil if there is none.
func (l *leader) claimedOf(k *claim, x *intent) kv.Key {
	for i := range x.guard.Latches {
		w := &x.guard.Latches[i]
		if w.Mode != txn.Shared && l.table.LockOn(w.Span.Start) == &k.guard {
			return w.Span.Start
		}
	}
	return nil
}

// reads reports whether a key is among what was read.
func (x *intent) reads(key kv.Key) bool {
	return slices.ContainsFunc(x.req.Reads, func(m kv.ReadMark) bool { return bytes.Equal(m.Key, key) }) ||
		slices.ContainsFunc(x.req.Spans, func(s kv.Span) bool { return s.Contains(key) })
}

// claimsTick ends the claims that are too old.
func (l *leader) claimsTick() {
	late := l.sink.Now().Add(-claimMax)
	for l.transactions.claims.Len() > 0 && (*l.transactions.claims.At(0)).at <= late {
		k, _ := l.transactions.claims.Pop()
		l.unclaim(k)
	}
}

func (k *claim) canceled(l *leader, _ *ticket) { l.unclaim(k) }

func (k *claim) expired(l *leader, t *ticket) {
	l.unclaim(k)
	err := l.waitedTooLong()
	if k.read != nil {
		err = k.read.refused(l, err)
	}
	l.sink.Reply(t.id, nil, err)
}

func (k *claim) deposed(l *leader, _ *ticket, leader kv.NodeID, term kv.Term) *kv.Error {
	return l.notLeader(leader, term)
}
