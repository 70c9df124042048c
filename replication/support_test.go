package replication

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/wal"
)

// newSupport is the promises of one loop of node 1, in its fifth life. heard collects what changes.
func newSupport(loop, loops int) (s *Support, heard *[]string) {
	heard = new([]string)
	s = &Support{params: DefaultParams(), incarnation: 5, loop: loop, loops: loops}
	s.onEnd = func(p *pair) { *heard = append(*heard, fmt.Sprint("end ", p.node)) }
	s.onChange = func(p *pair, loop int) { *heard = append(*heard, fmt.Sprint("change ", p.node, " ", loop)) }
	return s, heard
}

func (s *Support) supportedAt(now kv.Instant, n kv.NodeID, g kv.PartitionID) bool {
	_, _, ok := s.supported(now, n, g)
	return ok
}

// TestEachLoopPromisesForItself: a lease of a partition rests on the promise of the loop that owns
// the follower, and on no other's.
func TestEachLoopPromisesForItself(t *testing.T) {
	s, heard := newSupport(0, 1)
	ack := func(loop int, epoch uint64, sent kv.Instant) {
		s.ack(sent+ms, 2, HeartbeatAck{Incarnation: 5, Epoch: 7<<32 | epoch, Sent: sent, Loop: loop, Loops: 3})
	}
	ack(0, 1, 0)
	ack(1, 4, 0)
	for p, want := range map[kv.PartitionID]bool{1: true, 4: true, 2: true, 3: false, 6: false} {
		if got := s.supportedAt(10*ms, 2, p); got != want {
			t.Errorf("partition %d of loop %d: supported %v", p, p.Loop(3), got)
		}
	}
	if e, _, _ := s.supported(10*ms, 2, 2); e != 7<<32|4 {
		t.Errorf("partition 2 has epoch %x of another loop", e)
	}
	*heard = nil
	ack(0, 1, 400*ms)
	s.lapse(600 * ms) // only loop 0 has renewed
	if s.supportedAt(600*ms, 2, 2) || !s.supportedAt(600*ms, 2, 1) || !slices.Equal(*heard, []string{"change 2 1"}) {
		t.Errorf("loop 1's promise has passed: %v", *heard)
	}
	ack(1, 5, 700*ms)
	if !s.supportedAt(701*ms, 2, 2) || !slices.Contains((*heard)[1:], "change 2 1") {
		t.Errorf("a new epoch of loop 1 wakes its groups (L27): %v", *heard)
	}
}

// TestALifeReplacesTheLifeBefore: what a node has promised in an earlier life counts no more once a
// newer one was heard, also if it runs another number of loops.
func TestALifeReplacesTheLifeBefore(t *testing.T) {
	s, heard := newSupport(0, 1)
	old := HeartbeatAck{Incarnation: 5, Epoch: 7<<32 | 9, Loop: 1, Loops: 3}
	s.ack(ms, 2, old)
	*heard = nil
	s.ack(2*ms, 2, HeartbeatAck{Incarnation: 5, Epoch: 8<<32 | 1, Loop: 1, Loops: 2})
	if want := []string{"change 2 -1", "change 2 1"}; !slices.Equal(*heard, want) {
		t.Errorf("heard %v, want %v", *heard, want)
	}
	for p, want := range map[kv.PartitionID]bool{1: false, 2: true, 3: false, 4: true} {
		if got := s.supportedAt(3*ms, 2, p); got != want {
			t.Errorf("partition %d: supported %v by the new life", p, got)
		}
	}
	for what, a := range map[string]HeartbeatAck{
		"an earlier life":         old,
		"another number of loops": {Incarnation: 5, Epoch: 8<<32 | 1, Loop: 0, Loops: 1},
		"a loop that is none":     {Incarnation: 5, Epoch: 9<<32 | 1, Loop: 2, Loops: 2},
		"another asker":           {Incarnation: 4, Epoch: 9<<32 | 1, Loop: 0, Loops: 2},
	} {
		s.ack(4*ms, 2, a)
		if s.supportedAt(5*ms, 2, 1) || s.supportedAt(5*ms, 2, 3) || !s.supportedAt(5*ms, 2, 2) {
			t.Errorf("an answer of %s counts", what)
		}
	}
}

// TestEveryLoopAnswers: each loop gives epochs of its own, and says which loop it is.
func TestEveryLoopAnswers(t *testing.T) {
	s, heard := newSupport(2, 3)
	s.heartbeat(0, 4, Heartbeat{Incarnation: 1})
	a, ok := s.heartbeat(0, 2, Heartbeat{Incarnation: 1, Sent: 77})
	if want := (HeartbeatAck{Incarnation: 1, Epoch: 5<<32 | 2, Sent: 77, Loop: 2, Loops: 3}); !ok || a != want {
		t.Errorf("answer %+v, want %+v", a, want)
	}
	s.heartbeat(500*ms, 2, Heartbeat{Incarnation: 1})
	s.lapse(599 * ms)
	if len(*heard) != 0 {
		t.Errorf("too early: %v", *heard)
	}
	s.lapse(600 * ms)
	if !slices.Equal(*heard, []string{"end 4"}) || !s.runs(2, a.Epoch) || s.runs(4, 5<<32|1) {
		t.Errorf("the promise to node 4 has lapsed, that to node 2 not: %v", *heard)
	}
	s.lapse(1100 * ms)
	if len(*heard) != 2 {
		t.Errorf("both have lapsed: %v", *heard)
	}
}

// heartbeats counts what a Set asks for.
type heartbeats struct {
	machine
	asked int
}

func (h *heartbeats) SendHeartbeat(kv.NodeID, Heartbeat) { h.asked++ }

// TestOneLoopAsksForTheNode: loop 0 does, and not while another one stands still (L9).
func TestOneLoopAsksForTheNode(t *testing.T) {
	for loop := range 2 {
		h := &heartbeats{}
		s := NewSet(0, Options{Self: 1, Incarnation: 1, Params: DefaultParams(), Cache: wal.NewCache(1), Loop: loop, Loops: 2}, h)
		s.Connect(2)
		tick := func(d time.Duration) int {
			h.asked = 0
			for end := h.now + kv.Instant(d); h.now < end; h.now += 10 * ms {
				s.Advance()
				s.Tick()
			}
			return h.asked
		}
		if n := tick(time.Second); n != []int{10, 0}[loop] {
			t.Errorf("loop %d asks %d times a second", loop, n)
		}
		s.LoopStalled(true)
		if n := tick(time.Second); n != 0 {
			t.Errorf("loop %d asks while another loop stands still", loop)
		}
		s.LoopStalled(false)
		if n := tick(time.Second); n != []int{10, 0}[loop] {
			t.Errorf("loop %d asks %d times a second after that", loop, n)
		}
	}
}
