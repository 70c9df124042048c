package partition

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// fullKeyBytesMax is the longest full key of any scheme.
const fullKeyBytesMax = kv.KeyspacePrefixBytes + kv.BucketBytes + kv.KeyBytesMax

// checkKey insists on a key that lies here.
func (l *leader) checkKey(k kv.Key) *kv.Error {
	if len(k) > fullKeyBytesMax {
		return kv.LimitError("the length of a key in bytes", kv.KeyBytesMax, int64(len(k)-kv.KeyspacePrefixBytes-kv.BucketBytes), "use a shorter key")
	}
	if !l.desc.Span.Contains(k) {
		return l.wrongPartition(k)
	}
	return nil
}

func (l *leader) checkSpan(s kv.Span) *kv.Error {
	if !l.desc.Span.ContainsSpan(s) {
		if !l.desc.Span.Contains(s.Start) {
			return l.wrongPartition(s.Start)
		}
		return l.wrongPartition(l.desc.Span.End) // the first key that is not here
	}
	if len(s.Start) > fullKeyBytesMax || len(s.End) > fullKeyBytesMax+1 {
		return kv.LimitError("the length of a key in bytes", fullKeyBytesMax, int64(max(len(s.Start), len(s.End))), "use shorter bounds")
	}
	return nil
}

func (l *leader) wrongPartition(k kv.Key) *kv.Error {
	e := keyError(kv.WrongPartition, k, "not in partition %d: look it up again", l.id)
	e.Partition, e.Descriptors = l.id, []*kv.Descriptor{l.desc}
	return e
}

// checkCommit insists on a commit that can be executed here.
func (l *leader) checkCommit(q *kv.Commit) *kv.Error {
	if q.ID.IsZero() {
		return kv.Errorf(kv.Invalid, "a commit has no id: draw 16 random bytes")
	}
	if n := len(q.Reads) + len(q.Spans); n+len(q.Writes) > kv.CommitKeysMax {
		return kv.LimitError("the number of keys and spans of a commit", kv.CommitKeysMax, int64(n+len(q.Writes)), "split the transaction")
	} else if n > 0 && q.Start == 0 {
		return kv.Errorf(kv.Invalid, "commit %v names reads, but not the timestamp at which they were made", q.ID)
	} else if n+len(q.Writes) == 0 {
		return kv.Errorf(kv.Invalid, "commit %v neither reads nor writes", q.ID)
	}
	size, err := l.checkWrites(q.Writes)
	if err != nil {
		return err
	}
	if len(q.Parts) > 0 {
		if err := l.checkParts(q, size); err != nil {
			return err
		}
	}
	if size > kv.CommitBytesMax {
		return kv.LimitError("the size of a commit in bytes", kv.CommitBytesMax, int64(size), "split the transaction")
	}
	return l.checkReads(q.ID, q.Reads, q.Spans)
}

// checkParts insists on a commit that can be coordinated here. What lies in the parts their
// partitions check.
func (l *leader) checkParts(q *kv.Commit, size int) *kv.Error {
	if len(q.Writes) == 0 {
		return kv.Errorf(kv.Invalid, "commit %v writes nothing in the partition to which it was sent: send it to that of its first write", q.ID)
	}
	keys := len(q.Reads) + len(q.Spans) + len(q.Writes)
	named := make(map[kv.PartitionID]bool, len(q.Parts))
	for i := range q.Parts {
		p := &q.Parts[i]
		n := len(p.Reads) + len(p.Spans) + len(p.Writes)
		if p.Partition == l.id || p.Partition == 0 || named[p.Partition] || n == 0 {
			return kv.Errorf(kv.Invalid, "commit %v names partition %d twice, or for nothing", q.ID, p.Partition)
		}
		if n > len(p.Writes) && q.Start == 0 {
			return kv.Errorf(kv.Invalid, "commit %v names reads, but not the timestamp at which they were made", q.ID)
		}
		named[p.Partition] = true
		keys += n
		for j := range p.Writes {
			size += len(p.Writes[j].Key) + len(p.Writes[j].Value)
		}
	}
	if keys > kv.CommitKeysMax {
		return kv.LimitError("the number of keys and spans of a commit", kv.CommitKeysMax, int64(keys), "split the transaction")
	}
	if size > kv.CommitBytesMax {
		return kv.LimitError("the size of a commit in bytes", kv.CommitBytesMax, int64(size), "split the transaction")
	}
	return nil
}

// checkPrepare insists on a prepare that can be executed here.
func (l *leader) checkPrepare(q *kv.Prepare) *kv.Error {
	n := len(q.Reads) + len(q.Spans) + len(q.Writes)
	switch {
	case q.ID.IsZero() || q.Partition == 0 || q.Partition == l.id || len(q.Anchor) == 0 || n == 0:
		return kv.Errorf(kv.Invalid, "a Prepare of transaction %v names no anchor elsewhere, or nothing to lock", q.ID)
	case n > kv.CommitKeysMax:
		return kv.LimitError("the number of keys and spans of a commit", kv.CommitKeysMax, int64(n), "split the transaction")
	case n > len(q.Writes) && q.Start == 0:
		return kv.Errorf(kv.Invalid, "transaction %v names reads, but not the timestamp at which they were made", q.ID)
	}
	if _, err := l.checkWrites(q.Writes); err != nil {
		return err
	}
	return l.checkReads(q.ID, q.Reads, q.Spans)
}

// checkWrites also adds up the bytes of keys and values.
func (l *leader) checkWrites(ws []kv.Write) (size int, err *kv.Error) {
	for i := range ws {
		if err := l.checkWrite(&ws[i]); err != nil {
			return 0, err
		}
		size += len(ws[i].Key) + len(ws[i].Value)
	}
	return size, nil
}

func (l *leader) checkWrite(w *kv.Write) *kv.Error {
	if err := l.checkKey(w.Key); err != nil {
		return err
	}
	if w.Kind < kv.WritePut || w.Kind > kv.WriteAdd {
		return keyError(kv.Invalid, w.Key, "the write has the unknown kind %d", w.Kind)
	}
	if w.Expect.Kind > kv.ExpectValue || w.Expect.Kind == kv.ExpectVersion && w.Expect.Version == 0 {
		return keyError(kv.Invalid, w.Key, "the write has the unknown expectation %d: for an absent key expect its absence", w.Expect.Kind)
	}
	if len(w.Value) > kv.ValueBytesMax {
		return kv.LimitError("the length of a value in bytes", kv.ValueBytesMax, int64(len(w.Value)), "store it in parts")
	}
	return nil
}

func (l *leader) checkReads(id kv.TxID, reads []kv.ReadMark, spans []kv.Span) *kv.Error {
	for i := range reads {
		if err := l.checkKey(reads[i].Key); err != nil {
			return err
		}
	}
	for _, s := range spans {
		if s.IsEmpty() {
			return kv.Errorf(kv.Invalid, "commit %v names a read span that holds no key", id)
		}
		if err := l.checkSpan(s); err != nil {
			return err
		}
	}
	return nil
}

func (l *leader) checkOutcome(q *kv.OutcomeOf) *kv.Error {
	if q.ID.IsZero() || len(q.Anchor) == 0 {
		return kv.Errorf(kv.Invalid, "the question for an outcome names no commit, or not its first written key")
	}
	return l.checkKey(q.Anchor)
}

// checkTimestamp insists on a timestamp that is retained; 0 is none. That it is from the
// past is seen when the read is admitted.
func (l *leader) checkTimestamp(ts kv.Timestamp) *kv.Error {
	if ts != 0 && ts < l.retained.gc && !invariant.Mutated(invariant.NoGCRead) {
		return tooOld(l.id, ts, l.retained.gc)
	}
	return nil
}

func (l *leader) fromTheFuture(ts kv.Timestamp) *kv.Error {
	e := kv.Errorf(kv.Future, "the timestamp %v is beyond all that partition %d has heard of: use one that the cluster has drawn", ts, l.id)
	e.Partition = l.id
	return e
}

func (l *leader) checkScan(q *kv.Scan) *kv.Error {
	if q.Keys < 0 || q.Bytes < 0 {
		return kv.Errorf(kv.Invalid, "a scan has a negative limit of %d keys, %d bytes", q.Keys, q.Bytes)
	}
	if q.Keys > kv.ScanPageKeysMax {
		return kv.LimitError("the number of keys in one scan answer", kv.ScanPageKeysMax, int64(q.Keys), "go on from its resume key")
	}
	if q.Bytes > kv.ScanPageBytesMax {
		return kv.LimitError("the size of one scan answer in bytes", kv.ScanPageBytesMax, int64(q.Bytes), "go on from its resume key")
	}
	if err := l.checkSpan(q.Span); err != nil {
		return err
	}
	return l.checkBound(q.Timestamp, q.NotBefore)
}

// checkBound insists on one bound, with a timestamp that is retained.
func (l *leader) checkBound(at, notBefore kv.Timestamp) *kv.Error {
	if at != 0 && notBefore != 0 {
		return kv.Errorf(kv.Invalid, "a read names its timestamp and one that it must not be below: leave one out")
	}
	return l.checkTimestamp(at)
}
