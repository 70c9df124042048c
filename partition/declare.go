package partition

import (
	"bytes"
	"slices"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// declared is what a commit latches, and what it does with it.
type declared struct {
	bytes  int          // keys and values
	blind  bool         // no expectation, no sum, nothing read: no evaluation is needed
	at     []int        // the latch of each write; nil: there is one write and one latch
	newest kv.Timestamp // of the versions that the evaluation looked at
	values []value      // what the writes come to; nil: as they are in the request
}

// value is what an evaluated write comes to.
type value struct {
	bytes []byte
	sum   int64 // WriteAdd
}

// spansLatchedMax bounds the latches of a commit's read spans; beyond it neighbours are
// latched together with what lies between them. What is validated stays exact.
const spansLatchedMax = 16

func plain(w *kv.Write) bool { return w.Kind != kv.WriteAdd && w.Expect.Kind == kv.ExpectNothing }

// declare makes the guard: writes exclusive, reads shared, each key once, in key order.
func (c *commit) declare() *kv.Error {
	q := c.req
	c.guard.Owner = c
	c.declared.blind = len(q.Reads) == 0 && len(q.Spans) == 0
	for i := range q.Writes {
		w := &q.Writes[i]
		c.declared.blind = c.declared.blind && plain(w)
		c.declared.bytes += len(w.Key) + len(w.Value)
	}
	if len(q.Writes) == 1 && len(q.Reads) == 0 && len(q.Spans) == 0 {
		mode := txn.Exclusive
		if c.declared.blind {
			mode = txn.Blind
		}
		c.latch[0] = txn.Latch{Span: kv.Span{Start: q.Writes[0].Key}, Mode: mode}
		c.guard.Latches = c.latch[:]
		return nil
	}
	return c.declareMany()
}

// keyUse is one mention of a key in a commit.
type keyUse struct {
	key   kv.Key
	write int // index of the write; -1: a read
}

func (c *commit) declareMany() *kv.Error {
	q := c.req
	uses := make([]keyUse, 0, len(q.Writes)+len(q.Reads))
	for i := range q.Writes {
		uses = append(uses, keyUse{q.Writes[i].Key, i})
	}
	for _, r := range q.Reads {
		uses = append(uses, keyUse{r.Key, -1})
	}
	slices.SortFunc(uses, func(a, b keyUse) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return b.write - a.write // the write before the read
	})
	spans := mergeSpans(q.Spans)
	latches := make([]txn.Latch, 0, len(uses)+len(spans))
	c.declared.at = make([]int, len(q.Writes))
	for i, u := range uses {
		if i > 0 && bytes.Equal(u.key, uses[i-1].key) {
			if u.write >= 0 {
				return keyError(kv.Invalid, u.key, "written twice by one commit: keep the last write only")
			}
			continue
		}
		mode := txn.Shared
		if u.write >= 0 {
			mode = txn.Exclusive
			c.declared.at[u.write] = len(latches)
		}
		latches = append(latches, txn.Latch{Span: kv.Span{Start: u.key}, Mode: mode})
	}
	for _, s := range spans {
		latches = append(latches, txn.Latch{Span: s, Wide: true, Mode: txn.Shared})
	}
	c.guard.Latches = latches
	return nil
}

// mergeSpans are at most spansLatchedMax spans that cover the given ones, in order and apart
// from each other.
func mergeSpans(spans []kv.Span) []kv.Span {
	if len(spans) == 0 {
		return nil
	}
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b kv.Span) int { return bytes.Compare(a.Start, b.Start) })
	merged := sorted[:1]
	for _, s := range sorted[1:] {
		last := &merged[len(merged)-1]
		if len(last.End) != 0 && bytes.Compare(s.Start, last.End) > 0 {
			merged = append(merged, s)
		} else if len(last.End) != 0 && (len(s.End) == 0 || bytes.Compare(s.End, last.End) > 0) {
			last.End = s.End
		}
	}
	if len(merged) <= spansLatchedMax {
		return merged
	}
	step := (len(merged) + spansLatchedMax - 1) / spansLatchedMax
	n := 0
	for i := 0; i < len(merged); i += step {
		merged[n] = kv.Span{Start: merged[i].Start, End: merged[min(i+step, len(merged))-1].End}
		n++
	}
	return merged[:n]
}

// latchOf is the latch of a write.
func (c *commit) latchOf(write int) *txn.Latch {
	if c.declared.at == nil {
		return &c.guard.Latches[0]
	}
	return &c.guard.Latches[c.declared.at[write]]
}

// written is what a write comes to.
func (c *commit) written(i int) (v []byte, tombstone bool) {
	w := &c.req.Writes[i]
	if w.Kind == kv.WriteAdd {
		return c.declared.values[i].bytes, false
	}
	return w.Value, w.Kind == kv.WriteDelete
}

// fillLatches tells the latches what their keys will hold.
func (c *commit) fillLatches() {
	for i := range c.req.Writes {
		v, tombstone := c.written(i)
		c.latchOf(i).Write = txn.Pending{Value: v, Tombstone: tombstone}
	}
}
