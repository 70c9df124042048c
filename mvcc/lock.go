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

// Lock is a durable lock of a prepared transaction (rule A3). A key has at most one exclusive
// lock, and any number of shared ones.
type Lock struct {
	Key       kv.Key
	Strength  Strength
	ID        kv.TxID        // with Partition and Term: the attempt (rule A1)
	Partition kv.PartitionID // of the anchor
	Term      kv.Term        // of the anchor's leader
	Anchor    kv.Key         // the full key that carries the outcome
	Age       [16]byte       // of the transaction (rule A7), smaller = older
	End       kv.Key         // Shared: the lock holds [Key, End); empty: Key alone
	Write     kv.WriteKind   // Exclusive: WritePut or WriteDelete
	Value     []byte         // of a WritePut
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
	dst = append(dst, lockFormat)
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Partition))
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Term))
	dst = append(dst, l.Age[:]...)
	dst = append(dst, byte(l.Write))
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
	l.Partition = kv.PartitionID(c.uint64())
	l.Term = kv.Term(c.uint64())
	copy(l.Age[:], c.take(len(l.Age)))
	l.Write = kv.WriteKind(c.byte())
	l.Anchor = c.bytes()
	l.End = c.bytes()
	l.Value = c.bytes()
	return c.done("a lock")
}

// PutLock writes a lock.
func (b *Batch) PutLock(l *Lock) error {
	if l.Strength != Exclusive && l.Strength != Shared {
		return kv.Errorf(kv.Internal, "a lock on the key %x has the strength %d: report this", l.Key, l.Strength)
	}
	return b.set(appendLockKey(nil, l.Key, l.Strength, l.ID), appendLock(nil, l))
}

// DeleteLock removes a lock.
func (b *Batch) DeleteLock(k kv.Key, s Strength, id kv.TxID) error {
	return wrapError("deleting a lock", b.b.Delete(appendLockKey(nil, k, s, id), nil))
}

// Locks calls fn for the locks whose keys lie in the span, by key and strength, until fn returns
// an error. A shared lock on a span that begins before s.Start is not among them.
func (r *Reader) Locks(s kv.Span, fn func(*Lock) error) error {
	if s.IsEmpty() {
		return nil
	}
	r.setBounds(spanBounds(kindLock, s))
	for ok := r.it.First(); ok; ok = r.it.Next() {
		var l Lock
		var err error
		if l.Key, l.Strength, l.ID, err = splitLockKey(r.it.Key()); err != nil {
			return err
		}
		v, err := r.it.ValueAndErr()
		if err != nil {
			return wrapError("reading locks", err)
		}
		if err := decodeLock(v, &l); err != nil {
			return err
		}
		if err := fn(&l); err != nil {
			return err
		}
	}
	return wrapError("reading locks", r.it.Error())
}
