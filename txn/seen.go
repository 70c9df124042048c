package txn

import (
	"slices"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Status of an id in the seen set.
type Status uint8

// The statuses. An id that is not in the set is Unknown.
const (
	Unknown   Status = 0
	Running   Status = 1 // waiting, evaluated, drawing or proposed: until applied (rule C6)
	Aborted   Status = 2
	Committed Status = 3
)

// Entry is what the seen set knows of one id.
type Entry struct {
	AsOf      kv.Timestamp
	Timestamp kv.Timestamp // Committed: the commit timestamp
	// Owner is the running request while it runs, and whatever Finish was given after that.
	Owner  any
	Status Status
}

// Seen is the ids of one term whose asOf lies above a window's lower edge W (rule I6). What
// runs stays whatever its age. An unknown id at or below W is never executed.
type Seen struct {
	idsMax  int
	ids     map[kv.TxID]Entry // never iterated
	buckets []bucket          // ascending
	window  kv.Timestamp
}

// bucket holds the ids whose asOf falls into one slice of time, so that they leave together.
type bucket struct {
	number uint64
	ids    []kv.TxID
}

// bucketBits is the width of a bucket: 2^8 ms.
const bucketBits = kv.TimestampCounterBits + 8

// NewSeen makes an empty set that keeps about idsMax ids at most: beyond it the window
// shrinks, which costs refusals and never a wrong answer.
func NewSeen(idsMax int) *Seen {
	return &Seen{idsMax: idsMax, ids: make(map[kv.TxID]Entry)}
}

// Len is the number of ids in the set.
func (s *Seen) Len() int { return len(s.ids) }

// Window is W.
func (s *Seen) Window() kv.Timestamp { return s.window }

// Look is what is known of an id.
func (s *Seen) Look(id kv.TxID) Entry {
	if invariant.Mutated(invariant.NoSeen) {
		return Entry{}
	}
	return s.ids[id]
}

// Start marks an unknown id as running.
func (s *Seen) Start(id kv.TxID, asOf kv.Timestamp, owner any) {
	s.put(id, Entry{Status: Running, AsOf: asOf, Owner: owner})
}

// Abort marks an id as finally aborted, whether it was known or not (rules C3, E5).
func (s *Seen) Abort(id kv.TxID, asOf kv.Timestamp) {
	s.put(id, Entry{Status: Aborted, AsOf: asOf})
}

// Finish marks an id as committed at c; owner is kept with it.
func (s *Seen) Finish(id kv.TxID, asOf, c kv.Timestamp, owner any) {
	s.put(id, Entry{Status: Committed, AsOf: asOf, Timestamp: c, Owner: owner})
}

func (s *Seen) put(id kv.TxID, e Entry) {
	old, known := s.ids[id]
	if known {
		e.AsOf = old.AsOf // fixed by the first copy, and where the id is found in the buckets
	}
	if e.AsOf <= s.window && e.Status != Running {
		delete(s.ids, id) // its bucket is gone, or will find nothing
		return
	}
	s.ids[id] = e
	if !known {
		b := s.bucketOf(uint64(e.AsOf) >> bucketBits)
		b.ids = append(b.ids, id)
	}
}

func (s *Seen) bucketOf(number uint64) *bucket {
	i := len(s.buckets)
	for i > 0 && s.buckets[i-1].number > number { // nearly always the last one
		i--
	}
	if i == 0 || s.buckets[i-1].number != number {
		s.buckets = slices.Insert(s.buckets, i, bucket{number: number})
		i++
	}
	return &s.buckets[i-1]
}

// Slide moves W forward, to the last edge of a bucket that is not above w.
func (s *Seen) Slide(w kv.Timestamp) {
	number := (uint64(w) + 1) >> bucketBits // the first that stays
	for len(s.buckets) > 0 && s.buckets[0].number < number {
		s.dropBucket()
	}
	if number > 0 {
		s.window = max(s.window, lastOf(number-1))
	}
}

// lastOf is the greatest asOf that falls into a bucket.
func lastOf(number uint64) kv.Timestamp { return kv.Timestamp((number+1)<<bucketBits - 1) }

// dropBucket drops the first bucket; the window moves over it.
func (s *Seen) dropBucket() {
	b := s.buckets[0]
	for _, id := range b.ids {
		if s.ids[id].Status != Running {
			delete(s.ids, id)
		}
	}
	s.window = max(s.window, lastOf(b.number))
	s.buckets = slices.Delete(s.buckets, 0, 1)
}

// Full reports whether the set can take no more ids. It first shrinks the window, but never
// beyond newest: what lies above it was first sent just now.
func (s *Seen) Full(newest kv.Timestamp) bool {
	for len(s.ids) >= s.idsMax && len(s.buckets) > 0 && lastOf(s.buckets[0].number) < newest {
		s.dropBucket()
	}
	return len(s.ids) >= s.idsMax
}
