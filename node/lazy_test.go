package node

import (
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// TestLazyMessagesGoAlong: they go with the next message to their node, in order, or at a tick, or when there are many.
func TestLazyMessagesGoAlong(t *testing.T) {
	a, _ := newAsker(t, 3)
	n := a.node
	me := n.id.Node
	other, third := me%3+1, (me+1)%3+1
	n.out.Sends, n.called.lazy = nil, nil
	done := func(number uint64) Message { return Message{CallDone: &CallDone{Number: number}} }
	sent := func(want ...uint64) {
		t.Helper()
		var got []uint64
		for _, s := range n.out.Sends {
			if s.Message.CallDone != nil {
				got = append(got, s.Message.CallDone.Number)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("sent %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("sent %v, want %v", got, want)
			}
		}
		n.out.Sends = nil
	}
	n.sendLazily(other, done(1))
	n.sendLazily(third, done(2))
	n.sendLazily(other, done(3))
	n.called.lazy.board(n)
	sent()
	n.send(other, done(4))
	n.called.lazy.board(n)
	sent(4, 1, 3)
	n.called.lazy.tick(n)
	sent(2)
	n.sendLazily(me, done(5)) // no message at all
	sent(5)
	for i := range lazyMax {
		n.sendLazily(third, done(uint64(i)))
	}
	if len(n.out.Sends) != lazyMax || len(n.called.lazy) != 0 {
		t.Errorf("%d sent, %d wait", len(n.out.Sends), len(n.called.lazy))
	}
	// The answer to a Resolve is such a message, its refusal is not.
	n.out.Sends = nil
	n.callAnswer(caller{node: other, number: 6, lazy: true}, &kv.Response{}, nil)
	sent()
	n.callAnswer(caller{node: other, number: 7, lazy: true}, nil, kv.Errorf(kv.NotLeader, "no"))
	sent(7)
}

// TestResolvesRide: while others wait for calls a Resolve goes with the next message; alone it goes at once.
func TestResolvesRide(t *testing.T) {
	a, _ := newAsker(t, 3)
	n := a.node
	from := n.replicas[a.from]
	other := n.id.Node%3 + 1
	resolve := func() int {
		n.out.Sends = nil
		n.begin(&call{rep: from, term: from.term, at: n.now, req: &kv.Request{Partition: 99, Resolve: &kv.Resolve{ID: txid(7), Commit: 9}}})
		return len(n.out.Sends)
	}
	n.calls.leaders[99] = other
	for range ridesFrom {
		if resolve() != 1 || len(n.calls.awaited) != 0 {
			t.Fatalf("nobody waits for the calls under way (%v), and a Resolve does not go at once", n.calls.awaited)
		}
	}
	for i := range ridesFrom {
		q := outcomeOf(uint64(i))
		q.Partition = 99
		n.begin(&call{rep: from, term: from.term, at: n.now, req: q})
	}
	if resolve() != 0 || len(n.called.lazy) != 1 {
		t.Errorf("%v calls are waited for, yet a Resolve goes by itself", n.calls.awaited)
	}
	n.out.Sends = nil
	abort := &kv.Request{Partition: 99, Resolve: &kv.Resolve{ID: txid(8)}}
	if n.begin(&call{rep: from, term: from.term, at: n.now, req: abort}); len(n.out.Sends) != 1 {
		t.Error("what is aborted is not told at once")
	}
	n.calls.leaders[99] = other%3 + 1
	if resolve() != 1 {
		t.Errorf("%v calls are waited for, none at node %d, and its Resolve does not go at once", n.calls.awaited, other%3+1)
	}
	n.out.Sends = nil
	n.send(other, Message{CallDone: &CallDone{Number: 1}})
	if n.called.lazy.board(n); len(n.out.Sends) != 2 || n.out.Sends[1].Message.Call.Request.Resolve == nil {
		t.Errorf("it does not go with the next message: %+v", n.out.Sends)
	}
	n.calls.lost(n, other%3+1)
	if n.calls.lost(n, other); len(n.calls.awaited) != 0 || len(n.calls.byNumber) != 0 {
		t.Errorf("%v calls are waited for, %d under way, after all were given up", n.calls.awaited, len(n.calls.byNumber))
	}
}
