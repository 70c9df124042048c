package wal

import (
	"encoding/binary"
	"math"

	"github.com/kvd-db/kvd/kv"
)

// record is one group's part of a batch frame, decoded. Its entries are decoded one by
// one: see entriesAt.
type record struct {
	group    kv.PartitionID
	sequence uint64
	mark     MarkKind
	hasState bool
	state    state // if hasState: all of the group's state after the record
	entries  uint32
	headLen  uint32 // bytes of the head; the entries follow it
	totalLen uint32 // bytes of head, entries and padding
}

// encoder appends frames to buf, whose first byte will lie at offset base of a segment.
type encoder struct {
	buf  []byte
	base uint32
	seed uint32 // segmentSeed
}

func (e *encoder) reset(base, seed uint32) { e.buf, e.base, e.seed = e.buf[:0], base, seed }

// offset is where the next byte will lie.
func (e *encoder) offset() uint32 { return e.base + uint32(len(e.buf)) }

// grow appends n bytes of any content: the caller fills them.
func (e *encoder) grow(n int) {
	if cap(e.buf)-len(e.buf) < n {
		e.buf = append(e.buf, make([]byte, n)...)
		return
	}
	e.buf = e.buf[:len(e.buf)+n]
}

func (e *encoder) pad() {
	for len(e.buf)%alignBytes != 0 {
		e.buf = append(e.buf, 0)
	}
}

// beginFrame leaves room for a frame's header and returns where in buf it begins.
func (e *encoder) beginFrame() int {
	at := len(e.buf)
	e.grow(frameHeaderBytes)
	return at
}

// endFrame fills in the header of the frame that begins at `at`: everything behind it is
// the body.
func (e *encoder) endFrame(at int, f *frame) {
	f.off = e.base + uint32(at)
	body := e.buf[at+frameHeaderBytes:]
	f.bodyBytes = uint32(len(body))
	f.bodyCRC = checksum(seedAt(e.seed, f.off+frameHeaderBytes), body)
	f.encode(e.buf[at:], seedAt(e.seed, f.off))
	e.pad()
}

// record appends one group record and writes the positions of its entries, and then its
// own, to pos, which has room for exactly these.
func (e *encoder) record(a *Append, sequence uint64, st *state, hasState bool, pos []Position) {
	at := len(e.buf)
	e.grow(recordFixedBytes)
	if hasState {
		e.buf = st.encode(e.buf)
	}
	headLen := len(e.buf) - at
	for i := range a.Entries {
		pos[i].Offset = e.offset()
		pos[i].Len = e.entry(&a.Entries[i])
	}
	e.pad()
	h := e.buf[at : at+headLen]
	binary.BigEndian.PutUint16(h[4:], recordMagic)
	binary.BigEndian.PutUint16(h[6:], uint16(headLen))
	binary.BigEndian.PutUint64(h[8:], uint64(a.Group))
	binary.BigEndian.PutUint64(h[16:], sequence)
	binary.BigEndian.PutUint32(h[24:], uint32(len(a.Entries)))
	binary.BigEndian.PutUint32(h[28:], uint32(len(e.buf)-at))
	h[32], h[33] = byte(a.Mark.Kind), 0
	if hasState {
		h[33] = recordHasState
	}
	off := e.base + uint32(at)
	binary.BigEndian.PutUint32(h, checksum(seedAt(e.seed, off), h[4:]))
	pos[len(a.Entries)] = Position{Offset: off, Len: uint32(headLen)}
}

// entry appends one entry and returns its length.
func (e *encoder) entry(x *Entry) uint32 {
	at := len(e.buf)
	e.grow(entryHeaderBytes)
	h := e.buf[at:]
	binary.BigEndian.PutUint32(h[4:], uint32(len(x.Data)))
	binary.BigEndian.PutUint64(h[8:], uint64(x.Index))
	binary.BigEndian.PutUint64(h[16:], uint64(x.Term))
	h[24] = x.Type
	e.buf = append(e.buf, x.Data...)
	b := e.buf[at:]
	binary.BigEndian.PutUint32(b, checksum(seedAt(e.seed, e.base+uint32(at)), b[4:]))
	return uint32(len(b))
}

func (s *state) encode(b []byte) []byte {
	for _, v := range [...]uint64{
		uint64(s.replica), uint64(s.tombstone),
		uint64(s.low.Index), uint64(s.low.Term),
		uint64(s.install.Index), uint64(s.install.Term),
		uint64(s.hard.Term), uint64(s.hard.Vote), uint64(s.hard.Commit),
	} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func decodeState(b []byte) (state, bool) {
	var v [9]uint64
	for i := range v {
		x, n := binary.Uvarint(b)
		if n <= 0 {
			return state{}, false
		}
		v[i], b = x, b[n:]
	}
	return state{
		replica: kv.ReplicaID(v[0]), tombstone: kv.ReplicaID(v[1]),
		low:     point{kv.LogIndex(v[2]), kv.Term(v[3])},
		install: point{kv.LogIndex(v[4]), kv.Term(v[5])},
		hard:    HardState{Term: kv.Term(v[6]), Vote: kv.ReplicaID(v[7]), Commit: kv.LogIndex(v[8])},
	}, len(b) == 0
}

// decodeRecord reads the head of a record at the start of b, which may be longer. The
// checksum is compared always: seed is that of the record's offset.
func decodeRecord(b []byte, seed uint32) (record, bool) {
	if len(b) < recordFixedBytes || binary.BigEndian.Uint16(b[4:]) != recordMagic {
		return record{}, false
	}
	headLen := int(binary.BigEndian.Uint16(b[6:]))
	if headLen < recordFixedBytes || headLen > recordHeadMax || headLen > len(b) {
		return record{}, false
	}
	if binary.BigEndian.Uint32(b) != checksum(seed, b[4:headLen]) {
		return record{}, false
	}
	r := record{
		group:    kv.PartitionID(binary.BigEndian.Uint64(b[8:])),
		sequence: binary.BigEndian.Uint64(b[16:]),
		entries:  binary.BigEndian.Uint32(b[24:]),
		totalLen: binary.BigEndian.Uint32(b[28:]),
		mark:     MarkKind(b[32]),
		hasState: b[33] == recordHasState,
		headLen:  uint32(headLen),
	}
	least := uint64(headLen) + uint64(r.entries)*entryHeaderBytes
	if r.sequence == 0 || uint64(r.totalLen) < least || uint64(r.totalLen) > uint64(len(b)) || r.mark > MarkForget || b[33] > recordHasState {
		return record{}, false
	}
	if !r.hasState {
		return r, headLen == recordFixedBytes && r.mark == MarkNone
	}
	ok := false
	r.state, ok = decodeState(b[recordFixedBytes:headLen])
	return r, ok
}

// decodeEntry reads one entry at the start of b and returns its length in bytes. Data
// aliases b. With verify the checksum is compared.
func decodeEntry(b []byte, seed uint32, verify bool) (Entry, uint32, bool) {
	if len(b) < entryHeaderBytes {
		return Entry{}, 0, false
	}
	n := uint64(entryHeaderBytes) + uint64(binary.BigEndian.Uint32(b[4:]))
	if n > uint64(len(b)) || n > math.MaxUint32 {
		return Entry{}, 0, false
	}
	if verify && binary.BigEndian.Uint32(b) != checksum(seed, b[4:n]) {
		return Entry{}, 0, false
	}
	return Entry{
		Index: kv.LogIndex(binary.BigEndian.Uint64(b[8:])),
		Term:  kv.Term(binary.BigEndian.Uint64(b[16:])),
		Type:  b[24],
		Data:  b[entryHeaderBytes:n:n],
	}, uint32(n), true
}
