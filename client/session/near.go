package session

import "github.com/kvd-db/kvd/kv"

// NearTriesMax is how many replicas a read that any may answer is tried at, one after the other and without a wait,
// before it goes on like all others: to the leader.
const NearTriesMax = 3

// near is which replicas a read that any may answer was tried at.
type near struct {
	tried [NearTriesMax]kv.NodeID
	n     int
	led   bool // the last one was believed to lead
	over  bool // for good: what follows goes where all reads go
}

// Bound is up to where a replica must have everything to answer; 0: only the leader can.
func (o *Op) Bound() kv.Timestamp {
	switch q := &o.Request; {
	case q.Read != nil:
		return max(q.Read.Timestamp, q.Read.NotBefore)
	case q.Scan != nil:
		return max(q.Scan.Timestamp, q.Scan.NotBefore)
	}
	return 0
}

// Near reports whether the copy under way went to a replica for being near: if that does not answer, there is
// another.
func (c *Call) Near() bool { return c.tries.near.n > 0 && !c.tries.near.over }

// Brief reports whether the copy under way need not be waited for as long as others: it went to a near replica
// that does not lead.
func (c *Call) Brief() bool { return c.Near() && !c.tries.near.led }

// NearTries is how many copies went to near replicas.
func (c *Call) NearTries() int { return c.tries.near.n }

// nearest is the next replica to try; 0: it is the leader's turn.
func (c *Call) nearest(p *Place) kv.NodeID {
	t := &c.tries.near
	if !c.op.Anywhere || t.over {
		return 0
	}
	if c.s.Nearest != nil && t.n < NearTriesMax {
		if n := c.s.Nearest(p, c.op.Bound(), t.tried[:t.n]); n != 0 {
			t.tried[t.n] = n
			t.n++
			t.led = n == p.Leader
			return n
		}
	}
	t.over = true
	return 0
}

// refusedNear takes in why a near replica did not answer. It is false if another would say the same.
func (c *Call) refusedNear(e *kv.Error) bool {
	switch e.Kind {
	case kv.NotLeader:
		if b := c.op.Bound(); b != 0 && e.Closed >= b {
			c.tries.near.over = true // it has all that is needed, and met a lock: only the leader knows (rule G5)
		}
		c.pointed(e)
		return true
	case kv.Unavailable, kv.DiskFull, kv.Ambiguous, kv.Timeout, kv.Canceled, kv.Closed:
		c.s.Map.ForgetLeader(c.req.Partition, c.node)
		return true
	}
	return false
}

func (c *Call) nextNear(why *kv.Error) Action {
	c.tries.last = why
	return c.route()
}
