package partition

import (
	"encoding/binary"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// The encodings of the commands of two-phase and of parallel commit; command.go has the bytes.

func attemptLen(a *kv.Attempt) int {
	return len(a.ID) + 8 + 8 + len(a.Age) + uvarintLen(uint64(a.Partition)) + bytesLen(a.Anchor)
}

func appendAttempt(dst []byte, a *kv.Attempt) []byte {
	dst = append(dst, a.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.Term))
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.AsOf))
	dst = append(dst, a.Age[:]...)
	dst = binary.AppendUvarint(dst, uint64(a.Partition))
	return appendBytes(dst, a.Anchor)
}

func appendPrepareHeader(dst []byte, a *kv.Attempt, locks int) []byte {
	dst = appendAttempt(append(dst, byte(commandPrepare)), a)
	return binary.AppendUvarint(dst, uint64(locks))
}

func exclusiveLen(key kv.Key, value []byte, tombstone bool) int {
	return 1 + versionLen(key, value, tombstone)
}

func appendExclusive(dst []byte, key kv.Key, value []byte, tombstone bool) []byte {
	return appendVersion(append(dst, byte(mvcc.Exclusive)), key, value, tombstone)
}

// appendShared encodes a shared lock; one of a key has no end.
func appendShared(dst []byte, s kv.Span) []byte {
	dst = appendBytes(append(dst, byte(mvcc.Shared)), s.Start)
	return appendBytes(dst, s.End)
}

func participantLen(p mvcc.Participant) int {
	return uvarintLen(uint64(p.Partition)) + uvarintLen(uint64(p.Term)) + bytesLen(p.Span.Start) + bytesLen(p.Span.End)
}

// recordHeaderLen is the length of what appendRecordHeader appends.
func recordHeaderLen(a *kv.Attempt, where []mvcc.Participant) int {
	n := 1 + attemptLen(a) + 8 + uvarintLen(uint64(len(where)))
	for _, p := range where {
		n += participantLen(p)
	}
	return n
}

// appendRecordHeader encodes what precedes the versions of a record, and the locks of a stage or a decide.
func appendRecordHeader(dst []byte, kind commandKind, a *kv.Attempt, c kv.Timestamp, where []mvcc.Participant) []byte {
	dst = appendAttempt(append(dst, byte(kind)), a)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c))
	dst = binary.AppendUvarint(dst, uint64(len(where)))
	for _, p := range where {
		dst = binary.AppendUvarint(dst, uint64(p.Partition))
		dst = binary.AppendUvarint(dst, uint64(p.Term))
		dst = appendBytes(dst, p.Span.Start)
		dst = appendBytes(dst, p.Span.End)
	}
	return dst
}

// appendResolveHeader encodes what precedes the locks of a resolve.
func appendResolveHeader(dst []byte, id kv.TxID, c kv.Timestamp, first bool) []byte {
	dst = append(append(dst, byte(commandResolve)), id[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c))
	if first {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// appendTransaction is appendCommand for these kinds.
func appendTransaction(dst []byte, c *Command) []byte {
	switch c.kind {
	case commandPrepare:
		dst = appendPrepareHeader(dst, &c.Attempt, len(c.Locks))
		dst = appendLocks(dst, c.Locks)
	case commandStage:
		dst = appendRecordHeader(dst, commandStage, &c.Attempt, c.Timestamp, c.Participants)
		dst = appendLocks(binary.AppendUvarint(dst, uint64(len(c.Locks))), c.Locks)
	case commandDecide:
		dst = appendRecordHeader(dst, commandDecide, &c.Attempt, c.Timestamp, c.Participants)
		dst = appendLockKeys(dst, c.Locks)
	case commandRecord:
		dst = appendRecordHeader(dst, commandRecord, &c.Attempt, c.Timestamp, c.Participants)
		dst = binary.AppendUvarint(dst, uint64(len(c.Versions)))
		for _, v := range c.Versions {
			dst = appendVersion(dst, v.Key, v.Value, v.Tombstone)
		}
	case commandResolve:
		dst = appendResolveHeader(dst, c.ID, c.Timestamp, c.First)
		dst = appendLockKeys(dst, c.Locks)
	case commandForget:
		dst = append(append(dst, byte(commandForget)), c.ID[:]...)
		dst = appendBytes(dst, c.Anchor)
	case commandBarrier:
		dst = append(dst, byte(commandBarrier))
	}
	return dst
}

func appendLocks(dst []byte, locks []mvcc.Lock) []byte {
	for i := range locks {
		k := &locks[i]
		if k.Strength == mvcc.Exclusive {
			dst = appendExclusive(dst, k.Key, k.Value, k.Write == kv.WriteDelete)
		} else {
			dst = appendShared(dst, kv.Span{Start: k.Key, End: k.End})
		}
	}
	return dst
}

func appendLockKeys(dst []byte, locks []mvcc.Lock) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(locks)))
	for i := range locks {
		dst = appendBytes(append(dst, byte(locks[i].Strength)), locks[i].Key)
	}
	return dst
}

func (d *decoder) attempt(a *kv.Attempt) {
	d.id(&a.ID)
	a.Term = kv.Term(d.uint64())
	a.AsOf = kv.Timestamp(d.uint64())
	copy(a.Age[:], d.take(len(a.Age)))
	a.Partition = kv.PartitionID(d.uvarint())
	a.Anchor = d.bytes()
	if len(a.Anchor) == 0 || a.Partition == 0 {
		d.fail("it names no anchor")
	}
}

func (d *decoder) id(id *kv.TxID) {
	copy(id[:], d.take(len(id)))
	if id.IsZero() {
		d.fail("it names no transaction")
	}
}

// transaction decodes the rest of a command of these kinds.
func (d *decoder) transaction(c *Command) {
	switch c.kind {
	case commandPrepare:
		d.attempt(&c.Attempt)
		d.locks(c)
	case commandRecord:
		d.attempt(&c.Attempt)
		c.Timestamp = d.timestamp()
		d.participants(c)
		c.Versions = d.versions(c.Versions)
	case commandStage:
		d.attempt(&c.Attempt)
		c.Timestamp = d.timestamp()
		d.participants(c)
		d.locks(c)
	case commandDecide:
		d.attempt(&c.Attempt)
		c.Timestamp = kv.Timestamp(d.uint64())
		d.participants(c)
		d.lockKeys(c)
	case commandResolve:
		d.id(&c.ID)
		c.Timestamp = kv.Timestamp(d.uint64())
		c.First = d.bool()
		d.lockKeys(c)
	case commandForget:
		d.id(&c.ID)
		c.Anchor = d.bytes()
	case commandBarrier:
	default:
		d.fail("its kind is unknown")
	}
}

func (d *decoder) bool() bool {
	b := d.byte()
	if b > 1 {
		d.fail("it says neither yes nor no")
	}
	return b == 1
}

func (d *decoder) participants(c *Command) {
	for range d.count(4) {
		c.Participants = append(c.Participants, mvcc.Participant{
			Partition: kv.PartitionID(d.uvarint()), Term: kv.Term(d.uvarint()), Span: kv.Span{Start: d.bytes(), End: d.bytes()},
		})
	}
}

func (d *decoder) lockKeys(c *Command) {
	for range d.count(2) {
		c.Locks = append(c.Locks, mvcc.Lock{Strength: d.strength(), Key: d.bytes()})
	}
}

func (d *decoder) strength() mvcc.Strength {
	s := mvcc.Strength(d.byte())
	if s != mvcc.Exclusive && s != mvcc.Shared {
		d.fail("it has a lock of unknown strength")
	}
	return s
}

func (d *decoder) locks(c *Command) {
	for range d.count(3) {
		k := mvcc.Lock{Attempt: c.Attempt, Strength: d.strength(), Staged: c.Timestamp}
		if k.Strength == mvcc.Shared {
			k.Key = d.bytes()
			if end := d.bytes(); len(end) > 0 {
				k.End = end
			}
		} else {
			v := d.version()
			k.Key, k.Value, k.Write = v.Key, v.Value, kv.WritePut
			if v.Tombstone {
				k.Write = kv.WriteDelete
			}
		}
		c.Locks = append(c.Locks, k)
	}
}
