package router

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/wire"
)

// TestTogether: the requests of calls to one node go in one batch, and all but the last of a batch say that
// their answers may wait.
func TestTogether(t *testing.T) {
	r := New(Config{Seeds: []string{"127.0.0.1:1"}, Log: slog.New(slog.DiscardHandler)})
	defer r.Close()
	l, err := r.newLink("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	defer l.conn.Close()
	value := make([]byte, 600<<10)
	var calls []*Call
	for range 3 {
		c := newCall()
		c.begun.action = session.Action{Kind: session.Send, Node: 1, Request: &kv.Request{Partition: 2, Commit: &kv.Commit{
			Writes: []kv.Write{{Kind: kv.WritePut, Key: key, Value: value}},
		}}}
		calls = append(calls, c)
	}
	l.submitAll(calls, time.Now())
	var types []wire.FrameType
	for range 2 {
		b, bad := wire.OpenBatch(l.queue.take().frames)
		if bad != nil {
			t.Fatal(bad)
		}
		for f, ok := b.Next(); ok; f, ok = b.Next() {
			types = append(types, f.Type)
		}
	}
	want := []wire.FrameType{wire.FrameTogether, wire.FrameRequest, wire.FrameRequest}
	if len(types) != 3 || types[0] != want[0] || types[1] != want[1] || types[2] != want[2] {
		t.Errorf("frames %v, want %v: two fill a batch", types, want)
	}
	l.queue.bytes = QueueBytesMax + 1
	l.submitAll(calls, time.Now())
	for i, c := range calls {
		if c.begun.refused == nil || c.begun.refused.Kind != kv.Unavailable {
			t.Errorf("call %d: %v; the queue was full", i, c.begun.refused)
		}
	}
}

// TestStartAllAfterClose: calls that can be sent nowhere end when they are finished.
func TestStartAllAfterClose(t *testing.T) {
	r := New(Config{Seeds: []string{"127.0.0.1:1"}, Log: slog.New(slog.DiscardHandler)})
	r.Close()
	calls := []*Call{r.NewCall(), r.NewCall()}
	for _, c := range calls {
		c.Keys[0] = key
		c.ReadOne(From{}, false)
	}
	r.startAll(context.Background(), calls)
	for _, c := range calls {
		if _, err := c.Finish(context.Background()); err == nil || err.Kind != kv.Closed {
			t.Errorf("%v, want closed", err)
		}
		c.Release()
	}
}
