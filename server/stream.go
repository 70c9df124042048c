package server

import (
	"errors"
	"sync"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/wire"
)

// opsSlab is how many ops are allocated at once.
const opsSlab = 16

// op is one request of a stream, from its frame to its answer.
type op struct {
	Submission
	frame    wire.Op
	stream   *stream
	id       uint64
	deadline time.Time
	reserved int // bytes
	first    *op // of those that are answered together; nil: it stands alone
	together int // of the first: those not answered yet; guarded by the stream's mu
}

// reply is one answer on its way to the sender.
type reply struct {
	id       uint64
	reserved int
	response *kv.Response
	err      *kv.Error
}

// stream is one client's stream.
type stream struct {
	backend Backend
	batches batches
	wake    chan struct{} // of one: something is ready

	mu   sync.Mutex
	book book

	receiver receiver
	sender   sender
}

// book is what is under way; guarded by mu.
type book struct {
	waiting  map[uint64]*op // those whose answer the client waits for
	ready    []reply
	active   int // ops that the backend has, and replies not yet sent
	reserved int // bytes of all these
	ended    bool
}

// receiver is what only the receiving goroutine touches.
type receiver struct {
	slab  []op
	now   time.Time // when the present message came
	in    []*Submission
	first *op // of requests that are answered together, of which the newest is not the last
}

// sender is what only the sending goroutine touches.
type sender struct {
	replies []reply
}

// batches is what a stream goes over. One goroutine receives, one sends.
type batches interface {
	// Recv gives a batch in memory of its own, which requests alias; io.EOF when the client has gone.
	Recv() ([]byte, error)
	// Send is done with the memory when it returns.
	Send(batch []byte) error
}

// serve is the life of a stream: this goroutine sends. It ends when the client or the
// connection does, or at stop; Recv must end then, and received is closed once it has and all
// that was left is cancelled.
func serve(b Backend, over batches, stop <-chan struct{}) (received <-chan struct{}, err *kv.Error) {
	s := &stream{backend: b, batches: over, wake: make(chan struct{}, 1), book: book{waiting: map[uint64]*op{}}}
	ended := make(chan *kv.Error, 1)
	left := make(chan []*op, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- s.receive()
		for _, o := range <-left { // only now is all of it submitted: before that, nothing could be cancelled
			b.Cancel(&o.Submission)
		}
	}()
	err = s.send(ended, stop)
	left <- s.end()
	return done, err
}

// end makes later answers go nowhere, and returns what is still in the backend.
func (s *stream) end() []*op {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book.ended = true
	left := make([]*op, 0, len(s.book.waiting))
	for _, o := range s.book.waiting {
		left = append(left, o)
	}
	clear(s.book.waiting)
	s.book.ready = nil
	return left
}

// receive takes requests in until the client or the connection ends, which is no error, or it
// says what cannot be understood.
func (s *stream) receive() *kv.Error {
	for {
		m, err := s.batches.Recv()
		if err != nil {
			var bad *kv.Error
			errors.As(err, &bad)
			return bad
		}
		b, bad := wire.OpenBatch(m)
		if bad != nil {
			return bad
		}
		s.receiver.now = time.Now()
		for {
			f, ok := b.Next()
			if !ok {
				break
			}
			s.take(f)
		}
		s.receiver.first = nil
		s.submit()
		if bad := b.Err(); bad != nil {
			return bad
		}
	}
}

// take handles one frame. Requests are gathered for submit.
func (s *stream) take(f wire.Frame) {
	switch f.Type {
	case wire.FrameRequest, wire.FrameTogether:
		o := s.newOp(f.ID)
		s.join(o, f.Type == wire.FrameTogether)
		err := wire.DecodeRequest(f.Body, &o.frame)
		if err == nil {
			err = checkLimits(&o.frame.Request)
		}
		if err = s.admit(o, len(f.Body), err); err == nil {
			s.receiver.in = append(s.receiver.in, &o.Submission)
		}
	case wire.FrameCancel:
		s.submit() // it may be in the same batch
		if o := s.forget(f.ID); o != nil {
			s.backend.Cancel(&o.Submission)
		}
	default:
		s.answerAt(f.ID, kv.Errorf(kv.Invalid, "a client sends no frame of type %d", f.Type))
	}
}

// join puts a request among those that are answered together. More follow, or it is the last one.
func (s *stream) join(o *op, more bool) {
	if o.first = s.receiver.first; o.first == nil && more {
		o.first = o
	}
	if s.receiver.first = nil; more {
		s.receiver.first = o.first
	}
}

func (s *stream) newOp(id uint64) *op {
	if len(s.receiver.slab) == 0 {
		s.receiver.slab = make([]op, opsSlab)
	}
	o := &s.receiver.slab[0]
	s.receiver.slab = s.receiver.slab[1:]
	o.stream, o.id = s, id
	o.Request, o.Asker = &o.frame.Request, o
	return o
}

// admit counts a request in, or answers it with the error.
func (s *stream) admit(o *op, n int, bad *kv.Error) *kv.Error {
	timeout := o.frame.Timeout
	if timeout == 0 {
		timeout = kv.RequestTimeoutDefault
	}
	o.deadline = s.receiver.now.Add(timeout)
	o.reserved = n
	if q := o.frame.Request.Scan; q != nil && !q.CountOnly {
		o.reserved += kv.ScanPageBytesMax
		if q.Bytes > 0 {
			o.reserved = n + q.Bytes
		}
	}
	s.mu.Lock()
	switch {
	case bad != nil:
	case s.book.ended:
		s.mu.Unlock()
		return kv.Errorf(kv.Closed, "the stream has ended")
	case s.book.waiting[o.id] != nil:
		bad = kv.Errorf(kv.Invalid, "id %d names a request that is under way", o.id)
	case s.book.active >= OpsInFlightMax:
		bad = kv.Errorf(kv.Unavailable, "%d requests of this stream are under way: wait for some of them", OpsInFlightMax)
	case s.book.reserved+o.reserved > InFlightBytesMax && s.book.active > 0:
		bad = kv.Errorf(kv.Unavailable, "requests and answers of this stream take more than %d bytes: wait for some of them", InFlightBytesMax)
	default:
		s.book.waiting[o.id] = o
		if o.first != nil {
			o.first.together++
		}
		s.book.active++
		s.book.reserved += o.reserved
	}
	s.mu.Unlock()
	if bad != nil {
		s.answerAt(o.id, bad)
	}
	return bad
}

// submit hands over what was gathered.
func (s *stream) submit() {
	if len(s.receiver.in) == 0 {
		return
	}
	s.backend.Submit(s.receiver.in)
	clear(s.receiver.in)
	s.receiver.in = s.receiver.in[:0]
}

// forget takes a request out of those that the client waits for.
func (s *stream) forget(id uint64) *op {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.book.waiting[id]
	delete(s.book.waiting, id)
	return o
}

// complete reports whether nothing that is answered together with a request is still to come. It runs
// under mu, once for each that the backend answers.
func (o *op) complete() bool {
	if o.first == nil {
		return true
	}
	o.first.together--
	return o.first.together <= 0
}

// Answer implements Asker.
func (o *op) Answer(a *kv.Response, err *kv.Error) {
	s := o.stream
	s.mu.Lock()
	wake := o.complete() || err != nil
	if s.book.waiting[o.id] != o || s.book.ended { // canceled, late, or nobody is there
		s.book.active--
		s.book.reserved -= o.reserved
	} else {
		delete(s.book.waiting, o.id)
		s.book.ready = append(s.book.ready, reply{id: o.id, reserved: o.reserved, response: a, err: err})
	}
	s.mu.Unlock()
	if wake {
		s.wakeSender()
	}
}

// answerAt answers a request that the backend never saw.
func (s *stream) answerAt(id uint64, err *kv.Error) {
	s.mu.Lock()
	s.book.active++ // until it is sent
	s.book.ready = append(s.book.ready, reply{id: id, err: err})
	s.mu.Unlock()
	s.wakeSender()
}

func (s *stream) wakeSender() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
