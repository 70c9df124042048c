package client

import (
	"context"
	"runtime"
	"sync"

	"github.com/kvd-db/kvd/client/router"
	"github.com/kvd-db/kvd/kv"
)

// view reads the whole cluster at one timestamp, which the first read finds out: the leader that
// it comes to draws it. Any number of goroutines may use it.
type view struct {
	router  *router.Router
	meter   *router.Meter
	drawing chan struct{} // held by the read that finds the timestamp out; of one

	mu     sync.Mutex
	at     Timestamp // 0: not found out yet
	stale  bool      // any replica may answer
	spaces map[string]kv.Keyspace
	claims claims
	holding
}

// holding is what a view keeps from being collected while it is open.
type holding struct {
	hold   *router.Hold // once the timestamp is known
	loose  bool         // its user may forget to end it
	closed bool
}

func newView(r *router.Router, m *router.Meter, at Timestamp) *view {
	v := &view{router: r, meter: m, drawing: make(chan struct{}, 1), spaces: map[string]kv.Keyspace{}}
	v.found(at)
	return v
}

// found notes the timestamp, once it is known.
func (v *view) found(at Timestamp) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.at = max(v.at, at)
	if v.at == 0 || v.hold != nil || v.closed {
		return
	}
	v.hold = v.router.Hold(v.at)
	if v.loose {
		runtime.AddCleanup(v, (*router.Hold).Release, v.hold)
	}
}

// loosen has the view end by itself when nobody can use it any more.
func (v *view) loosen() *view {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.loose = true
	if v.hold != nil {
		runtime.AddCleanup(v, (*router.Hold).Release, v.hold)
	}
	return v
}

// close ends the view: what it reads may be collected. Reads still find out what became of them.
func (v *view) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.hold.Release()
	v.hold = nil
}

// timestamp is the one of all reads; 0: there was none yet.
func (v *view) timestamp() Timestamp {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at
}

// from is how reads are made: those of a view whose timestamp was chosen may go to any replica.
func (v *view) from(at Timestamp) router.From {
	return router.From{At: at, Stale: kv.Stale{Follower: v.stale}}
}

// keyspace is what a name means: the same for the view's whole life.
func (v *view) keyspace(ctx context.Context, name string) (kv.Keyspace, *kv.Error) {
	v.mu.Lock()
	ks, ok := v.spaces[name]
	v.mu.Unlock()
	if ok {
		return ks, nil
	}
	ks, err := v.router.Keyspace(ctx, name)
	if err != nil {
		return ks, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if first, ok := v.spaces[name]; ok {
		return first, nil
	}
	v.spaces[name] = ks
	return ks, nil
}

// known is the keyspaces that the view has met.
func (v *view) known() []kv.Keyspace {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]kv.Keyspace, 0, len(v.spaces))
	for _, ks := range v.spaces {
		all = append(all, ks)
	}
	return all
}

// read does a read at the view's timestamp. If that is not known yet, it is given 0 and names the
// one that was drawn; all other reads wait for it.
func (v *view) read(ctx context.Context, do func(at Timestamp) (Timestamp, *kv.Error)) *kv.Error {
	if at := v.timestamp(); at != 0 {
		_, err := do(at)
		return err
	}
	select {
	case v.drawing <- struct{}{}:
	case <-ctx.Done():
		return ended(ctx)
	}
	defer func() { <-v.drawing }()
	drawn, err := do(v.timestamp()) // another read may have found it out by now
	if err == nil {
		v.found(drawn)
	}
	return err
}

// ended is why a context is done.
func ended(ctx context.Context) *kv.Error {
	if ctx.Err() == context.DeadlineExceeded {
		return kv.Errorf(kv.Timeout, "the deadline has passed")
	}
	return kv.Errorf(kv.Canceled, "the context was canceled")
}

// get reads one key; the value is the caller's own. claim is the age of a transaction that is about to write it.
func (v *view) get(ctx context.Context, ks kv.Keyspace, key []byte, claim kv.Age) (found seen, err *kv.Error) {
	err = v.read(ctx, func(at Timestamp) (Timestamp, *kv.Error) {
		full := ks.FullKey(key)
		at = v.claim(ctx, at, []kv.Key{full})
		if s, ok := v.claims.look(full); ok {
			found = s
			return at, nil
		}
		call := v.router.NewCall()
		defer call.Release()
		call.Meter = v.meter
		call.Keys[0] = full
		from := v.from(at)
		from.Claim = claim
		call.ReadOne(from, true)
		a, err := call.Do(ctx)
		if err != nil {
			return 0, err
		}
		if a.Timestamp == 0 {
			return 0, kv.Errorf(kv.Internal, "a read was answered without its timestamp")
		}
		if len(a.Rows) > 0 {
			row := &a.Rows[0]
			found = seen{value: append([]byte{}, row.Value...), version: row.Version, found: true}
		}
		return a.Timestamp, nil
	})
	return found, err
}

// getMany reads keys; the values are the caller's own. claim is the age of a transaction that is about to write them.
func (v *view) getMany(ctx context.Context, ks kv.Keyspace, keys [][]byte, claim kv.Age) ([]seen, *kv.Error) {
	if len(keys) == 1 {
		one, err := v.get(ctx, ks, keys[0], claim)
		return []seen{one}, err
	}
	full := make([]kv.Key, len(keys))
	for i, k := range keys {
		full[i] = ks.FullKey(k)
	}
	all := make([]seen, len(keys))
	err := v.read(ctx, func(at Timestamp) (Timestamp, *kv.Error) {
		at = v.claim(ctx, at, full)
		var rest []kv.Key
		var places []int
		for i, k := range full {
			if s, ok := v.claims.look(k); ok {
				all[i] = s
				continue
			}
			rest, places = append(rest, k), append(places, i)
		}
		if len(rest) == 0 {
			return at, nil
		}
		from := v.from(at)
		from.Claim = claim
		found, drawn, err := v.router.ReadManyMetered(ctx, rest, from, v.meter)
		for i := range found {
			all[places[i]] = seenOf(found[i])
		}
		return drawn, err
	})
	return all, err
}

func seenOf(f router.Found) seen {
	return seen{value: f.Row.Value, version: f.Row.Version, found: f.Ok}
}

// rows is a scan under way, with its next row.
type rows struct {
	scan *router.Scan
	next kv.Row
	more bool // there is a next row
}

// scan begins a scan and waits for its first row. close must be called.
func (v *view) scan(ctx context.Context, q router.ScanQuery) (*rows, *kv.Error) {
	r := &rows{}
	q.Meter = v.meter
	err := v.read(ctx, func(at Timestamp) (_ Timestamp, err *kv.Error) {
		q.From = v.from(at)
		r.scan = v.router.Scan(ctx, q)
		r.next, r.more, err = r.scan.Next()
		return r.scan.Timestamp(), err
	})
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *rows) advance() (err *kv.Error) {
	r.next, r.more, err = r.scan.Next()
	return err
}

func (r *rows) close() {
	if r.scan != nil {
		r.scan.Close()
	}
}

// draw finds the timestamp out without reading anything.
func (v *view) draw(ctx context.Context, keyspace string) *kv.Error {
	if v.timestamp() != 0 {
		return nil
	}
	ks, err := v.keyspace(ctx, keyspace)
	if err == nil {
		_, err = v.get(ctx, ks, []byte{0}, kv.Age{})
	}
	return err
}

// queryOf is a scan of a transaction or snapshot: it has a timestamp already.
func queryOf(ks kv.Keyspace, r Range, s *scanSettings) (router.ScanQuery, *kv.Error) {
	switch {
	case s.limit < 0:
		return router.ScanQuery{}, kv.Errorf(kv.Invalid, "limit %d: it must not be negative", s.limit)
	case s.bound != anyBound{}:
		return router.ScanQuery{}, kv.Errorf(kv.Invalid, "a scan of a transaction or snapshot has its timestamp: it takes no bound")
	}
	return router.ScanQuery{Keyspace: ks, Start: r.Start, End: r.End, Reverse: s.reverse, KeysOnly: s.keysOnly, Limit: s.limit}, nil
}

func scanSettingsOf(opts []ScanOption) (s scanSettings) {
	for _, o := range opts {
		o.scan(&s)
	}
	return s
}
