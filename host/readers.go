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

// readers is the pool that reads the engine off the loop. There is a lane for short reads
// and one for long ones; one worker takes none of the long, so that short reads never wait
// for a scan.
type readers struct {
	engine *mvcc.Engine
	now    func() kv.Instant
	done   func([]readDone)
	summed func(*node.DigestTask)

	mu     sync.Mutex
	filled sync.Cond
	short  []lent
	long   []lent
	closed bool
	group  sync.WaitGroup
}

// lent is work for a reader: a read, with the call that it may answer, or a digest.
type lent struct {
	read   *node.Read
	call   *call
	digest *node.DigestTask
}

func startReaders(r *readers) {
	r.filled.L = &r.mu
	n := max(runtime.GOMAXPROCS(0), 2)
	for i := range n {
		r.group.Go(func() { r.work(i > 0) })
	}
}

// put hands reads to the pool.
func (r *readers) put(work []lent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	short := len(r.short)
	for _, w := range work {
		if w.isShort() {
			r.short = append(r.short, w)
		} else {
			r.long = append(r.long, w)
		}
	}
	if len(r.short)-short < len(work) {
		r.filled.Broadcast() // a worker that may take the long ones must be among those that wake
	} else {
		r.filled.Signal()
	}
}

func (w *lent) isShort() bool {
	switch {
	case w.read == nil:
		return false
	case w.read.Task.Scan != nil:
		return w.read.Task.Scan.Keys > 0 && w.read.Task.Scan.Keys <= shortScanKeysMax
	case w.read.Task.Evaluation != nil:
		return len(w.read.Task.Evaluation.Spans) == 0
	}
	return true
}

// close lets the workers finish what is queued and ends them.
func (r *readers) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.filled.Broadcast()
	r.group.Wait()
}

// work is one worker.
func (r *readers) work(takesLong bool) {
	var w worker
	for {
		chunk := r.take(w.chunk[:0], takesLong)
		if len(chunk) == 0 {
			return
		}
		w.chunk = chunk
		w.run(r)
	}
}

// take waits for work: a chunk of short reads, or one long one. Empty: the pool is closed.
func (r *readers) take(chunk []lent, takesLong bool) []lent {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if n := len(r.short); n > 0 {
			n = min(n, readChunkMax)
			chunk = append(chunk, r.short[:n]...)
			left := copy(r.short, r.short[n:])
			clear(r.short[left:])
			if r.short = r.short[:left]; left > 0 {
				r.filled.Signal()
			}
			return chunk
		}
		if takesLong && len(r.long) > 0 {
			chunk = append(chunk, r.long[0])
			r.long[0] = lent{}
			if r.long = r.long[1:]; len(r.long) == 0 {
				r.long = nil
			}
			return chunk
		}
		if r.closed && (len(r.long) == 0 || !takesLong) {
			return nil
		}
		r.filled.Wait()
	}
}

// worker is the scratch space of one worker.
type worker struct {
	chunk []lent
	reads []*node.Read
}

// run reads a chunk at one view of the engine, and answers what may be answered by a clock that
// is read afterwards (L17).
func (w *worker) run(r *readers) {
	w.reads = w.reads[:0]
	for _, x := range w.chunk {
		if x.digest != nil {
			x.digest.Run()
			r.summed(x.digest)
			continue
		}
		w.reads = append(w.reads, x.read)
	}
	if len(w.reads) == 0 {
		return
	}
	node.RunReads(r.engine, w.reads, r.now)
	fresh := r.now()
	done := make([]readDone, 0, len(w.reads))
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
	r.done(done)
}
