package router

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"google.golang.org/grpc/status"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/wire"
)

// run opens a stream whenever there is something to send and none is open, until the link ends.
func (l *link) run() {
	for l.waitForWork() {
		l.serve()
	}
	l.fail(errClosed())
	// It fails only for a connection that is closed already.
	_ = l.conn.Close()
}

// waitForWork is false once the link has ended.
func (l *link) waitForWork() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue.batches) == 0 && !l.ended {
		l.work.Wait()
	}
	return !l.ended
}

// stream is what batches go over. One goroutine sends, one receives.
type stream interface {
	// Send is done with the memory when it returns.
	Send(batch []byte) error
	// Recv gives a batch in memory of its own: replies alias it.
	Recv() ([]byte, error)
}

// serve is the life of one stream.
func (l *link) serve() {
	ctx, cut := context.WithCancel(l.router.stop)
	defer cut()
	stream, err := l.open(ctx, cut)
	if err != nil {
		why := notConnected(l.address, err)
		l.router.log.Debug("no stream", "node", l.address, "err", why)
		l.fail(why)
		return
	}
	pulse := l.begin(cut)
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		l.send(ctx, stream)
	}()
	why := l.receive(stream)
	cut()
	l.mu.Lock()
	l.watch.cut = nil
	l.work.Broadcast() // the sender may wait
	l.mu.Unlock()
	pulse.Stop()
	<-sender
	if l.router.stop.Err() == nil {
		l.router.log.Info("a stream ended; what was under way is sent again", "node", l.address, "err", why)
	}
	l.fail(why)
}

// begin makes the stream that cut ends the link's. The timer says something now and then
// while there is nothing else to say: a node gives up clients that it does not hear.
func (l *link) begin(cut func()) (pulse *time.Timer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch.cut = cut
	l.watch.received = time.Now()
	if l.ended {
		cut()
	}
	pulse = time.AfterFunc(wire.PulseEvery, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.watch.cut == nil {
			return
		}
		if len(l.queue.batches) == 0 {
			l.queue.tail(0).last = l.lastID
			l.work.Signal()
		}
		pulse.Reset(wire.PulseEvery)
	})
	return pulse
}

func notConnected(address string, err error) *kv.Error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return kv.Errorf(kv.Unavailable, "no connection to %s within %v", address, connectMax)
	}
	if err == nil { // gRPC does not tell why
		return kv.Errorf(kv.Unavailable, "no connection to %s", address)
	}
	return kv.Errorf(kv.Unavailable, "no connection to %s: %s", address, status.Convert(err).Message())
}

// send sends batches until the stream's context ends.
func (l *link) send(ctx context.Context, stream stream) {
	var sent *batch
	for {
		l.mu.Lock()
		if sent != nil {
			l.queue.giveBack(sent)
		}
		for len(l.queue.batches) == 0 && ctx.Err() == nil {
			l.work.Wait()
		}
		if ctx.Err() != nil {
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		// Sending does not block as a rule, so a batch would seldom hold more than one request:
		// whoever is ready to add one goes first.
		runtime.Gosched()
		l.mu.Lock()
		sent = l.queue.take()
		l.mu.Unlock()
		if stream.Send(sent.frames) != nil {
			return // the receiver hears why
		}
	}
}

// receive hands over replies until the stream ends, and returns why it did.
func (l *link) receive(stream stream) *kv.Error {
	var taken []taken
	for {
		m, err := stream.Recv()
		if err != nil {
			return kv.Errorf(kv.Unavailable, "the connection to %s ended: %s", l.address, status.Convert(err).Message())
		}
		b, bad := wire.OpenBatch(m)
		if bad != nil {
			return bad
		}
		if b.Heard != 0 {
			l.router.hear(b.Heard)
		}
		taken, bad = l.takePending(&b, taken[:0])
		for i := range taken {
			taken[i].call.heard <- taken[i].delivery
		}
		clear(taken)
		if bad != nil {
			return bad
		}
	}
}

// taken is one reply and the call that waits for it.
type taken struct {
	call     *Call
	delivery delivery
}

// takePending finds the calls of all replies of a batch under one lock. An error is why the stream ends.
func (l *link) takePending(b *wire.Batch, to []taken) ([]taken, *kv.Error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch.received = now
	for {
		f, ok := b.Next()
		if !ok {
			return to, b.Err()
		}
		if f.ID == 0 && f.Type == wire.FrameError {
			return to, kv.Errorf(kv.Unavailable, "%s ended the connection: %s", l.address, wire.DecodeError(f.Body).Message)
		}
		c := l.pending[f.ID]
		if c == nil {
			continue // nobody waits any more
		}
		delete(l.pending, f.ID)
		how := responded
		if f.Type != wire.FrameResponse {
			how = errored
		}
		to = append(to, taken{call: c, delivery: delivery{how: how, body: f.Body}})
	}
}
