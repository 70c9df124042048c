package partition

import (
	"bytes"
	"slices"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// intent is what is latched, validated and evaluated together: the part of a transaction that
// lies in this partition.
type intent struct {
	owner    intentOwner
	req      *kv.Commit // its Start, Reads, Spans and Writes
	guard    txn.Guard
	declared declared
	task     *ReadTask // what the engine is asked; nil: nothing
	timer    *timer    // nil: nobody asks where the time goes
	locks    bool      // the latches become locks
	latch    [1]txn.Latch
}

// intentOwner is whose an intent is. After wanted each intent comes to one of the others, unless
// its guard is dropped before.
type intentOwner interface {
	// wanted reports whether the intent is to go on; if not, it was ended otherwise (rule I7).
	wanted(l *leader) bool
	// ready: all latches are held, no lock is in the way, the reads are valid, the writes evaluated.
	ready(l *leader)
	// refuse: it can not be done.
	refuse(l *leader, err *kv.Error)
	// refuseBy: it can not be done because of what a key holds.
	refuseBy(l *leader, key kv.Key, err *kv.Error)
	transaction() (kv.TxID, kv.Age)
}

// declared is what an intent latches, and what it does with it.
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
func (x *intent) declare() *kv.Error {
	x.guard.Owner = x
	x.declared.blind = len(x.req.Reads) == 0 && len(x.req.Spans) == 0
	for i := range x.req.Writes {
		w := &x.req.Writes[i]
		x.declared.blind = x.declared.blind && plain(w)
		x.declared.bytes += len(w.Key) + len(w.Value)
	}
	if len(x.req.Writes) == 1 && len(x.req.Reads) == 0 && len(x.req.Spans) == 0 {
		mode := txn.Exclusive
		if x.declared.blind && !x.locks {
			mode = txn.Blind
		}
		x.latch[0] = txn.Latch{Span: kv.Span{Start: x.req.Writes[0].Key}, Mode: mode}
		x.guard.Latches = x.latch[:]
		return nil
	}
	return x.declareMany()
}

// keyUse is one mention of a key in a commit.
type keyUse struct {
	key   kv.Key
	write int // index of the write; -1: a read
}

func (x *intent) declareMany() *kv.Error {
	uses := make([]keyUse, 0, len(x.req.Writes)+len(x.req.Reads))
	for i := range x.req.Writes {
		uses = append(uses, keyUse{x.req.Writes[i].Key, i})
	}
	for _, r := range x.req.Reads {
		uses = append(uses, keyUse{r.Key, -1})
	}
	slices.SortFunc(uses, func(a, b keyUse) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return b.write - a.write // the write before the read
	})
	spans := mergeSpans(x.req.Spans)
	latches := make([]txn.Latch, 0, len(uses)+len(spans))
	x.declared.at = make([]int, len(x.req.Writes))
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
			x.declared.at[u.write] = len(latches)
		}
		latches = append(latches, txn.Latch{Span: kv.Span{Start: u.key}, Mode: mode})
	}
	for _, s := range spans {
		latches = append(latches, txn.Latch{Span: s, Wide: true, Mode: txn.Shared})
	}
	x.guard.Latches = latches
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
func (x *intent) latchOf(write int) *txn.Latch {
	if x.declared.at == nil {
		return &x.guard.Latches[0]
	}
	return &x.guard.Latches[x.declared.at[write]]
}

// written is what a write comes to.
func (x *intent) written(i int) (v []byte, tombstone bool) {
	w := &x.req.Writes[i]
	if w.Kind == kv.WriteAdd {
		return x.declared.values[i].bytes, false
	}
	return w.Value, w.Kind == kv.WriteDelete
}

// fillLatches tells the latches what their keys will hold.
func (x *intent) fillLatches() {
	for i := range x.req.Writes {
		v, tombstone := x.written(i)
		x.latchOf(i).Write = txn.Pending{Value: v, Tombstone: tombstone}
	}
}
