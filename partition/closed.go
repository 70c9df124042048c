package partition

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// closing is how far the timestamps of a term are closed: whatever commits at or below newest is
// applied, in the log or queued for it.
type closing struct {
	newest  kv.Timestamp
	next    kv.Timestamp // waits; 0 = none
	pending uint64       // token: all draws before it must be at their end
	number  uint64       // of the newest closing
	staying int          // locks in memory that were acknowledged before it
	until   kv.Instant   // they are waited for
}

// stayMax is how long a closing waits for locks in memory. What is locked there may have its timestamp
// already, and if that were closed now, it would never be staged (rule P4): right, but in vain.
const stayMax = 200 * time.Millisecond

// Close closes timestamp t, which was drawn on purpose a moment ago (rule G1). Sink.Closed follows, at
// once or when all draws that were asked for by now are answered or given up: what they are for may
// have a timestamp below t, and is queued then. What is asked for from now on is above t, and prepared
// locks need no wait (rule G2); those in memory are waited for, though not for long. While one closing waits no other begins.
//
// It reports false if this node does not lead, or one waits: no Closed follows.
func (p *Partition) Close(t kv.Timestamp) bool {
	l := p.lead
	if l == nil || l.draws.closing.next != 0 {
		return false
	}
	c := &l.draws.closing
	c.number++
	c.next, c.pending, c.staying, c.until = t, l.tokens, 0, p.sink.Now().Add(stayMax)
	for x := l.transactions.first; x != nil; x = x.next {
		if x.phase == held && x.staged.stays == 0 {
			x.staged.stays = c.number
			c.staying++
		}
	}
	l.closed()
	return true
}

// moves notes that a lock in memory is staged, or goes.
func (l *leader) moves(p *prepared) {
	if c := &l.draws.closing; p.staged.stays == c.number && c.staying > 0 {
		c.staying--
	}
}

// closed tells the node when nothing is left to wait for.
func (l *leader) closed() {
	c := &l.draws.closing
	if c.next == 0 || l.draws.first < c.pending || c.staying > 0 && l.sink.Now() < c.until {
		return
	}
	t := c.next
	c.newest, c.next = max(c.newest, t), 0
	l.sink.Closed(l.Partition, t)
}
