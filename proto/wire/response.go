package wire

import (
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/kvpb"
)

// The flags of a response frame: which fields follow, in this order.
const (
	hasRows    = 1
	hasFound   = 2
	hasCount   = 4
	hasResume  = 8
	hasSums    = 16
	hasOutcome = 32
	hasTiming  = 64
	hasAll     = hasRows | hasFound | hasCount | hasResume | hasSums | hasOutcome | hasTiming
)

// AppendResponse adds a response frame. Heard does not travel in it but in the batch's head.
func AppendResponse(b []byte, id uint64, a *kv.Response) []byte {
	start := len(b)
	return endFrame(appendResponse(beginFrame(b, FrameResponse, id), a), start)
}

func appendResponse(b []byte, a *kv.Response) []byte {
	b = append(b, flag(len(a.Rows) > 0, hasRows)|flag(len(a.Found) > 0, hasFound)|flag(a.Count != 0, hasCount)|
		flag(len(a.Resume) > 0, hasResume)|flag(len(a.Sums) > 0, hasSums)|flag(a.Outcome != 0, hasOutcome)|
		flag(a.Timing != nil, hasTiming))
	b = appendTimestamp(b, a.Timestamp)
	b = binary.AppendUvarint(b, uint64(a.Term))
	if len(a.Rows) > 0 {
		b = appendRows(b, a.Rows)
	}
	if len(a.Found) > 0 {
		b = appendBits(b, a.Found)
	}
	if a.Count != 0 {
		b = appendVarint(b, a.Count)
	}
	if len(a.Resume) > 0 {
		b = appendBytes(b, a.Resume)
	}
	if len(a.Sums) > 0 {
		b = binary.AppendUvarint(b, uint64(len(a.Sums)))
		for _, s := range a.Sums {
			b = appendVarint(b, s)
		}
	}
	if a.Outcome != 0 {
		b = append(b, byte(a.Outcome))
	}
	if a.Timing != nil {
		b = appendTiming(b, a.Timing)
	}
	return b
}

func appendRows(b []byte, rows []kv.Row) []byte {
	b = binary.AppendUvarint(b, uint64(len(rows)))
	for i := range rows {
		b = appendTimestamp(b, rows[i].Version)
		b = appendBytes(b, rows[i].Key)
		b = appendBytes(b, rows[i].Value)
	}
	return b
}

// appendBits packs eight answers into a byte, the first one into bit 0.
func appendBits(b []byte, bits []bool) []byte {
	b = binary.AppendUvarint(b, uint64(len(bits)))
	for i := 0; i < len(bits); i += 8 {
		var v byte
		for j, on := range bits[i:min(i+8, len(bits))] {
			v |= flag(on, 1<<j)
		}
		b = append(b, v)
	}
	return b
}

// Reply is a decoded response with room for one row, so that the answer to a Get takes no
// further allocation. It must not be copied once decoded.
type Reply struct {
	Response kv.Response
	row      [1]kv.Row
	found    [1]bool
}

// DecodeResponse reads the body of a response frame into a Reply that is zero.
func DecodeResponse(body []byte, p *Reply) *kv.Error {
	r := reader{b: body}
	a := &p.Response
	has := r.u8()
	a.Timestamp = r.timestamp()
	a.Term = kv.Term(r.uvarint())
	if has&hasRows != 0 {
		a.Rows = p.decodeRows(&r)
	}
	if has&hasFound != 0 {
		a.Found = p.decodeBits(&r)
	}
	if has&hasCount != 0 {
		a.Count = r.varint()
	}
	if has&hasResume != 0 {
		a.Resume = r.bytes()
	}
	if has&hasSums != 0 {
		n := r.count()
		a.Sums = make([]int64, 0, n)
		for range n {
			a.Sums = append(a.Sums, r.varint())
		}
	}
	if has&hasOutcome != 0 {
		a.Outcome = kv.Outcome(r.u8())
	}
	if has&hasTiming != 0 {
		a.Timing = decodeTiming(&r)
	}
	if r.bad || len(r.b) != 0 || has&^hasAll != 0 {
		return invalid("a response frame whose length does not fit what it holds")
	}
	return nil
}

func (p *Reply) decodeRows(r *reader) []kv.Row {
	n := r.count()
	rows := p.row[:0]
	if n > 1 {
		rows = make([]kv.Row, 0, n)
	}
	for range n {
		rows = append(rows, kv.Row{Version: r.timestamp(), Key: r.bytes(), Value: r.bytes()})
	}
	return rows
}

func (p *Reply) decodeBits(r *reader) []bool {
	n := r.uvarint()
	if n > 8*uint64(len(r.b)) {
		r.fail()
		return nil
	}
	bits := p.found[:0]
	if n > 1 {
		bits = make([]bool, 0, n)
	}
	var v byte
	for i := range int(n) {
		if i%8 == 0 {
			v = r.u8()
		}
		bits = append(bits, v>>(i%8)&1 != 0)
	}
	return bits
}

// AppendError adds an error frame: a kvpb.Error, since errors are rare and have many fields.
func AppendError(b []byte, id uint64, e *kv.Error) []byte {
	start := len(b)
	return endFrame(appendError(beginFrame(b, FrameError, id), e), start)
}

func appendError(b []byte, e *kv.Error) []byte {
	// It cannot fail: ErrorMessage leaves no string that is not UTF-8.
	b, _ = proto.MarshalOptions{}.MarshalAppend(b, ErrorMessage(e))
	return b
}

// DecodeError reads the body of an error frame. What it returns aliases nothing.
func DecodeError(body []byte) *kv.Error {
	var m kvpb.Error
	if err := proto.Unmarshal(body, &m); err != nil {
		return invalid("an error frame: %v", err)
	}
	return ErrorOf(&m)
}
