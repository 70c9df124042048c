package replication

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Heartbeat asks the receiving node for support (L1).
type Heartbeat struct {
	Incarnation uint64     // of the sender: grows with every start of its store
	Sent        kv.Instant // the sender's own clock, echoed, never compared
}

// HeartbeatAck is the promise.
type HeartbeatAck struct {
	Incarnation uint64 // of the asker, echoed
	Epoch       uint64 // of this unbroken run of promises; never used again once it ended
	Sent        kv.Instant
}

// pair is what this node and one other have promised each other. Volatile (L5).
type pair struct {
	node kv.NodeID

	// as supporter: this node's promise to them
	theirIncarnation uint64
	epoch            uint64     // of the running promise
	until            kv.Instant // end of the promise, on this node's clock
	active           bool       // the promise runs

	// as requester: their promise to this node
	supEpoch uint64
	supUntil kv.Instant // end of their promise on this node's clock, margin taken off
	had      bool       // supUntil was in the future when it was last looked at
}

// Support keeps the promises between this node and all others.
//
// Invariant: a promise given under (X, epoch) ends at `until` or when X comes back under a
// newer incarnation, and its epoch is never used again.
type Support struct {
	params      Params
	incarnation uint64
	epochs      uint64  // epochs begun in this incarnation
	pairs       []*pair // sorted by node
	onEnd       func(p *pair)
	onChange    func(node kv.NodeID)
}

func (s *Support) pair(n kv.NodeID) *pair {
	for _, p := range s.pairs {
		if p.node == n {
			return p
		}
	}
	return nil
}

func (s *Support) add(n kv.NodeID) *pair {
	if p := s.pair(n); p != nil {
		return p
	}
	p := &pair{node: n}
	at := len(s.pairs)
	for at > 0 && s.pairs[at-1].node > n {
		at--
	}
	s.pairs = append(s.pairs, nil)
	copy(s.pairs[at+1:], s.pairs[at:])
	s.pairs[at] = p
	return p
}

// lapse ends every promise whose time is over. It runs at the start of every input, before
// anything else is looked at, so a pause needs no rule of its own (L4).
func (s *Support) lapse(now kv.Instant) {
	for _, p := range s.pairs {
		if p.active && now >= p.until {
			p.active = false
			s.onEnd(p)
		}
		if has := now < p.supUntil; has != p.had { // L28
			p.had = has
			s.onChange(p.node)
		}
	}
}

// heartbeat is a request for support from node n; ok is false if it is to be dropped (L2).
func (s *Support) heartbeat(now kv.Instant, n kv.NodeID, h Heartbeat) (HeartbeatAck, bool) {
	p := s.add(n)
	if h.Incarnation < p.theirIncarnation {
		return HeartbeatAck{}, false
	}
	if h.Incarnation > p.theirIncarnation { // they restarted: their leases are gone, so is this promise
		if p.active && !invariant.Mutated(invariant.NoIncRelease) {
			p.active = false
			s.onEnd(p)
		}
		p.theirIncarnation = h.Incarnation
	}
	if !p.active {
		s.epochs++
		p.active, p.epoch = true, s.incarnation<<32|s.epochs
	}
	p.until = now.Add(s.params.SupportDuration)
	return HeartbeatAck{Incarnation: h.Incarnation, Epoch: p.epoch, Sent: h.Sent}, true
}

// ack is a promise of node n. It counts from the time at which it was asked for (L2).
func (s *Support) ack(now kv.Instant, n kv.NodeID, a HeartbeatAck) {
	p := s.add(n)
	if a.Incarnation != s.incarnation || a.Epoch < p.supEpoch {
		return
	}
	if a.Epoch > p.supEpoch {
		p.supEpoch, p.supUntil = a.Epoch, 0
		if !invariant.Mutated(invariant.NoWakeOnEpoch) { // L27
			s.onChange(n)
		}
	}
	from := a.Sent
	if invariant.Mutated(invariant.FromReceive) {
		from = now
	}
	p.supUntil = max(p.supUntil, from.Add(s.params.SupportDuration-s.params.Margin()))
	p.had = now < p.supUntil
}

// runs reports whether this node's promise to n under the epoch still runs.
func (s *Support) runs(n kv.NodeID, epoch uint64) bool {
	p := s.pair(n)
	return p != nil && p.active && p.epoch == epoch
}

// supported reports whether node n supports this one now, and under which epoch.
func (s *Support) supported(now kv.Instant, n kv.NodeID) (epoch uint64, until kv.Instant, ok bool) {
	p := s.pair(n)
	if p == nil {
		return 0, 0, false
	}
	return p.supEpoch, p.supUntil, now < p.supUntil
}
