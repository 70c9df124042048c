package wal

import (
	"encoding/binary"
	"math"
)

// image is the content of one segment while recovery looks at it. Its methods find what
// has a valid checksum; what that means is decided by replay.
type image struct {
	segment uint64
	seed    uint32
	data    []byte
	// doubt: the file is shorter than it was made, or partly unreadable: what is missing
	// at its end need not be a torn write.
	doubt     bool
	headerBad bool
	entry     Entry // what entrySlots shows: one for all, because it escapes
}

// frameAt is the frame whose header is valid at off; its body need not be.
func (m *image) frameAt(off uint32) (frame, bool) {
	if int64(off)+frameHeaderBytes > int64(len(m.data)) {
		return frame{}, false
	}
	f, ok := decodeFrame(m.data[off:], seedAt(m.seed, off))
	f.off = off
	return f, ok && int64(off)+frameHeaderBytes+int64(f.bodyBytes) <= int64(len(m.data))
}

func (m *image) body(f *frame) []byte {
	from := f.off + frameHeaderBytes
	return m.data[from : from+f.bodyBytes]
}

func (m *image) intact(f *frame) bool {
	return f.bodyCRC == checksum(seedAt(m.seed, f.off+frameHeaderBytes), m.body(f))
}

// scan is the first valid frame at or after from, wherever it begins.
func (m *image) scan(from uint32) (frame, bool) {
	for off := int(from); off+frameHeaderBytes <= len(m.data); off += alignBytes {
		if binary.BigEndian.Uint16(m.data[off+6:]) != frameMagic {
			continue
		}
		if f, ok := m.frameAt(uint32(off)); ok {
			return f, true
		}
	}
	return frame{}, false
}

// lastFrame is the last valid frame of the segment, over damage. What its header says of
// earlier records (synced, base) was true when it was written, and stays true.
func (m *image) lastFrame() (last frame, found bool) {
	for off := uint32(headerBytes); ; {
		f, ok := m.frameAt(off)
		if !ok {
			if f, ok = m.scan(off + alignBytes); !ok {
				return last, found
			}
		}
		last, found = f, true
		if f.typ == frameClosing {
			return last, found
		}
		off = f.end()
	}
}

// remains is the end of the last thing at or after from that has a valid checksum, a
// frame or a record; from itself if there is none.
func (m *image) remains(from uint32) uint32 {
	end := from
	for off := int(from); off+recordFixedBytes <= len(m.data); off += alignBytes {
		b := m.data[off:]
		if binary.BigEndian.Uint16(b[6:]) == frameMagic {
			if _, ok := m.frameAt(uint32(off)); ok {
				end = max(end, uint32(off)+frameHeaderBytes)
			}
		}
		if binary.BigEndian.Uint16(b[4:]) == recordMagic {
			if r, ok := decodeRecord(b, seedAt(m.seed, uint32(off))); ok {
				end = max(end, uint32(off)+r.headLen)
			}
		}
	}
	return end
}

// entrySlots calls use for each entry of a record at off, in order, and reports whether
// all of them were there. With verify each one's checksum is compared.
func (m *image) entrySlots(off uint32, r *record, verify bool, use func(e *Entry, p Position)) bool {
	b := m.data[off : off+r.totalLen]
	at := r.headLen
	e := &m.entry
	var n uint32
	first, ok := uint64(0), false
	for i := range r.entries {
		*e, n, ok = decodeEntry(b[at:], seedAt(m.seed, off+at), verify)
		if i == 0 {
			first = uint64(e.Index)
		}
		if !ok || uint64(e.Index) != first+uint64(i) || e.Index == 0 || e.Index == math.MaxUint64 {
			return false
		}
		use(e, Position{Segment: m.segment, Offset: off + at, Len: n})
		at += n
	}
	return uint32(alignUp(int(at))) == r.totalLen
}
