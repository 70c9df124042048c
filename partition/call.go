package partition

import (
	"time"

	"github.com/kvd-db/kvd/kv"
)

// caller is who asked another partition something.
type caller interface {
	// answered brings the answer to the call that was made with i.
	answered(l *leader, i int, resp *kv.Response, err *kv.Error)
}

// call is a question to another partition that is under way.
type call struct {
	by caller
	i  int
}

// asked is a call whose answer is waited for, or has come.
type asked struct {
	token uint64
	at    kv.Instant
}

// callMax is how long an answer is waited for. The world gives a call up much sooner, but it may have so many that it loses some.
const callMax = 5 * time.Second

// call asks the leader of another partition; by may be nil if the answer does not matter. It may never
// come, or after the term, when it concerns nobody (rule A5).
func (l *leader) call(req *kv.Request, by caller, i int) {
	token := l.calling
	l.calling++
	if by != nil {
		l.transactions.calls[token] = call{by, i}
		l.transactions.asked.Push(asked{token, l.sink.Now()})
	}
	l.sink.Call(l.Partition, token, req.Partition, req)
}

// Answered brings the answer to a call.
func (p *Partition) Answered(token uint64, resp *kv.Response, err *kv.Error) {
	l := p.lead
	if l == nil {
		return
	}
	c, ok := l.transactions.calls[token]
	if !ok {
		return
	}
	delete(l.transactions.calls, token)
	c.by.answered(l, c.i, resp, err)
	l.run()
}

// callsTick gives up the calls whose answers do not come: who has asked asks again (rules F1, H7).
func (l *leader) callsTick() {
	q, late := &l.transactions.asked, l.sink.Now().Add(-callMax)
	for q.Len() > 0 {
		x := *q.At(0)
		c, waits := l.transactions.calls[x.token]
		if waits && x.at > late {
			return
		}
		q.Pop()
		if waits {
			delete(l.transactions.calls, x.token)
			c.by.answered(l, c.i, nil, kv.Errorf(kv.Timeout, "no answer came to a call of partition %d within %v: try again", l.id, callMax))
		}
	}
}

// retrier does something again that did not work.
type retrier interface{ retry(l *leader, i int) }

type retry struct {
	at  kv.Instant
	who retrier
	i   int
}

// retryAfter is how long a call that did not get through waits to be made again.
const retryAfter = 100 * time.Millisecond

// later lets who try again after a while.
func (l *leader) later(who retrier, i int) {
	l.transactions.soon.Push(retry{at: l.sink.Now().Add(retryAfter), who: who, i: i})
}

// retryTick does what is due.
func (l *leader) retryTick() {
	q, now := &l.transactions.soon, l.sink.Now()
	for n := q.Len(); n > 0 && q.At(0).at <= now; n-- {
		x, _ := q.Pop()
		x.who.retry(l, x.i)
	}
}
