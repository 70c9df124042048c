package mvcc

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/kvd-db/kvd/kv"
)

// Digest is a fingerprint of what a replica holds.
type Digest struct {
	Hash     uint64 // xxHash64 over versions, locks and records, in key order
	Keys     int64
	Versions int64
	Locks    int64
	Records  int64
}

// Digest takes the fingerprint of the versions of a span that are at or below ts, and of all its locks and
// records. Two replicas at the same applied index have the same one, whatever each has collected as
// garbage: what a collection with threshold gc would remove is left out.
func (r *Reader) Digest(s kv.Span, gc, ts kv.Timestamp) (Digest, error) {
	var d Digest
	if s.IsEmpty() {
		return d, nil
	}
	h := xxhash.New()
	err := r.digestVersions(s, gc, ts, &d, h)
	if err == nil {
		d.Locks, err = r.digestKind(kindLock, s, h)
	}
	if err == nil {
		d.Records, err = r.digestKind(kindRecord, s, h)
	}
	d.Hash = h.Sum64()
	return d, err
}

// digestKind adds everything of one kind in a span as it is stored, and counts it.
func (r *Reader) digestKind(kind byte, s kv.Span, h *xxhash.Digest) (n int64, err error) {
	r.setBounds(spanBounds(kind, s))
	var buf []byte
	for ok := r.it.First(); ok; ok = r.it.Next() {
		v, err := r.it.ValueAndErr()
		if err != nil {
			return n, wrapError("taking a fingerprint", err)
		}
		if err := checkEntry(kind, r.it.Key(), v); err != nil {
			return n, err
		}
		n++
		buf = appendBytes(appendBytes(buf[:0], r.it.Key()), v)
		_, _ = h.Write(buf) // never fails
	}
	return n, wrapError("taking a fingerprint", r.it.Error())
}

func (r *Reader) digestVersions(s kv.Span, gc, ts kv.Timestamp, d *Digest, h *xxhash.Digest) error {
	r.setBounds(spanBounds(kindData, s))
	var prefix, buf []byte
	counted, shadowed := false, false
	for ok := r.it.First(); ok; ok = r.it.Next() {
		if !samePrefix(r.it.Key(), prefix) {
			ek := r.it.Key()
			prefix = append(prefix[:0], ek[:splitKey(ek)]...)
			counted, shadowed = false, false
		}
		k, t, err := splitDataKey(r.it.Key())
		if err != nil {
			return err
		}
		if t > ts || shadowed {
			continue
		}
		b, err := r.it.ValueAndErr()
		if err != nil {
			return wrapError("reading a value", err)
		}
		v, err := splitStored(b)
		if err != nil {
			return err
		}
		if shadowed = t <= gc; shadowed && v.Tombstone {
			continue
		}
		if d.Versions++; !counted {
			d.Keys, counted = d.Keys+1, true
		}
		buf = appendBytes(buf[:0], k)
		buf = binary.BigEndian.AppendUint64(buf, uint64(t))
		buf = binary.AppendUvarint(buf, uint64(len(b)))
		_, _ = h.Write(buf) // never fails
		_, _ = h.Write(b)
	}
	return wrapError("taking a fingerprint", r.it.Error())
}
