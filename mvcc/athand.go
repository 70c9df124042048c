package mvcc

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// atHand has the newest versions of keys that were read lately, above the engine. A search in a large memtable
// waits for memory at each of its steps, and costs many times what a look here does. Reads bring
// versions here; writes keep them up to date, and bring none: most of what a replica applies it is not asked for.
//
// Batches are numbered in the order in which they are committed. A view (a Reader, or Newest) notes the newest
// batch that it surely shows; an entry, the batch from which on it is the newest version of its key.
//
// Invariants: what a shelf says of batch n is said before n can be seen in the engine, and n is called
// visible after it can. So an entry that is no newer than the view is the newest version in the view's state: had a
// later batch written the key, the entry would be its. And a view brings only what no later batch can have written.
type atHand struct {
	shelves []shelf    // a power of two, or none: nothing is kept
	commits sync.Mutex // one batch at a time is on its way
	visible atomic.Uint64

	hits, misses atomic.Int64 // keys that readers asked for, and were told from here, or had to search
}

// shelfBytes is what most shelves have room for: more of them, and readers meet the writer less.
const (
	shelfBytes = 256 << 10
	shelvesMax = 256
	// shelvedMax is the longest entry, in bytes: a longer one costs more to copy than to find, and is copied in the loop.
	shelvedMax = 4 << 10
	// entriesMin is how many of the longest entries a shelf holds at least.
	entriesMin = 8
)

func newAtHand(maxBytes int64) *atHand {
	h := &atHand{}
	if maxBytes <= 0 {
		return h
	}
	n := 1
	for n < shelvesMax && int64(2*n)*shelfBytes <= maxBytes {
		n *= 2
	}
	h.shelves = make([]shelf, n)
	for i := range h.shelves {
		h.shelves[i].max = int(maxBytes / int64(n))
	}
	return h
}

// hashKey is FNV-1a (Fowler, Noll, Vo): the same in every process, so that a simulated one repeats itself.
func hashKey(k kv.Key) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, b := range k {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return h
}

func (h *atHand) shelf(hash uint64) *shelf {
	return &h.shelves[(hash^hash>>32)&uint64(len(h.shelves)-1)]
}

// known is what is known here of a key's newest version in a view.
type known uint8

const (
	knownNot   known = iota
	knownNewer       // it is above the timestamp that is asked for
	knownIt
)

// get is the newest version of a key in the view that shows batch seen, if that is at or below ts.
func (h *atHand) get(k kv.Key, ts kv.Timestamp, seen uint64) (Version, known) {
	if len(h.shelves) == 0 {
		return Version{}, knownNot
	}
	hash := hashKey(k)
	s := h.shelf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(hash, k)
	switch {
	case e == nil || e.batch() > seen && !invariant.Mutated(invariant.AtHandEarly):
		return Version{}, knownNot
	case e.timestamp() > ts:
		return Version{}, knownNewer
	}
	v, err := splitStored(e.stored())
	if err != nil {
		return Version{}, knownNot // the engine says what is the matter
	}
	v.Timestamp, v.Value = e.timestamp(), clone(v.Value, v.Tombstone)
	return v, knownIt
}

// bring keeps the newest version of a key in the view that shows batch seen.
func (h *atHand) bring(k kv.Key, ts kv.Timestamp, stored []byte, seen uint64) {
	if len(h.shelves) == 0 || isTombstone(stored) {
		return // a tombstone may be collected, though it is the newest
	}
	hash := hashKey(k)
	s := h.shelf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.written > seen && !invariant.Mutated(invariant.AtHandLate) {
		return
	}
	s.put(hash, k, seen, ts, stored)
}

// commit runs do, which makes a batch visible.
func (h *atHand) commit(b *pebble.Batch, do func() error) error {
	if len(h.shelves) == 0 {
		return do()
	}
	h.commits.Lock()
	defer h.commits.Unlock()
	n := h.visible.Load() + 1
	if !h.write(n, b) {
		h.clear(n)
	}
	err := do()
	if err != nil {
		h.clear(n) // nobody knows what is in the engine now
	}
	h.visible.Store(n)
	return err
}

// replace runs do, which changes the engine otherwise than by a batch.
func (h *atHand) replace(do func() error) error {
	h.commits.Lock()
	defer h.commits.Unlock()
	n := h.visible.Load() + 1
	if !invariant.Mutated(invariant.AtHandIngest) {
		h.clear(n)
	}
	err := do()
	h.visible.Store(n)
	return err
}

// write tells the shelves what batch n does to versions; false: it is more than single ones.
func (h *atHand) write(n uint64, b *pebble.Batch) bool {
	for r := b.Reader(); ; {
		kind, ek, stored, ok, err := r.Next()
		switch {
		case err != nil:
			return false
		case !ok:
			return true
		case kind == pebble.InternalKeyKindRangeDelete:
			return invariant.Mutated(invariant.AtHandKept)
		case ek[0] != kindData:
			continue
		}
		k, ts, err := splitDataKey(ek)
		if err != nil {
			return false
		}
		hash := hashKey(k)
		h.shelf(hash).write(n, hash, k, ts, stored, kind == pebble.InternalKeyKindSet)
	}
}

// clear takes everything away, before batch n can be seen.
func (h *atHand) clear(n uint64) {
	for i := range h.shelves {
		h.shelves[i].clear(n)
	}
}

// shelf has the entries of some keys in a ring: the oldest ones go first.
type shelf struct {
	mu      sync.Mutex
	written uint64            // the newest batch that wrote one of the keys, in the engine or on its way there
	places  map[uint64]uint32 // by hash: where the entry begins
	ring    []byte
	max     int // bytes
	next    int // where the next entry goes
	oldest  int // of the last round: entries from here to end are there, one after the other
	end     int
}

// shelved is an entry: its length, those of key and stored value (4 each), hash, batch, timestamp (8 each), the
// key, and the value as stored. It may have more room than it needs.
type shelved []byte

const shelvedHeader = 3*4 + 3*8

func (e shelved) hash() uint64            { return binary.LittleEndian.Uint64(e[12:]) }
func (e shelved) batch() uint64           { return binary.LittleEndian.Uint64(e[20:]) }
func (e shelved) timestamp() kv.Timestamp { return kv.Timestamp(binary.LittleEndian.Uint64(e[28:])) }
func (e shelved) keyLen() int             { return int(binary.LittleEndian.Uint32(e[4:])) }
func (e shelved) key() []byte             { return e[shelvedHeader:][:e.keyLen()] }
func (e shelved) stored() []byte {
	return e[shelvedHeader+e.keyLen():][:binary.LittleEndian.Uint32(e[8:])]
}

func (e shelved) fill(hash uint64, k kv.Key, batch uint64, ts kv.Timestamp, stored []byte) {
	binary.LittleEndian.PutUint32(e, uint32(len(e)))
	binary.LittleEndian.PutUint32(e[4:], uint32(len(k)))
	binary.LittleEndian.PutUint32(e[8:], uint32(len(stored)))
	binary.LittleEndian.PutUint64(e[12:], hash)
	binary.LittleEndian.PutUint64(e[20:], batch)
	binary.LittleEndian.PutUint64(e[28:], uint64(ts))
	copy(e[shelvedHeader+copy(e[shelvedHeader:], k):], stored)
}

func (s *shelf) entry(at int) shelved {
	return s.ring[at:][:binary.LittleEndian.Uint32(s.ring[at:])]
}

// find is the entry of a key; nil: there is none.
func (s *shelf) find(hash uint64, k kv.Key) shelved {
	at, ok := s.places[hash]
	if !ok {
		return nil
	}
	if e := s.entry(int(at)); bytes.Equal(e.key(), k) {
		return e
	}
	return nil
}

// write notes that batch n writes (set) or removes a version of a key.
func (s *shelf) write(n, hash uint64, k kv.Key, ts kv.Timestamp, stored []byte, set bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = n
	e := s.find(hash, k)
	switch {
	case e == nil, invariant.Mutated(invariant.AtHandStale):
	case ts < e.timestamp() && !invariant.Mutated(invariant.AtHandUnder): // resolved late
	case set && !isTombstone(stored):
		s.put(hash, k, n, ts, stored)
	default:
		delete(s.places, hash)
	}
}

// put keeps an entry in the place of what has its hash.
func (s *shelf) put(hash uint64, k kv.Key, batch uint64, ts kv.Timestamp, stored []byte) {
	need := shelvedHeader + len(k) + len(stored)
	if at, ok := s.places[hash]; ok {
		if e := s.entry(int(at)); len(e) >= need {
			e.fill(hash, k, batch, ts, stored)
			return
		}
		delete(s.places, hash)
	}
	if need > min(shelvedMax, s.max/entriesMin) {
		return
	}
	at := s.room(need)
	e := shelved(s.ring[at : at+need])
	e.fill(hash, k, batch, ts, stored)
	if s.places == nil {
		s.places = map[uint64]uint32{}
	}
	s.places[hash] = uint32(at)
}

// room makes room for an entry, and returns where.
func (s *shelf) room(need int) int {
	if s.next+need > s.max {
		s.evict(s.end)
		s.end, s.next, s.oldest = s.next, 0, 0
	}
	at := s.next
	s.next += need
	s.evict(min(s.next, s.end))
	if s.next > len(s.ring) {
		s.ring = slices.Grow(s.ring, s.next-len(s.ring))[:s.next]
	}
	return at
}

// evict drops entries of the last round, up to the one that reaches to.
func (s *shelf) evict(to int) {
	for s.oldest < to {
		e := s.entry(s.oldest)
		if at, ok := s.places[e.hash()]; ok && int(at) == s.oldest {
			delete(s.places, e.hash())
		}
		s.oldest += len(e)
	}
}

func (s *shelf) clear(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = n
	clear(s.places)
	s.next, s.oldest, s.end = 0, 0, 0
}

func isTombstone(stored []byte) bool { return len(stored) > 0 && stored[0]&flagTombstone != 0 }

// Newest is a view of one state of the store, of which it has newest versions of some keys only.
type Newest struct {
	e    *Engine
	seen uint64
}

// Newest takes the newest state, as far as it is at hand.
func (e *Engine) Newest() Newest { return Newest{e, e.hand.visible.Load()} }

// Get is Reader.Get; false says nothing but that the engine must be asked.
func (n Newest) Get(k kv.Key, ts kv.Timestamp) (Version, bool) {
	v, known := n.e.hand.get(k, ts, n.seen)
	return v, known == knownIt
}

// Told notes that so many keys were read here.
func (n Newest) Told(keys int) { n.e.hand.hits.Add(int64(keys)) }

// RetainedFrom is Reader.RetainedFrom.
func (n Newest) RetainedFrom(p kv.PartitionID) (kv.Timestamp, bool) {
	x, ok := n.e.retained.get(p)
	return x.GC, ok
}
