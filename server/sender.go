package server

import (
	"runtime"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/wire"
)

// send sends what is ready, whenever it comes round, until the stream ends.
func (s *stream) send(received <-chan *kv.Error, stop <-chan struct{}) *kv.Error {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	var buf []byte
	quiet := false // nothing was sent since the last tick
	err := s.greet()
	for err == nil {
		select {
		case err := <-received:
			return err
		case <-stop:
			return kv.Errorf(kv.Closed, "the node is closing")
		case <-s.wake:
			quiet = false
			runtime.Gosched() // whoever is ready to answer goes first: see router
			buf, err = s.flush(buf)
		case <-tick.C:
			s.expire(time.Now())
			// Answers that are to go together wait for a late one not longer than this: their
			// client would take them for lost.
			if buf, err = s.flush(buf); err == nil && quiet {
				err = s.greet()
			}
			quiet = true
		}
	}
	return nil // the connection has ended
}

// greet sends a batch without frames: it carries the newest timestamp, and shows that the
// node is alive.
func (s *stream) greet() error { return s.sendBatch(wire.AppendHead(nil, 0)) }

// flush sends all that is ready, in batches of about wire.BatchBytes.
func (s *stream) flush(buf []byte) ([]byte, error) {
	s.mu.Lock()
	s.book.ready, s.sender.replies = s.sender.replies[:0], s.book.ready
	s.mu.Unlock()
	if len(s.sender.replies) == 0 {
		return buf, nil
	}
	var err error
	reserved := 0
	buf = wire.AppendHead(buf[:0], 0)
	for i := range s.sender.replies {
		r := &s.sender.replies[i]
		if len(buf) >= wire.BatchBytes {
			if err = s.sendBatch(buf); err != nil {
				break
			}
			buf = wire.AppendHead(buf[:0], 0)
		}
		buf = appendReply(buf, r)
		reserved += r.reserved
	}
	if err == nil {
		err = s.sendBatch(buf)
	}
	s.mu.Lock()
	s.book.active -= len(s.sender.replies)
	s.book.reserved -= reserved
	s.mu.Unlock()
	clear(s.sender.replies)
	if cap(buf) > 4*wire.BatchBytes {
		buf = nil // one large answer must not keep its memory for ever
	}
	return buf, err
}

// appendReply adds the frame of a reply. One that is too long for any message becomes an error.
func appendReply(b []byte, r *reply) []byte {
	if r.err != nil {
		return wire.AppendError(b, r.id, r.err)
	}
	start := len(b)
	b = wire.AppendResponse(b, r.id, r.response)
	if n := len(b) - start; n > replyBytesMax {
		return wire.AppendError(b[:start], r.id, kv.LimitError("bytes of one answer", replyBytesMax, int64(n), "ask for less at once"))
	}
	return b
}

// replyBytesMax leaves room for the batch that the reply is put into.
const replyBytesMax = wire.MessageBytesMax - 2*wire.BatchBytes

// sendBatch sends one message. What the backend has heard is asked for now, when all
// replies in it are ready: it is at least as new as any of them.
func (s *stream) sendBatch(frames []byte) error {
	wire.SetHeard(frames, s.backend.Heard())
	return s.batches.Send(frames)
}

// expire answers requests whose time is up, and tells the backend.
func (s *stream) expire(now time.Time) {
	var late []*op
	s.mu.Lock()
	for id, o := range s.book.waiting {
		if now.After(o.deadline) {
			delete(s.book.waiting, id)
			late = append(late, o)
		}
	}
	s.mu.Unlock()
	for _, o := range late {
		s.answerAt(o.id, kv.Errorf(kv.Timeout, "the deadline passed before the answer was there"))
		s.backend.Cancel(&o.Submission)
	}
}
