package txn

// Resolver is which participants of a decided two-phase commit have confirmed that their locks
// are gone (rules H7, H8). Participants are numbered from 0.
type Resolver struct{ roll roll }

// NewResolver waits for so many participants.
func NewResolver(participants int) *Resolver { return &Resolver{newRoll(participants)} }

// Confirmed marks participant i. It is true if all have confirmed now and had not before: that
// is when the record may be removed (rule H8). Doubled ones are dropped.
func (r *Resolver) Confirmed(i int) bool { return r.roll.mark(i) }

// Waiting calls f for the participants that have not confirmed, in order: they are sent the
// Resolve again.
func (r *Resolver) Waiting(f func(i int)) { r.roll.missing(f) }

// All reports whether all have confirmed.
func (r *Resolver) All() bool { return r.roll.left == 0 }
