package router

import (
	"context"
	"runtime"
	"time"

	"google.golang.org/grpc/status"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
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

// serve is the life of one stream.
func (l *link) serve() {
	ctx, cut := context.WithCancel(context.Background())
	defer cut()
	late := time.AfterFunc(connectMax, cut)
	stream, err := l.kv.Stream(ctx)
	if err != nil || !late.Stop() {
		why := notConnected(l.address, err)
		l.router.log.Debug("no stream", "node", l.address, "err", why)
		l.fail(why)
		return
	}
	l.mu.Lock()
	l.watch.cut = cut
	l.watch.received = time.Now()
	if l.ended {
		cut()
	}
	l.mu.Unlock()

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
	<-sender
	if l.router.stop.Err() == nil {
		l.router.log.Info("a stream ended; what was under way is sent again", "node", l.address, "err", why)
	}
	l.fail(why)
}

func notConnected(address string, err error) *kv.Error {
	if err == nil {
		return kv.Errorf(kv.Unavailable, "no connection to %s within %v", address, connectMax)
	}
	return kv.Errorf(kv.Unavailable, "no connection to %s: %s", address, status.Convert(err).Message())
}

// send sends batches until the stream's context ends.
func (l *link) send(ctx context.Context, stream kvpb.KV_StreamClient) {
	var sent *batch
	message := &kvpb.OpBatch{}
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
		// The message is encoded before Send returns, and no interceptor keeps it, so its memory
		// may be used again.
		message.Frames = sent.frames
		if stream.Send(message) != nil {
			return // the receiver hears why
		}
	}
}

// receive hands over replies until the stream ends, and returns why it did.
func (l *link) receive(stream kvpb.KV_StreamClient) *kv.Error {
	var taken []taken
	for {
		// A new message each time: replies alias its bytes.
		m, err := stream.Recv()
		if err != nil {
			return kv.Errorf(kv.Unavailable, "the connection to %s ended: %s", l.address, status.Convert(err).Message())
		}
		b, bad := wire.OpenBatch(m.GetFrames())
		if bad != nil {
			return bad
		}
		if b.Heard != 0 {
			l.router.hear(b.Heard)
		}
		taken = l.takePending(&b, taken[:0])
		for i := range taken {
			taken[i].call.heard <- taken[i].delivery
		}
		clear(taken)
		if b.Err() != nil {
			return b.Err()
		}
	}
}

// taken is one reply and the call that waits for it.
type taken struct {
	call     *Call
	delivery delivery
}

// takePending finds the calls of all replies of a batch under one lock.
func (l *link) takePending(b *wire.Batch, to []taken) []taken {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch.received = now
	for {
		f, ok := b.Next()
		if !ok {
			return to
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
