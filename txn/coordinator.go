package txn

import "github.com/kvd-db/kvd/invariant"

// Coordinator is which participants of a two-phase commit have acknowledged their Prepare
// (rules H2 to H5). Participants are numbered from 0.
type Coordinator struct{ roll roll }

// NewCoordinator waits for so many participants.
func NewCoordinator(participants int) *Coordinator {
	return &Coordinator{newRoll(participants)}
}

// Acknowledged marks participant i. It is true if all have acknowledged now and had not before:
// that is when c may be drawn (rule H5). Late and doubled ones are dropped (rule H4).
func (c *Coordinator) Acknowledged(i int) bool { return c.roll.mark(i) }

// Waiting calls f for the participants that have not acknowledged, in order.
func (c *Coordinator) Waiting(f func(i int)) { c.roll.missing(f) }

// All reports whether all have acknowledged.
func (c *Coordinator) All() bool { return c.roll.left == 0 }

// roll is who of a fixed number has answered; all of them are needed.
type roll struct {
	answered []bool
	left     int
}

func newRoll(n int) roll { return roll{make([]bool, n), n} }

// mark is true if this was the answer that had been missing to all.
func (r *roll) mark(i int) bool {
	invariant.Check(i >= 0 && i < len(r.answered), "only a participant answers: %d of %d", i, len(r.answered))
	if r.answered[i] {
		return false
	}
	r.answered[i] = true
	r.left--
	return r.left == 0
}

func (r *roll) missing(f func(i int)) {
	for i, ok := range r.answered {
		if !ok {
			f(i)
		}
	}
}
