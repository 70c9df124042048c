package host

import (
	"context"
	"sync"
	"time"
)

// limiter bounds a rate: whoever sends waits until what was sent before has had its time.
type limiter struct {
	perSecond int64

	mu   sync.Mutex
	next time.Time // when the next bytes may go
}

// wait returns when n more bytes may go, or with the context's error.
func (l *limiter) wait(ctx context.Context, n int) error {
	const burst = 100 * time.Millisecond // unused time that may be caught up
	l.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-burst); l.next.Before(earliest) {
		l.next = earliest
	}
	until := l.next
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.perSecond) * float64(time.Second)))
	l.mu.Unlock()
	if d := until.Sub(now); d > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	return ctx.Err()
}
