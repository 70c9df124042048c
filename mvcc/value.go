package mvcc

import (
	"github.com/kvd-db/kvd/kv"
)

// Version is one version of a key.
type Version struct {
	Value     []byte // a copy; nil for a tombstone
	Timestamp kv.Timestamp
	ID        kv.TxID // of the transaction that wrote it; zero if there was none
	Tombstone bool
}

// The flags: the first byte of a stored value. Durable.
const (
	flagID        byte = 1 << 0 // 16 bytes of transaction id follow
	flagTombstone byte = 1 << 1 // a deletion: nothing else follows
	flagsKnown         = flagID | flagTombstone
)

const idBytes = len(kv.TxID{})

// tombstoneBytesMax is the length of the longest stored tombstone: what is longer is a value,
// so that counting and listing need not fetch it.
const tombstoneBytesMax = 1 + idBytes

// storedLen is the length of a stored value.
func storedLen(id kv.TxID, value []byte) int {
	if id.IsZero() {
		return 1 + len(value)
	}
	return 1 + idBytes + len(value)
}

// putStored fills dst, which has exactly storedLen bytes.
func putStored(dst []byte, id kv.TxID, value []byte, tombstone bool) {
	var flags byte
	n := 1
	if !id.IsZero() {
		flags |= flagID
		n += copy(dst[1:], id[:])
	}
	if tombstone {
		flags |= flagTombstone
	}
	dst[0] = flags
	copy(dst[n:], value)
}

// splitStored takes a stored value apart; v.Value aliases b.
func splitStored(b []byte) (v Version, err error) {
	if len(b) == 0 {
		return v, kv.Errorf(kv.Corruption, "a stored value is empty: replace this replica")
	}
	flags, rest := b[0], b[1:]
	if flags&^flagsKnown != 0 {
		return v, kv.Errorf(kv.Corruption, "a stored value has the unknown flags %#x: replace this replica", flags)
	}
	if flags&flagID != 0 {
		if len(rest) < idBytes {
			return v, kv.Errorf(kv.Corruption, "a stored value ends within its transaction id, after %d bytes: replace this replica", len(rest))
		}
		rest = rest[copy(v.ID[:], rest):]
		if v.ID.IsZero() {
			return v, kv.Errorf(kv.Corruption, "a stored value carries the transaction id zero: replace this replica")
		}
	}
	if flags&flagTombstone != 0 {
		if len(rest) != 0 {
			return v, kv.Errorf(kv.Corruption, "a stored tombstone carries a value of %d bytes: replace this replica", len(rest))
		}
		v.Tombstone = true
		return v, nil
	}
	v.Value = rest
	return v, nil
}
