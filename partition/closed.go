package partition

import (
	"github.com/kvd-db/kvd/kv"
)

// closing is how far the timestamps of a term are closed: whatever commits at or below newest is
// applied, in the log or queued for it.
type closing struct {
	newest  kv.Timestamp
	next    kv.Timestamp // waits; 0 = none
	pending uint64       // token: all draws before it must be at their end
}

// Close closes timestamp t, which was drawn on purpose a moment ago (rule G1). Sink.Closed follows, at
// once or when all draws that were asked for by now are answered or given up: what they are for may
// have a timestamp below t, and is queued then. What is asked for from now on is above t, and prepared
// locks need no wait (rule G2). While one closing waits no other begins.
//
// It reports false if this node does not lead, or one waits: no Closed follows.
func (p *Partition) Close(t kv.Timestamp) bool {
	l := p.lead
	if l == nil || l.draws.closing.next != 0 {
		return false
	}
	c := &l.draws.closing
	c.next, c.pending = t, l.tokens
	l.closed()
	return true
}

// closed tells the node when nothing is left to wait for.
func (l *leader) closed() {
	c := &l.draws.closing
	if c.next == 0 || l.draws.first < c.pending {
		return
	}
	t := c.next
	c.newest, c.next = max(c.newest, t), 0
	l.sink.Closed(l.Partition, t)
}
