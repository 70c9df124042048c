package wal

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// The layout is described byte by byte in docs/format.md. All numbers are big-endian.

const (
	formatVersion = 1

	headerBytes = 4096 // the segment header has a block of its own: no later write touches it
	headerMagic = "kvd-wal\n"
	headerUsed  = 44 // bytes of the header that mean something

	frameHeaderBytes = 48
	frameMagic       = 0x6b66 // "kf"
	alignBytes       = 8      // frames and records begin at a multiple

	recordFixedBytes = 34
	recordHeadMax    = recordFixedBytes + 9*binary.MaxVarintLen64
	recordMagic      = 0x6b72 // "kr"
	recordHasState   = 1      // flag

	entryHeaderBytes = 25

	directoryEntryBytes = 56
	directoryDamaged    = 1 // flag
)

// frameType is the type of a frame. Numbers are durable.
type frameType uint8

const (
	frameBatch   frameType = 1 // group records
	frameOpening frameType = 2 // directory as of the start of the segment
	frameClosing frameType = 3 // directory as of the end of the segment; nothing follows it
	frameMark    frameType = 4 // no body: carries only the header's numbers
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentSeed is the part of the checksums' seed that is the same in a whole segment.
func segmentSeed(store, segment uint64) uint32 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], store)
	binary.BigEndian.PutUint64(b[8:], segment)
	return crc32.Checksum(b[:], castagnoli)
}

// seedAt is the checksum's seed at an offset. Multiplying by an odd number is a
// bijection: two offsets of one segment never have the same seed, nor has one offset in
// two segments of different segmentSeed.
func seedAt(segmentSeed, offset uint32) uint32 {
	if invariant.Mutated(invariant.RecycledAccepted) {
		return 0
	}
	return segmentSeed ^ offset*0x9e3779b1
}

func checksum(seed uint32, b []byte) uint32 { return crc32.Update(seed, castagnoli, b) }

func alignUp(n int) int { return (n + alignBytes - 1) &^ (alignBytes - 1) }

// segmentHeader is what the first block of a segment says.
type segmentHeader struct {
	version uint32
	store   uint64
	segment uint64
	size    uint64 // of the file, in bytes
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, headerBytes)
	copy(b, headerMagic)
	binary.BigEndian.PutUint32(b[8:], h.version)
	binary.BigEndian.PutUint32(b[12:], headerBytes)
	binary.BigEndian.PutUint64(b[16:], h.store)
	binary.BigEndian.PutUint64(b[24:], h.segment)
	binary.BigEndian.PutUint64(b[32:], h.size)
	binary.BigEndian.PutUint32(b[40:], checksum(0, b[:40]))
	return b
}

func decodeSegmentHeader(b []byte) (segmentHeader, bool) {
	if len(b) < headerUsed || string(b[:8]) != headerMagic || binary.BigEndian.Uint32(b[40:]) != checksum(0, b[:40]) {
		return segmentHeader{}, false
	}
	return segmentHeader{
		version: binary.BigEndian.Uint32(b[8:]),
		store:   binary.BigEndian.Uint64(b[16:]),
		segment: binary.BigEndian.Uint64(b[24:]),
		size:    binary.BigEndian.Uint64(b[32:]),
	}, true
}

// frame is the header of a frame: of a batch, a directory or a mark.
type frame struct {
	off       uint32 // where it lies; not stored
	crc       uint32 // of the header
	typ       frameType
	bodyBytes uint32 // without padding
	count     uint32 // records of a batch, entries of a directory
	first     uint64 // number of the first record; records are numbered from 1 through the whole log
	synced    uint64 // all records below this number were durable when the frame was written
	base      uint64 // lowest segment that was needed when the frame was written
	prev      uint32 // crc of the frame before it
	bodyCRC   uint32
}

// end is the offset of the next frame.
func (f *frame) end() uint32 { return f.off + frameHeaderBytes + uint32(alignUp(int(f.bodyBytes))) }

// next is the number of the first record after the frame.
func (f *frame) next() uint64 {
	if f.typ == frameBatch {
		return f.first + uint64(f.count)
	}
	return f.first
}

func (f *frame) isDirectory() bool { return f.typ == frameOpening || f.typ == frameClosing }

// encode fills in the first frameHeaderBytes of b and sets crc.
func (f *frame) encode(b []byte, seed uint32) {
	b[4], b[5] = byte(f.typ), 0
	binary.BigEndian.PutUint16(b[6:], frameMagic)
	binary.BigEndian.PutUint32(b[8:], f.bodyBytes)
	binary.BigEndian.PutUint32(b[12:], f.count)
	binary.BigEndian.PutUint64(b[16:], f.first)
	binary.BigEndian.PutUint64(b[24:], f.synced)
	binary.BigEndian.PutUint64(b[32:], f.base)
	binary.BigEndian.PutUint32(b[40:], f.prev)
	binary.BigEndian.PutUint32(b[44:], f.bodyCRC)
	f.crc = checksum(seed, b[4:frameHeaderBytes])
	binary.BigEndian.PutUint32(b, f.crc)
}

func decodeFrame(b []byte, seed uint32) (frame, bool) {
	if len(b) < frameHeaderBytes || binary.BigEndian.Uint16(b[6:]) != frameMagic {
		return frame{}, false
	}
	crc := binary.BigEndian.Uint32(b)
	if crc != checksum(seed, b[4:frameHeaderBytes]) {
		return frame{}, false
	}
	f := frame{
		crc:       crc,
		typ:       frameType(b[4]),
		bodyBytes: binary.BigEndian.Uint32(b[8:]),
		count:     binary.BigEndian.Uint32(b[12:]),
		first:     binary.BigEndian.Uint64(b[16:]),
		synced:    binary.BigEndian.Uint64(b[24:]),
		base:      binary.BigEndian.Uint64(b[32:]),
		prev:      binary.BigEndian.Uint32(b[40:]),
		bodyCRC:   binary.BigEndian.Uint32(b[44:]),
	}
	return f, f.typ >= frameBatch && f.typ <= frameMark
}

// directoryEntry is what a directory says of one group.
type directoryEntry struct {
	group     kv.PartitionID
	sequence  uint64 // of its last record
	low       point
	replica   kv.ReplicaID
	tombstone kv.ReplicaID
	damaged   bool // recovery has found its chain broken: only a new life mends it
}

func (d *directoryEntry) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(d.group))
	b = binary.BigEndian.AppendUint64(b, d.sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(d.low.Index))
	b = binary.BigEndian.AppendUint64(b, uint64(d.low.Term))
	b = binary.BigEndian.AppendUint64(b, uint64(d.replica))
	b = binary.BigEndian.AppendUint64(b, uint64(d.tombstone))
	var flags uint64
	if d.damaged {
		flags = directoryDamaged
	}
	return binary.BigEndian.AppendUint64(b, flags)
}

// decodeDirectory reads count entries; the groups come in rising order.
func decodeDirectory(b []byte, count uint32) ([]directoryEntry, bool) {
	if uint64(len(b)) != uint64(count)*directoryEntryBytes {
		return nil, false
	}
	ds := make([]directoryEntry, count)
	for i := range ds {
		e := b[i*directoryEntryBytes:]
		ds[i] = directoryEntry{
			group:     kv.PartitionID(binary.BigEndian.Uint64(e)),
			sequence:  binary.BigEndian.Uint64(e[8:]),
			low:       point{kv.LogIndex(binary.BigEndian.Uint64(e[16:])), kv.Term(binary.BigEndian.Uint64(e[24:]))},
			replica:   kv.ReplicaID(binary.BigEndian.Uint64(e[32:])),
			tombstone: kv.ReplicaID(binary.BigEndian.Uint64(e[40:])),
			damaged:   binary.BigEndian.Uint64(e[48:])&directoryDamaged != 0,
		}
		if i > 0 && ds[i].group <= ds[i-1].group {
			return nil, false
		}
	}
	return ds, true
}
