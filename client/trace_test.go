package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// participantNode is who answers for participants, as the world says.
const participantNode = 3

// timingOf is what the world says of the time that a request took; nil unless it is asked.
func timingOf(q *kv.Request) *kv.Timing {
	if !q.Trace {
		return nil
	}
	t := &kv.Timing{Spent: kv.Spent{Storage: 7 * time.Microsecond}}
	if q.Commit != nil {
		t.Spent = kv.Spent{LockWait: time.Microsecond, Draw: 2 * time.Microsecond, Consensus: 3 * time.Microsecond}
		for i := range q.Commit.Parts {
			t.Parts = append(t.Parts, kv.PartTiming{
				Partition: q.Commit.Parts[i].Partition, Node: participantNode, Elapsed: 6 * time.Microsecond, Staged: 9 * time.Microsecond, Spent: kv.Spent{LockWait: 4 * time.Microsecond, Consensus: 5 * time.Microsecond},
			})
		}
	}
	return t
}

// overTwo writes over two partitions, the second of which it has read.
func overTwo(t *testing.T, c *client.Client, opts ...client.TxOption) client.Commit {
	t.Helper()
	return update(t, c.In(keyspaces(t, c)[1]), func(_ context.Context, tx *client.Tx) error {
		text(t, tx, "aa")
		tx.Put([]byte("bb"), []byte("1"))
		tx.Put([]byte("aa"), []byte("2"))
		return nil
	}, opts...)
}

// TestTrace: a trace has a span for each request and for each participant, with its role and where its time went.
func TestTrace(t *testing.T) {
	w, c := opened(t)
	var trace client.Trace
	done := overTwo(t, c, client.WithTrace(&trace))
	if n := len(trace.Spans); n != done.Stats.RPCs+1 {
		t.Fatalf("%d spans of %d requests: %+v", n, done.Stats.RPCs, trace.Spans)
	}
	read, commit, prepare := trace.Spans[0], trace.Spans[len(trace.Spans)-2], trace.Spans[len(trace.Spans)-1]
	if read.Method != "read" || read.Role != client.RoleReader || read.Timestamp == 0 || read.Spent.Storage != 7*time.Microsecond {
		t.Errorf("read %+v", read)
	}
	if commit.Method != "commit" || commit.Role != client.RoleAnchor || commit.Timestamp != done.Timestamp || commit.Partition == read.Partition ||
		commit.Spent.LockWait != time.Microsecond || commit.Spent.Draw != 2*time.Microsecond || commit.Spent.Consensus != 3*time.Microsecond {
		t.Errorf("commit %+v at %d", commit, done.Timestamp)
	}
	want := client.RPCInfo{
		Method: "prepare", Node: w.nodes[participantNode-1].listener.Addr().String(), Role: client.RoleParticipant, Partition: read.Partition,
		Start: commit.Start, Elapsed: 6 * time.Microsecond, Staged: 9 * time.Microsecond,
		Bytes: prepare.Bytes, Timestamp: done.Timestamp, Spent: client.Spent{LockWait: 4 * time.Microsecond, Consensus: 5 * time.Microsecond},
	}
	if len(commit.Participants) != 0 || prepare.Bytes < len("aa")+len("2") || !sameSpan(prepare, want) {
		t.Errorf("prepare %+v, want %+v", prepare, want)
	}
}

// TestTraceOfAConflict: what was refused has waited, too.
func TestTraceOfAConflict(t *testing.T) {
	_, c := opened(t)
	put(t, c, "k", "1")
	var trace client.Trace
	update(t, c, func(_ context.Context, tx *client.Tx) error {
		text(t, tx, "k")
		if tx.Attempt() == 1 {
			put(t, c, "k", "2")
		}
		tx.Put([]byte("k"), []byte("3"))
		return nil
	}, client.WithTrace(&trace))
	refused := 0
	for _, s := range trace.Spans {
		if s.Err == nil {
			continue
		}
		refused++
		if kv.KindOf(s.Err) != kv.Conflict || s.Role != client.RoleAnchor || s.Spent.LockWait != time.Microsecond {
			t.Errorf("%+v", s)
		}
	}
	if refused != 1 || trace.Attempts != 2 {
		t.Errorf("%d refusals in %d attempts", refused, trace.Attempts)
	}
}

// TestTraceOfARefusedCommit: the participants of a commit that was refused are told of as well, and which of them refused.
func TestTraceOfARefusedCommit(t *testing.T) {
	_, c := opened(t)
	c = c.In(keyspaces(t, c)[1])
	var trace client.Trace
	update(t, c, func(_ context.Context, tx *client.Tx) error {
		text(t, tx, "aa")
		if tx.Attempt() == 1 {
			put(t, c, "aa", "0")
		}
		tx.Put([]byte("bb"), []byte("1"))
		tx.Put([]byte("aa"), []byte("2"))
		return nil
	}, client.WithTrace(&trace))
	var told []client.RPCInfo
	for i, s := range trace.Spans {
		if s.Role == client.RoleAnchor && i+1 < len(trace.Spans) {
			told = append(told, s, trace.Spans[i+1])
		}
	}
	if len(told) != 4 {
		t.Fatalf("%+v", trace.Spans)
	}
	commit, prepare := told[0], told[1]
	if kv.KindOf(commit.Err) != kv.Conflict || prepare.Role != client.RoleParticipant || prepare.Err != commit.Err ||
		prepare.Spent.LockWait != 4*time.Microsecond || prepare.Elapsed != 6*time.Microsecond {
		t.Errorf("refused: %+v and %+v", commit, prepare)
	}
	if again := told[3]; told[2].Err != nil || again.Err != nil || again.Role != client.RoleParticipant {
		t.Errorf("then: %+v and %+v", told[2], again)
	}
}

// TestTraceOfARefusedRead: what was refused has waited, too.
func TestTraceOfARefusedRead(t *testing.T) {
	var heard []client.RPCInfo
	w, c := opened(t, client.WithHooks(client.Hooks{
		RPC:    func(_ context.Context, i client.RPCInfo) { heard = append(heard, i) },
		Traced: func(context.Context) bool { return true },
	}))
	w.do(func() { w.tooOld = 1 })
	if _, err := c.Get(t.Context(), []byte("k"), client.WithBound(client.StaleBy(time.Hour))); !errors.Is(err, client.ErrTooOld) {
		t.Fatal(err)
	}
	if last := heard[len(heard)-1]; kv.KindOf(last.Err) != kv.TooOld || !last.Told() || last.Spent.Storage != 7*time.Microsecond {
		t.Errorf("%+v", last)
	}
}

func sameSpan(a, b client.RPCInfo) bool {
	return len(a.Participants) == 0 && len(b.Participants) == 0 && a.Err == nil && b.Err == nil && a.Start.Equal(b.Start) &&
		a.Method == b.Method && a.Node == b.Node && a.Role == b.Role && a.Partition == b.Partition && a.Elapsed == b.Elapsed && a.Staged == b.Staged &&
		a.Bytes == b.Bytes && a.Timestamp == b.Timestamp && a.Spent == b.Spent
}

// TestOnlyWhatIsTracedIsMeasured: a hook hears of all requests, and of where the time went only for the
// contexts that it names; no other request asks for that.
func TestOnlyWhatIsTracedIsMeasured(t *testing.T) {
	type mark struct{}
	var heard []client.RPCInfo
	w, c := opened(t, client.WithHooks(client.Hooks{
		RPC:    func(_ context.Context, i client.RPCInfo) { heard = append(heard, i) },
		Traced: func(ctx context.Context) bool { return ctx.Value(mark{}) != nil },
	}))
	traced := 0 // requests; guarded by the world
	asked := func() (n int) {
		w.do(func() { n = traced })
		return n
	}
	w.do(func() {
		w.fault = func(_ *node, q *kv.Request) fault {
			if q.Trace {
				traced++
			}
			return none
		}
	})
	overTwo(t, c)
	last := heard[len(heard)-1]
	if asked() != 0 || last.Method != "commit" || last.Spent != (client.Spent{}) || len(last.Participants) != 1 || last.Participants[0].Spent != (client.Spent{}) ||
		last.Participants[0].Partition != heard[len(heard)-2].Partition {
		t.Errorf("%d requests ask for their timing; %+v", asked(), last)
	}
	if _, err := c.Put(context.WithValue(t.Context(), mark{}, true), []byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	last = heard[len(heard)-1]
	if asked() != 1 || last.Spent.Consensus != 3*time.Microsecond || last.Participants != nil {
		t.Errorf("%d requests ask for their timing; %+v", asked(), last)
	}
}
