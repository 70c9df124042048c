package mvcc

import (
	"bytes"

	"github.com/google/btree"

	"github.com/kvd-db/kvd/kv"
)

// spans is which partition's replica holds which keys of this store.
//
// Invariant: no two entries overlap, and no partition has two.
type spans struct {
	bySpan *btree.BTreeG[heldSpan] // by start
	byID   map[kv.PartitionID]kv.Span
}

type heldSpan struct {
	span      kv.Span
	partition kv.PartitionID
}

func startsBefore(a, b heldSpan) bool { return bytes.Compare(a.span.Start, b.span.Start) < 0 }

// ClaimSpan reserves the keys of a span for the replica of a partition that is about to be made in this
// store. Another partition that has, or has reserved, some of them is returned as the holder, and
// nothing is reserved then; 0: there is none. A reservation lasts until ReleaseSpan, or until the store
// is opened again: from then on it is what replicas are there. Of ClaimSpan and ReleaseSpan only one may run at a time.
func (e *Engine) ClaimSpan(p kv.PartitionID, span kv.Span) (holder kv.PartitionID, err error) {
	const degree = 32
	if e.spans == nil {
		states, err := e.Replicas()
		if err != nil {
			return 0, err
		}
		e.spans = &spans{bySpan: btree.NewG(degree, startsBefore), byID: map[kv.PartitionID]kv.Span{}}
		for i := range states {
			e.spans.put(states[i].Descriptor.Partition, states[i].Descriptor.Span)
		}
	}
	e.ReleaseSpan(p)
	if holder := e.spans.overlapping(span); holder != 0 {
		return holder, nil
	}
	e.spans.put(p, span)
	return 0, nil
}

// ReleaseSpan forgets what the replica of a partition held: its data are deleted.
func (e *Engine) ReleaseSpan(p kv.PartitionID) {
	if e.spans == nil {
		return // what was deleted before the first claim is not found by it
	}
	if span, ok := e.spans.byID[p]; ok {
		e.spans.bySpan.Delete(heldSpan{span: span})
		delete(e.spans.byID, p)
	}
}

func (x *spans) put(p kv.PartitionID, span kv.Span) {
	x.bySpan.ReplaceOrInsert(heldSpan{span, p})
	x.byID[p] = span
}

// overlapping is a partition that has keys of the span, 0 if none has. Entries do not overlap each other, so
// it is the last one that begins before the span's end, or none.
func (x *spans) overlapping(span kv.Span) (p kv.PartitionID) {
	look := func(h heldSpan) bool {
		if h.span.Overlaps(span) {
			p = h.partition
		}
		return len(span.End) != 0 && bytes.Equal(h.span.Start, span.End) // begins behind the span: one more
	}
	if len(span.End) == 0 {
		x.bySpan.Descend(look)
	} else {
		x.bySpan.DescendLessOrEqual(heldSpan{span: kv.Span{Start: span.End}}, look)
	}
	return p
}
