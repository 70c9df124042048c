package wal

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/kvd-db/kvd/kv"
)

// putAll stores entries first..last of term t in segment seg, without a log behind.
func putAll(v *View, seg uint64, first, last kv.LogIndex, t kv.Term, bytes int) {
	a := Append{Group: v.group}
	var pos []Position
	for i := first; i <= last; i++ {
		a.Entries = append(a.Entries, Entry{Index: i, Term: t, Data: []byte(strings.Repeat(fmt.Sprint(i%10), bytes))})
		pos = append(pos, Position{Segment: seg, Offset: uint32(i), Len: uint32(bytes) + entryHeaderBytes})
	}
	v.Stored(&a, append(pos, Position{Segment: seg}))
}

func newView(g kv.PartitionID, c *Cache) *View {
	v := NewView(g, c)
	a := birth(g)
	v.Stored(&a, []Position{{Segment: 1}})
	return v
}

func unread(p Position, _ *Entry) error { return fmt.Errorf("%v is not cached", p) }

func TestViewIndexes(t *testing.T) {
	v := newView(1, NewCache(1<<20))
	putAll(v, 1, 1, 5, 2, 10)
	putAll(v, 2, 4, 6, 3, 10)
	if v.FirstIndex() != 1 || v.LastIndex() != 6 {
		t.Fatalf("%d to %d", v.FirstIndex(), v.LastIndex())
	}
	for i, want := range []kv.Term{0, 2, 2, 2, 3, 3, 3} {
		if got, err := v.Term(kv.LogIndex(i)); got != want || err != nil {
			t.Fatalf("term of %d: %d, %v", i, got, err)
		}
	}
	if _, err := v.Term(7); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	if _, err := v.Entries(3, 8, math.MaxUint64, unread); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	v.Compact(4)
	if _, err := v.Term(3); !errors.Is(err, ErrCompacted) {
		t.Fatal(err)
	}
	if _, err := v.Entries(4, 6, math.MaxUint64, unread); !errors.Is(err, ErrCompacted) {
		t.Fatal(err)
	}
	if term, err := v.Term(4); term != 3 || err != nil || v.FirstIndex() != 5 {
		t.Fatal(term, err)
	}
	if es, err := v.Entries(6, 6, math.MaxUint64, unread); err != nil || len(es) != 0 {
		t.Fatal(es, err)
	}
	v.Compact(2)
	v.Compact(6)
	if v.FirstIndex() != 7 || v.LastIndex() != 6 || v.LiveBytes() != stateBytes {
		t.Fatalf("%d to %d, %d bytes", v.FirstIndex(), v.LastIndex(), v.LiveBytes())
	}
}

func TestViewEntriesLimit(t *testing.T) {
	v := newView(1, NewCache(1<<20))
	putAll(v, 1, 1, 10, 1, 75) // 100 bytes each
	for _, c := range []struct {
		max  uint64
		want int
	}{{0, 1}, {99, 1}, {100, 1}, {250, 2}, {300, 3}, {math.MaxUint64, 9}} {
		if es, err := v.Entries(2, 11, c.max, unread); err != nil || len(es) != c.want || es[0].Index != 2 {
			t.Fatalf("at most %d bytes: %d entries, %v", c.max, len(es), err)
		}
	}
}

// The oldest segment is what a restart needs: compacting alone, which the log does not
// know of, does not let go of it.
func TestOldestSegment(t *testing.T) {
	v := NewView(1, nil)
	if v.OldestSegment() != SegmentNone || v.LiveBytes() != 0 {
		t.Fatal("an empty view needs a segment")
	}
	v = newView(1, nil)
	putAll(v, 2, 1, 5, 1, 1)
	putAll(v, 3, 6, 9, 1, 1)
	write := func(want uint64, seg uint64, a Append) {
		t.Helper()
		a.Group = 1
		v.Stored(&a, []Position{{Segment: seg}})
		if v.OldestSegment() != want {
			t.Fatalf("oldest segment %d, want %d", v.OldestSegment(), want)
		}
	}
	write(2, 4, Append{HardState: &HardState{Term: 1}})
	v.Compact(7)
	write(2, 5, Append{HardState: &HardState{Term: 2}})
	write(2, 5, Append{LowWater: 3})
	write(3, 5, Append{LowWater: 7})
	v.Compact(8)
	write(3, 6, Append{HardState: &HardState{Term: 3}})
	write(6, 6, Append{LowWater: 9})
}

func TestRebase(t *testing.T) {
	v := newView(1, nil)
	putAll(v, 1, 1, 5, 2, 1)
	v.Stored(&Append{Group: 1, LowWater: 5}, []Position{{Segment: 1}})
	v.base.Term = 0 // as after a restart without the entry
	if _, err := v.Term(5); !errors.Is(err, ErrCompacted) {
		t.Fatal("a term out of nothing")
	}
	if err := v.Rebase(5, 2); err != nil {
		t.Fatal(err)
	}
	if term, err := v.Term(5); term != 2 || err != nil {
		t.Fatal(term, err)
	}
	putAll(v, 1, 6, 8, 3, 1)
	for _, c := range []struct {
		index kv.LogIndex
		term  kv.Term
		good  bool
	}{{4, 2, false}, {9, 3, false}, {5, 3, false}, {6, 2, false}, {6, 3, true}, {8, 3, true}} {
		if err := v.Rebase(c.index, c.term); (err == nil) != c.good || err != nil && kv.KindOf(err) != kv.Corruption {
			t.Fatalf("rebase to %v: %v", c, err)
		}
	}
	if v.FirstIndex() != 9 || v.LastIndex() != 8 {
		t.Fatal(v.FirstIndex(), v.LastIndex())
	}
}

// The cache holds the newest entries of all views within its budget, and is given back
// what is cut, compacted or left.
func TestCacheBudget(t *testing.T) {
	cost := int64(100 + entryOverheadBytes)
	c := NewCache(10 * cost)
	a, b := newView(1, c), newView(2, c)
	cached := func(v *View) int {
		n := 0
		for i := v.FirstIndex(); i <= v.LastIndex(); i++ {
			if _, err := v.Entries(i, i+1, 0, unread); err == nil {
				n++
			} else if n > 0 {
				t.Fatalf("a hole in the cache of group %d at %d", v.group, i)
			}
		}
		return n
	}
	want := func(na, nb int) {
		t.Helper()
		if cached(a) != na || cached(b) != nb || c.Bytes() != int64(na+nb)*cost {
			t.Fatalf("cached %d and %d, %d bytes; want %d and %d", cached(a), cached(b), c.Bytes(), na, nb)
		}
	}
	putAll(a, 1, 1, 6, 1, 100)
	putAll(b, 1, 1, 4, 1, 100)
	want(6, 4)
	putAll(b, 1, 5, 6, 1, 100)
	want(4, 6)
	putAll(a, 1, 7, 7, 1, 100)
	want(5, 5)
	putAll(b, 1, 4, 4, 2, 100) // cuts 4 to 6
	want(5, 3)
	a.Compact(5)
	want(2, 3)
	putAll(a, 1, 8, 30, 1, 100)
	want(10, 0)
	a.UseCache(nil)
	want(0, 0)
	putAll(b, 1, 5, 5, 2, 100)
	b.UseCache(NewCache(0))
	want(0, 0)
	if c.first != nil || c.last != nil {
		t.Fatal("a view that has left is still linked")
	}
	putAll(b, 1, 6, 8, 2, 100)
	want(0, 0)
}

// 10,000 idle replicas on a node: a view with a few entries costs less than 1 KB.
func TestIdleViewIsSmall(t *testing.T) {
	v := newView(1, NewCache(1<<20))
	putAll(v, 1, 1, 1000, 1, 1)
	v.Compact(995)
	v.UseCache(nil)
	if size := int(unsafe.Sizeof(*v)) + cap(v.slots)*int(unsafe.Sizeof(slot{})); size >= 1024 {
		t.Fatalf("an idle view takes %d bytes", size)
	}
}
