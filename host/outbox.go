package host

import (
	"sync"

	"github.com/kvd-db/kvd/node"
)

// outboxBytesMax is how much may wait for one peer; what is beyond it is dropped, and the node hears of that.
const outboxBytesMax = 64 << 20

// outbox is what waits to be sent to one peer. Heartbeats overtake everything (L8).
//
// Invariant: while the stream is not open nothing is kept: a message is sent by the stream
// that was open when it was made, or not at all.
type outbox struct {
	mu     sync.Mutex
	filled sync.Cond
	open   bool
	closed bool
	idle   bool     // the sender sleeps
	fresh  bool     // something was added since the last flush
	lost   bool     // something was dropped since the last flush
	urgent []byte   // frames
	chunks [][]byte // frames, closed at chunkBytes
	bytes  int      // in chunks
	spare  [][]byte // buffers for reuse
}

func newOutbox() *outbox {
	o := &outbox{}
	o.filled.L = &o.mu
	return o
}

// add queues a message. The sender hears of it at flush.
func (o *outbox) add(m *node.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		return
	}
	if m.Urgent() {
		o.urgent = appendFrame(o.urgent, m)
		o.fresh = true
		return
	}
	if o.bytes > outboxBytesMax {
		o.lost = true
		return
	}
	n := len(o.chunks)
	if n == 0 || len(o.chunks[n-1]) >= chunkBytes {
		o.chunks = append(o.chunks, o.buffer())
		n++
	}
	last := &o.chunks[n-1]
	was := len(*last)
	*last = appendFrame(*last, m)
	o.bytes += len(*last) - was
	o.fresh = true
}

func (o *outbox) buffer() []byte {
	n := len(o.spare)
	if n == 0 {
		return nil
	}
	b := o.spare[n-1]
	o.spare = o.spare[:n-1]
	return b
}

// flush wakes the sender for what was added, and reports whether something was dropped.
func (o *outbox) flush() (lost bool) {
	o.mu.Lock()
	wake := o.fresh && o.idle
	if wake {
		o.idle = false
	}
	lost = o.lost
	o.fresh, o.lost = false, false
	o.mu.Unlock()
	if wake {
		o.filled.Signal()
	}
	return lost
}

// take waits for the next batch of frames, nil once the outbox is shut. sent is the previous
// batch, whose buffer can be used again.
func (o *outbox) take(sent []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	const spareMax = 4
	if sent != nil && cap(sent) <= 2*chunkBytes && len(o.spare) < spareMax {
		o.spare = append(o.spare, sent[:0])
	}
	for {
		switch {
		case !o.open:
			return nil
		case len(o.urgent) > 0:
			b := o.urgent
			o.urgent = nil
			return b
		case len(o.chunks) > 0:
			b := o.chunks[0]
			o.chunks[0] = nil
			o.chunks = o.chunks[1:]
			o.bytes -= len(b)
			return b
		}
		o.chunks = nil
		o.idle = true
		o.filled.Wait()
		o.idle = false
	}
}

// opened begins to keep messages: there is a stream now. False: the outbox is closed.
func (o *outbox) opened() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = !o.closed
	return o.open
}

// shut drops everything: the stream has ended.
func (o *outbox) shut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open, o.fresh, o.lost = false, false, false
	o.urgent, o.chunks, o.bytes = nil, nil, 0
	o.filled.Broadcast()
}

// close shuts the outbox for ever.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.shut()
}

// queued is how many bytes wait.
func (o *outbox) queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}
