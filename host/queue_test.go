package host

import (
	"runtime"
	"slices"
	"testing"
)

// TestQueueEnds: what was put before the end is taken, what comes later is dropped.
func TestQueueEnds(t *testing.T) {
	q := newQueue[int]()
	taken := make(chan []int, 1)
	go func() {
		items, _ := q.take(nil)
		taken <- items
	}()
	sleeps := func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.idle
	}
	for !sleeps() {
		runtime.Gosched()
	}
	q.put()
	if !sleeps() {
		t.Fatal("nothing wakes the taker")
	}
	q.put(1, 2)
	if items := <-taken; !slices.Equal(items, []int{1, 2}) {
		t.Errorf("took %v", items)
	}
	q.put(3)
	q.close()
	q.put(4)
	if items, ok := q.take(nil); !ok || !slices.Equal(items, []int{3}) {
		t.Errorf("what was put before the end is %v, %t", items, ok)
	}
	if items, ok := q.take(nil); ok || len(items) > 0 {
		t.Errorf("after that come %v, %t", items, ok)
	}
}

func TestQueueTakesMoreWithoutWaiting(t *testing.T) {
	q := newQueue[int]()
	q.put(1, 2)
	items, ok := q.take(nil)
	if !ok || !slices.Equal(items, []int{1, 2}) {
		t.Fatalf("took %v, %v", items, ok)
	}
	if items = q.takeMore(items); !slices.Equal(items, []int{1, 2}) {
		t.Fatalf("an empty queue gave %v", items)
	}
	q.put(3)
	if items = q.takeMore(items); !slices.Equal(items, []int{1, 2, 3}) {
		t.Fatalf("with one more it is %v", items)
	}
	q.put(4)
	if next, _ := q.take(nil); !slices.Equal(next, []int{4}) || !slices.Equal(items, []int{1, 2, 3}) {
		t.Fatalf("what was taken is %v, then %v", items, next)
	}
}
