package mvcc

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Reader is one consistent state of the store (rule D4): versions, locks and replica
// states of one moment. It keeps the tables and memtables that it reads from being freed, so
// it should not live long. It belongs to one goroutine.
//
// It is an iterator and not a Pebble snapshot: taking in a replica's snapshot removes the
// span's old tables under open Pebble snapshots, but never under iterators.
type Reader struct {
	e       *Engine
	it      *pebble.Iterator
	seen    uint64 // the newest batch that it surely shows
	key     []byte // the engine key being sought
	bounded bool
	breathe func()
	room    [readerKeyBytes]byte // for key, unless it is longer
}

// readerKeyBytes holds the engine keys of most keys: a Reader is one allocation, then.
const readerKeyBytes = 96

// NewReader takes the newest state.
func (e *Engine) NewReader() (*Reader, error) { return e.newReader(nil) }

func (e *Engine) newReader(o *pebble.IterOptions) (*Reader, error) {
	seen := e.hand.visible.Load() // before the iterator is opened
	it, err := e.db.NewIter(o)
	if err != nil {
		return nil, wrapError("opening a reader", err)
	}
	r := &Reader{e: e, it: it, seen: seen}
	r.key = r.room[:0]
	if e.opts.Deterministic {
		e.readers[r] = struct{}{}
	}
	return r, nil
}

// Close frees what the reader holds.
func (r *Reader) Close() {
	if r.e.opts.Deterministic {
		delete(r.e.readers, r)
	}
	// An error of the iterator was returned where it was met.
	_ = r.it.Close()
	r.it = nil
}

// Breathe has scans call fn every few hundred versions, so that whoever runs them can rest: for a second or so
// altogether, since a Reader should not live long. nil, as in a new Reader: nobody rests.
func (r *Reader) Breathe(fn func()) { r.breathe = fn }

func (r *Reader) setBounds(lo, hi []byte) {
	r.it.SetBounds(lo, hi)
	r.bounded = true
}

// seekPrefix moves to the first engine key at or after r.key that has the same prefix.
func (r *Reader) seekPrefix() bool {
	if r.bounded {
		r.it.SetBounds(nil, nil)
		r.bounded = false
	}
	return r.it.SeekPrefixGE(r.key)
}

// Get is the newest version of k at or below ts, a tombstone too; false if there is none.
// MaxTimestamp asks for the newest of all.
func (r *Reader) Get(k kv.Key, ts kv.Timestamp) (Version, bool, error) {
	v, known := r.e.hand.get(k, ts, r.seen)
	if known == knownIt {
		r.e.hand.hits.Add(1)
		return v, true, nil
	}
	r.e.hand.misses.Add(1)
	if known == knownNot && ts != MaxTimestamp {
		var ok bool
		var err error
		if v, ok, err = r.get(k, MaxTimestamp); err != nil || !ok || v.Timestamp <= ts {
			return v, ok, err
		}
	}
	return r.get(k, ts)
}

// get is Get of the engine. What it finds as the newest of all is at hand from then on.
func (r *Reader) get(k kv.Key, ts kv.Timestamp) (Version, bool, error) {
	r.key = appendDataKey(r.key[:0], k, ts)
	if !r.seekPrefix() {
		if invariant.Mutated(invariant.DamageServed) {
			return Version{}, false, nil
		}
		return Version{}, false, wrapError("reading a key", r.it.Error())
	}
	v, stored, err := r.version()
	if err != nil && invariant.Mutated(invariant.DamageServed) {
		return Version{}, false, nil
	}
	if err != nil {
		return Version{}, false, err
	}
	if ts == MaxTimestamp {
		r.e.hand.bring(k, v.Timestamp, stored, r.seen)
	}
	v.Value = clone(v.Value, v.Tombstone)
	return v, true, nil
}

// version decodes where the iterator stands; the value, and how it is stored, alias the iterator's buffer.
func (r *Reader) version() (v Version, stored []byte, err error) {
	_, ts, err := splitDataKey(r.it.Key())
	if err != nil {
		return Version{}, nil, err
	}
	if stored, err = r.it.ValueAndErr(); err != nil {
		return Version{}, nil, wrapError("reading a value", err)
	}
	v, err = splitStored(stored)
	v.Timestamp = ts
	return v, stored, err
}

// clone copies a value; that of a present key is never nil.
func clone(b []byte, tombstone bool) []byte {
	if tombstone {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

// FindOutcome looks for the version of k above after that the transaction id wrote: its
// timestamp is the outcome "committed" (rule I9).
func (r *Reader) FindOutcome(k kv.Key, id kv.TxID, after kv.Timestamp) (kv.Timestamp, bool, error) {
	invariant.Check(!id.IsZero(), "an outcome is asked for with an id: key %x", k)
	r.key = appendDataKey(r.key[:0], k, MaxTimestamp)
	for ok := r.seekPrefix(); ok; ok = r.it.Next() {
		v, _, err := r.version()
		if err != nil {
			return 0, false, err
		}
		if v.Timestamp <= after {
			return 0, false, nil
		}
		if v.ID == id {
			return v.Timestamp, true, nil
		}
	}
	return 0, false, wrapError("looking for an outcome", r.it.Error())
}

// raw is the value of an engine key without suffix; it is a copy.
func (r *Reader) raw(key []byte) ([]byte, bool, error) {
	r.key = append(r.key[:0], key...)
	if !r.seekPrefix() || !bytes.Equal(r.it.Key(), key) {
		return nil, false, wrapError("reading a record", r.it.Error())
	}
	v, err := r.it.ValueAndErr()
	if err != nil {
		return nil, false, wrapError("reading a record", err)
	}
	return clone(v, false), true, nil
}

// SystemGet is an unversioned record; false if there is none.
func (e *Engine) SystemGet(key string) ([]byte, bool, error) {
	r, err := e.NewReader()
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	return r.raw(appendSystemKey(nil, key))
}

// SystemScan calls fn for the unversioned records whose keys begin with prefix, in order,
// until fn returns an error. The value is valid only during the call.
func (e *Engine) SystemScan(prefix string, fn func(key string, value []byte) error) error {
	r, err := e.NewReader()
	if err != nil {
		return err
	}
	defer r.Close()
	return r.SystemScan(prefix, fn)
}

// SystemScan is Engine.SystemScan on this view.
func (r *Reader) SystemScan(prefix string, fn func(key string, value []byte) error) error {
	r.setBounds(systemBounds(prefix))
	for ok := r.it.First(); ok; ok = r.it.Next() {
		key, err := splitSystemKey(r.it.Key())
		if err != nil {
			return err
		}
		v, err := r.it.ValueAndErr()
		if err != nil {
			return wrapError("reading system records", err)
		}
		if err := fn(key, v); err != nil {
			return err
		}
	}
	return wrapError("reading system records", r.it.Error())
}
