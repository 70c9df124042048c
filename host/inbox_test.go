package host

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/node"
)

// countingAsker counts its answers.
type countingAsker struct {
	answers atomic.Int64
	err     atomic.Pointer[kv.Error]
}

func (c *countingAsker) Answer(_ *kv.Response, err *kv.Error) {
	c.answers.Add(1)
	if err != nil {
		c.err.Store(err)
	}
}

func asks(n int, a Asker, req *kv.Request) []Ask {
	out := make([]Ask, n)
	for i := range out {
		out[i] = Ask{Request: req, Asker: a, Handle: new(uint64)}
	}
	return out
}

func newTestInbox(requestsMax, bytesMax int64) *inbox {
	return newInbox(0, &budget{max: requestsMax, bytesMax: bytesMax})
}

func TestInboxRefusesWhatItHasNoRoomFor(t *testing.T) {
	b := newTestInbox(10, 1000)
	var a countingAsker
	batch := asks(12, &a, get(1, kv.Key("k")))
	b.submit(batch)
	if a.answers.Load() != 2 || a.err.Load().Kind != kv.Unavailable {
		t.Fatalf("%d of 12 requests were refused with %v, the limit is 10", a.answers.Load(), a.err.Load())
	}
	var in inputs
	b.take(&in, nil)
	if len(in.requests) != 10 {
		t.Fatalf("took %d requests", len(in.requests))
	}
	ended := []freed{{in.requests[0].id, 0}, {in.requests[1].id, 0}}
	in.reset()
	b.take(&in, ended)
	b.submit(asks(3, &a, get(1, kv.Key("k"))))
	if a.answers.Load() != 3 {
		t.Errorf("two ended, three came, %d were refused", a.answers.Load()-2)
	}
}

// TestIDsAreNeverTheNodesOwn: what the node calls its own requests, no id of the host is.
func TestIDsAreNeverTheNodesOwn(t *testing.T) {
	s := slots{budget: &budget{max: slotMask, bytesMax: 1}, loop: uint64(kv.LoopsMax-1) << loopShift, generation: make([]uint32, slotMask+1), free: []uint32{slotMask}}
	s.generation[slotMask] = 1<<32 - 2
	id, ok := s.take(0)
	if want := uint64(kv.LoopsMax-1)<<loopShift | (1<<32-1)<<slotBits | slotMask; !ok || id != want {
		t.Fatalf("the largest id is %x, not %x", id, want)
	}
	if uint64(node.OwnRequest)&id != 0 || uint64(node.OwnRequest) <= (1<<32-1)<<slotBits {
		t.Errorf("the bit %x is part of an id, of which %x is the largest", node.OwnRequest, id)
	}
}

func TestInboxBoundsBytes(t *testing.T) {
	b := newTestInbox(100, 1000)
	var a countingAsker
	big := put(1, kv.Key("k"), string(make([]byte, 700)), 0, 0)
	b.submit(asks(1, &a, big))
	b.submit(asks(1, &a, big))
	if a.answers.Load() != 1 {
		t.Errorf("%d refused, want the second", a.answers.Load())
	}
	huge := newTestInbox(100, 10)
	huge.submit(asks(1, &a, big))
	if a.answers.Load() != 1 {
		t.Error("a request larger than the limit must pass when nothing else waits")
	}
}

func TestInboxWakesOnce(t *testing.T) {
	b := newTestInbox(1000, 1)
	if !b.rest() {
		t.Fatal("an empty inbox has work")
	}
	var a countingAsker
	for range 100 {
		b.submit(asks(1, &a, get(1, kv.Key("k"))))
	}
	if len(b.wake) != 1 {
		t.Errorf("%d wake-ups wait", len(b.wake))
	}
	<-b.wake
	if b.rest() {
		t.Error("the loop may sleep though there is work")
	}
	var in inputs
	b.take(&in, nil)
	if !b.rest() {
		t.Error("the loop may not sleep though there is none")
	}
}

// TestInboxLosesNothing runs a loop against many submitters: each request is taken exactly once.
func TestInboxLosesNothing(t *testing.T) {
	b := newTestInbox(1<<16, 1)
	const submitters, each = 4, 2000
	seen := make(chan int)
	go func() {
		var in inputs
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		n := 0
		var ended []freed
		for {
			closed := b.take(&in, ended)
			ended = ended[:0]
			for _, r := range in.requests {
				n++
				ended = append(ended, freed{id: r.id})
			}
			in.reset()
			if closed {
				seen <- n
				return
			}
			if !b.rest() {
				continue
			}
			select {
			case <-b.wake:
			case <-tick.C:
				b.roused()
			}
		}
	}()
	var a countingAsker
	var group sync.WaitGroup
	for range submitters {
		group.Go(func() {
			for range each / 10 {
				b.submit(asks(10, &a, get(1, kv.Key("k"))))
			}
		})
	}
	group.Wait()
	b.close()
	if n := <-seen; int64(n)+a.answers.Load() != submitters*each {
		t.Errorf("%d taken, %d refused, %d submitted", n, a.answers.Load(), submitters*each)
	}
}

func TestInboxHoldsReceiversBack(t *testing.T) {
	b := newTestInbox(1, 1)
	b.receive(2, []node.Message{{}}, inboxMessageBytesMax+1)
	done := make(chan bool)
	go func() { done <- b.receive(2, []node.Message{{}}, 1) }()
	for { // until the receiver waits
		b.mu.Lock()
		waiting := b.waiting
		b.mu.Unlock()
		if waiting == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	var in inputs
	b.take(&in, nil)
	if !<-done || len(in.received) != 1 {
		t.Errorf("taken %d", len(in.received))
	}
	b.take(&in, nil)
	b.close()
	if b.receive(2, nil, 1) {
		t.Error("a closed inbox takes messages")
	}
}

func TestCallIsAnsweredOnceByWhoeverIsFirst(t *testing.T) {
	m := newMetrics()
	table := callTable{metrics: &m.requests}
	var a countingAsker
	c := table.add(1<<slotBits, &a, nil, 5)
	c.lent = 1
	c.answer(&kv.Response{}, nil) // the reader
	if table.get(1<<slotBits) != c {
		t.Fatal("a call was forgotten while a reader has it")
	}
	c.answer(nil, errStopping) // the loop
	c.lent = 0
	table.end(c)
	if a.answers.Load() != 1 || a.err.Load() != nil || table.open != 0 || len(table.freed) != 1 {
		t.Errorf("%d answers, error %v, %d open, %d freed", a.answers.Load(), a.err.Load(), table.open, len(table.freed))
	}
	again := table.add(2<<slotBits, &a, nil, 0)
	if table.get(1<<slotBits) != nil || table.get(2<<slotBits) != again {
		t.Error("the slot's earlier call is still found")
	}
	again.answer(nil, errStopping)
	if a.answers.Load() != 2 {
		t.Error("a reused call is not answered")
	}
}
