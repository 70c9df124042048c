package router

import (
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
	"github.com/kvd-db/kvd/proto/wire"
)

// link is the connection to one node: one stream, one goroutine that sends, one that receives.
type link struct {
	router  *Router
	address string
	conn    *grpc.ClientConn
	kv      kvpb.KVClient
	admin   kvpb.AdminClient

	mu      sync.Mutex
	work    sync.Cond // there is something to send, or the link has ended
	pending map[uint64]*Call
	queue   queue
	lastID  uint64
	watch   watch
	ended   bool
}

// queue is what waits for the sender, in batches.
type queue struct {
	batches  []*batch // all but the last one are full
	bytes    int      // in all of them
	spare    *batch   // the one sent before, to be used again
	sentUpTo uint64   // the newest id that has been taken out
}

// batch is one message being filled.
type batch struct {
	frames []byte
	last   uint64 // newest id in it
}

// watch is how a silent stream is found out.
type watch struct {
	timer    *time.Timer
	armed    bool
	received time.Time // when anything came, or the oldest waiting request was sent
	cut      func()    // ends the present stream
}

// tail is the batch that the next frame goes to.
func (q *queue) tail(heard kv.Timestamp) *batch {
	if n := len(q.batches); n > 0 && len(q.batches[n-1].frames) < wire.BatchBytes {
		return q.batches[n-1]
	}
	b := q.spare
	q.spare = nil
	if b == nil {
		b = &batch{}
	}
	b.frames = wire.AppendHead(b.frames[:0], heard)
	q.batches = append(q.batches, b)
	return b
}

// take removes the oldest batch.
func (q *queue) take() *batch {
	b := q.batches[0]
	n := copy(q.batches, q.batches[1:])
	q.batches[n] = nil
	q.batches = q.batches[:n]
	q.bytes -= len(b.frames)
	q.sentUpTo = b.last
	return b
}

// giveBack keeps the memory of a batch that was sent, unless it has grown large.
func (q *queue) giveBack(b *batch) {
	if cap(b.frames) <= 2*wire.BatchBytes {
		q.spare = b
	}
}

// submit queues one copy of a request. A refusal means that nothing was queued.
func (l *link) submit(c *Call, q *kv.Request, now time.Time, heard kv.Timestamp) *kv.Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.work.Signal()
	return l.add(c, q, now, heard)
}

// submitAll queues the first copies of calls whose answers are needed together. What was refused it
// leaves in the call.
func (l *link) submitAll(calls []*Call, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.work.Signal()
	var before *Call
	for _, c := range calls {
		if c.begun.refused = l.add(c, c.begun.action.Request, now, c.begun.heard); c.begun.refused != nil {
			continue
		}
		if before != nil && before.at.batch == c.at.batch {
			wire.Together(c.at.batch.frames[before.at.offset:])
		}
		before = c
	}
}

// add is submit under mu; the sender is to be told.
func (l *link) add(c *Call, q *kv.Request, now time.Time, heard kv.Timestamp) *kv.Error {
	switch {
	case l.ended:
		return errClosed()
	case len(l.pending) >= OpsInFlightMax:
		return kv.Errorf(kv.Unavailable, "%d requests to %s are under way: wait for some of them", OpsInFlightMax, l.address)
	case l.queue.bytes > QueueBytesMax:
		return kv.Errorf(kv.Unavailable, "%d bytes wait to be sent to %s: it takes them in too slowly", l.queue.bytes, l.address)
	}
	b := l.queue.tail(heard)
	before := len(b.frames)
	l.lastID++
	c.at = place{id: l.lastID, batch: b, offset: before, until: now.Add(c.patience())}
	b.frames = wire.AppendRequest(b.frames, c.at.id, c.end.at.Sub(now), q)
	b.last = c.at.id
	l.queue.bytes += len(b.frames) - before
	if len(l.pending) == 0 {
		l.watch.received = now
	}
	l.pending[c.at.id] = c
	if !l.watch.armed {
		l.arm()
	}
	return nil
}

// abandonment says what became of a copy that nobody waits for any more.
type abandonment uint8

const (
	underWay  abandonment = iota // it was sent; a cancel follows it
	takenBack                    // it had not left the queue, and never will
	answered                     // its answer is in the call's channel, or will be at once
)

// abandon takes a call off the link.
func (l *link) abandon(c *Call) abandonment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending[c.at.id] != c {
		return answered
	}
	return l.drop(c)
}

// drop is abandon for a call that is pending. It runs under mu.
func (l *link) drop(c *Call) abandonment {
	delete(l.pending, c.at.id)
	if c.at.id > l.queue.sentUpTo {
		wire.Withdraw(c.at.batch.frames[c.at.offset:])
		return takenBack
	}
	b := l.queue.tail(0)
	before := len(b.frames)
	b.frames = wire.AppendCancel(b.frames, c.at.id)
	b.last = l.lastID
	l.queue.bytes += len(b.frames) - before
	l.work.Signal()
	return underWay
}

// fail tells all calls of a stream that has ended: those up to sentUpTo are lost.
func (l *link) fail(why *kv.Error) {
	l.mu.Lock()
	pending := l.pending
	l.pending = map[uint64]*Call{}
	sent := l.queue.sentUpTo
	l.queue = queue{sentUpTo: l.lastID}
	l.mu.Unlock()
	for id, c := range pending {
		how := refused
		if id <= sent {
			how = lost
		}
		c.heard <- delivery{how: how, err: why} // it never blocks: see Call
	}
}

// close ends the link; run returns soon.
func (l *link) close() {
	l.mu.Lock()
	l.ended = true
	if l.watch.timer != nil {
		l.watch.timer.Stop()
	}
	if l.watch.cut != nil {
		l.watch.cut()
	}
	l.work.Broadcast()
	l.mu.Unlock()
}

// arm makes the watch look again in a while. It runs under mu.
func (l *link) arm() {
	l.watch.armed = true
	if l.watch.timer == nil {
		l.watch.timer = time.AfterFunc(SilenceMax/3, l.look)
	} else {
		l.watch.timer.Reset(SilenceMax / 3)
	}
}

// look cuts the stream if requests wait and nothing has come for too long, and gives up
// copies that nobody answers though the node is alive.
func (l *link) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch.armed = false
	if l.ended || len(l.pending) == 0 {
		return
	}
	now := time.Now()
	if now.Sub(l.watch.received) > SilenceMax && l.watch.cut != nil {
		l.watch.cut()
		return
	}
	for _, c := range l.pending {
		if !now.After(c.at.until) {
			continue
		}
		d := delivery{how: lost, err: kv.Errorf(kv.Unavailable, "%s has not answered for %v", l.address, c.patience())}
		if l.drop(c) == takenBack {
			d.how = refused
		}
		c.heard <- d // it never blocks: see Call
	}
	l.arm()
}
