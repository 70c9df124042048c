package router

import (
	"bytes"
	"container/heap"
	"context"
	"sync"

	"github.com/kvd-db/kvd/kv"
)

// Scan is a scan under way: rows in key order over all partitions, at one timestamp. It
// belongs to one goroutine; Close must be called.
type Scan struct {
	router *Router
	query  ScanQuery
	ctx    context.Context // of the pages
	cancel context.CancelFunc
	at     kv.Timestamp
	heap   cursors
	begun  bool
	moved  bool // a row of the first cursor was handed out since the heap was in order
	left   int  // rows up to the limit; only if there is one
	under  int  // pages on their way
	all    []*cursor
	hold   *Hold // once the timestamp is known
}

// cursors is a heap, as container/heap has it, by the user key of the next row.
type cursors struct {
	all     []*cursor
	prefix  int // bytes before the user key
	reverse bool
}

func (h *cursors) Len() int      { return len(h.all) }
func (h *cursors) Swap(i, j int) { h.all[i], h.all[j] = h.all[j], h.all[i] }
func (h *cursors) Push(x any)    { h.all = append(h.all, x.(*cursor)) }
func (h *cursors) Less(i, j int) bool {
	c := bytes.Compare(h.all[i].rows[0].Key[h.prefix:], h.all[j].rows[0].Key[h.prefix:])
	if h.reverse {
		return c > 0
	}
	return c < 0
}

func (h *cursors) Pop() any {
	last := h.all[len(h.all)-1]
	h.all = h.all[:len(h.all)-1]
	return last
}

// slots runs functions, a bounded number at a time.
type slots struct {
	free chan struct{}
	wg   sync.WaitGroup
}

// Go runs f on a goroutine of its own when a slot is free.
func (s *slots) Go(f func()) {
	s.wg.Go(func() {
		s.free <- struct{}{}
		defer func() { <-s.free }()
		f()
	})
}

// Scan begins a scan; nothing is asked before Next.
func (r *Router) Scan(ctx context.Context, q ScanQuery) *Scan {
	s := &Scan{router: r, query: q, at: q.At, left: q.Limit}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.heap = cursors{prefix: kv.KeyspacePrefixBytes, reverse: q.Reverse}
	if q.Keyspace.Scheme == kv.SchemeHash {
		s.heap.prefix += kv.BucketBytes
	}
	return s
}

// pageRows is how many rows a page asks for; 0 = no matter. Buckets share a limit about
// equally, and ask again if that was too little.
func (s *Scan) pageRows() int {
	if s.query.Limit == 0 {
		return 0
	}
	n := s.left
	if s.query.Keyspace.Scheme == kv.SchemeHash {
		n = n/s.query.Keyspace.Partitions + n/(2*s.query.Keyspace.Partitions) + 4
	}
	return min(n, kv.ScanPageKeysMax)
}

// Timestamp is the one of all rows; 0 before the first page has come.
func (s *Scan) Timestamp() kv.Timestamp { return s.at }

// Next is the next row, which aliases a message; false at the end.
func (s *Scan) Next() (kv.Row, bool, *kv.Error) {
	if s.query.Limit > 0 && s.left == 0 {
		return kv.Row{}, false, nil
	}
	if err := s.settle(); err != nil {
		return kv.Row{}, false, err
	}
	if s.heap.Len() == 0 {
		return kv.Row{}, false, nil
	}
	c := s.heap.all[0]
	row := c.rows[0]
	c.rows = c.rows[1:]
	s.moved = true
	s.left--
	return row, true, nil
}

// settle brings the heap into order. It may wait for a page.
func (s *Scan) settle() *kv.Error {
	if !s.begun {
		s.begun = true
		return s.begin()
	}
	if !s.moved {
		return nil
	}
	c := s.heap.all[0]
	if len(c.rows) == 0 {
		if err := c.fill(); err != nil {
			return err
		}
		c.more()
	}
	s.moved = false
	if len(c.rows) == 0 {
		heap.Pop(&s.heap)
		return nil
	}
	heap.Fix(&s.heap, 0)
	return nil
}

// begin gets the first page of every span. The very first one may draw the timestamp, so
// the others wait for it.
func (s *Scan) begin() *kv.Error {
	for _, span := range s.router.spans(&s.query) {
		if !span.IsEmpty() {
			s.all = append(s.all, &cursor{scan: s, rest: span})
		}
	}
	waiting := s.all
	if s.at == 0 && len(s.all) > 0 {
		s.all[0].start()
		if err := s.all[0].finish(); err != nil {
			return err
		}
		waiting = s.all[1:]
	}
	if s.at != 0 {
		s.hold = s.router.Hold(s.at)
	}
	for _, c := range s.all {
		if c.next.call == nil && len(c.rows) == 0 {
			waiting = s.startAll(waiting)
		}
		if err := c.fill(); err != nil {
			return err
		}
		if len(c.rows) > 0 {
			s.heap.all = append(s.heap.all, c)
		}
	}
	for _, c := range s.heap.all {
		c.more()
	}
	heap.Init(&s.heap)
	return nil
}

// Close ends the scan and what it has under way.
func (s *Scan) Close() {
	s.cancel()
	s.hold.Release()
	for _, c := range s.all {
		if c.next.call != nil {
			_ = c.finish()
		}
	}
}

// Count is how many keys a query has, at one timestamp.
func (r *Router) Count(ctx context.Context, q ScanQuery) (int64, kv.Timestamp, *kv.Error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q.Limit = 0
	var (
		mu    sync.Mutex
		total int64
		first *kv.Error
		at    = q.At
		work  = slots{free: make(chan struct{}, parallelMax)}
	)
	for i, span := range r.spans(&q) {
		if i == 0 && at == 0 {
			p := r.fetch(ctx, &q, span, 0, 0, true).page(ctx)
			if p.err != nil {
				return 0, 0, p.err
			}
			at, total, span = p.at, p.count, p.rest
		}
		if i == 0 {
			hold := r.Hold(at)
			defer hold.Release()
		}
		work.Go(func() {
			n, err := r.countSpan(ctx, &q, span, at)
			mu.Lock()
			defer mu.Unlock()
			total += n
			if err != nil && first == nil {
				first = err
				cancel()
			}
		})
	}
	work.wg.Wait()
	return total, at, first
}

func (r *Router) countSpan(ctx context.Context, q *ScanQuery, s kv.Span, at kv.Timestamp) (total int64, err *kv.Error) {
	for !s.IsEmpty() {
		p := r.fetch(ctx, q, s, at, 0, true).page(ctx)
		if p.err != nil {
			return 0, p.err
		}
		total += p.count
		s = p.rest
	}
	return total, nil
}
