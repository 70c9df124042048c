package placement

import (
	"bytes"

	"github.com/google/btree"

	"github.com/kvd-db/kvd/kv"
)

// mapDegree is the btree's: nodes of 31 to 63 descriptors.
const mapDegree = 32

// Map knows which partition holds a key, as far as it was told. The zero value is not
// usable; it belongs to one goroutine.
//
// Invariant: no two entries overlap, and no partition has two entries. The system partition
// holds no keys: it is found by Get only.
type Map struct {
	bySpan *btree.BTreeG[*kv.Descriptor] // by span start
	byID   map[kv.PartitionID]*kv.Descriptor
}

// NewMap is an empty map.
func NewMap() *Map {
	m := &Map{}
	m.Clear()
	return m
}

func spanLess(a, b *kv.Descriptor) bool { return bytes.Compare(a.Span.Start, b.Span.Start) < 0 }

// Lookup is the newest descriptor known that holds the key.
func (m *Map) Lookup(key kv.Key) (*kv.Descriptor, bool) {
	var found *kv.Descriptor
	m.bySpan.DescendLessOrEqual(at(key), func(d *kv.Descriptor) bool {
		found = d
		return false
	})
	if found == nil || !found.Span.Contains(key) {
		return nil, false
	}
	return found, true
}

// LookupBefore is the descriptor that holds the largest keys below an exclusive upper bound
// (nil = no bound): where a reverse scan goes on.
func (m *Map) LookupBefore(end kv.Key) (*kv.Descriptor, bool) {
	var found *kv.Descriptor
	visit := func(d *kv.Descriptor) bool {
		if len(end) != 0 && bytes.Equal(d.Span.Start, end) {
			return true
		}
		found = d
		return false
	}
	if len(end) == 0 {
		m.bySpan.Descend(visit)
	} else {
		m.bySpan.DescendLessOrEqual(at(end), visit)
	}
	if found == nil || len(end) == 0 && len(found.Span.End) != 0 {
		return nil, false
	}
	if len(end) != 0 && len(found.Span.End) != 0 && bytes.Compare(found.Span.End, end) < 0 {
		return nil, false
	}
	return found, true
}

// Get is the descriptor of a partition.
func (m *Map) Get(p kv.PartitionID) (*kv.Descriptor, bool) {
	d, ok := m.byID[p]
	return d, ok
}

// Insert learns a descriptor, and reports whether it was news. An entry of the same partition
// goes if it is older. Entries of other partitions that overlap it go if none of them is of
// a newer generation: of two partitions over the same keys the one with the higher generation
// is the newer cut, since both halves of a split get a generation above that of the whole.
// The descriptor must not be changed afterwards.
func (m *Map) Insert(d *kv.Descriptor) bool {
	if old, ok := m.byID[d.Partition]; ok && old.Generation >= d.Generation {
		return false
	}
	if d.Partition == kv.SystemPartition {
		m.byID[d.Partition] = d
		return true
	}
	stale := m.overlapping(d.Span)
	for _, o := range stale {
		if o.Partition != d.Partition && o.Generation > d.Generation {
			return false
		}
	}
	for _, o := range stale {
		m.remove(o)
	}
	m.Remove(d.Partition)
	m.bySpan.ReplaceOrInsert(d)
	m.byID[d.Partition] = d
	return true
}

// Remove forgets a partition.
func (m *Map) Remove(p kv.PartitionID) {
	if d, ok := m.byID[p]; ok {
		m.remove(d)
	}
}

// Clear forgets everything.
func (m *Map) Clear() {
	m.bySpan = btree.NewG(mapDegree, spanLess)
	m.byID = map[kv.PartitionID]*kv.Descriptor{}
}

// Len is the number of partitions known, without the system partition.
func (m *Map) Len() int { return m.bySpan.Len() }

// Ascend visits the descriptors that overlap a span in key order, until visit returns false.
// The map must not be changed meanwhile.
func (m *Map) Ascend(s kv.Span, visit func(*kv.Descriptor) bool) {
	start := at(s.Start)
	m.bySpan.DescendLessOrEqual(start, func(d *kv.Descriptor) bool {
		if d.Span.Overlaps(s) {
			start = d
		}
		return false
	})
	m.bySpan.AscendGreaterOrEqual(start, func(d *kv.Descriptor) bool {
		return d.Span.Overlaps(s) && visit(d)
	})
}

func (m *Map) overlapping(s kv.Span) []*kv.Descriptor {
	var all []*kv.Descriptor
	m.Ascend(s, func(d *kv.Descriptor) bool {
		all = append(all, d)
		return true
	})
	return all
}

func (m *Map) remove(d *kv.Descriptor) {
	if d.Partition != kv.SystemPartition {
		m.bySpan.Delete(d)
	}
	delete(m.byID, d.Partition)
}

func at(k kv.Key) *kv.Descriptor { return &kv.Descriptor{Span: kv.Span{Start: k}} }
