package node

import (
	"slices"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// held are applies that nobody waits for, in the order in which they came: those of followers, which are two thirds
// of all that is applied, and at leaders what belongs to transactions over several partitions. They wait for each
// other, for heldMax and a tick at most: one large batch costs less than many small ones, and what is put and removed
// within one never reaches the engine, which is the lot of most locks and records (docs/adr/0025). Somebody may come to
// wait meanwhile: then they go at once (hasten).
//
// Reads that any replica may answer go by what is applied: they may be sent elsewhere.
type held struct {
	applies []*Apply
	since   kv.Instant // when the first of them came
}

const (
	heldMax = kv.Instant(40 * time.Millisecond)
	// heldBytesMax is how much of a replica may wait like that; a follower that catches up is beyond it.
	heldBytesMax = 256 << 10
)

// heldBytesMax leaves room for raft to hand out what comes next.
func (n *Node) heldBytesMax() int64 {
	return min(heldBytesMax, int64(n.cfg.Flow.WithDefaults().ApplyBytesMax)/2)
}

// apply hands work to the applier now, or holds it back. All work for a replica is done in the order in which it came.
func (n *Node) apply(a *Apply) {
	h := &n.keep.held
	switch {
	case a.lazy:
		if len(h.applies) == 0 {
			h.since = n.now
		}
		h.applies = append(h.applies, a)
		a.rep.held++
		return
	case a.rep == nil: // what is made or destroyed may have been another replica
		h.letGo(n)
	default:
		n.hasten(a.rep)
	}
	n.out.Applies = append(n.out.Applies, a)
}

// hasten applies what a replica has held back, since somebody waits for it.
func (n *Node) hasten(r *replica) {
	r.hastened = true
	if r.held == 0 {
		return
	}
	r.held = 0
	h := &n.keep.held
	h.applies = slices.DeleteFunc(h.applies, func(a *Apply) bool {
		if a.rep != r {
			return false
		}
		a.lazy = false
		n.out.Applies = append(n.out.Applies, a)
		return true
	})
}

func (h *held) tick(n *Node) {
	if len(h.applies) > 0 && n.now >= h.since+heldMax {
		h.letGo(n)
	}
}

// letGo applies everything. The loop need not wake to hear that followers have; leaders go on with something.
func (h *held) letGo(n *Node) {
	for _, a := range h.applies {
		a.rep.held = 0
		a.lazy = !a.rep.leading
	}
	n.out.Applies = append(n.out.Applies, h.applies...)
	clear(h.applies)
	h.applies = h.applies[:0]
}
