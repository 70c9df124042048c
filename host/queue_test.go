package host

import (
	"slices"
	"testing"
)

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
