package host

import (
	"sync/atomic"

	"github.com/kvd-db/kvd/kv"
)

// Asker waits for the answer to one request.
type Asker interface {
	// Answer is called exactly once for each Ask, from any goroutine, with exactly one of
	// the two. It must not block.
	Answer(*kv.Response, *kv.Error)
}

// Ask is one request on its way into the host.
type Ask struct {
	Request *kv.Request // and all that it points to is only read, and may be kept
	Asker   Asker
	Handle  *uint64 // set by Submit before the answer can come: what Cancel wants
}

// call is one request that is not answered yet. It belongs to the loop, but for answered.
type call struct {
	id       uint64 // loop << loopShift | generation << slotBits | slot
	asker    Asker
	admin    chan adminAnswer // for admin requests, instead of asker; has room for one
	req      *kv.Request      // nil for admin requests
	bytes    int64
	lent     int // reads of this call that a reader has and may answer
	answered atomic.Bool
	metrics  *requestMetrics
}

type adminAnswer struct {
	resp *kv.AdminResponse
	err  *kv.Error
}

// answer gives the answer unless another goroutine has done so.
func (c *call) answer(resp *kv.Response, err *kv.Error) {
	if c.answered.CompareAndSwap(false, true) {
		c.metrics.answered(err)
		c.asker.Answer(resp, err)
	}
}

const (
	slotBits  = 20
	slotMask  = 1<<slotBits - 1
	loopShift = 58 // above it the id names the loop; the bits below it are not in use, down to the generation: one is node.OwnRequest
)

// budget bounds the calls of all loops of a node.
type budget struct {
	loops         int
	open, bytes   atomic.Int64
	max, bytesMax int64
}

// take counts one more call, if there is room for it. A request that is larger than everything that may be
// passes when nothing else waits.
func (b *budget) take(bytes int64) bool {
	if b.open.Add(1) > b.max {
		b.open.Add(-1)
		return false
	}
	if all := b.bytes.Add(bytes); all > b.bytesMax && all > bytes {
		b.give(bytes)
		return false
	}
	return true
}

func (b *budget) give(bytes int64) {
	b.bytes.Add(-bytes)
	b.open.Add(-1)
}

// slots gives out the ids of a loop's calls. It is guarded by the inbox's lock.
type slots struct {
	budget     *budget
	loop       uint64 // in its place in an id
	free       []uint32
	generation []uint32 // by slot
}

// take reserves an id, if there is room for a request of that size.
func (s *slots) take(bytes int64) (id uint64, ok bool) {
	if !s.budget.take(bytes) {
		return 0, false
	}
	var slot uint32
	switch {
	case len(s.free) > 0:
		slot = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
	default: // the budget is not above slotMask
		slot = uint32(len(s.generation))
		s.generation = append(s.generation, 0)
	}
	s.generation[slot]++
	return s.loop | uint64(s.generation[slot])<<slotBits | uint64(slot), true
}

func (s *slots) give(f freed) {
	s.free = append(s.free, uint32(f.id&slotMask))
	s.budget.give(f.bytes)
}

// freed is a call that ended.
type freed struct {
	id    uint64
	bytes int64
}

// callTable holds the open calls by slot. It belongs to the loop.
type callTable struct {
	bySlot  []*call
	pool    []*call // ended calls, for reuse
	freed   []freed // since the last turn
	open    int
	metrics *requestMetrics
}

// add makes the call of an id.
func (t *callTable) add(id uint64, asker Asker, admin chan adminAnswer, bytes int64) *call {
	slot := int(id & slotMask)
	for len(t.bySlot) <= slot {
		t.bySlot = append(t.bySlot, nil)
	}
	var c *call
	if n := len(t.pool); n > 0 {
		c, t.pool = t.pool[n-1], t.pool[:n-1]
		c.answered.Store(false)
	} else {
		c = &call{metrics: t.metrics}
	}
	c.id, c.asker, c.admin, c.bytes = id, asker, admin, bytes
	t.bySlot[slot] = c
	t.open++
	return c
}

// get is the open call of an id, nil if it has ended.
func (t *callTable) get(id uint64) *call {
	slot := int(id & slotMask)
	if slot >= len(t.bySlot) {
		return nil
	}
	if c := t.bySlot[slot]; c != nil && c.id == id {
		return c
	}
	return nil
}

// end forgets an answered call as soon as no reader has it.
func (t *callTable) end(c *call) {
	if c.lent > 0 || !c.answered.Load() {
		return
	}
	t.bySlot[c.id&slotMask] = nil
	t.freed = append(t.freed, freed{c.id, c.bytes})
	c.id, c.asker, c.admin, c.req = 0, nil, nil, nil
	t.pool = append(t.pool, c)
	t.open--
}

// requestBytes is what a request holds on to; small ones count as nothing.
func requestBytes(r *kv.Request) int64 {
	if r.Commit == nil {
		return 0
	}
	n := writesBytes(r.Commit.Writes)
	for i := range r.Commit.Parts {
		n += writesBytes(r.Commit.Parts[i].Writes)
	}
	return n
}

func writesBytes(writes []kv.Write) (n int64) {
	for i := range writes {
		n += int64(len(writes[i].Key) + len(writes[i].Value))
	}
	return n
}
