package router

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvd-db/kvd/client/session"
	"github.com/kvd-db/kvd/kv"
)

// lone is a node that is all there is, in the test's own process: time is synctest's.
type lone struct {
	mu       sync.Mutex
	answer   func(q *kv.Request) (*kv.Response, *kv.Error) // nil: no answer ever
	asked    []kv.Request
	canceled int
	topology func() (*kv.Topology, *kv.Error)
	refreshs int
}

var key = kv.MakeKey(1, []byte("k"))

func (l *lone) Info() kv.NodeInfo   { return kv.NodeInfo{ID: 1, Address: "here"} }
func (l *lone) Heard() kv.Timestamp { return 99 }

func (l *lone) Submit(q *kv.Request, done func(*kv.Response, *kv.Error)) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, *q)
	if l.answer != nil {
		go done(l.answer(q))
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.canceled++
	}
}

func (l *lone) Admin(_ context.Context, q *kv.AdminRequest) (*kv.AdminResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q.Topology == nil {
		return nil, kv.Errorf(kv.Invalid, "not here")
	}
	l.refreshs++
	t, err := l.topology()
	if err != nil {
		return nil, err
	}
	return &kv.AdminResponse{Topology: t}, nil
}

func whole() (*kv.Topology, *kv.Error) {
	ks := kv.Keyspace{ID: 1, Name: "a", Scheme: kv.SchemeRange}
	d := &kv.Descriptor{Partition: 2, Keyspace: 1, Span: ks.Span(), Generation: 1, Replicas: []kv.Replica{{ID: 1, Node: 1, Role: kv.RoleVoter}}}
	return &kv.Topology{
		Keyspaces: []kv.Keyspace{ks}, Nodes: []kv.NodeInfo{{ID: 1, Address: "here"}},
		Partitions: []kv.PartitionInfo{{Descriptor: d, Leader: 1, Term: 3}},
	}, nil
}

func newLone(t *testing.T) (*lone, *Router) {
	l := &lone{topology: whole}
	r := New(Config{Local: l, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { r.Close() })
	return l, r
}

func (r *Router) put(ctx context.Context) (*kv.Response, *kv.Error, session.Stats) {
	c := r.NewCall()
	c.Op = session.Op{Key: key, Request: kv.Request{Commit: &kv.Commit{Writes: []kv.Write{{Kind: kv.WritePut, Key: key}}}}}
	a, err := c.Do(ctx)
	return a, err, c.Stats()
}

// TestDeadline: a call always ends, by the context's deadline or by the default one.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLone(t)
		start := time.Now()
		if _, err, _ := r.put(context.Background()); err == nil || err.Kind != kv.Ambiguous || err.ID != l.asked[0].Commit.ID {
			t.Errorf("%v", err)
		}
		if d := time.Since(start); d != kv.RequestTimeoutDefault {
			t.Errorf("it ended after %v", d)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		start = time.Now()
		r.put(ctx)
		if d := time.Since(start); d != 3*time.Second || l.canceled != 2 {
			t.Errorf("it ended after %v, %d were canceled", d, l.canceled)
		}
		if c := l.asked[0].Commit; c.Term != 3 || c.AsOf != 99 {
			t.Errorf("%+v", c)
		}
	})
}

// TestBackoff: retries go on until the deadline, further and further apart.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLone(t)
		l.answer = func(*kv.Request) (*kv.Response, *kv.Error) { return nil, kv.Errorf(kv.Unavailable, "draining") }
		start := time.Now()
		_, err, stats := r.put(context.Background())
		if err == nil || err.Kind != kv.Unavailable || time.Since(start) != kv.RequestTimeoutDefault {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		// At most one every 0 to 500 ms, once the first few are done.
		if n := len(l.asked); n < 15 || n > 120 || stats.Sends != n || stats.Backoff < 9*time.Second {
			t.Errorf("%d were sent, %+v", n, stats)
		}
		if l.refreshs < 3 {
			t.Errorf("the map was asked for %d times", l.refreshs)
		}
		ids := map[kv.TxID]bool{}
		for _, q := range l.asked {
			ids[q.Commit.ID] = true
		}
		if len(ids) != 1 {
			t.Errorf("%d ids: none of them was finally dead", len(ids))
		}
	})
}

// TestRefreshIsShared: all that need the map ask for it once.
func TestRefreshIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLone(t)
		l.answer = func(*kv.Request) (*kv.Response, *kv.Error) { return &kv.Response{Timestamp: 100, Term: 3}, nil }
		hold := make(chan struct{})
		l.topology = func() (*kv.Topology, *kv.Error) {
			<-hold
			return whole()
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if a, err, _ := r.put(context.Background()); err != nil || a.Timestamp != 100 {
					t.Errorf("%v, %v", a, err)
				}
			})
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		if l.refreshs != 1 {
			t.Errorf("asked for %d times", l.refreshs)
		}
	})
}

// TestKeyspaceUnknown: that there is none is an answer; that nobody answers is not.
func TestKeyspaceUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newLone(t)
		l.topology = func() (*kv.Topology, *kv.Error) { return nil, kv.Errorf(kv.NotFound, "none") }
		start := time.Now()
		if _, err := r.Keyspace(context.Background(), "b"); err == nil || err.Kind != kv.NotFound || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		l.topology = func() (*kv.Topology, *kv.Error) { return nil, kv.Errorf(kv.Unavailable, "starting") }
		if _, err := r.Keyspace(context.Background(), "b"); err == nil || err.Kind != kv.Unavailable || time.Since(start) != kv.RequestTimeoutDefault {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		left := 5
		l.topology = func() (*kv.Topology, *kv.Error) {
			if left--; left > 0 {
				return nil, kv.Errorf(kv.Unavailable, "starting")
			}
			return whole()
		}
		if k, err := r.Keyspace(context.Background(), "a"); err != nil || k.ID != 1 {
			t.Errorf("%v, %v", k, err)
		}
	})
}

func TestCloseEndsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newLone(t)
		done := make(chan *kv.Error, 1)
		go func() {
			_, err, _ := r.put(context.Background())
			done <- err
		}()
		synctest.Wait()
		r.Close()
		if err := <-done; err == nil || err.Kind != kv.Ambiguous {
			t.Errorf("under way: %v", err)
		}
		if _, err, _ := r.put(context.Background()); err == nil || err.Kind != kv.Closed {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestQueue: what is queued is sent in order, in batches that are not too long.
func TestQueue(t *testing.T) {
	r := New(Config{Seeds: []string{"127.0.0.1:1"}, Log: slog.New(slog.DiscardHandler)})
	defer r.Close()
	l, err := r.newLink("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	defer l.conn.Close()
	value := make([]byte, 300<<10)
	q := &kv.Request{Partition: 2, Commit: &kv.Commit{Writes: []kv.Write{{Kind: kv.WritePut, Key: key, Value: value}}}}
	var calls []*Call
	for range 10 {
		c := newCall()
		if err := l.submit(c, q, time.Now(), 7); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	if n := len(l.queue.batches); n != 3 {
		t.Errorf("10 requests of 300 KiB make %d batches", n)
	}
	if got := l.abandon(calls[1]); got != takenBack {
		t.Errorf("one that is queued: %v", got)
	}
	first := l.queue.take()
	if got := l.abandon(calls[0]); got != underWay {
		t.Errorf("one that was sent: %v", got)
	}
	l.queue.giveBack(first)
	l.fail(kv.Errorf(kv.Unavailable, "gone"))
	for i, c := range calls[2:] {
		want := refused
		if c.at.id <= first.last {
			want = lost
		}
		if d := <-c.heard; d.how != want {
			t.Errorf("call %d: %v, not %v", i+2, d.how, want)
		}
	}
	if got := l.abandon(calls[2]); got != answered {
		t.Errorf("one that has failed: %v", got)
	}
	for i := range QueueBytesMax/len(value) + 2 {
		err := l.submit(newCall(), q, time.Now(), 7)
		if full := l.queue.bytes > QueueBytesMax; err != nil && (!full || err.Kind != kv.Unavailable) {
			t.Fatalf("request %d, %d bytes: %v", i, l.queue.bytes, err)
		}
	}
	if err := l.submit(newCall(), q, time.Now(), 7); err == nil || err.Kind != kv.Unavailable {
		t.Errorf("the queue has no end: %v", err)
	}
}

func TestScanSpans(t *testing.T) {
	q := ScanQuery{Keyspace: kv.Keyspace{ID: 1, Scheme: kv.SchemeHash, Partitions: 3}, Start: []byte("a")}
	spans := q.Spans()
	if len(spans) != 3 || !slices.Equal(spans[1].Start, kv.MakeHashKey(1, 1, []byte("a"))) || !slices.Equal(spans[1].End, kv.MakeHashKey(1, 2, nil)) {
		t.Errorf("%v", spans)
	}
	s := kv.Span{Start: kv.Key("b"), End: kv.Key("y")}
	sent := kv.Span{Start: kv.Key("b"), End: kv.Key("m")}
	for _, x := range []struct {
		resume  kv.Key
		reverse bool
		want    kv.Span
	}{
		{nil, false, kv.Span{Start: kv.Key("m"), End: kv.Key("y")}},
		{kv.Key("d"), false, kv.Span{Start: kv.Key("d"), End: kv.Key("y")}},
		{kv.Key("d"), true, kv.Span{Start: kv.Key("b"), End: kv.Key("d")}},
	} {
		if got := rest(s, sent, x.resume, x.reverse); !slices.Equal(got.Start, x.want.Start) || !slices.Equal(got.End, x.want.End) {
			t.Errorf("%+v: %v", x, got)
		}
	}
	if got := rest(s, kv.Span{Start: kv.Key("m"), End: kv.Key("y")}, nil, true); string(got.End) != "m" {
		t.Errorf("%v", got)
	}
}
