package mvcc

import (
	"bytes"
	"encoding/binary"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// RecordState is what a transaction record says.
type RecordState uint8

// The states. Durable.
const (
	RecordCommitted RecordState = 1
	RecordStaging   RecordState = 2 // committed once all its parts are durable (rule P5)
)

// Record is the durable record of a transaction over several partitions, beside its anchor key,
// until all participants have confirmed (rules H5, H8, P2, P6).
type Record struct {
	kv.Attempt
	State        RecordState
	Timestamp    kv.Timestamp // c
	Participants []Participant
}

// Participant is a partition in which the transaction holds locks, and where.
type Participant struct {
	Partition kv.PartitionID
	Span      kv.Span // covers all its locks there, so that it still leads to them after a split
	Term      kv.Term // of its leader, in which alone it stages (rule P3); 0 in a two-phase commit
}

const recordFormat byte = 1

func appendRecordKey(dst []byte, anchor kv.Key, id kv.TxID) []byte {
	dst = appendPrefix(dst, kindRecord, anchor)
	dst = append(dst, id[:]...)
	return append(dst, recordSuffixBytes)
}

// splitRecordKey takes the engine key of a record apart; the full key is a copy.
func splitRecordKey(ek []byte) (anchor kv.Key, id kv.TxID, err error) {
	n := len(ek) - recordSuffixBytes
	if n < 2 || ek[0] != kindRecord || ek[len(ek)-1] != recordSuffixBytes || ek[n-1] != sentinel {
		return nil, id, kv.Errorf(kv.Corruption, "engine key %x is not the key of a record: replace this replica", ek)
	}
	copy(id[:], ek[n:])
	return append(kv.Key{}, ek[1:n-1]...), id, nil
}

func appendRecord(dst []byte, r *Record) []byte {
	dst = appendAttempt(append(dst, recordFormat, byte(r.State)), &r.Attempt)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Timestamp))
	dst = binary.AppendUvarint(dst, uint64(len(r.Participants)))
	for _, p := range r.Participants {
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.Partition))
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.Term))
		dst = appendBytes(dst, p.Span.Start)
		dst = appendBytes(dst, p.Span.End)
	}
	return dst
}

// decodeRecord fills r but for what is in the key of a record.
func decodeRecord(b []byte, r *Record) error {
	c := cursor{b: b}
	if f := c.byte(); f != recordFormat {
		return kv.Errorf(kv.Corruption, "a transaction record has the unknown format %d: replace this replica", f)
	}
	if r.State = RecordState(c.byte()); r.State != RecordCommitted && r.State != RecordStaging {
		return kv.Errorf(kv.Corruption, "a transaction record has the unknown state %d: replace this replica", r.State)
	}
	c.attempt(&r.Attempt)
	r.Timestamp = kv.Timestamp(c.uint64())
	const participantBytesMin = 8 + 8 + 1 + 1
	n := c.uvarint()
	if n > uint64(len(c.b)/participantBytesMin) {
		c.fail()
	}
	for i := uint64(0); i < n && !c.bad; i++ {
		p := Participant{Partition: kv.PartitionID(c.uint64()), Term: kv.Term(c.uint64())}
		p.Span.Start = c.bytes()
		p.Span.End = c.bytes()
		r.Participants = append(r.Participants, p)
	}
	return c.done("a transaction record")
}

// PutRecord writes the first record of a transaction.
func (b *Batch) PutRecord(r *Record) error {
	ek, err := b.checkRecord(r)
	if err != nil {
		return err
	}
	if err := b.checkNew(&b.records, ek, r.Anchor); err != nil {
		return err
	}
	b.records.hold(ek, appendRecord(nil, r))
	return nil
}

// ReplaceRecord writes a record in the place of the transaction's former one.
func (b *Batch) ReplaceRecord(r *Record) error {
	ek, err := b.checkRecord(r)
	if err != nil {
		return err
	}
	row := b.records.row(ek)
	row.stored = appendRecord(nil, r)
	if row.held {
		return nil
	}
	if invariant.Mutated(invariant.ShortRowsStay) {
		b.records.hold(ek, row.stored)
		return nil
	}
	return b.set(ek, row.stored)
}

// checkRecord returns the engine key of a record.
func (b *Batch) checkRecord(r *Record) ([]byte, error) {
	if r.State != RecordCommitted && r.State != RecordStaging {
		return nil, kv.Errorf(kv.Internal, "a record at the key %x has the state %d: report this", r.Anchor, r.State)
	}
	return appendRecordKey(nil, r.Anchor, r.ID), nil
}

// DeleteRecord removes a transaction record.
func (b *Batch) DeleteRecord(anchor kv.Key, id kv.TxID) error {
	ek := appendRecordKey(nil, anchor, id)
	if b.records.remove(ek) {
		return nil
	}
	return wrapError("deleting a record", b.deleteKey(ek))
}

// Records calls fn for the records whose anchor keys lie in the span, by anchor and id, until fn
// returns an error.
func (r *Reader) Records(s kv.Span, fn func(*Record) error) error {
	if s.IsEmpty() {
		return nil
	}
	r.setBounds(spanBounds(kindRecord, s))
	for ok := r.it.First(); ok; ok = r.it.Next() {
		var rec Record
		var err error
		if rec.Anchor, rec.ID, err = splitRecordKey(r.it.Key()); err != nil {
			return err
		}
		v, err := r.it.ValueAndErr()
		if err != nil {
			return wrapError("reading records", err)
		}
		if err := decodeRecord(v, &rec); err != nil {
			return err
		}
		if err := fn(&rec); err != nil {
			return err
		}
	}
	return wrapError("reading records", r.it.Error())
}

// RecordOf is the record of a transaction; false if there is none.
func (r *Reader) RecordOf(anchor kv.Key, id kv.TxID) (*Record, bool, error) {
	v, ok, err := r.raw(appendRecordKey(nil, anchor, id))
	if err != nil || !ok {
		return nil, false, err
	}
	rec := Record{Attempt: kv.Attempt{ID: id, Anchor: bytes.Clone(anchor)}}
	if err := decodeRecord(v, &rec); err != nil {
		return nil, false, err
	}
	return &rec, true, nil
}
