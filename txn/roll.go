package txn

import "github.com/kvd-db/kvd/invariant"

// Roll is who of a fixed number has answered, where all must: the participants of a two-phase commit
// that have acknowledged their Prepare (rules H4, H5), or have confirmed its end (rules H7, H8). They
// are numbered from 0.
type Roll struct {
	answered []bool
	left     int
}

// NewRoll waits for so many.
func NewRoll(n int) *Roll { return &Roll{make([]bool, n), n} }

// Answered marks one. It is true if this was the answer that was missing to all; late and doubled
// ones are dropped.
func (r *Roll) Answered(i int) bool {
	invariant.Check(i >= 0 && i < len(r.answered), "only those asked answer: %d of %d", i, len(r.answered))
	if r.answered[i] {
		return false
	}
	r.answered[i] = true
	r.left--
	return r.left == 0
}

// Has reports whether one has answered.
func (r *Roll) Has(i int) bool { return r.answered[i] }

// All reports whether all have.
func (r *Roll) All() bool { return r.left == 0 }
