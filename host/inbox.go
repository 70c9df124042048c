package host

import (
	"slices"
	"sync"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// inbox collects everything that the loop is to hear of. Whoever has something adds any
// amount of it under one lock; the loop takes all of it at once.
type inbox struct {
	mu      sync.Mutex
	room    sync.Cond // for receivers that wait for the loop to catch up
	in      inputs
	slots   slots
	waiting int  // receivers in room
	awake   bool // a wake-up is on its way, or the loop is in a turn
	closed  bool
	wake    chan struct{} // has room for one
}

// inputs are what one turn of the loop works off, each list in the order of arrival.
type inputs struct {
	requests     []request
	admins       []adminRequest
	cancels      []uint64
	received     []received
	messageBytes int
	stored       []stored
	applied      []*node.Apply
	reads        []readDone
	rare         []func(now kv.Instant)
}

type request struct {
	id    uint64
	req   *kv.Request
	asker Asker
	bytes int64
}

type adminRequest struct {
	id     uint64
	req    *kv.AdminRequest
	answer chan adminAnswer
}

// received are messages of one node in the order in which they were sent.
type received struct {
	from     kv.NodeID
	messages []node.Message
}

// stored are log writes that are processed, and durable where they had to be.
type stored struct {
	appends   []*replication.Append
	positions [][]wal.Position
}

// readDone is a read that a reader is done with. What is at hand is read in the loop, and does not come here (loop.lend).
type readDone struct {
	read *node.Read
	call *call // nil: it was an evaluation
	// back: the reader could not answer; the node has to go on with it.
	back bool
}

// inboxMessageBytesMax is how much of the peers' messages may wait, in all loops' inboxes together, before
// the receivers stop reading from their streams. Each loop has its part.
const inboxMessageBytesMax = 64 << 20

// newInbox is that of a loop; its calls count in a budget that all loops of the node share.
func newInbox(loop int, shared *budget) *inbox {
	b := &inbox{wake: make(chan struct{}, 1), slots: slots{budget: shared, loop: uint64(loop) << loopShift}}
	b.room.L = &b.mu
	return b
}

// unlockAndWake ends an addition. It costs a channel operation only if the loop sleeps.
func (b *inbox) unlockAndWake() {
	wake := !b.awake
	b.awake = true
	b.mu.Unlock()
	if wake {
		b.wake <- struct{}{}
	}
}

// take exchanges the collected inputs for an empty set, and takes back the ids of ended calls.
func (b *inbox) take(empty *inputs, ended []freed) (closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range ended {
		b.slots.give(f)
	}
	b.in, *empty = *empty, b.in
	b.in.messageBytes = 0
	if b.waiting > 0 {
		b.room.Broadcast()
	}
	return b.closed
}

// rest is called by the loop before it sleeps; false means that there is work.
func (b *inbox) rest() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.in.empty() || b.closed {
		return false
	}
	b.awake = false
	return true
}

// roused is called by the loop when it wakes by something else than the inbox.
func (b *inbox) roused() {
	b.mu.Lock()
	owed := b.awake // somebody has sent, or is about to send, a wake-up for this turn
	b.awake = true
	b.mu.Unlock()
	if owed {
		<-b.wake
	}
}

func (in *inputs) empty() bool {
	return len(in.requests)+len(in.admins)+len(in.cancels)+len(in.received)+len(in.stored)+len(in.applied)+len(in.reads)+len(in.rare) == 0
}

// reset keeps the room of the lists and drops what they pointed to.
func (in *inputs) reset() {
	clear(in.requests)
	clear(in.admins)
	clear(in.received)
	clear(in.stored)
	clear(in.applied)
	clear(in.reads)
	clear(in.rare)
	*in = inputs{
		requests: in.requests[:0], admins: in.admins[:0], cancels: in.cancels[:0], received: in.received[:0],
		stored: in.stored[:0], applied: in.applied[:0], reads: in.reads[:0], rare: in.rare[:0],
	}
}

var errStopping = kv.Errorf(kv.Unavailable, "this node is stopping: ask another one")

// submit takes requests in; those that there is no room for are answered at once.
func (b *inbox) submit(batch []Ask) {
	refused := 0
	b.mu.Lock()
	closed := b.closed
	for i := range batch {
		a := &batch[i]
		bytes := requestBytes(a.Request)
		var id uint64
		ok := !closed
		if ok {
			id, ok = b.slots.take(bytes)
		}
		if !ok {
			batch[refused], batch[i] = batch[i], batch[refused]
			refused++
			continue
		}
		*a.Handle = id
		b.in.requests = append(b.in.requests, request{id: id, req: a.Request, asker: a.Asker, bytes: bytes})
	}
	err := errStopping
	if !closed {
		err = b.overloaded()
	}
	b.unlockAndWake()
	for _, a := range batch[:refused] {
		a.Asker.Answer(nil, err)
	}
}

func (b *inbox) overloaded() *kv.Error {
	x := b.slots.budget
	return kv.Errorf(kv.Unavailable, "this node works on %d requests with %d bytes, the limits are %d (requests-max) and %d (request-bytes-max): try again a little later",
		x.open.Load(), x.bytes.Load(), x.max, x.bytesMax)
}

// admin takes an admin request in.
func (b *inbox) admin(req *kv.AdminRequest, answer chan adminAnswer) (uint64, *kv.Error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, errStopping
	}
	id, ok := b.slots.take(0)
	if !ok {
		err := b.overloaded()
		b.mu.Unlock()
		return 0, err
	}
	b.in.admins = append(b.in.admins, adminRequest{id: id, req: req, answer: answer})
	b.unlockAndWake()
	return id, nil
}

func (b *inbox) cancel(id uint64) {
	b.mu.Lock()
	b.in.cancels = append(b.in.cancels, id)
	b.unlockAndWake()
}

// receive takes messages of another node; it waits while the loop is behind, so that the
// sender's stream fills up. False: the node stops.
func (b *inbox) receive(from kv.NodeID, messages []node.Message, bytes int) bool {
	b.mu.Lock()
	for b.in.messageBytes > inboxMessageBytesMax/max(b.slots.budget.loops, 1) && !b.closed {
		b.waiting++
		b.room.Wait()
		b.waiting--
	}
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.in.messageBytes += bytes
	b.in.received = append(b.in.received, received{from: from, messages: messages})
	b.unlockAndWake()
	return true
}

// handOver takes a message of another loop of the same node. It never waits: loops that wait for
// each other would wait for ever. What loops say to each other is bounded by what they ask.
func (b *inbox) handOver(self kv.NodeID, m node.Message) {
	b.mu.Lock()
	b.in.received = append(b.in.received, received{from: self, messages: []node.Message{m}})
	b.unlockAndWake()
}

func (b *inbox) storedNow(s stored) {
	b.mu.Lock()
	b.in.stored = append(b.in.stored, s)
	b.unlockAndWake()
}

// appliedNow hands applies back. The loop is not woken for lazy ones.
func (b *inbox) appliedNow(applies []*node.Apply) {
	b.mu.Lock()
	b.in.applied = append(b.in.applied, applies...)
	if lazy(applies) {
		b.mu.Unlock()
		return
	}
	b.unlockAndWake()
}

// lazy reports whether nobody waits for any of the applies.
func lazy(as []*node.Apply) bool {
	return !slices.ContainsFunc(as, func(a *node.Apply) bool { return !a.Lazy() })
}

// readsDone hands reads back. Without one that the node has to go on with, the loop is not
// woken: the calls are forgotten in the next turn.
func (b *inbox) readsDone(done []readDone) {
	urgent := false
	for _, d := range done {
		urgent = urgent || d.back
	}
	b.mu.Lock()
	b.in.reads = append(b.in.reads, done...)
	if urgent {
		b.unlockAndWake()
		return
	}
	b.mu.Unlock()
}

// do has the loop run fn at the start of its next turn: for what happens rarely.
func (b *inbox) do(fn func(now kv.Instant)) {
	b.mu.Lock()
	b.in.rare = append(b.in.rare, fn)
	b.unlockAndWake()
}

// close makes the loop end after one more turn, and turns everybody away.
func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.room.Broadcast()
	b.unlockAndWake()
}
