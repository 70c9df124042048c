package sim

import (
	"fmt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/sim/check"
)

// begin writes an operation into the history.
func (w *World) begin(c *client, k check.Kind) *check.Op {
	op := &check.Op{Client: c.id, Kind: k, Call: w.now, Return: check.Never}
	w.hist.ops.Ops = append(w.hist.ops.Ops, op)
	return op
}

// end writes down how an operation ended.
func (w *World) end(op *check.Op, done bool, err *kv.Error) {
	kind := uint64(0)
	if err != nil {
		kind = uint64(err.Kind)
	}
	w.trace.note(30, uint64(op.Client), uint64(op.Timestamp), kind)
	if !done {
		w.hist.count(op, err)
		return
	}
	op.Result, op.Return = check.Done, w.now
	w.hist.count(op, nil)
	if w.trace.lines {
		w.trace.line("done %s", op)
	}
	w.progress(op)
}

// refused writes down a commit that ended with an error: by the session's rules it has not
// happened, unless it is Ambiguous. What was found in place of an expectation is a read.
func (w *World) refused(op *check.Op, err *kv.Error) {
	w.end(op, false, err)
	if err.Kind == kv.Ambiguous {
		return
	}
	op.Result, op.Return = check.Refused, w.now
	if err.Kind != kv.Expectation {
		return
	}
	saw := check.Seen{Key: string(err.Key)}
	if err.Actual != nil {
		saw = check.Seen{Key: string(err.Key), Value: string(err.Actual.Value), Version: err.Actual.Version, Found: true}
	}
	w.hist.ops.Ops = append(w.hist.ops.Ops, &check.Op{
		Client: op.Client, Kind: check.Read, Result: check.Done, Call: op.Call, Return: w.now, Strong: true, Reads: []check.Seen{saw},
	})
}

// journal is the history, with what was told of each commit by anybody at any time.
type journal struct {
	ops    check.History
	lists  []*check.Transaction // of the workloads over lists
	turns  map[string]int       // which of the keys of a kind are in use, where they are given up after a while
	fates  map[kv.TxID]fate
	counts map[string]int
	values uint64 // written so far: each is unlike all others
}

// fate is what was said of a commit, once it was final.
type fate struct {
	committed bool
	at        kv.Timestamp
}

func newJournal() *journal {
	return &journal{turns: map[string]int{}, fates: map[kv.TxID]fate{}, counts: map[string]int{}}
}

var opNames = [...]string{check.Read: "read", check.Scan: "scan", check.Commit: "commit"}

func (j *journal) count(op *check.Op, err *kv.Error) {
	name := opNames[op.Kind]
	if err != nil {
		name += " " + err.Kind.String()
	}
	j.counts[name]++
}

// heardOf compares every answer about a commit, also those that nobody waits for any more.
func (w *World) heardOf(m *kv.Commit, a answer) {
	switch {
	case a.response != nil:
		w.final(m.ID, fate{true, a.response.Timestamp})
	case a.lost || a.err == nil:
	case a.err.Kind == kv.Aborted, a.err.Kind == kv.Conflict, a.err.Kind == kv.Expectation,
		a.err.Kind == kv.StaleTerm && a.err.Term > m.Term && m.Term != 0:
		w.final(m.ID, fate{})
	}
}

func (w *World) outcomeTold(id kv.TxID, r *kv.Response, err *kv.Error) {
	switch {
	case err == nil && r.Outcome == kv.OutcomeCommitted:
		w.final(id, fate{true, r.Timestamp})
	case err == nil && r.Outcome == kv.OutcomeAborted, err != nil && err.Kind == kv.Aborted:
		w.final(id, fate{})
	}
}

func (w *World) final(id kv.TxID, f fate) {
	old, ok := w.hist.fates[id]
	if !ok {
		w.hist.fates[id] = f
		return
	}
	if old != f {
		w.violate("one outcome", "", "commit %s was told %s and %s", id, old, f)
	}
}

func (f fate) String() string {
	if !f.committed {
		return "aborted"
	}
	return fmt.Sprintf("committed at %d", uint64(f.at))
}
