package kv

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Key is a full key: [keyspace id, 4 bytes][bucket, 2 bytes, hash keyspaces only][user key].
type Key []byte

// Lengths in bytes.
const (
	KeyspacePrefixBytes = 4
	BucketBytes         = 2
)

// MakeKey is the full key of a user key in a keyspace of scheme range.
func MakeKey(ks KeyspaceID, user []byte) Key {
	k := make(Key, 0, KeyspacePrefixBytes+len(user))
	k = binary.BigEndian.AppendUint32(k, uint32(ks))
	return append(k, user...)
}

// MakeHashKey is the full key of a user key in bucket b of a keyspace of scheme hash.
func MakeHashKey(ks KeyspaceID, b uint16, user []byte) Key {
	k := make(Key, 0, KeyspacePrefixBytes+BucketBytes+len(user))
	k = binary.BigEndian.AppendUint32(k, uint32(ks))
	k = binary.BigEndian.AppendUint16(k, b)
	return append(k, user...)
}

// Bucket is the fixed partition (0..n-1) of a user key: xxHash64 (seed 0) modulo n.
func Bucket(user []byte, n int) uint16 { return uint16(xxhash.Sum64(user) % uint64(n)) }

// Keyspace is the keyspace that a full key belongs to, 0 if the key is too short.
func (k Key) Keyspace() KeyspaceID {
	if len(k) < KeyspacePrefixBytes {
		return 0
	}
	return KeyspaceID(binary.BigEndian.Uint32(k))
}

// Next is the smallest key after k.
func (k Key) Next() Key { return append(slices.Clone(k), 0) }

// PrefixEnd is the smallest key after all keys that begin with p; nil if there is none.
func PrefixEnd(p []byte) []byte {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			e := slices.Clone(p[:i+1])
			e[i]++
			return e
		}
	}
	return nil
}

// Span is the keys [Start, End). An empty End means no upper bound.
type Span struct{ Start, End Key }

// Contains reports whether k lies in the span.
func (s Span) Contains(k Key) bool {
	return bytes.Compare(k, s.Start) >= 0 && (len(s.End) == 0 || bytes.Compare(k, s.End) < 0)
}

// ContainsSpan reports whether o lies wholly in the span.
func (s Span) ContainsSpan(o Span) bool {
	if bytes.Compare(o.Start, s.Start) < 0 {
		return false
	}
	return len(s.End) == 0 || len(o.End) != 0 && bytes.Compare(o.End, s.End) <= 0
}

// Overlaps reports whether the two spans have a key in common.
func (s Span) Overlaps(o Span) bool {
	return (len(s.End) == 0 || bytes.Compare(o.Start, s.End) < 0) && (len(o.End) == 0 || bytes.Compare(s.Start, o.End) < 0)
}

// IsEmpty reports whether the span holds no key at all.
func (s Span) IsEmpty() bool { return len(s.End) != 0 && bytes.Compare(s.Start, s.End) >= 0 }

// Clamp is the part of o that lies in s; it may be empty.
func (s Span) Clamp(o Span) Span {
	if bytes.Compare(o.Start, s.Start) < 0 {
		o.Start = s.Start
	}
	if len(s.End) != 0 && (len(o.End) == 0 || bytes.Compare(o.End, s.End) > 0) {
		o.End = s.End
	}
	return o
}
