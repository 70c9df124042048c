package server

import (
	"io"
	"testing"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/wire"
)

// oneBatch is a client that sends one batch and goes.
type oneBatch struct{ batch []byte }

func (b *oneBatch) Recv() ([]byte, error) {
	if b.batch == nil {
		return nil, io.EOF
	}
	m := b.batch
	b.batch = nil
	return m, nil
}

func (b *oneBatch) Send([]byte) error { return nil }

// TestTogether: the sender hears of answers that are needed together when the last of them is there, or
// one will never be.
func TestTogether(t *testing.T) {
	ok := func(s *Submission) { s.Asker.Answer(&kv.Response{}, nil) }
	refused := func(s *Submission) { s.Asker.Answer(nil, kv.Errorf(kv.NotLeader, "not here")) }
	type step struct {
		request int // from 0
		answer  func(*Submission)
		wakes   bool
	}
	for _, c := range []struct {
		name  string
		kinds string // of the requests: t together with the next, a alone or last
		steps []step
	}{
		{"alone", "aa", []step{{1, ok, true}, {0, ok, true}}},
		{"two", "ta", []step{{0, ok, false}, {1, ok, true}}},
		{"in any order", "tta", []step{{2, ok, false}, {0, ok, false}, {1, ok, true}}},
		{"two groups", "tata", []step{{0, ok, false}, {2, ok, false}, {3, ok, true}, {1, ok, true}}},
		{"an error does not wait", "ta", []step{{0, refused, true}, {1, ok, true}}},
		{"the batch ends before the last", "at", []step{{1, ok, true}, {0, ok, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := len(c.kinds)
			b := &fake{taken: make(chan *Submission, n), canceled: make(chan *Submission, n)}
			m := wire.AppendHead(nil, 0)
			for i, kind := range c.kinds {
				at := len(m)
				if m = wire.AppendRequest(m, uint64(i+1), 0, readOf("k")); kind == 't' {
					wire.Together(m[at:])
				}
			}
			s := &stream{backend: b, batches: &oneBatch{m}, wake: make(chan struct{}, 1), book: book{waiting: map[uint64]*op{}}}
			if err := s.receive(); err != nil {
				t.Fatal(err)
			}
			taken := make([]*Submission, n)
			for i := range taken {
				taken[i] = <-b.taken
			}
			for i, x := range c.steps {
				x.answer(taken[x.request])
				woke := false
				select {
				case <-s.wake:
					woke = true
				default:
				}
				if woke != x.wakes {
					t.Errorf("answer %d: woke the sender: %v, want %v", i, woke, x.wakes)
				}
			}
			if len(s.book.ready) != n {
				t.Errorf("%d answers are ready, want %d", len(s.book.ready), n)
			}
		})
	}
}

// TestTogetherWithoutOne: one that is canceled holds up no other.
func TestTogetherWithoutOne(t *testing.T) {
	b := &fake{taken: make(chan *Submission, 2), canceled: make(chan *Submission, 2)}
	m := wire.AppendRequest(wire.AppendHead(nil, 0), 1, 0, readOf("k"))
	wire.Together(m[wire.HeadBytes:])
	m = wire.AppendCancel(wire.AppendRequest(m, 2, 0, readOf("l")), 2)
	s := &stream{backend: b, batches: &oneBatch{m}, wake: make(chan struct{}, 1), book: book{waiting: map[uint64]*op{}}}
	if err := s.receive(); err != nil {
		t.Fatal(err)
	}
	first, second := <-b.taken, <-b.canceled
	first.Asker.Answer(&kv.Response{}, nil)
	second.Asker.Answer(nil, kv.Errorf(kv.Canceled, "the client asked for it"))
	if len(s.wake) != 1 || len(s.book.ready) != 1 {
		t.Errorf("the sender was woken %d times for %d answers, want once for one", len(s.wake), len(s.book.ready))
	}
}

// TestTogetherNotForEver: an answer does not wait for one that is long in coming.
func TestTogetherNotForEver(t *testing.T) { overBoth(t, testTogetherNotForEver) }

func testTogetherNotForEver(t *testing.T, r *rig) {
	m := wire.AppendRequest(wire.AppendHead(nil, 0), 1, 0, readOf("k"))
	wire.Together(m[wire.HeadBytes:])
	r.send(wire.AppendRequest(m, 2, 0, readOf("l")))
	first := within(t, r.backend.taken)
	within(t, r.backend.taken)
	first.Asker.Answer(&kv.Response{}, nil)
	if f := within(t, r.replies); f.ID != 1 || f.Type != wire.FrameResponse {
		t.Errorf("%+v came, want the answer that is there", f)
	}
}
