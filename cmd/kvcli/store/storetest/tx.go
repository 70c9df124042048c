package storetest

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strconv"

	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// fakeTx is a transaction looking at one keyspace.
type fakeTx struct {
	*attempt
	at *Fake // the keyspace
}

// attempt is what the views of a transaction share. Its writes are applied to all that a read finds.
type attempt struct {
	base   *Fake
	id     kv.TxID
	start  kv.Timestamp
	done   bool
	reads  []read
	writes []write
}

type read struct {
	keyspace   string
	start, end []byte
}

type write struct {
	keyspace   string
	key, value []byte // a nil value deletes
	delta      int64
	adds       bool
}

// Begin implements store.Transactions: the state that is read is the present one. Ids count up.
func (f *Fake) Begin(ctx context.Context) (store.Tx, error) {
	if _, err := f.enter(ctx, "begin", nil); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	f.begun++
	return fakeTx{&attempt{base: f, id: kv.TxID{0: 0x3f, 1: 0x2a, 15: byte(f.begun)}, start: f.now}, f}, nil
}

// In implements store.Tx.
func (t fakeTx) In(keyspace string) store.Tx {
	return fakeTx{t.attempt, &Fake{cluster: t.base.cluster, keyspace: keyspace}}
}

// ID implements store.Tx.
func (t fakeTx) ID() kv.TxID { return t.id }

// Get implements store.Reader.
func (t fakeTx) Get(ctx context.Context, key []byte) (store.Pair, error) {
	end := kv.Key(key).Next()
	for p, err := range t.Scan(ctx, store.Range{Start: key, End: end}) {
		return p, err
	}
	return store.Pair{}, store.NotFound(key)
}

// Scan implements store.Reader.
func (t fakeTx) Scan(ctx context.Context, r store.Range) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) {
		t.reads = append(t.reads, read{t.at.keyspace, r.Start, r.End})
		limit, reverse, keysOnly := r.Limit, r.Reverse, r.KeysOnly
		r.Limit, r.Reverse, r.KeysOnly, r.Bound = 0, false, false, store.Bound{At: t.start}
		found, err := t.at.rows(ctx, "get", r)
		if err != nil {
			yield(store.Pair{}, err)
			return
		}
		for _, w := range t.writes {
			if w.keyspace == t.at.keyspace && bytes.Compare(w.key, r.Start) >= 0 && (len(r.End) == 0 || bytes.Compare(w.key, r.End) < 0) {
				found = w.over(found)
			}
		}
		if reverse {
			slices.Reverse(found)
		}
		for i, p := range found {
			if keysOnly {
				p.Value = nil
			}
			if limit > 0 && i == limit || !yield(p, nil) {
				return
			}
		}
	}
}

// over is rows with the write among them.
func (w *write) over(rows []store.Pair) []store.Pair {
	i, found := slices.BinarySearchFunc(rows, w.key, func(p store.Pair, key []byte) int { return bytes.Compare(p.Key, key) })
	value := w.value
	if w.adds {
		n := 0
		if found {
			n, _ = strconv.Atoi(string(rows[i].Value)) // the commit refuses what is no number
		}
		value = strconv.AppendInt(nil, int64(n)+w.delta, 10)
	}
	if found {
		rows = slices.Delete(rows, i, i+1)
	}
	if value == nil {
		return rows
	}
	return slices.Insert(rows, i, store.Pair{Key: w.key, Value: value, Version: store.Buffered})
}

// Put implements store.Tx.
func (t fakeTx) Put(key, value []byte) {
	t.writes = append(t.writes, write{keyspace: t.at.keyspace, key: key, value: append([]byte{}, value...)})
}

// Delete implements store.Tx.
func (t fakeTx) Delete(key []byte) {
	t.writes = append(t.writes, write{keyspace: t.at.keyspace, key: key})
}

// Add implements store.Tx.
func (t fakeTx) Add(key []byte, delta int64) {
	t.writes = append(t.writes, write{keyspace: t.at.keyspace, key: key, delta: delta, adds: true})
}

// Commit implements store.Tx.
func (t fakeTx) Commit(ctx context.Context) (store.Commit, error) {
	t.done = true
	done := store.Commit{Version: t.start, ID: t.id, Stats: store.Stats{Reads: len(t.reads), Writes: len(t.writes), Partitions: 1, OnePhase: true}}
	if _, err := t.base.enter(ctx, "commit", nil); err != nil {
		return store.Commit{}, err
	}
	defer t.base.mu.Unlock()
	for _, r := range t.reads {
		if p := t.overtaken(r); p != nil && len(t.writes) > 0 {
			return store.Commit{}, &kv.Error{Kind: kv.Conflict, Message: "key " + strconv.Quote(string(p.Key)) + " was written after it was read", Key: p.Key}
		}
	}
	for _, w := range t.writes {
		tree := t.base.data[w.keyspace]
		v, _ := tree.Get(versions{key: w.key})
		p, found := v.at(store.Bound{})
		if _, err := strconv.Atoi(string(p.Value)); w.adds && found && err != nil {
			return store.Commit{}, kv.Errorf(kv.Invalid, "the value is no decimal integer: add works on those only")
		}
	}
	t.apply(&done)
	return done, nil
}

// overtaken is a version in what was read that is newer than that.
func (t fakeTx) overtaken(r read) (newer *store.Pair) {
	t.base.data[r.keyspace].AscendGreaterOrEqual(versions{key: r.start}, func(v versions) bool {
		if len(r.end) > 0 && bytes.Compare(v.key, r.end) >= 0 {
			return false
		}
		if last := &v.rows[len(v.rows)-1]; last.Version > t.start {
			newer = last
		}
		return newer == nil
	})
	return newer
}

// apply carries the writes out, at one version. The lock is held.
func (t fakeTx) apply(done *store.Commit) {
	if len(t.writes) == 0 {
		return
	}
	now := t.base.now + 1
	for _, w := range t.writes {
		tree := t.base.data[w.keyspace]
		t.base.now = now - 1 // write counts it up
		value := w.value
		if w.adds {
			v, _ := tree.Get(versions{key: w.key})
			n := 0
			if p, found := v.at(store.Bound{}); found {
				n, _ = strconv.Atoi(string(p.Value)) // checked before
			}
			value = strconv.AppendInt(nil, int64(n)+w.delta, 10)
		}
		t.base.write(tree, w.key, value)
	}
	done.Version = now
	t.base.outcomes[t.id] = kv.OutcomeCommitted
}

// Rollback implements store.Tx.
func (t fakeTx) Rollback(context.Context) error {
	if t.done {
		return kv.Errorf(kv.Internal, "the attempt has ended before")
	}
	t.done = true
	return nil
}

// Again implements store.Tx.
func (t fakeTx) Again(ctx context.Context) (store.Tx, error) {
	t.done = true
	return t.base.Begin(ctx)
}

// Snapshot implements store.Transactions.
func (f *Fake) Snapshot(ctx context.Context, b store.Bound) (store.Snapshot, error) {
	if _, err := f.enter(ctx, "begin", nil); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	at := f.now
	switch {
	case b.At != 0:
		at = b.At
	case b.StaleBy != 0:
		at = kv.MakeTimestamp(f.now.UnixMillis()-b.StaleBy.Milliseconds(), 0)
	}
	return fakeSnapshot{f, at}, nil
}

type fakeSnapshot struct {
	fake *Fake
	at   kv.Timestamp
}

// In implements store.Snapshot.
func (s fakeSnapshot) In(keyspace string) store.Snapshot {
	return fakeSnapshot{&Fake{cluster: s.fake.cluster, keyspace: keyspace}, s.at}
}

// Timestamp implements store.Snapshot.
func (s fakeSnapshot) Timestamp() kv.Timestamp { return s.at }

// Close implements store.Snapshot.
func (s fakeSnapshot) Close() error { return nil }

// Get implements store.Reader.
func (s fakeSnapshot) Get(ctx context.Context, key []byte) (store.Pair, error) {
	return s.fake.Get(ctx, key, store.Bound{At: s.at})
}

// Scan implements store.Reader.
func (s fakeSnapshot) Scan(ctx context.Context, r store.Range) iter.Seq2[store.Pair, error] {
	r.Bound = store.Bound{At: s.at}
	return s.fake.Scan(ctx, r)
}
