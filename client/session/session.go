package session

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Rand is the source of ids and jitter: math/rand/v2's Sources are such.
type Rand interface{ Uint64() uint64 }

// Waits between retries; each is drawn from 0 up to a bound that doubles, with full jitter.
const (
	BackoffMin = 5 * time.Millisecond
	BackoffMax = 500 * time.Millisecond
)

// Session is what one client believes about its cluster.
type Session struct {
	Map   Map
	heard kv.Timestamp
	rand  Rand
	// Nearest, if set, is the node that a read goes to next which any replica may answer that has all up to a
	// bound: the nearest of a place's that was not tried; 0: none is left but the leader. It must not keep tried.
	Nearest func(p *Place, bound kv.Timestamp, tried []kv.NodeID) kv.NodeID
}

// New is a session that knows nothing yet.
func New(rand Rand) *Session { return &Session{rand: rand, Map: newMap()} }

// Hear takes note of a timestamp that came from a node.
func (s *Session) Hear(t kv.Timestamp) { s.heard = max(s.heard, t) }

// Learn takes in what a node told of a keyspace ("" = all). The timestamp that came with it makes a client's first
// commit a new one (rule I6): without any it would look older than what nodes remember.
func (s *Session) Learn(keyspace string, t *kv.Topology) {
	s.Map.Learn(keyspace, t)
	s.Hear(t.Heard)
}

// Heard is the newest timestamp heard of.
func (s *Session) Heard() kv.Timestamp { return s.heard }

// Jitter is a wait after n failures in a row, from 0: uniform below a doubling bound.
func (s *Session) Jitter(n int) time.Duration {
	bound := BackoffMax
	if n < 7 { // 5 ms << 7 is above the bound
		bound = min(bound, BackoffMin<<n)
	}
	return time.Duration(s.rand.Uint64() % uint64(bound+1))
}

// NewID draws the name of an attempt.
func (s *Session) NewID() (id kv.TxID) {
	for id.IsZero() { // zero means absent
		a, b := s.rand.Uint64(), s.rand.Uint64()
		for i := range 8 {
			id[i], id[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
		}
	}
	return id
}
