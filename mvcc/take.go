package mvcc

import (
	"bytes"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Bounds of recentLocks. What is beyond them is read from the store.
const (
	recentLocksMax     = 1 << 12
	recentLockBytesMax = 4 << 10 // of one lock as stored
)

// recentLocks has locks of the committed state, as stored, by engine key: most are taken within
// milliseconds, and a search in a large memtable costs more than all else that a resolve does. It
// never has one that is not in the store.
type recentLocks struct {
	mu sync.Mutex
	at map[string][]byte
}

func (r *recentLocks) get(ek []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[string(ek)]
}

// committed takes over what a batch did.
func (r *recentLocks) committed(p *pendingRows) {
	if len(p.at) == 0 && len(p.spans) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p.spans) > 0 || r.at == nil || len(r.at)+len(p.at) > recentLocksMax {
		r.at = map[string][]byte{} // all at once, so that what is left hangs on no order
	}
	for ek, x := range p.at { // in any order
		delete(r.at, ek)
		if x.stored != nil && len(p.at) <= recentLocksMax && len(x.stored) <= recentLockBytesMax {
			r.at[ek] = x.stored
		}
	}
}

// forget is for changes of the store that are not a batch's.
func (r *recentLocks) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = nil
}

// PutLock writes a lock.
func (b *Batch) PutLock(l *Lock) error {
	if l.Strength != Exclusive && l.Strength != Shared || l.Write > kv.WriteDelete {
		return kv.Errorf(kv.Internal, "a lock on the key %x has the strength %d and the kind of write %d: report this", l.Key, l.Strength, l.Write)
	}
	if invariant.Expensive && l.Strength == Exclusive {
		if err := b.checkExclusive(l); err != nil {
			return err
		}
	}
	ek := appendLockKey(nil, l.Key, l.Strength, l.ID)
	if err := b.checkNew(&b.locks, ek, l.Key); err != nil {
		return err
	}
	b.locks.hold(ek, appendLock(nil, l))
	return nil
}

// DeleteLock removes a lock.
func (b *Batch) DeleteLock(k kv.Key, s Strength, id kv.TxID) error {
	return b.deleteLock(appendLockKey(nil, k, s, id))
}

func (b *Batch) deleteLock(ek []byte) error {
	if b.locks.remove(ek) {
		return nil
	}
	return wrapError("deleting a lock", b.deleteKey(ek))
}

// TakeLock removes the lock of exactly this holder (rule F5) and returns it as it was: what this batch has put or
// removed counts, then the newest committed state of the store. False: there is none, and nothing
// was done. Only one batch at a time may write the locks of a partition.
func (b *Batch) TakeLock(k kv.Key, s Strength, id kv.TxID) (*Lock, bool, error) {
	ek := appendLockKey(nil, k, s, id)
	l := &Lock{Key: append(kv.Key{}, k...), Strength: s, Attempt: kv.Attempt{ID: id}}
	found, err := b.lockAt(ek, l)
	if err != nil || !found {
		return nil, false, err
	}
	return l, true, b.deleteLock(ek)
}

// lockAt fills l with what is at its engine key ek.
func (b *Batch) lockAt(ek []byte, l *Lock) (found bool, err error) {
	if stored, known := b.locks.get(ek, l.Key); known {
		if stored == nil {
			return false, nil
		}
		return true, decodeLock(stored, l)
	}
	if stored := b.e.recent.get(ek); stored != nil {
		return true, decodeLock(stored, l)
	}
	stored, closer, err := b.e.db.Get(ek)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, wrapError("reading a lock", err)
	}
	err = decodeLock(stored, l)
	_ = closer.Close() // returns memory only
	return true, err
}

// checkExclusive is what LockOn relies on: a key has one exclusive lock at most.
func (b *Batch) checkExclusive(l *Lock) error {
	r, err := b.e.NewReader()
	if err != nil {
		return err
	}
	defer r.Close()
	holder := l.ID
	other, ok, err := r.LockOn(l.Key)
	if err != nil {
		return err
	}
	if ok {
		if _, known := b.locks.get(appendLockKey(nil, l.Key, Exclusive, other.ID), l.Key); !known {
			holder = other.ID
		}
	}
	for ek, x := range b.locks.at { // in any order: one stands there at most
		if k, s, id, err := splitLockKey([]byte(ek)); err == nil && x.stored != nil && s == Exclusive && bytes.Equal(k, l.Key) {
			holder = id
		}
	}
	invariant.Check(holder == l.ID, "the key %x is locked by %v already when %v locks it", l.Key, holder, l.ID)
	return nil
}
