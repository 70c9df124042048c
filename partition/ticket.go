package partition

import "github.com/kvd-db/kvd/kv"

// work is a request that waits for something.
type work interface {
	// canceled: nobody waits for the ticket any more.
	canceled(l *leader, t *ticket)
	// expired: the ticket has waited as long as is allowed, and is to be answered.
	expired(l *leader, t *ticket)
	// deposed: what the ticket is told when leadership ends.
	deposed(l *leader, t *ticket, leader kv.NodeID, term kv.Term) *kv.Error
}

// ticket is one request that is owed an answer. Several may wait for the same work: the
// copies of a commit, and those who ask for its outcome.
type ticket struct {
	id      RequestID
	arrived kv.Instant
	work    work
	outcome bool    // the answer is that to an Outcome
	reads   bool    // and a read asks: it resolves nothing
	copy    *ticket // the next one that waits for the same commit

	prev, next *ticket // of all tickets
}

// tickets are all tickets of a leader, by id and in order of arrival.
type tickets struct {
	byID           map[RequestID]*ticket // never iterated
	oldest, newest *ticket
}

func (s *tickets) len() int { return len(s.byID) }

func (l *leader) addTicket(t *ticket, id RequestID, w work) {
	t.id, t.arrived, t.work = id, l.sink.Now(), w
	s := &l.tickets
	s.byID[id] = t
	t.prev = s.newest
	if s.newest == nil {
		s.oldest = t
	} else {
		s.newest.next = t
	}
	s.newest = t
}

// remove takes a ticket out; it does nothing to one that is out.
func (s *tickets) remove(t *ticket) {
	if s.byID[t.id] != t {
		return
	}
	delete(s.byID, t.id)
	if t.prev == nil {
		s.oldest = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		s.newest = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
}

// answer replies to a ticket and takes it out.
func (l *leader) answer(t *ticket, resp *kv.Response, err *kv.Error) {
	l.tickets.remove(t)
	l.sink.Reply(t.id, resp, err)
}
