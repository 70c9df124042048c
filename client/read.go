package client

import (
	"context"
	"iter"
	"time"

	"github.com/kvd-db/kvd/client/router"
	"github.com/kvd-db/kvd/kv"
)

// Get reads one key. An absent one is ErrNotFound.
func (c *Client) Get(ctx context.Context, key []byte, opts ...ReadOption) (Pair, error) {
	from, err := c.readFrom(ctx, key, opts)
	if err != nil {
		return Pair{}, typed(err)
	}
	for {
		ks, err := c.router.Keyspace(ctx, c.keyspace)
		if err != nil {
			return Pair{}, typed(err)
		}
		p, found, err := c.get(ctx, ks, key, from)
		switch {
		case c.changed(ctx, ks, err):
		case err != nil:
			return Pair{}, typed(err)
		case !found:
			return Pair{}, ErrNotFound
		default:
			return p, nil
		}
	}
}

func (c *Client) get(ctx context.Context, ks kv.Keyspace, key []byte, from router.From) (Pair, bool, *kv.Error) {
	call := c.router.NewCall()
	defer call.Release()
	call.Keys[0] = ks.FullKey(key)
	call.ReadOne(from, false)
	a, err := call.Do(ctx)
	if err != nil || len(a.Rows) == 0 {
		return Pair{}, false, err
	}
	row := &a.Rows[0]
	return pairOf(key, row.Value, row.Version), true, nil
}

// pairOf copies a key and a value, in one piece of memory.
func pairOf(key, value []byte, version Timestamp) Pair {
	b := make([]byte, len(key)+len(value))
	n := copy(b, key)
	copy(b[n:], value)
	return Pair{Key: b[:n:n], Value: b[n:], Version: version}
}

// readFrom is the state that the options ask for.
func (c *Client) readFrom(ctx context.Context, key []byte, opts []ReadOption) (router.From, *kv.Error) {
	if err := checkKey(key); err != nil {
		return router.From{}, err
	}
	if len(opts) == 0 {
		return router.From{}, nil
	}
	var b anyBound
	for _, o := range opts {
		o.read(&b)
	}
	return c.from(ctx, b)
}

// from turns a bound into what a read says of it.
func (c *Client) from(ctx context.Context, b anyBound) (router.From, *kv.Error) {
	if b.most == (Bound{}) {
		at, err := c.resolve(ctx, b.fixed)
		return router.From{At: at, Stale: kv.Stale{Follower: at != 0}}, err
	}
	switch m := b.most; {
	case m.err != nil:
		return router.From{}, m.err
	case m.notBefore != 0:
		return router.From{Stale: kv.Stale{NotBefore: m.notBefore}}, nil
	default:
		t, ok := c.before(m.stale)
		if !ok {
			return router.From{}, nil // too new for what has been heard of: the newest will do
		}
		return router.From{Stale: kv.Stale{NotBefore: max(t, 1)}}, nil
	}
}

// before is the timestamp a while ago, 0 before all timestamps. It is not ok if that is newer than what the client
// has heard of.
func (c *Client) before(d time.Duration) (t Timestamp, ok bool) {
	heard, when := c.router.Heard()
	back := d - time.Since(when)
	if heard == 0 || back <= 0 {
		return heard, false
	}
	if millis := heard.UnixMillis() - back.Milliseconds(); millis > 0 {
		return kv.MakeTimestamp(millis, heard.Counter()), true
	}
	return 0, true
}

// resolve turns a bound into a timestamp. A stale one counts back from the newest
// timestamp heard of, for which it need not be drawn: reading at any timestamp up to a
// drawn one is safe.
func (c *Client) resolve(ctx context.Context, b FixedBound) (Timestamp, *kv.Error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.stale == 0:
		return b.at, nil
	case b.stale < 0:
		return 0, kv.Errorf(kv.Invalid, "stale by %v: it must not be negative", b.stale)
	}
	if heard, _ := c.router.Heard(); heard == 0 {
		v := newView(c.router, nil, 0)
		if err := v.draw(ctx, c.keyspace); err != nil {
			return 0, err
		}
	}
	t, _ := c.before(b.stale)
	if t == 0 {
		return 0, kv.Errorf(kv.TooOld, "stale by %v: that is before all timestamps", b.stale)
	}
	return t, nil
}

// GetMany reads keys at one timestamp: a Pair for each key, in the order of the keys. That
// of an absent key has Version 0.
func (c *Client) GetMany(ctx context.Context, keys [][]byte, opts ...ReadOption) ([]Pair, error) {
	for _, k := range keys {
		if err := checkKey(k); err != nil {
			return nil, typed(err)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	from, err := c.readFrom(ctx, keys[0], opts)
	if err != nil {
		return nil, typed(err)
	}
	for {
		ks, err := c.router.Keyspace(ctx, c.keyspace)
		if err != nil {
			return nil, typed(err)
		}
		pairs, err := c.getMany(ctx, ks, keys, from)
		if !c.changed(ctx, ks, err) {
			return pairs, typed(err)
		}
	}
}

func (c *Client) getMany(ctx context.Context, ks kv.Keyspace, keys [][]byte, from router.From) ([]Pair, *kv.Error) {
	if len(keys) == 1 {
		p, found, err := c.get(ctx, ks, keys[0], from)
		if err == nil && !found {
			p = pairOf(keys[0], nil, 0)
		}
		return []Pair{p}, err
	}
	full := make([]kv.Key, len(keys))
	for i, k := range keys {
		full[i] = ks.FullKey(k)
	}
	found, _, err := c.router.ReadMany(ctx, full, from)
	if err != nil {
		return nil, err
	}
	pairs := make([]Pair, len(keys))
	for i := range found {
		pairs[i] = Pair{Key: ks.UserKey(full[i]), Value: found[i].Row.Value, Version: found[i].Row.Version}
	}
	return pairs, nil
}

// Scan goes over a range in key order, over all partitions, at one timestamp. An error is
// the last element; breaking off ends the scan. The range of keys is not locked.
func (c *Client) Scan(ctx context.Context, r Range, opts ...ScanOption) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		q, err := c.scanQuery(ctx, r, opts)
		if err != nil {
			yield(Pair{}, typed(err))
			return
		}
		s := c.router.Scan(ctx, q)
		defer s.Close()
		var copies arena
		for {
			row, ok, err := s.Next()
			if err != nil {
				yield(Pair{}, typed(err))
				return
			}
			if !ok || !yield(copies.pair(q.Keyspace.UserKey(row.Key), row.Value, row.Version), nil) {
				return
			}
		}
	}
}

// arena is memory that several pairs of a scan share: an allocation for each would cost more than
// the copying. It is small, so that a pair that is kept does not keep much else.
type arena struct{ room []byte }

const arenaBytes = 4 << 10

func (a *arena) pair(key, value []byte, version Timestamp) Pair {
	n := len(key) + len(value)
	if n > arenaBytes/4 {
		return pairOf(key, value, version)
	}
	if n > len(a.room) {
		a.room = make([]byte, arenaBytes)
	}
	b := a.room[:n:n]
	a.room = a.room[n:]
	k := copy(b, key)
	copy(b[k:], value)
	return Pair{Key: b[:k:k], Value: b[k:], Version: version}
}

// Count is how many keys a range has, all counted at one timestamp. Limit has no meaning.
func (c *Client) Count(ctx context.Context, r Range, opts ...ScanOption) (int64, error) {
	q, err := c.scanQuery(ctx, r, opts)
	if err != nil {
		return 0, typed(err)
	}
	n, _, err := c.router.Count(ctx, q)
	return n, typed(err)
}

func (c *Client) scanQuery(ctx context.Context, r Range, opts []ScanOption) (router.ScanQuery, *kv.Error) {
	var s scanSettings
	for _, o := range opts {
		o.scan(&s)
	}
	if s.limit < 0 {
		return router.ScanQuery{}, kv.Errorf(kv.Invalid, "limit %d: it must not be negative", s.limit)
	}
	from, err := c.from(ctx, s.bound)
	if err != nil {
		return router.ScanQuery{}, err
	}
	ks, err := c.router.Keyspace(ctx, c.keyspace)
	return router.ScanQuery{
		Keyspace: ks, Start: r.Start, End: r.End, From: from, Reverse: s.reverse, KeysOnly: s.keysOnly, Limit: s.limit,
	}, err
}
