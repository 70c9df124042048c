package txn

import "github.com/kvd-db/kvd/kv"

// Mode says what a latch tolerates beside itself.
type Mode uint8

// The modes.
const (
	// Shared is for what is read: it tolerates Shared.
	Shared Mode = 1
	// Exclusive is for what is written: it tolerates nothing.
	Exclusive Mode = 2
	// Blind is Exclusive for a guard of one key that evaluates nothing. Neighbours in the
	// queue may hold it together, since they draw in queue order in the same turn (rule C5b).
	Blind Mode = 3
)

func conflicts(a, b Mode) bool { return a != Shared || b != Shared }

// Latch is one key or one span of a Guard. A key latch that is not Shared becomes the
// pending version of its key when the guard is proposed.
type Latch struct {
	// Span is what is latched. A key latch has the key in Start and no End.
	Span kv.Span
	// Wide says that the latch covers all of Span instead of the key Span.Start.
	Wide bool
	Mode Mode
	// Write is what the key will hold; set before Propose for latches that are not Shared.
	Write Pending

	guard *Guard
	place place
	held  bool
	// blocks counts the latches that must go before this one, over and above the queue of
	// its key: those where a span is involved.
	blocks     int
	dependents []dependent // they count this one in blocks
	awaits     *awaiting
}

// Pending is a proposed version: it is in the log of this term, and an entry of the term is
// committed only if all before it are.
type Pending struct {
	Timestamp kv.Timestamp
	Value     []byte
	Tombstone bool
}

// dependent is a latch that waits for another one. It counts only while its guard is in the
// declaration in which it began to wait.
type dependent struct {
	latch *Latch
	order uint64
}

// place is where a key latch stands: in the queue, the shared locks or the pending list of a key.
// An exclusive lock that is not proposed is in no list.
type place struct {
	key        *keyState
	prev, next *Latch
}

// latchList is a list of latches through their places.
type latchList struct{ head, tail *Latch }

func (q *latchList) push(l *Latch) {
	l.place.prev, l.place.next = q.tail, nil
	if q.tail == nil {
		q.head = l
	} else {
		q.tail.place.next = l
	}
	q.tail = l
}

func (q *latchList) remove(l *Latch) {
	prev, next := l.place.prev, l.place.next
	if prev == nil {
		q.head = next
	} else {
		prev.place.next = next
	}
	if next == nil {
		q.tail = prev
	} else {
		next.place.prev = prev
	}
	l.place.prev, l.place.next = nil, nil
}

// keyState is all that a key has going on. It is in the tree while it has anything.
type keyState struct {
	key     kv.Key
	queue   latchList // held and waiting, in order of arrival
	length  int       // of queue
	writers int       // those in queue that are not Shared
	pending latchList // ascending timestamps
	asked   *Latch    // the last in queue whose draw was asked for; those before it were asked too
	lock    *Latch    // the exclusive lock; apart from the queue, and in pending once it is proposed
	shared  latchList // the shared locks, oldest first; there are none beside an exclusive one
}

// count adds n of l's kind to the queue.
func (k *keyState) count(l *Latch, n int) {
	k.length += n
	if l.Mode != Shared {
		k.writers += n
	}
}

func (k *keyState) empty() bool {
	return k.queue.head == nil && k.pending.head == nil && k.lock == nil && k.shared.head == nil
}

// undecided is the write whose draw was asked for and not answered; with it those before it
// in the queue are undecided too. Nobody is asked in the queue while the key is locked.
func (k *keyState) undecided() *Latch {
	if k.lock != nil && k.lock.guard.state == asked {
		return k.lock
	}
	return k.asked
}

// pendingAt is the newest pending version that a read at r sees; nil if there is none.
func (k *keyState) pendingAt(r kv.Timestamp) *Latch {
	l := k.pending.tail
	for l != nil && l.Write.Timestamp > r {
		l = l.place.prev
	}
	return l
}

// state of a guard.
type state uint8

const (
	idle    state = iota // not declared, or finished
	waiting              // in the queues, not all latches held
	held                 // all latches held
	asked                // held or locked, and the draw of its timestamp was asked for
	pending              // proposed
	locked               // locks in place of the latches
	parked               // holds nothing and waits for the locks of another guard
)

// Guard is what one request latches: all of it at once or nothing (rule C2). It belongs to
// its owner; between Acquire and the end the latches must not be moved or changed, except
// for Write.
type Guard struct {
	Owner   any
	Latches []Latch // each key at most once, in key order

	state   state
	waits   int32  // latches not held; small, since each commit carries a Guard
	order   uint64 // of the declaration, then of the proposal, among all guards of the table
	arrival uint64 // order of the first declaration; waiting for locks does not change it
	locks   *locks // nil: it has none
	holder  *Guard // whose locks it waits for, parked
}

// Held reports whether all latches are held and nothing is proposed. Locks are not latches.
func (g *Guard) Held() bool { return g.locks == nil && (g.state == held || g.state == asked) }

// Locked reports whether the guard has locks: from Lock or Restore until Unlock or Applied.
func (g *Guard) Locked() bool { return g.locks != nil }

// Asked reports whether the draw was asked for and the guard is not yet proposed, under latches
// or locks.
func (g *Guard) Asked() bool { return g.state == asked }
