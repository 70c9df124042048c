package partition

import (
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// drawer waits for a timestamp.
type drawer interface {
	drawn(l *leader, ts kv.Timestamp)
}

// draw is one draw that was asked for; drawer is nil once it is answered or given up.
type draw struct {
	drawer drawer
	heard  kv.Timestamp // when it was asked for: the answer is above it (rule B1)
}

// draws are the draws of a term that are under way, by consecutive tokens.
type draws struct {
	first   uint64 // token of the first in the queue
	queue   txn.FIFO[draw]
	closing closing
	// answered says that a draw of this term was: what is heard of is above all that was drawn before
	// the term.
	answered bool
}

// draw asks the oracle for a timestamp for d, and returns the token.
func (l *leader) draw(d drawer) uint64 {
	token := l.tokens
	l.tokens++
	l.draws.queue.Push(draw{d, l.sink.Heard()})
	l.sink.Draw(l.Partition, token)
	return token
}

// take ends a draw: who asked for it, nil if it is not under way.
func (s *draws) take(token uint64) drawer {
	if token < s.first || token-s.first >= uint64(s.queue.Len()) {
		return nil
	}
	d := s.queue.At(int(token - s.first))
	asker := d.drawer
	d.drawer = nil
	for s.queue.Len() > 0 && s.queue.At(0).drawer == nil {
		s.queue.Pop()
		s.first++
	}
	return asker
}

// below reports whether a draw under way may still be answered at or below ts.
func (s *draws) below(ts kv.Timestamp) bool {
	return s.queue.Len() > 0 && s.queue.At(0).heard < ts
}

// survive is the planted bug EvalSurvives: commits that wait for a draw go on in the next term.
func (p *Partition) survive(l *leader) {
	if p.survivors == nil {
		p.survivors = make(map[uint64]*commit)
	}
	for i := range l.draws.queue.Len() {
		if c, ok := l.draws.queue.At(i).drawer.(*commit); ok {
			p.survivors[c.token] = c
		}
	}
}
