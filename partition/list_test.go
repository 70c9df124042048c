package partition

import (
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// transactions prints what is listed, and sees that two lists are the same.
func (s *story) transactions(most int) {
	list, more := s.p.Transactions(most)
	again, _ := s.p.Transactions(most)
	if fmt.Sprint(list) != fmt.Sprint(again) {
		s.t.Errorf("two lists of one state differ:\n%v\n%v", list, again)
	}
	for i := range list {
		x := &list[i]
		s.say("%s of id %d, age %d: %s for %v, %d wait, missing %v, anchor p%d %s",
			x.Role, x.ID[15], x.Age[15], x.State, x.Since, x.Waiters, x.Missing, x.Anchor, x.AnchorKey)
		for _, k := range x.Locks {
			s.say("  %s, %d wait", lockText(k), k.Waiters)
		}
		if x.MoreLocks > 0 {
			s.say("  and %d more", x.MoreLocks)
		}
	}
	if more > 0 {
		s.say("and %d more", more)
	}
}

func lockText(k kv.LockStatus) string {
	text := string(k.Span.Start)
	if len(k.Span.End) > 0 {
		text += "-" + string(k.Span.End)
	}
	if k.Exclusive {
		return text
	}
	return text + " shared"
}

// TestListedLocksAreBounded: what does not fit is counted.
func TestListedLocksAreBounded(t *testing.T) {
	const locks = 600 // of more than TransactionsBytesMax/600 bytes each
	w := ledWorld(t, Options{})
	q := &kv.Prepare{Attempt: kv.Attempt{ID: kv.TxID{15: 1}, Term: 1, Partition: 8, Anchor: kv.Key("z")}}
	for i := range locks {
		key := append(fmt.Appendf(nil, "k%04d", i), make([]byte, kv.KeyBytesMax-10)...)
		q.Writes = append(q.Writes, kv.Write{Kind: kv.WritePut, Key: key})
	}
	if _, err := w.ask(&kv.Request{Prepare: q}); err != nil {
		t.Fatal(err)
	}
	list, more := w.p.Transactions(kv.TransactionsMax)
	if len(list) != 1 || more != 0 {
		t.Fatalf("%d are listed, %d more", len(list), more)
	}
	x, bytes := &list[0], 0
	for _, k := range x.Locks {
		bytes += len(k.Span.Start)
	}
	if len(x.Locks)+x.MoreLocks != locks || x.MoreLocks == 0 || bytes > kv.TransactionsBytesMax || bytes < kv.TransactionsBytesMax-kv.KeyBytesMax {
		t.Errorf("%d locks with %d bytes are listed, %d more", len(x.Locks), bytes, x.MoreLocks)
	}
}
