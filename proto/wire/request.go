package wire

import (
	"encoding/binary"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// The parts of a request frame. What is rare has a part of its own, so that what is frequent is short.
const (
	partRead        = 1
	partScan        = 2
	partCommit      = 3 // without Age and Parts
	partOutcome     = 4 // as AskFinal
	partReadStamped = 5
	partTransaction = 6 // a commit with Age, Parts or both
	partReadStale   = 7 // a read with a claim or anything of kv.Stale
	partsOfClients  = partReadStale
	partAsk         = 8 // the parts from here on come from nodes only
	partPrepare     = 9
	partResolve     = 10
	partLock        = 11 // a Prepare in memory
	partStage       = 12
	partsOfNodes    = partStage

	partTraced = 0x80 // beside any part: the answer is to have its timing
)

// The flags of a scan.
const (
	scanReverse   = 1
	scanKeysOnly  = 2
	scanCountOnly = 4
	scanFollower  = 8
	scanNotBefore = 16 // a timestamp follows
	scanFlagsAll  = scanReverse | scanKeysOnly | scanCountOnly | scanFollower | scanNotBefore
)

// The flags of a stale read.
const (
	readStamped  = 1
	readFollower = 2
	readClaim    = 4 // an age follows
	readFlagsAll = readStamped | readFollower | readClaim
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
	return endFrame(appendRequest(b, q), start)
}

func appendRequest(b []byte, q *kv.Request) []byte {
	b = binary.AppendUvarint(b, uint64(q.Partition))
	b = binary.AppendUvarint(b, uint64(q.Generation))
	part := len(b)
	b = appendPart(b, q)
	b[part] |= flag(q.Trace, partTraced)
	return b
}

// appendPart begins with the number of the part.
func appendPart(b []byte, q *kv.Request) []byte {
	switch {
	case q.Read != nil:
		return appendRead(b, q.Read)
	case q.Scan != nil:
		return appendScan(append(b, partScan), q.Scan)
	case q.Commit != nil:
		return appendCommit(b, q.Commit)
	case q.Outcome != nil:
		return appendOutcome(b, q.Outcome)
	case q.Prepare != nil:
		return appendPrepare(b, q.Prepare)
	case q.Stage != nil:
		return appendStage(append(b, partStage), q.Stage)
	case q.Resolve != nil:
		return appendResolve(append(b, partResolve), q.Resolve)
	}
	return append(b, 0)
}

func appendRead(b []byte, q *kv.Read) []byte {
	switch {
	case q.Stale != kv.Stale{} || !q.Claim.IsZero():
		b = append(b, partReadStale, flag(q.Stamped, readStamped)|flag(q.Follower, readFollower)|flag(!q.Claim.IsZero(), readClaim))
		b = appendTimestamp(b, q.NotBefore)
		if !q.Claim.IsZero() {
			b = append(b, q.Claim[:]...)
		}
	case q.Stamped:
		b = append(b, partReadStamped)
	default:
		b = append(b, partRead)
	}
	b = appendTimestamp(b, q.Timestamp)
	b = binary.AppendUvarint(b, uint64(len(q.Keys)))
	for _, k := range q.Keys {
		b = appendBytes(b, k)
	}
	return b
}

func appendScan(b []byte, q *kv.Scan) []byte {
	b = appendTimestamp(b, q.Timestamp)
	b = append(b, flag(q.Reverse, scanReverse)|flag(q.KeysOnly, scanKeysOnly)|flag(q.CountOnly, scanCountOnly)|
		flag(q.Follower, scanFollower)|flag(q.NotBefore != 0, scanNotBefore))
	if q.NotBefore != 0 {
		b = appendTimestamp(b, q.NotBefore)
	}
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
	transaction := !q.Age.IsZero() || len(q.Parts) > 0
	if transaction {
		b = append(append(b, partTransaction), q.Age[:]...)
	} else {
		b = append(b, partCommit)
	}
	b = append(b, q.ID[:]...)
	b = binary.AppendUvarint(b, uint64(q.Term))
	b = appendTimestamp(b, q.AsOf)
	b = appendTimestamp(b, q.Start)
	b = appendBody(b, q.Reads, q.Spans, q.Writes)
	if !transaction {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(q.Parts)))
	for i := range q.Parts {
		p := &q.Parts[i]
		b = binary.AppendUvarint(b, uint64(p.Partition))
		b = binary.AppendUvarint(b, uint64(p.Generation))
		b = appendBody(b, p.Reads, p.Spans, p.Writes)
	}
	return b
}

// appendBody lays out what a transaction reads and writes in one partition.
func appendBody(b []byte, reads []kv.ReadMark, spans []kv.Span, writes []kv.Write) []byte {
	b = binary.AppendUvarint(b, uint64(len(reads)))
	for i := range reads {
		b = appendBytes(b, reads[i].Key)
	}
	b = binary.AppendUvarint(b, uint64(len(spans)))
	for _, s := range spans {
		b = appendSpan(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(writes)))
	for i := range writes {
		b = appendWrite(b, &writes[i])
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
	if q.Ask == kv.AskFinal && q.At == 0 {
		b = append(b, partOutcome)
	} else {
		b = appendTimestamp(append(b, partAsk, byte(q.Ask)), q.At)
	}
	b = append(b, q.ID[:]...)
	b = binary.AppendUvarint(b, uint64(q.Term))
	b = appendTimestamp(b, q.AsOf)
	return appendBytes(b, q.Anchor)
}

// DecodeRequest reads the body of a client's request frame into an Op that is zero. What only nodes
// ask of each other is refused: see DecodeCall.
func DecodeRequest(body []byte, op *Op) *kv.Error {
	r := reader{b: body}
	op.Timeout = time.Duration(min(r.uvarint(), uint64(TimeoutMax/time.Millisecond))) * time.Millisecond
	return op.decode(&r, partsOfClients)
}

// decode reads a request whose part is one of the first so many.
func (op *Op) decode(r *reader, parts uint8) *kv.Error {
	op.Request.Partition = kv.PartitionID(r.uvarint())
	op.Request.Generation = kv.Generation(r.uvarint())
	part := r.u8()
	op.Request.Trace = part&partTraced != 0
	part &^= partTraced
	if part > parts {
		return invalid("a request with part %d: the parts here are 1 to %d", part, parts)
	}
	switch part {
	case partRead, partReadStamped:
		op.read.Stamped = part == partReadStamped
		op.decodeRead(r)
	case partReadStale:
		flags := r.u8()
		if flags&^readFlagsAll != 0 {
			r.fail()
		}
		op.read.Stamped, op.read.Follower = flags&readStamped != 0, flags&readFollower != 0
		op.read.NotBefore = r.timestamp()
		if flags&readClaim != 0 {
			if op.read.Claim = r.age(); op.read.Claim.IsZero() {
				r.fail()
			}
		}
		op.decodeRead(r)
	case partScan:
		op.decodeScan(r)
	case partCommit:
		op.decodeCommit(r)
	case partTransaction:
		op.decodeTransaction(r)
	case partOutcome:
		op.Request.Outcome = decodeOutcome(r)
	case partAsk:
		op.Request.Outcome = decodeAsk(r)
	case partPrepare, partLock:
		op.Request.Prepare = decodePrepare(r, part == partLock)
	case partStage:
		op.Request.Stage = decodeStage(r)
	case partResolve:
		op.Request.Resolve = &kv.Resolve{ID: r.id(), Commit: r.timestamp()}
	default:
		return invalid("a request without a part: the parts here are 1 to %d", parts)
	}
	if r.bad || len(r.b) != 0 {
		return invalid("a request whose length does not fit what it holds")
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
	q.Follower = flags&scanFollower != 0
	if flags&scanNotBefore != 0 {
		q.NotBefore = r.timestamp()
	}
	q.Keys = int(min(r.uvarint(), kv.ScanPageKeysMax))
	q.Bytes = int(min(r.uvarint(), kv.ScanPageBytesMax))
	q.Span = r.span()
	op.Request.Scan = q
}

func (op *Op) decodeCommit(r *reader) {
	c := &op.commit
	c.ID, c.Term, c.AsOf, c.Start = r.id(), kv.Term(r.uvarint()), r.timestamp(), r.timestamp()
	c.Reads, c.Spans, c.Writes = decodeBody(r, op.write[:0])
	op.Request.Commit = c
}

func (op *Op) decodeTransaction(r *reader) {
	op.commit.Age = r.age()
	op.decodeCommit(r)
	n := r.count()
	if n == 0 {
		return
	}
	parts := make([]kv.Part, 0, n)
	for range n {
		p := kv.Part{Partition: kv.PartitionID(r.uvarint()), Generation: kv.Generation(r.uvarint())}
		p.Reads, p.Spans, p.Writes = decodeBody(r, nil)
		parts = append(parts, p)
	}
	op.commit.Parts = parts
}

// decodeBody reads what appendBody wrote; the writes go to room if there is enough of it.
func decodeBody(r *reader, room []kv.Write) (reads []kv.ReadMark, spans []kv.Span, writes []kv.Write) {
	if n := r.count(); n > 0 {
		reads = make([]kv.ReadMark, 0, n)
		for range n {
			reads = append(reads, kv.ReadMark{Key: r.bytes()})
		}
	}
	if n := r.count(); n > 0 {
		spans = make([]kv.Span, 0, n)
		for range n {
			spans = append(spans, r.span())
		}
	}
	n := r.count()
	writes = room
	if n > cap(room) {
		writes = make([]kv.Write, 0, n)
	}
	for range n {
		writes = append(writes, decodeWrite(r))
	}
	return reads, spans, writes
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
