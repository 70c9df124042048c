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

// place is where a key latch stands: in the queue or in the pending list of a key.
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
}

// count adds n of l's kind to the queue.
func (k *keyState) count(l *Latch, n int) {
	k.length += n
	if l.Mode != Shared {
		k.writers += n
	}
}

func (k *keyState) empty() bool { return k.queue.head == nil && k.pending.head == nil }

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
	asked                // held, and the draw of its timestamp was asked for
	pending              // proposed
)

// Guard is what one request latches: all of it at once or nothing (rule C2). It belongs to
// its owner; between Acquire and the end the latches must not be moved or changed, except
// for Write.
type Guard struct {
	Owner   any
	Latches []Latch // each key at most once, in key order

	state state
	waits int    // latches not held
	order uint64 // of the declaration, then of the proposal, among all guards of the table
}

// Held reports whether all latches are held and nothing is proposed.
func (g *Guard) Held() bool { return g.state == held || g.state == asked }

// Asked reports whether the draw was asked for and the guard is not yet proposed.
func (g *Guard) Asked() bool { return g.state == asked }
