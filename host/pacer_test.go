package host

import (
	"context"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
	"github.com/kvd-db/kvd/partition"
)

// pacedWorld is a clock that only work, waiting for others and sleep move.
type pacedWorld struct {
	now   kv.Instant
	wait  time.Duration // of a yield
	slept time.Duration
	rests int
}

func (w *pacedWorld) pacer() *pacer {
	p := newPacer(func() kv.Instant { return w.now }, func(d time.Duration) {
		d = max(d, 3*time.Millisecond) // a coarse timer
		w.now, w.slept, w.rests = w.now.Add(d), w.slept+d, w.rests+1
	})
	p.yield = func() { w.now = w.now.Add(w.wait) }
	return p
}

// work is so much work, in steps of 100 µs.
func (w *pacedWorld) work(p *pacer, d time.Duration) {
	p.begin(w.now)
	for range d / (100 * time.Microsecond) {
		w.now = w.now.Add(100 * time.Microsecond)
		p.breathe()
	}
}

func TestPaceOfScans(t *testing.T) {
	var w pacedWorld
	p := w.pacer()
	w.work(p, time.Second)
	if w.rests != 0 || p.share != 1 {
		t.Errorf("nobody waits, yet it rested %d times, at a share of %v", w.rests, p.share)
	}
	w.wait = paceLate + 1
	for range 10 {
		w.work(p, 10*time.Millisecond)
	}
	if p.share != paceShareMin {
		t.Errorf("others wait, yet its share is %v", p.share)
	}
	w.slept, w.rests = 0, 0
	for range 100 {
		w.work(p, 10*time.Millisecond)
	}
	want := time.Duration(float64(time.Second) * (1/paceShareMin - 1))
	if least, most := want*9/10, want*11/10; w.slept < least || w.slept > most {
		t.Errorf("at the least share of %v it rested %v for a second of work, want %v to %v", paceShareMin, w.slept, least, most)
	}
	w.wait = 0
	w.work(p, 50*time.Millisecond)
	w.slept = 0
	if w.work(p, time.Second); p.share != 1 || w.slept != 0 {
		t.Errorf("nobody waits any more, yet its share is %v and it rested %v", p.share, w.slept)
	}
}

// A coarse timer sleeps longer than asked; that is not lost.
func TestPaceCountsWhatItSlept(t *testing.T) {
	w := pacedWorld{}
	p := w.pacer()
	p.share = 0.9 / paceUp
	for range 2000 {
		p.share = 0.9 / paceUp // as if it stayed where it is
		w.work(p, 500*time.Microsecond)
	}
	if worked := time.Second; w.slept < worked/10 || w.slept > worked/8 {
		t.Errorf("at a share of 0.9 it rested %v in %v of work", w.slept, worked)
	}
}

// A slice that took long for other reasons than work counts for little, and a read that is old rests no more.
func TestPaceHasBounds(t *testing.T) {
	w := pacedWorld{wait: paceLate + 1}
	p := w.pacer()
	p.share = paceShareMin
	p.begin(w.now)
	w.now = w.now.Add(10 * time.Second) // the machine stood still
	p.breathe()
	if w.rests != 0 {
		t.Errorf("a read that is %v old rested", 10*time.Second)
	}
	p.begin(w.now)
	w.now = w.now.Add(900 * time.Millisecond)
	if p.breathe(); w.rests != 1 || w.slept > paceRestMax {
		t.Errorf("after a long slice it rested %d times, %v", w.rests, w.slept)
	}
	was := p.working()
	w.slept = 0
	p.begin(w.now)
	if w.work(p, 100*time.Millisecond); time.Duration(p.working()-was) > 200*time.Millisecond || w.slept < time.Second/2 {
		t.Errorf("in 100 ms of work, %v of rest, the clock for work went on by %v", w.slept, time.Duration(p.working()-was))
	}
}

// What nobody waits for is not read, and the time since the read before does not count as work.
func TestPaceOfWhatIsNotRead(t *testing.T) {
	w := pacedWorld{}
	p := w.pacer()
	p.share = 0.5
	p.begin(w.now)
	w.now = w.now.Add(100 * time.Millisecond)
	r := &readers{now: func() kv.Instant { return w.now }, done: func([]readDone) {}}
	gone := &call{}
	gone.answered.Store(true)
	x := &worker{pace: p, chunk: []lent{{read: &node.Read{}, call: gone}}}
	if x.run(r); p.worked != 0 || p.owed != 0 || w.rests != 0 {
		t.Errorf("it worked %v, owes %v and rested %d times", p.worked, p.owed, w.rests)
	}
}

// A page that waits for its turn is read when the pool closes, and at once.
func TestReadersCloseEndsRests(t *testing.T) {
	e, err := mvcc.Open(mvcc.Options{Dir: "state", FS: mvcc.NewMemFS(), CacheBytes: 1 << 20, MemTableBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan int, 100)
	clock := NewClock()
	r := &readers{engine: e, now: clock.Now, done: func(d []readDone) { done <- len(d) }}
	startReaders(r)
	rested := make(chan struct{})
	go func() {
		sleeper(r.ended)(time.Hour)
		close(rested)
	}()
	var work []lent
	for range 3 {
		q := &kv.Request{Partition: 7, Scan: &kv.Scan{Span: kv.Span{Start: kv.Key("a"), End: kv.Key("z")}}}
		work = append(work, lent{read: &node.Read{Task: partition.FollowerTask(1, q, 3, 5, 1, 1), Bare: true}})
	}
	if l := work[0].lane(); l != laneScan {
		t.Fatalf("a scan without a limit is in lane %d", l)
	}
	gone := &call{}
	gone.answered.Store(true)
	q := &kv.Request{Partition: 7, Scan: &kv.Scan{Span: kv.Span{Start: kv.Key("a"), End: kv.Key("z")}}}
	unread := &node.Read{Task: partition.FollowerTask(1, q, 3, 5, 1, 1), Bare: true}
	r.put(append(work, lent{read: unread, call: gone}))
	closed := make(chan struct{})
	go func() {
		r.close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-ctx.Done():
		t.Fatal("the pool does not close")
	}
	select {
	case <-rested:
	case <-ctx.Done():
		t.Fatal("a rest goes on in a closed pool")
	}
	if len(done) != 4 || unread.Result != nil || work[2].read.Result == nil {
		t.Errorf("%d pages of 4 are done; that which nobody waits for was read: %v", len(done), unread.Result != nil)
	}
}
