package router

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/wire"
)

func newIdleLink() *link {
	l := &link{address: "there", pending: map[uint64]*Call{}}
	l.work.L = &l.mu
	return l
}

// TestPulse: an idle link says something in time, what it says is no request, and it stops with its stream.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newIdleLink()
		l.lastID = 7
		pulse := l.begin(func() {})
		defer pulse.Stop()
		for range 3 {
			time.Sleep(wire.PulseEvery)
			synctest.Wait()
			l.mu.Lock()
			if n := len(l.queue.batches); n != 1 {
				t.Fatalf("%d batches wait", n)
			}
			b, err := wire.OpenBatch(l.queue.take().frames)
			if _, more := b.Next(); err != nil || more || l.queue.sentUpTo != 7 {
				t.Errorf("%v, frames %v, sent up to %d", err, more, l.queue.sentUpTo)
			}
			l.mu.Unlock()
		}
		l.mu.Lock()
		l.watch.cut = nil // the stream has ended
		l.mu.Unlock()
		time.Sleep(10 * wire.PulseEvery)
		synctest.Wait()
		if n := len(l.queue.batches); n != 0 {
			t.Errorf("%d batches wait for a stream that has ended", n)
		}
	})
}

// TestFarewell: an error frame of id 0 ends the stream, after the answers before it.
func TestFarewell(t *testing.T) {
	l := newIdleLink()
	c := &Call{}
	l.pending[1] = c
	frames := wire.AppendResponse(wire.AppendHead(nil, 0), 1, &kv.Response{})
	frames = wire.AppendError(frames, 0, kv.Errorf(kv.Closed, "the node is closing"))
	b, bad := wire.OpenBatch(frames)
	if bad != nil {
		t.Fatal(bad)
	}
	taken, why := l.takePending(&b, nil)
	if len(taken) != 1 || taken[0].call != c || len(l.pending) != 0 {
		t.Errorf("%d answers were taken, %d are waited for", len(taken), len(l.pending))
	}
	if why == nil || why.Kind != kv.Unavailable || why.Message != "there ended the connection: the node is closing" {
		t.Errorf("%v", why)
	}
}
