package mvcc

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/kvd-db/kvd/kv"
)

// Digest is a fingerprint of versions.
type Digest struct {
	Hash     uint64 // xxHash64 over keys, timestamps, ids and values, in key order
	Keys     int64
	Versions int64
}

// Digest takes the fingerprint of the versions of a span that are at or below ts. Two replicas
// at the same applied index have the same one, whatever each has collected as garbage:
// what a collection with threshold gc would remove is left out.
func (r *Reader) Digest(s kv.Span, gc, ts kv.Timestamp) (Digest, error) {
	var d Digest
	if s.IsEmpty() {
		return d, nil
	}
	r.setBounds(spanBounds(kindData, s))
	h := xxhash.New()
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
			return d, err
		}
		if t > ts || shadowed {
			continue
		}
		b, err := r.it.ValueAndErr()
		if err != nil {
			return d, wrapError("reading a value", err)
		}
		v, err := splitStored(b)
		if err != nil {
			return d, err
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
	d.Hash = h.Sum64()
	return d, wrapError("taking a fingerprint", r.it.Error())
}
