package mvcc

import (
	"encoding/binary"

	"github.com/kvd-db/kvd/kv"
)

// Strength is how a lock excludes others.
type Strength uint8

// The strengths. Durable; they order the locks of one key.
const (
	Exclusive Strength = 1 // of a write: nobody else writes or validates the key
	Shared    Strength = 2 // of a read: nobody else writes the key or the span
)

// Lock is a durable lock of a prepared or a staged transaction (rules A3, P2). A key has at most one exclusive
// lock, and any number of shared ones.
type Lock struct {
	Key        kv.Key
	Strength   Strength
	kv.Attempt              // the holder: its anchor decides its fate
	End        kv.Key       // Shared: the lock holds [Key, End); empty: Key alone
	Write      kv.WriteKind // Exclusive: WritePut or WriteDelete
	Value      []byte       // of a WritePut
	// Staged is the timestamp at which the holder commits, if it does: it commits in parallel (rule
	// P2). 0: it commits in two phases, and its timestamp was not drawn when it prepared.
	Staged kv.Timestamp
}

const lockFormat byte = 1

// appendLockKey appends the engine key of a lock: all locks of a key have one prefix.
func appendLockKey(dst []byte, k kv.Key, s Strength, id kv.TxID) []byte {
	dst = appendPrefix(dst, kindLock, k)
	dst = append(dst, byte(s))
	dst = append(dst, id[:]...)
	return append(dst, lockSuffixBytes)
}

// splitLockKey takes the engine key of a lock apart; the full key is a copy.
func splitLockKey(ek []byte) (k kv.Key, s Strength, id kv.TxID, err error) {
	n := len(ek) - lockSuffixBytes
	if n < 2 || ek[0] != kindLock || ek[len(ek)-1] != lockSuffixBytes || ek[n-1] != sentinel {
		return nil, 0, id, kv.Errorf(kv.Corruption, "engine key %x is not the key of a lock: replace this replica", ek)
	}
	if s = Strength(ek[n]); s != Exclusive && s != Shared {
		return nil, 0, id, kv.Errorf(kv.Corruption, "the lock %x has the unknown strength %d: replace this replica", ek, s)
	}
	copy(id[:], ek[n+1:])
	return append(kv.Key{}, ek[1:n-1]...), s, id, nil
}

// appendLock appends what is not in the key of a lock.
func appendLock(dst []byte, l *Lock) []byte {
	dst = appendAttempt(append(dst, lockFormat), &l.Attempt)
	dst = append(dst, byte(l.Write))
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Staged))
	dst = appendBytes(dst, l.Anchor)
	dst = appendBytes(dst, l.End)
	return appendBytes(dst, l.Value)
}

// decodeLock fills l but for what is in the key of a lock.
func decodeLock(b []byte, l *Lock) error {
	c := cursor{b: b}
	if f := c.byte(); f != lockFormat {
		return kv.Errorf(kv.Corruption, "a lock has the unknown format %d: replace this replica", f)
	}
	c.attempt(&l.Attempt)
	if l.Write = kv.WriteKind(c.byte()); l.Write > kv.WriteDelete {
		return kv.Errorf(kv.Corruption, "a lock has the unknown kind of write %d: replace this replica", l.Write)
	}
	l.Staged = kv.Timestamp(c.uint64())
	l.Anchor = c.bytes()
	l.End = c.bytes()
	l.Value = c.bytes()
	return c.done("a lock")
}

// appendAttempt appends what all encodings of an attempt have in common: neither its id nor its anchor.
func appendAttempt(dst []byte, a *kv.Attempt) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.Partition))
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.Term))
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.AsOf))
	return append(dst, a.Age[:]...)
}

func (c *cursor) attempt(a *kv.Attempt) {
	a.Partition = kv.PartitionID(c.uint64())
	a.Term = kv.Term(c.uint64())
	a.AsOf = kv.Timestamp(c.uint64())
	copy(a.Age[:], c.take(len(a.Age)))
}

// Locks calls fn for the locks whose keys lie in the span, by key and strength, until fn returns
// an error. A shared lock on a span that begins before s.Start is not among them.
func (r *Reader) Locks(s kv.Span, fn func(*Lock) error) error {
	return r.locks(s, func(l *Lock) (bool, error) { return true, fn(l) }, r.it.Next)
}

// ExclusiveLocks calls fn for the exclusive locks of a span, by key, until fn returns an error or
// limit of them were found; 0 = all. Shared locks cost next to nothing.
func (r *Reader) ExclusiveLocks(s kv.Span, limit int, fn func(*Lock) error) error {
	found := 0
	// The exclusive lock of a key is its first.
	return r.locks(s, func(l *Lock) (bool, error) {
		if l.Strength != Exclusive {
			return true, nil
		}
		found++
		return found != limit, fn(l)
	}, r.it.NextPrefix)
}

// locks calls fn for locks of a span until it returns false or an error; next moves from one to the next.
func (r *Reader) locks(s kv.Span, fn func(*Lock) (bool, error), next func() bool) error {
	if s.IsEmpty() {
		return nil
	}
	r.setBounds(spanBounds(kindLock, s))
	for ok := r.it.First(); ok; ok = next() {
		l, err := r.lock()
		if err != nil {
			return err
		}
		if more, err := fn(l); err != nil || !more {
			return err
		}
	}
	return wrapError("reading locks", r.it.Error())
}

// LockOn is the exclusive lock of a key; false if there is none.
func (r *Reader) LockOn(k kv.Key) (*Lock, bool, error) {
	r.key = appendPrefix(r.key[:0], kindLock, k)
	if !r.seekPrefix() {
		return nil, false, wrapError("reading a lock", r.it.Error())
	}
	if _, s, _, err := splitLockKey(r.it.Key()); err != nil || s != Exclusive {
		return nil, false, err
	}
	l, err := r.lock()
	return l, err == nil, err
}

// lock decodes where the iterator stands.
func (r *Reader) lock() (*Lock, error) {
	var l Lock
	var err error
	if l.Key, l.Strength, l.ID, err = splitLockKey(r.it.Key()); err != nil {
		return nil, err
	}
	v, err := r.it.ValueAndErr()
	if err != nil {
		return nil, wrapError("reading locks", err)
	}
	if err := decodeLock(v, &l); err != nil {
		return nil, err
	}
	return &l, nil
}
