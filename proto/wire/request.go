package wire

import (
	"encoding/binary"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// The parts of a request frame.
const (
	partRead    = 1
	partScan    = 2
	partCommit  = 3
	partOutcome = 4
)

// The flags of a scan.
const (
	scanReverse   = 1
	scanKeysOnly  = 2
	scanCountOnly = 4
	scanFlagsAll  = scanReverse | scanKeysOnly | scanCountOnly
)

// Op is a decoded request with room for its parts, so that a read or write of one key takes
// a single allocation, or none in a slab. It must not be copied once decoded: Request points into it.
type Op struct {
	Timeout time.Duration // from arrival; 0 = kv.RequestTimeoutDefault
	Request kv.Request

	read   kv.Read
	commit kv.Commit
	key    [1]kv.Key
	write  [1]kv.Write
}

// AppendRequest adds a request frame. The request must have exactly one part.
func AppendRequest(b []byte, id uint64, timeout time.Duration, q *kv.Request) []byte {
	start := len(b)
	b = beginFrame(b, FrameRequest, id)
	b = binary.AppendUvarint(b, uint64(min(max(timeout, 0), TimeoutMax)/time.Millisecond))
	b = binary.AppendUvarint(b, uint64(q.Partition))
	b = binary.AppendUvarint(b, uint64(q.Generation))
	switch {
	case q.Read != nil:
		b = appendRead(append(b, partRead), q.Read)
	case q.Scan != nil:
		b = appendScan(append(b, partScan), q.Scan)
	case q.Commit != nil:
		b = appendCommit(append(b, partCommit), q.Commit)
	case q.Outcome != nil:
		b = appendOutcome(append(b, partOutcome), q.Outcome)
	default:
		b = append(b, 0)
	}
	return endFrame(b, start)
}

func appendRead(b []byte, q *kv.Read) []byte {
	b = appendTimestamp(b, q.Timestamp)
	b = binary.AppendUvarint(b, uint64(len(q.Keys)))
	for _, k := range q.Keys {
		b = appendBytes(b, k)
	}
	return b
}

func appendScan(b []byte, q *kv.Scan) []byte {
	b = appendTimestamp(b, q.Timestamp)
	b = append(b, flag(q.Reverse, scanReverse)|flag(q.KeysOnly, scanKeysOnly)|flag(q.CountOnly, scanCountOnly))
	b = binary.AppendUvarint(b, uint64(max(q.Keys, 0)))
	b = binary.AppendUvarint(b, uint64(max(q.Bytes, 0)))
	return appendSpan(b, q.Span)
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

func appendCommit(b []byte, q *kv.Commit) []byte {
	b = append(b, q.ID[:]...)
	b = binary.AppendUvarint(b, uint64(q.Term))
	b = appendTimestamp(b, q.AsOf)
	b = appendTimestamp(b, q.Start)
	b = binary.AppendUvarint(b, uint64(len(q.Reads)))
	for i := range q.Reads {
		b = appendBytes(b, q.Reads[i].Key)
	}
	b = binary.AppendUvarint(b, uint64(len(q.Spans)))
	for _, s := range q.Spans {
		b = appendSpan(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(q.Writes)))
	for i := range q.Writes {
		b = appendWrite(b, &q.Writes[i])
	}
	return b
}

// appendWrite lays out a write: its first byte holds both kinds, 4 bits each.
func appendWrite(b []byte, w *kv.Write) []byte {
	b = append(b, byte(w.Kind)|byte(w.Expect.Kind)<<4)
	b = appendBytes(b, w.Key)
	switch w.Kind {
	case kv.WritePut:
		b = appendBytes(b, w.Value)
	case kv.WriteAdd:
		b = appendVarint(b, w.Delta)
	}
	switch w.Expect.Kind {
	case kv.ExpectVersion:
		b = appendTimestamp(b, w.Expect.Version)
	case kv.ExpectValue:
		b = appendBytes(b, w.Expect.Value)
	}
	return b
}

func appendOutcome(b []byte, q *kv.OutcomeOf) []byte {
	b = append(b, q.ID[:]...)
	b = binary.AppendUvarint(b, uint64(q.Term))
	b = appendTimestamp(b, q.AsOf)
	return appendBytes(b, q.Anchor)
}

// DecodeRequest reads the body of a request frame into an Op that is zero.
func DecodeRequest(body []byte, op *Op) *kv.Error {
	r := reader{b: body}
	op.Timeout = time.Duration(min(r.uvarint(), uint64(TimeoutMax/time.Millisecond))) * time.Millisecond
	op.Request.Partition = kv.PartitionID(r.uvarint())
	op.Request.Generation = kv.Generation(r.uvarint())
	switch part := r.u8(); part {
	case partRead:
		op.decodeRead(&r)
	case partScan:
		op.decodeScan(&r)
	case partCommit:
		op.decodeCommit(&r)
	case partOutcome:
		op.Request.Outcome = &kv.OutcomeOf{ID: r.id(), Term: kv.Term(r.uvarint()), AsOf: r.timestamp(), Anchor: r.bytes()}
	default:
		return invalid("a request with part %d: the parts are 1 to 4", part)
	}
	if r.bad || len(r.b) != 0 {
		return invalid("a request frame whose length does not fit what it holds")
	}
	return nil
}

func (op *Op) decodeRead(r *reader) {
	op.read.Timestamp = r.timestamp()
	n := r.count()
	keys := op.key[:0]
	if n > 1 {
		keys = make([]kv.Key, 0, n)
	}
	for range n {
		keys = append(keys, r.bytes())
	}
	op.read.Keys = keys
	op.Request.Read = &op.read
}

func (op *Op) decodeScan(r *reader) {
	q := &kv.Scan{Timestamp: r.timestamp()}
	flags := r.u8()
	if flags&^scanFlagsAll != 0 {
		r.fail()
	}
	q.Reverse = flags&scanReverse != 0
	q.KeysOnly = flags&scanKeysOnly != 0
	q.CountOnly = flags&scanCountOnly != 0
	q.Keys = int(min(r.uvarint(), kv.ScanPageKeysMax))
	q.Bytes = int(min(r.uvarint(), kv.ScanPageBytesMax))
	q.Span = r.span()
	op.Request.Scan = q
}

func (op *Op) decodeCommit(r *reader) {
	c := &op.commit
	c.ID, c.Term, c.AsOf, c.Start = r.id(), kv.Term(r.uvarint()), r.timestamp(), r.timestamp()
	if n := r.count(); n > 0 {
		c.Reads = make([]kv.ReadMark, 0, n)
		for range n {
			c.Reads = append(c.Reads, kv.ReadMark{Key: r.bytes()})
		}
	}
	if n := r.count(); n > 0 {
		c.Spans = make([]kv.Span, 0, n)
		for range n {
			c.Spans = append(c.Spans, r.span())
		}
	}
	n := r.count()
	writes := op.write[:0]
	if n > 1 {
		writes = make([]kv.Write, 0, n)
	}
	for range n {
		writes = append(writes, decodeWrite(r))
	}
	c.Writes = writes
	op.Request.Commit = c
}

func decodeWrite(r *reader) (w kv.Write) {
	kinds := r.u8()
	w.Kind, w.Expect.Kind = kv.WriteKind(kinds&15), kv.ExpectKind(kinds>>4)
	w.Key = r.bytes()
	switch w.Kind {
	case kv.WritePut:
		w.Value = r.bytes()
	case kv.WriteDelete:
	case kv.WriteAdd:
		w.Delta = r.varint()
	default:
		r.fail()
	}
	switch w.Expect.Kind {
	case kv.ExpectNothing, kv.ExpectAbsent:
	case kv.ExpectVersion:
		w.Expect.Version = r.timestamp()
	case kv.ExpectValue:
		w.Expect.Value = r.bytes()
	default:
		r.fail()
	}
	return w
}
