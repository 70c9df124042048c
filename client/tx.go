package client

import (
	"context"
	"slices"
	"sync"

	"github.com/kvd-db/kvd/kv"
)

// Buffered is the Version of a pair that the transaction which reads it has written itself.
const Buffered = ^Timestamp(0)

// Tx is one attempt of a transaction that reads and writes, over any keys of any keyspaces. All
// its reads see one state, that of the time of the first one, and over it what the transaction
// has written itself. Writes are kept in the client until the commit, which happens only if
// nothing that was read has changed since.
//
// The function given to Client.Update gets one; Client.Begin makes one for callers that end it
// themselves. It may be used by several goroutines, all of which must be done before its end.
type Tx struct {
	*attempt
	space *space
}

// attempt is what the views of one transaction in all keyspaces share.
type attempt struct {
	client *Client
	view   *view
	run    *run

	mu     sync.Mutex
	id     TxID
	number int // from 1
	done   bool
	spaces map[string]*space
	anchor *anchor
	// invalid is what Commit will say of a write that cannot be; the first one counts.
	invalid *kv.Error
	// overtaken is why a read failed that only another attempt can do.
	overtaken *kv.Error
	onCommit  []func(Commit)
}

// space is what a transaction has done in one keyspace.
type space struct {
	name   string
	writes overlay
	reads  readSet
}

// anchor is the written key that carries the outcome: the first one, until the plan of the commit chooses another.
type anchor struct {
	space *space
	key   []byte
}

func newAttempt(c *Client, r *run, id TxID, number int) *Tx {
	a := &attempt{
		client: c, run: r, view: newView(c.router, r.meter, 0), id: id, number: number, spaces: map[string]*space{},
	}
	a.view.claims = claims{age: r.age, keys: r.claims, hot: &c.hot}
	return &Tx{attempt: a, space: a.in(c.keyspace)}
}

// in is the part of a keyspace. It runs under mu, or before anybody else knows the attempt.
func (a *attempt) in(keyspace string) *space {
	s := a.spaces[keyspace]
	if s == nil {
		s = &space{name: keyspace}
		a.spaces[keyspace] = s
	}
	return s
}

// In is the same transaction looking at another keyspace.
func (t *Tx) In(keyspace string) *Tx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &Tx{attempt: t.attempt, space: t.in(keyspace)}
}

// ID names the attempt, for Client.Outcome and for logs. The commit may be sent under another one
// in the end, after this one turned out to be dead: then the ID of Commit, or of its error, holds.
func (t *Tx) ID() TxID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.id
}

// Attempt counts how many times the function of Update has been called for the transaction, from 1.
func (t *Tx) Attempt() int { return t.number }

// OnCommit has fn called once the transaction has committed, and only then; for what must not
// happen more than once, such as sending a message. Functions run in the order of these calls,
// before Update or Commit returns.
func (t *Tx) OnCommit(fn func(Commit)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.onCommit = append(t.onCommit, fn)
}

// Put sets a key. Like all writes it is kept in the client until the commit, so it cannot fail; a
// key or value that no node would take is the error of the commit. After the end of the transaction, it and the
// other writes do nothing. Key and value are copied.
func (t *Tx) Put(key, value []byte, opts ...WriteOption) {
	var s writeSettings
	for _, o := range opts {
		o(&s)
	}
	err := checkKey(key)
	if err == nil && len(value) > kv.ValueBytesMax {
		err = kv.LimitError("value bytes", kv.ValueBytesMax, int64(len(value)), "store the value in parts")
	}
	key, value = slices.Clone(key), slices.Clone(value)
	t.write(key, err, func(o *overlay) *kv.Error { return o.put(key, value, kv.WritePut, s.expect.expect) })
}

// Delete removes a key. It is no error if there is none.
func (t *Tx) Delete(key []byte) {
	key = slices.Clone(key)
	t.write(key, checkKey(key), func(o *overlay) *kv.Error { return o.put(key, nil, kv.WriteDelete, kv.Expect{}) })
}

// Add adds to a key that holds a decimal integer; an absent key counts as 0. It does not read the
// key: transactions that only add to a key do not conflict. To read the sum in the transaction is
// a read like any other.
func (t *Tx) Add(key []byte, delta int64) {
	key = slices.Clone(key)
	t.write(key, checkKey(key), func(o *overlay) *kv.Error { return o.add(key, delta) })
}

// DeleteRange removes all keys of a range. The commit finds out which there are, at the
// transaction's timestamp: that is a read of the range. More than kv.CommitKeysMax are a LimitError.
func (t *Tx) DeleteRange(r Range) {
	if r.empty() {
		return
	}
	r = Range{Start: slices.Clone(r.Start), End: slices.Clone(r.End)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.done {
		t.space.writes.clear(r)
	}
}

// write buffers one write, unless it is invalid.
func (t *Tx) write(key []byte, invalid *kv.Error, do func(*overlay) *kv.Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return
	}
	if invalid == nil {
		invalid = t.tooMuch()
	}
	if invalid == nil {
		invalid = do(&t.space.writes)
	}
	if invalid != nil {
		if t.invalid == nil {
			t.invalid = invalid
		}
		return
	}
	if t.anchor == nil {
		t.anchor = &anchor{space: t.space, key: key}
	}
}

// tooMuch refuses further writes once there are more than a commit can have: it will fail, and
// shall not take all memory before that. It runs under mu.
func (a *attempt) tooMuch() *kv.Error {
	keys, size := 0, 0
	for _, s := range a.spaces {
		keys, size = keys+s.writes.count(), size+s.writes.bytes
	}
	switch {
	case keys > kv.CommitKeysMax:
		return tooManyKeys(keys)
	case size > kv.CommitBytesMax:
		return tooManyBytes(size)
	}
	return nil
}

// known is what a read of a key need not ask for: what was written, and what was read before. ok
// is false if the store must be asked.
type known struct {
	write *buffered // nil: none
	base  seen
	ok    bool
}

// look is what is known of a key. It runs under mu.
func (t *Tx) look(key []byte) (k known) {
	b, written := t.space.writes.find(key)
	switch {
	case written && b.kind != kv.WriteAdd:
		return known{write: b, ok: true}
	case written:
		k.write = b
	case t.space.writes.isCleared(key):
		return known{ok: true}
	}
	k.base, k.ok = t.space.reads.key(key)
	return k
}

// pair is what the transaction sees; Version is 0 if the key is absent.
func (k *known) pair(key []byte) (Pair, *kv.Error) {
	if k.write == nil {
		if !k.base.found {
			return pairOf(key, nil, 0), nil
		}
		return pairOf(key, k.base.value, k.base.version), nil
	}
	value, there, err := k.write.over(k.base.value, k.base.found)
	if err != nil || !there {
		return pairOf(key, nil, 0), err
	}
	return pairOf(key, value, Buffered), nil
}

// Get reads one key. An absent one is ErrNotFound.
func (t *Tx) Get(ctx context.Context, key []byte) (Pair, error) {
	return t.getOne(ctx, key, kv.Age{})
}

func (t *Tx) getOne(ctx context.Context, key []byte, claim kv.Age) (Pair, error) {
	pairs, err := t.get(ctx, claim, key)
	if err != nil {
		return Pair{}, err
	}
	if pairs[0].Version == 0 {
		return Pair{}, ErrNotFound
	}
	return pairs[0], nil
}

// GetForUpdate is Get for a key that will be written: it claims the key. Those that claim a key get it one
// after the other, and nobody else's write of it commits until this transaction's does, or a moment (0.1 to 0.2 s) has
// passed. It is no lock: that nobody has changed the key since is validated at the commit, as for every key
// that was read. Update claims by itself what it wrote when it was overtaken, so this is for keys of
// which it is known that many transactions write them.
func (t *Tx) GetForUpdate(ctx context.Context, key []byte) (Pair, error) {
	return t.getOne(ctx, key, t.run.age)
}

// GetMany reads keys: a Pair for each key, in the order of the keys. That of an absent key has
// Version 0.
func (t *Tx) GetMany(ctx context.Context, keys ...[]byte) ([]Pair, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	return t.get(ctx, kv.Age{}, keys...)
}

func (t *Tx) get(ctx context.Context, claim kv.Age, keys ...[]byte) ([]Pair, error) {
	for _, k := range keys {
		if err := checkKey(k); err != nil {
			return nil, typed(err)
		}
	}
	all := make([]known, len(keys))
	var missing [][]byte
	var places []int
	t.mu.Lock()
	if t.done {
		t.mu.Unlock()
		return nil, ErrTxDone
	}
	for i, k := range keys {
		if all[i] = t.look(k); !all[i].ok {
			missing, places = append(missing, k), append(places, i)
		}
	}
	t.mu.Unlock()
	if len(missing) > 0 {
		found, err := t.fetch(ctx, missing, claim)
		if err != nil {
			return nil, t.failed(err)
		}
		for i, p := range places {
			all[p].base = found[i]
		}
	}
	pairs := make([]Pair, len(keys))
	for i := range all {
		var err *kv.Error
		if pairs[i], err = all[i].pair(keys[i]); err != nil {
			return nil, typed(err)
		}
	}
	return pairs, nil
}

// fetch reads keys from the store and remembers that they were read.
func (t *Tx) fetch(ctx context.Context, keys [][]byte, claim kv.Age) ([]seen, *kv.Error) {
	ks, err := t.view.keyspace(ctx, t.space.name)
	if err != nil {
		return nil, err
	}
	found, err := t.view.getMany(ctx, ks, keys, claim)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, k := range keys {
		t.space.reads.note(k, found[i])
	}
	return found, nil
}

// failed is the error of a read as its caller sees it. What only another attempt can do is
// remembered: the function given to Update may ignore the error, but shall not get away with it.
func (t *Tx) failed(err *kv.Error) error {
	if err.Kind == kv.TooOld {
		t.mu.Lock()
		if t.overtaken == nil {
			t.overtaken = err
		}
		t.mu.Unlock()
	}
	return typed(err)
}
