package mvcc

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/kvd-db/kvd/kv"
)

// MaxTimestamp, as the timestamp of a read, means the newest version. No version carries it.
const MaxTimestamp = kv.Timestamp(math.MaxUint64)

// The kinds of engine keys: the first byte. Durable.
const (
	kindReplica byte = 0x01 // state of a replica, by partition
	kindSystem  byte = 0x02 // unversioned small records
	kindData    byte = 0x03 // versions, by full key
	kindLock    byte = 0x04 // locks, by full key
	kindRecord  byte = 0x05 // transaction records, by the anchor's full key
)

const sentinel byte = 0x00

// Lengths of suffixes in bytes, the length byte included. Durable.
const (
	versionSuffixBytes = 8 + 1
	recordSuffixBytes  = 16 + 1
	lockSuffixBytes    = 1 + 16 + 1
)

// fullKeyBytesMax bounds a full key: a user key with the longest prefix before it.
const fullKeyBytesMax = kv.KeyBytesMax + kv.KeyspacePrefixBytes + kv.BucketBytes

// appendPrefix appends the engine key of a full key without suffix.
func appendPrefix(dst []byte, kind byte, k []byte) []byte {
	dst = append(dst, kind)
	dst = append(dst, k...)
	return append(dst, sentinel)
}

func appendVersion(dst []byte, ts kv.Timestamp) []byte {
	dst = binary.BigEndian.AppendUint64(dst, ^uint64(ts))
	return append(dst, versionSuffixBytes)
}

// appendDataKey appends the engine key of one version.
func appendDataKey(dst []byte, k kv.Key, ts kv.Timestamp) []byte {
	return appendVersion(appendPrefix(dst, kindData, k), ts)
}

// splitDataKey takes the engine key of a version apart; the full key aliases ek.
func splitDataKey(ek []byte) (kv.Key, kv.Timestamp, error) {
	n := len(ek) - versionSuffixBytes
	if n < 2 || ek[0] != kindData || ek[len(ek)-1] != versionSuffixBytes || ek[n-1] != sentinel {
		return nil, 0, kv.Errorf(kv.Corruption, "engine key %x is not the key of a version: replace this replica", ek)
	}
	return kv.Key(ek[1 : n-1]), kv.Timestamp(^binary.BigEndian.Uint64(ek[n:])), nil
}

// samePrefix reports whether ek belongs to the key whose engine key without suffix is prefix.
func samePrefix(ek, prefix []byte) bool {
	return bytes.Equal(ek[:splitKey(ek)], prefix)
}

// spanBounds are the engine keys [lo, hi) that hold a span of full keys under a kind.
func spanBounds(kind byte, s kv.Span) (lo, hi []byte) {
	lo = appendPrefix(make([]byte, 0, len(s.Start)+2), kind, s.Start)
	if len(s.End) == 0 {
		return lo, appendPrefix(nil, kind+1, nil)
	}
	return lo, appendPrefix(make([]byte, 0, len(s.End)+2), kind, s.End)
}

// The records of a replica's state: the byte after the partition. Durable.
const (
	stateRecord   byte = 0x01 // everything that changes rarely
	stateApplied  byte = 0x02 // index, term: written on every apply
	stateCounters byte = 0x03
)

const stateKeyBytes = 1 + 8 + 1 + 1

func appendStateKey(dst []byte, p kv.PartitionID, sub byte) []byte {
	dst = append(dst, kindReplica)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p))
	return append(dst, sub, sentinel)
}

func splitStateKey(ek []byte) (p kv.PartitionID, sub byte, err error) {
	if len(ek) != stateKeyBytes || ek[0] != kindReplica || ek[stateKeyBytes-1] != sentinel {
		return 0, 0, kv.Errorf(kv.Corruption, "engine key %x is not the key of a replica's state: replace this store", ek)
	}
	return kv.PartitionID(binary.BigEndian.Uint64(ek[1:])), ek[9], nil
}

// stateBounds are the engine keys of one replica's state.
func stateBounds(p kv.PartitionID) (lo, hi []byte) {
	return appendStateKey(nil, p, 0x00), appendStateKey(nil, p, 0xff)
}

func appendSystemKey(dst []byte, key string) []byte {
	dst = append(dst, kindSystem)
	dst = append(dst, key...)
	return append(dst, sentinel)
}

func splitSystemKey(ek []byte) (string, error) {
	if len(ek) < 2 || ek[0] != kindSystem || ek[len(ek)-1] != sentinel {
		return "", kv.Errorf(kv.Corruption, "engine key %x is not the key of a system record: replace this store", ek)
	}
	return string(ek[1 : len(ek)-1]), nil
}

// systemBounds are the engine keys of the system records whose keys begin with prefix.
func systemBounds(prefix string) (lo, hi []byte) {
	lo = appendSystemKey(nil, prefix)
	end := kv.PrefixEnd([]byte(prefix))
	if end == nil {
		return lo, appendPrefix(nil, kindSystem+1, nil)
	}
	return lo, appendSystemKey(nil, string(end))
}
