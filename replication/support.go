package replication

import (
	"slices"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Heartbeat asks the receiving node for support (L1).
type Heartbeat struct {
	Incarnation uint64     // of the sender: grows with every start of its store
	Sent        kv.Instant // the sender's own clock, echoed, never compared
}

// HeartbeatAck is the promise: one loop of the supporter gives it, for its own replicas.
type HeartbeatAck struct {
	Incarnation uint64 // of the asker, echoed
	Epoch       uint64 // of this unbroken run of promises; never used again once it ended
	Sent        kv.Instant
	Loop        int // of the supporter that promises
	Loops       int // that the supporter runs in this life
}

// pair is what this loop has promised another node, and what the loops of that node have
// promised this one. Volatile (L5).
type pair struct {
	node kv.NodeID

	// as supporter: this loop's promise to them
	theirIncarnation uint64
	epoch            uint64     // of the running promise
	until            kv.Instant // end of the promise, on this node's clock
	active           bool       // the promise runs

	// as requester: their promises to this node
	life     uint64    // their newest incarnation that promised anything: the upper half of its epochs
	promises []promise // by their loop, as many as that life runs
}

// promise is that of one loop of another node.
type promise struct {
	epoch uint64
	until kv.Instant // its end on this node's clock, margin taken off
	had   bool       // until was in the future when it was last looked at
}

// Support keeps the promises between one loop of this node and all others. The one who asks is a node, the
// one who promises is a loop: loop 0 asks for the whole node, every loop of the other node answers for
// itself, and every loop of this one hears all answers (docs/adr/0008).
//
// Invariant: a promise given under (X, epoch) ends at `until` or when X comes back under a
// newer incarnation, and its epoch is never used again.
type Support struct {
	params      Params
	incarnation uint64
	loop, loops int
	epochs      uint64     // epochs begun in this incarnation
	pairs       []*pair    // sorted by node
	next        kv.Instant // nothing lapses before it
	onEnd       func(p *pair)
	onChange    func(p *pair, loop int) // of a loop of theirs, or allLoops
}

// allLoops is for what concerns all loops of another node.
const allLoops = -1

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
	if now < s.next {
		return
	}
	s.next = forever
	for _, p := range s.pairs {
		switch {
		case !p.active:
		case now >= p.until:
			p.active = false
			s.onEnd(p)
		default:
			s.next = min(s.next, p.until)
		}
		for loop := range p.promises {
			q := &p.promises[loop]
			switch {
			case !q.had:
			case now >= q.until: // L28
				q.had = false
				s.onChange(p, loop)
			default:
				s.next = min(s.next, q.until)
			}
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
	s.next = min(s.next, p.until)
	return HeartbeatAck{Incarnation: h.Incarnation, Epoch: p.epoch, Sent: h.Sent, Loop: s.loop, Loops: s.loops}, true
}

// ack is a promise of a loop of node n. It counts from the time at which it was asked for (L2).
func (s *Support) ack(now kv.Instant, n kv.NodeID, a HeartbeatAck) {
	p := s.add(n)
	q := s.promise(p, &a)
	if q == nil || a.Epoch < q.epoch {
		return
	}
	if a.Epoch > q.epoch {
		q.epoch, q.until = a.Epoch, 0
		if !invariant.Mutated(invariant.NoWakeOnEpoch) { // L27
			s.onChange(p, a.Loop)
		}
	}
	from := a.Sent
	if invariant.Mutated(invariant.FromReceive) {
		from = now
	}
	q.until = max(q.until, from.Add(s.params.SupportDuration-s.params.Margin()))
	q.had = now < q.until
	s.next = min(s.next, q.until)
}

// promise is where the answer of a loop is noted, nil if it is of an earlier life. A newer life begins
// with nothing: it may run another number of loops, and no promise outlives its promiser in
// anything but the refusal to vote after a restart (L6).
func (s *Support) promise(p *pair, a *HeartbeatAck) *promise {
	const lifeShift = 32 // an epoch is incarnation << 32 | counter
	if a.Incarnation != s.incarnation || a.Loop < 0 || a.Loop >= a.Loops {
		return nil
	}
	switch life := a.Epoch >> lifeShift; {
	case life > p.life:
		had := slices.ContainsFunc(p.promises, func(q promise) bool { return q.had })
		p.life, p.promises = life, make([]promise, a.Loops)
		if had { // L28
			s.onChange(p, allLoops)
		}
	case life < p.life, a.Loops != len(p.promises):
		return nil
	}
	return &p.promises[a.Loop]
}

// runs reports whether this node's promise to n under the epoch still runs.
func (s *Support) runs(n kv.NodeID, epoch uint64) bool {
	p := s.pair(n)
	return p != nil && p.active && p.epoch == epoch
}

// supported reports whether the loop of node n that owns its replica of a partition supports
// this node now, and under which epoch.
func (s *Support) supported(now kv.Instant, n kv.NodeID, g kv.PartitionID) (epoch uint64, until kv.Instant, ok bool) {
	p := s.pair(n)
	if p == nil || len(p.promises) == 0 {
		return 0, 0, false
	}
	q := p.promises[g.Loop(len(p.promises))]
	if invariant.Mutated(invariant.AckOfOtherLoop) {
		q.until = p.promises[0].until
	}
	return q.epoch, q.until, now < q.until
}
