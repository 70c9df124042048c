package mvcc

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/kvd-db/kvd/kv"
)

// A replica's snapshot travels as chunks. They hold engine keys and stored values, not
// tables: two nodes need to agree on docs/format.md only, not on a version of Pebble.
//
//	[format, 1][type, 1][partition, 8][number from 0, 4][body][CRC32C of all before, 4]
const (
	chunkFormat byte = 1

	chunkHeader  byte = 1 // first: what follows
	chunkEntries byte = 2
	chunkEnd     byte = 3 // last: the totals

	chunkHeaderBytes  = 1 + 1 + 8 + 4
	chunkTrailerBytes = 4
)

// ChunkBytesDefault is when a chunk is closed; ChunkBytesMax is the length of the longest one,
// with one entry of the longest key and value.
const (
	ChunkBytesDefault = 256 << 10
	ChunkBytesMax     = ChunkBytesDefault + kv.ValueBytesMax + fullKeyBytesMax + 1<<10
)

// chunk is a decoded chunk; body aliases the input.
type chunk struct {
	kind      byte
	partition kv.PartitionID
	number    uint32
	body      []byte
	sum       uint32
}

func beginChunk(dst []byte, kind byte, p kv.PartitionID, number uint32) []byte {
	dst = append(dst, chunkFormat, kind)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p))
	return binary.BigEndian.AppendUint32(dst, number)
}

// sealChunk appends the checksum, and returns it too.
func sealChunk(b []byte) ([]byte, uint32) {
	sum := crc32.Checksum(b, castagnoli)
	return binary.BigEndian.AppendUint32(b, sum), sum
}

func decodeChunk(b []byte) (chunk, error) {
	n := len(b) - chunkTrailerBytes
	if n < chunkHeaderBytes {
		return chunk{}, kv.Errorf(kv.Corruption, "a chunk of a snapshot has %d bytes, at least %d are needed: send the snapshot again", len(b), chunkHeaderBytes+chunkTrailerBytes)
	}
	sum := binary.BigEndian.Uint32(b[n:])
	if crc32.Checksum(b[:n], castagnoli) != sum {
		return chunk{}, kv.Errorf(kv.Corruption, "the checksum of a chunk of a snapshot is wrong: send the snapshot again")
	}
	if b[0] != chunkFormat {
		return chunk{}, kv.Errorf(kv.Invalid, "a chunk of a snapshot has format %d, this binary knows %d: run nodes of neighbouring versions", b[0], chunkFormat)
	}
	return chunk{
		kind:      b[1],
		partition: kv.PartitionID(binary.BigEndian.Uint64(b[2:])),
		number:    binary.BigEndian.Uint32(b[10:]),
		body:      b[chunkHeaderBytes:n],
		sum:       sum,
	}, nil
}

// snapshotTotals close a snapshot, so that a missing chunk is noticed.
type snapshotTotals struct {
	entries uint64
	bytes   uint64 // of engine keys and stored values
	sums    uint32 // CRC32C over the checksums of all chunks before, in order
}

func (t *snapshotTotals) addChunk(sum uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], sum)
	t.sums = crc32.Update(t.sums, castagnoli, b[:])
}

func (t *snapshotTotals) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, t.entries)
	dst = binary.BigEndian.AppendUint64(dst, t.bytes)
	return binary.BigEndian.AppendUint32(dst, t.sums)
}

func decodeTotals(b []byte) (t snapshotTotals, err error) {
	c := cursor{b: b}
	t.entries, t.bytes, t.sums = c.uint64(), c.uint64(), c.uint32()
	return t, c.done("the end of a snapshot")
}

// SnapshotArgs say what a snapshot of a replica holds.
type SnapshotArgs struct {
	Partition kv.PartitionID
	Span      kv.Span // its data, locks and records
	// SystemPrefix adds the system records whose keys begin with it; empty: none.
	SystemPrefix string
	ChunkBytes   int // 0 = ChunkBytesDefault
}

func appendSnapshotHeader(dst []byte, a *SnapshotArgs, s *ReplicaState) []byte {
	dst = appendBytes(dst, a.Span.Start)
	dst = appendBytes(dst, a.Span.End)
	dst = appendBytes(dst, []byte(a.SystemPrefix))
	dst = appendApplied(dst, s.Applied, s.AppliedTerm)
	dst = appendCounters(dst, s.Counters)
	return appendStateRecord(dst, s)
}

func decodeSnapshotHeader(b []byte) (a SnapshotArgs, s ReplicaState, err error) {
	c := cursor{b: b}
	a.Span.Start = c.bytes()
	a.Span.End = c.bytes()
	a.SystemPrefix = string(c.view())
	s.Applied, s.AppliedTerm = kv.LogIndex(c.uint64()), kv.Term(c.uint64())
	s.Counters = c.counters()
	if c.bad {
		return a, s, c.done("the beginning of a snapshot")
	}
	err = decodeStateRecord(c.b, &s)
	a.Partition = s.Descriptor.Partition
	return a, s, err
}

// sections are the engine keys [lo, hi) that a snapshot holds, in order.
func (a *SnapshotArgs) sections() []section {
	var out []section
	if a.SystemPrefix != "" {
		lo, hi := systemBounds(a.SystemPrefix)
		out = append(out, newSection(kindSystem, lo, hi))
	}
	for _, kind := range [...]byte{kindData, kindLock, kindRecord} {
		lo, hi := spanBounds(kind, a.Span)
		out = append(out, newSection(kind, lo, hi))
	}
	return out
}

// section is a range of engine keys of one kind.
type section struct {
	kind     byte
	lo, hi   []byte // what a snapshot holds
	from, to []byte // what it replaces: as much, or more
}

func newSection(kind byte, lo, hi []byte) section {
	return section{kind: kind, lo: lo, hi: hi, from: lo, to: hi}
}
