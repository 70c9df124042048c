package txn

// FIFO is a queue that reuses its memory. The zero value is empty.
type FIFO[T any] struct {
	items []T
	head  int
}

// Len is the number of items.
func (q *FIFO[T]) Len() int { return len(q.items) - q.head }

// Push adds an item at the end.
func (q *FIFO[T]) Push(x T) {
	if q.head > 0 && len(q.items) == cap(q.items) && q.head >= len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, x)
}

// At is the i-th item from the front, to be read or changed before the next Push or Pop.
func (q *FIFO[T]) At(i int) *T { return &q.items[q.head+i] }

// Pop takes the item at the front; false if there is none.
func (q *FIFO[T]) Pop() (x T, ok bool) {
	if q.head == len(q.items) {
		return x, false
	}
	var zero T
	x, q.items[q.head] = q.items[q.head], zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return x, true
}
