package host

import (
	"runtime"
	"sync"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
)

const (
	readChunkMax     = 64  // short reads that share one view of the engine
	shortScanKeysMax = 128 // a scan of no more keys counts as short
)

// readers is the pool that reads the engine off the loop. There are three lanes: for short reads, for long work
// that is not paced (evaluations of spans, whose commits hold latches, and digests), and for scans, which
// are (see pacer). One worker takes short reads only, so that they never wait for others.
type readers struct {
	engine *mvcc.Engine
	now    func() kv.Instant
	done   func([]readDone)
	summed func(*node.DigestTask)

	mu     sync.Mutex
	queues [3][]lent // by lane
	filled sync.Cond // laneShort or laneLong
	scans  sync.Cond // laneScan
	closed bool
	ended  chan struct{} // closed with closed: nobody rests any more
	group  sync.WaitGroup
}

type lane int

const (
	laneShort lane = iota
	laneLong
	laneScan
)

// lent is work for a reader: a read, with the call that it may answer, or a digest.
type lent struct {
	read   *node.Read
	call   *call
	digest *node.DigestTask
	at     kv.Instant // of a scan: when it came
}

func startReaders(r *readers) {
	r.filled.L, r.scans.L = &r.mu, &r.mu
	r.ended = make(chan struct{})
	n := max(runtime.GOMAXPROCS(0), 2)
	for i := range n {
		w := &worker{lanes: []lane{laneShort, laneLong}, filled: &r.filled}
		if i == 0 {
			w.lanes = w.lanes[:1]
		}
		r.group.Go(func() { w.work(r) })
	}
	for range n - 1 {
		w := &worker{lanes: []lane{laneScan}, filled: &r.scans, pace: newPacer(r.now, sleeper(r.ended))}
		r.group.Go(func() { w.work(r) })
	}
}

// put hands reads to the pool.
func (r *readers) put(work []lent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var added [3]int
	for _, w := range work {
		l := w.lane()
		if l == laneScan {
			w.at = r.now()
		}
		r.queues[l] = append(r.queues[l], w)
		added[l]++
	}
	if added[laneLong] > 0 {
		r.filled.Broadcast() // a worker that may take the long ones must be among those that wake
	} else if added[laneShort] > 0 {
		r.filled.Signal()
	}
	if added[laneScan] > 0 {
		r.scans.Broadcast()
	}
}

func (w *lent) lane() lane {
	switch {
	case w.read == nil:
		return laneLong
	case w.read.Task.Scan != nil && (w.read.Task.Scan.Keys <= 0 || w.read.Task.Scan.Keys > shortScanKeysMax):
		return laneScan
	case w.read.Task.Evaluation != nil && len(w.read.Task.Evaluation.Spans) > 0:
		return laneLong
	}
	return laneShort
}

// close lets the workers finish what is queued and ends them.
func (r *readers) close() {
	r.mu.Lock()
	r.closed = true
	close(r.ended)
	r.mu.Unlock()
	r.filled.Broadcast()
	r.scans.Broadcast()
	r.group.Wait()
}

// take waits for work: a chunk of short reads, or one of another lane. Empty: the pool is closed.
func (r *readers) take(chunk []lent, w *worker) []lent {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for _, l := range w.lanes {
			if chunk = r.cut(chunk, l); len(chunk) > 0 {
				return chunk
			}
		}
		if r.closed {
			return nil
		}
		w.filled.Wait()
	}
}

// cut takes what is first in a lane.
func (r *readers) cut(chunk []lent, l lane) []lent {
	q := r.queues[l]
	switch {
	case len(q) == 0:
	case l == laneShort:
		n := min(len(q), readChunkMax)
		chunk = append(chunk, q[:n]...)
		left := copy(q, q[n:])
		clear(q[left:])
		if r.queues[l] = q[:left]; left > 0 {
			r.filled.Signal()
		}
	default:
		chunk = append(chunk, q[0])
		q[0] = lent{}
		if r.queues[l] = q[1:]; len(q) == 1 {
			r.queues[l] = nil
		}
	}
	return chunk
}

// worker takes work from some lanes, the first one first.
type worker struct {
	lanes  []lane
	filled *sync.Cond // of these lanes
	pace   *pacer     // nil: it does not rest

	chunk []lent // scratch
	reads []*node.Read
}

func (w *worker) work(r *readers) {
	for {
		chunk := r.take(w.chunk[:0], w)
		if len(chunk) == 0 {
			return
		}
		w.chunk = chunk
		w.run(r)
	}
}

// run reads a chunk at one view of the engine, and answers what may be answered by a clock that
// is read afterwards (L17).
func (w *worker) run(r *readers) {
	w.reads = w.reads[:0]
	done := make([]readDone, 0, len(w.chunk))
	for i := range w.chunk {
		switch x := &w.chunk[i]; {
		case x.digest != nil:
			x.digest.Run()
			r.summed(x.digest)
		case x.call != nil && x.call.answered.Load(): // nobody waits any more
			done = append(done, readDone{read: x.read, call: x.call})
			x.read = nil
		default:
			w.reads = append(w.reads, x.read)
		}
	}
	if len(w.reads) > 0 {
		w.read(r)
	}
	fresh := r.now()
	for _, x := range w.chunk {
		if x.read == nil {
			continue
		}
		d := readDone{read: x.read, call: x.call, back: true}
		if x.call != nil {
			if reply, ok := x.read.Finish(fresh); ok {
				d.back = false
				x.call.answer(reply.Response, reply.Err)
			}
		}
		done = append(done, d)
	}
	clear(w.chunk)
	clear(w.reads)
	if len(done) > 0 {
		r.done(done)
	}
	if w.pace != nil && len(w.reads) > 0 {
		w.pace.breathe()
	}
}

func (w *worker) read(r *readers) {
	if w.pace == nil {
		node.RunReads(r.engine, w.reads, r.now, nil)
		return
	}
	w.pace.begin(w.chunk[0].at)
	node.RunReads(r.engine, w.reads, w.pace.working, w.pace.breathe)
}
