package client

import (
	"bytes"
	"math"
	"slices"
	"strconv"

	"github.com/google/btree"

	"github.com/kvd-db/kvd/kv"
)

// overlayDegree of the btree: small enough that an insertion moves little.
const overlayDegree = 16

// buffered is the one write that a transaction has for a key, whatever it did to it so far. It is
// never changed: scans under way hold it.
type buffered struct {
	key    []byte
	kind   kv.WriteKind
	value  []byte    // WritePut
	delta  int64     // WriteAdd
	expect kv.Expect // of the state before the transaction
}

// over is what the transaction sees of the key: base is the value that the store has, found
// whether it has one.
func (b *buffered) over(base []byte, found bool) (value []byte, there bool, err *kv.Error) {
	switch b.kind {
	case kv.WritePut:
		return b.value, true, nil
	case kv.WriteAdd:
		sum, err := addTo(b.key, base, found, b.delta)
		return sum, true, err
	}
	return nil, false, nil
}

// addTo is a decimal integer after an addition, by the rules of the nodes.
func addTo(key, base []byte, found bool, delta int64) ([]byte, *kv.Error) {
	n := int64(0)
	if found {
		var bad error
		if n, bad = strconv.ParseInt(string(base), 10, 64); bad != nil {
			return nil, kv.Errorf(kv.Invalid, "key %q: the value is no decimal integer of 64 bits: nothing can be added to it", key)
		}
	}
	if overflows(n, delta) {
		return nil, kv.Errorf(kv.Invalid, "key %q: %d + %d is beyond 64 bits", key, n, delta)
	}
	return strconv.AppendInt(nil, n+delta, 10), nil
}

func overflows(a, b int64) bool {
	return b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b
}

// overlay is what a transaction has written in one keyspace and not committed. Its keys and
// ranges are those of the user.
type overlay struct {
	writes *btree.BTreeG[*buffered] // nil: none yet
	// cleared is what DeleteRange has emptied; no two touch, sorted. A write made after it lies
	// over it; an addition never does, its result is known there.
	cleared []Range
	bytes   int // of the keys and values in writes
}

func (o *overlay) find(key []byte) (*buffered, bool) {
	if o.writes == nil {
		return nil, false
	}
	return o.writes.Get(&buffered{key: key})
}

func (o *overlay) isCleared(key []byte) bool { return rangesContain(o.cleared, key) }

func (o *overlay) set(b *buffered) {
	if o.writes == nil {
		o.writes = btree.NewG(overlayDegree, func(a, b *buffered) bool { return bytes.Compare(a.key, b.key) < 0 })
	}
	o.bytes += len(b.key) + len(b.value)
	if old, was := o.writes.ReplaceOrInsert(b); was {
		o.bytes -= len(old.key) + len(old.value)
	}
}

// put buffers a value, or a deletion if value is nil. A condition is one on the state before the
// transaction, so the first one of a key stays, and a later one is refused.
func (o *overlay) put(key, value []byte, kind kv.WriteKind, expect kv.Expect) *kv.Error {
	old, written := o.find(key)
	if expect.Kind != kv.ExpectNothing && (written || o.isCleared(key)) {
		return kv.Errorf(kv.Invalid, "key %q: a condition on a key that the transaction has already written: read it in the transaction instead", key)
	}
	if written {
		expect = old.expect
	}
	o.set(&buffered{key: key, kind: kind, value: value, expect: expect})
	return nil
}

// add buffers an addition.
func (o *overlay) add(key []byte, delta int64) *kv.Error {
	old, written := o.find(key)
	if written && old.kind == kv.WriteAdd {
		if overflows(old.delta, delta) {
			return kv.Errorf(kv.Invalid, "key %q: the additions to it are beyond 64 bits", key)
		}
		o.set(&buffered{key: key, kind: kv.WriteAdd, delta: old.delta + delta})
		return nil
	}
	if !written && !o.isCleared(key) {
		o.set(&buffered{key: key, kind: kv.WriteAdd, delta: delta})
		return nil
	}
	next := &buffered{key: key, kind: kv.WritePut}
	var err *kv.Error
	if written {
		next.expect = old.expect
		next.value, err = addTo(key, old.value, old.kind == kv.WritePut, delta)
	} else {
		next.value, err = addTo(key, nil, false, delta)
	}
	if err == nil {
		o.set(next)
	}
	return err
}

// clear empties a range. What was written in it becomes a deletion: the first key written stays one.
func (o *overlay) clear(r Range) {
	for _, b := range o.in(r, false) {
		o.set(&buffered{key: b.key, kind: kv.WriteDelete, expect: b.expect})
	}
	o.cleared = mergeRanges(append(o.cleared, r))
}

// in is the writes in a range, in key order or against it.
func (o *overlay) in(r Range, reverse bool) []*buffered {
	if o.writes == nil || r.empty() {
		return nil
	}
	var all []*buffered
	take := func(b *buffered) bool { all = append(all, b); return true }
	if len(r.End) == 0 {
		o.writes.AscendGreaterOrEqual(&buffered{key: r.Start}, take)
	} else {
		o.writes.AscendRange(&buffered{key: r.Start}, &buffered{key: r.End}, take)
	}
	if reverse {
		slices.Reverse(all)
	}
	return all
}

// count is how many keys are written.
func (o *overlay) count() int {
	if o.writes == nil {
		return 0
	}
	return o.writes.Len()
}

// empty reports whether the range has no key.
func (r Range) empty() bool { return len(r.End) != 0 && bytes.Compare(r.Start, r.End) >= 0 }

// overlaps reports whether two ranges have a key in common.
func (r Range) overlaps(o Range) bool {
	return (len(r.End) == 0 || bytes.Compare(o.Start, r.End) < 0) && (len(o.End) == 0 || bytes.Compare(r.Start, o.End) < 0)
}

// rangesContain searches ranges that are sorted and do not overlap.
func rangesContain(all []Range, key []byte) bool {
	i, found := slices.BinarySearchFunc(all, key, func(r Range, key []byte) int { return bytes.Compare(r.Start, key) })
	if found {
		return true
	}
	if i == 0 {
		return false
	}
	end := all[i-1].End
	return len(end) == 0 || bytes.Compare(key, end) < 0
}

// mergeRanges sorts ranges that are not empty and joins those that touch. It works in place.
func mergeRanges(all []Range) []Range {
	slices.SortFunc(all, func(a, b Range) int { return bytes.Compare(a.Start, b.Start) })
	n := 0
	for _, r := range all {
		if n > 0 {
			last := &all[n-1]
			if len(last.End) == 0 {
				break
			}
			if bytes.Compare(r.Start, last.End) <= 0 {
				if len(r.End) == 0 || bytes.Compare(r.End, last.End) > 0 {
					last.End = r.End
				}
				continue
			}
		}
		all[n] = r
		n++
	}
	return all[:n]
}
