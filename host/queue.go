package host

import "sync"

// queue hands things from many goroutines to one that takes all there are at once.
type queue[T any] struct {
	mu     sync.Mutex
	filled sync.Cond
	items  []T
	closed bool
	idle   bool // the taker sleeps: the next put wakes it
}

func newQueue[T any]() *queue[T] {
	q := &queue[T]{}
	q.filled.L = &q.mu
	return q
}

// put adds items; after close they are dropped.
func (q *queue[T]) put(items ...T) {
	q.mu.Lock()
	if !q.closed {
		q.items = append(q.items, items...)
	}
	wake := q.idle && len(q.items) > 0
	q.idle = q.idle && !wake
	q.mu.Unlock()
	if wake {
		q.filled.Signal()
	}
}

// take waits until there is something and returns all of it; buf, which must be empty,
// becomes the next buffer. ok is false once the queue is closed and empty.
func (q *queue[T]) take(buf []T) (items []T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 {
		if q.closed {
			return buf, false
		}
		q.idle = true
		q.filled.Wait()
	}
	q.idle = false
	items, q.items = q.items, buf[:0]
	return items, true
}

// takeMore adds what has come since to items, without waiting.
func (q *queue[T]) takeMore(items []T) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items = append(items, q.items...)
	clear(q.items)
	q.items = q.items[:0]
	return items
}

// len is how many items wait.
func (q *queue[T]) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// close lets the taker finish what is queued and then end.
func (q *queue[T]) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.filled.Broadcast()
}
