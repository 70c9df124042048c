package txn

import (
	"encoding/binary"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

func id(n uint64) (id kv.TxID) {
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

const second = kv.Timestamp(1000) << kv.TimestampCounterBits

func TestSeenStatuses(t *testing.T) {
	s := NewSeen(100)
	s.Start(id(1), second, "one")
	if e := s.Look(id(1)); e.Status != Running || e.Owner != "one" {
		t.Fatalf("a started id is %+v", e)
	}
	s.Finish(id(1), second, 7, "sums")
	if e := s.Look(id(1)); e.Status != Committed || e.Timestamp != 7 || e.Owner != "sums" {
		t.Fatalf("a finished id is %+v", e)
	}
	s.Abort(id(2), second)
	if e := s.Look(id(2)); e.Status != Aborted {
		t.Fatalf("an aborted id is %+v", e)
	}
	if e := s.Look(id(3)); e.Status != Unknown {
		t.Fatalf("an unknown id is %+v", e)
	}
}

// TestWindowDropsWhatIsFinishedAndKeepsWhatRuns: an id leaves the set by its asOf, unless it runs.
//
// Shows I6.
func TestWindowDropsWhatIsFinishedAndKeepsWhatRuns(t *testing.T) {
	s := NewSeen(100)
	s.Start(id(1), second, nil)
	s.Start(id(2), second+1, nil)
	s.Abort(id(2), second+1)
	s.Abort(id(3), 9*second)
	s.Slide(5 * second)
	w := s.Window()
	if w > 5*second || w < 4*second {
		t.Fatalf("the window is at %v", w)
	}
	if s.Look(id(1)).Status != Running || s.Look(id(2)).Status != Unknown || s.Look(id(3)).Status != Aborted {
		t.Fatalf("the ids are %+v %+v %+v", s.Look(id(1)), s.Look(id(2)), s.Look(id(3)))
	}
	s.Finish(id(1), second, 3, nil) // too old to be kept
	if s.Look(id(1)).Status != Unknown || s.Len() != 1 {
		t.Fatalf("a finished id below the window is %+v, %d ids", s.Look(id(1)), s.Len())
	}
	s.Slide(4 * second)
	if s.Window() != w {
		t.Fatal("the window moved back")
	}
}

// Whatever the order of asOf, no finished id above the window is missing and none at or below
// it is left.
func TestWindowIsExact(t *testing.T) {
	s := NewSeen(1 << 20)
	asOf := map[uint64]kv.Timestamp{}
	x := uint64(1)
	for n := uint64(1); n < 5000; n++ {
		x = x*6364136223846793005 + 1442695040888963407
		asOf[n] = kv.Timestamp(n)*second/50 + kv.Timestamp(x>>40)%(20*second)
		s.Start(id(n), asOf[n], nil)
		s.Finish(id(n), asOf[n], 1, nil)
		if n%100 == 0 {
			s.Slide(kv.Timestamp(n) * second / 50)
		}
	}
	kept := 0
	for n, a := range asOf {
		if want := a > s.Window(); (s.Look(id(n)).Status == Committed) != want {
			t.Fatalf("asOf %v, window %v: %+v", a, s.Window(), s.Look(id(n)))
		} else if want {
			kept++
		}
	}
	if s.Len() != kept {
		t.Fatalf("%d ids are kept, not %d", s.Len(), kept)
	}
}

func TestSeenIsBounded(t *testing.T) {
	s := NewSeen(10)
	for n := range uint64(10) {
		s.Abort(id(n), kv.Timestamp(n)*second+1)
	}
	if s.Full(100 * second) {
		t.Fatal("the window did not shrink")
	}
	if s.Window() == 0 || s.Len() >= 10 {
		t.Fatalf("the window is at %v with %d ids", s.Window(), s.Len())
	}
	for n := range uint64(20) {
		s.Start(id(100+n), 50*second, nil)
	}
	if !s.Full(50 * second) {
		t.Fatal("what runs was dropped")
	}
}
