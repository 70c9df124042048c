package partition

import (
	"bytes"
	"math"
	"strconv"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// evaluator gets the result of a task that does not serve.
type evaluator interface {
	evaluated(l *leader, t *ReadTask, r *ReadResult)
}

// evaluate finds out, under all latches, whether the reads are valid (rule C3) and
// what its writes come to. Pending versions are taken for versions (rule C5b); the engine is
// asked only for keys that have none.
func (l *leader) evaluate(x *intent) {
	if key := l.pendingConflict(x); key != nil {
		x.owner.refuse(l, l.conflict(x, key, l.pendingWriter(key)))
		return
	}
	ev := &Evaluation{Start: x.req.Start, Keys: x.req.Reads, Spans: x.req.Spans}
	for i := range x.req.Writes {
		w := &x.req.Writes[i]
		if plain(w) {
			continue
		}
		p, ok := l.table.Newest(w.Key)
		if !ok || invariant.Mutated(invariant.PipeNoValidate) {
			ev.Newest = append(ev.Newest, w.Key)
			continue
		}
		v := FoundVersion{Timestamp: p.Timestamp, Value: p.Value, Tombstone: p.Tombstone}
		if err := x.resolve(i, &v); err != nil {
			x.owner.refuseBy(l, w.Key, err)
			return
		}
	}
	if len(ev.Newest) == 0 && len(ev.Keys) == 0 && len(ev.Spans) == 0 {
		x.owner.ready(l)
		return
	}
	x.task = &ReadTask{Partition: l.id, Term: l.term, Evaluation: ev, owner: x, timer: x.timer}
	l.sink.Read(x.task)
}

// evaluated goes on with what the engine said.
func (x *intent) evaluated(l *leader, t *ReadTask, r *ReadResult) {
	if x.task != t {
		return // ended meanwhile
	}
	x.task = nil
	x.timer.read(l, r)
	switch {
	case r.Err != nil:
		x.owner.refuse(l, r.Err)
		return
	case r.Conflict != nil:
		x.owner.refuse(l, l.conflict(x, r.Conflict, r.Writer))
		return
	// The G of the engine's state was proposed before that state was read.
	case (len(x.req.Reads) > 0 || len(x.req.Spans) > 0) && x.req.Start < l.retained.gcProposed && !invariant.Mutated(invariant.NoGCCommit):
		x.owner.refuse(l, tooOld(l.id, x.req.Start, l.retained.gcProposed))
		return
	}
	next := 0
	for i := range x.req.Writes {
		w := &x.req.Writes[i]
		if next == len(r.Versions) || !bytes.Equal(t.Evaluation.Newest[next], w.Key) {
			continue
		}
		v := &r.Versions[next]
		next++
		if err := x.resolve(i, v); err != nil {
			x.owner.refuseBy(l, w.Key, err)
			return
		}
	}
	x.owner.ready(l)
}

// pendingConflict is a read key with a pending version that the reads did not see.
func (l *leader) pendingConflict(x *intent) kv.Key {
	if invariant.Mutated(invariant.PipeNoValidate) {
		return nil
	}
	for _, m := range x.req.Reads {
		if p, ok := l.table.Newest(m.Key); ok && p.Timestamp > x.req.Start {
			return m.Key
		}
	}
	for _, s := range x.req.Spans {
		if k := l.table.NewerIn(s, x.req.Start); k != nil {
			return k
		}
	}
	return nil
}

// pendingWriter is the transaction of the newest pending version of a key; zero if it has none.
func (l *leader) pendingWriter(key kv.Key) (id kv.TxID) {
	if g := l.table.Writer(key); g != nil {
		id, _ = g.Owner.(*intent).owner.transaction()
	}
	return id
}

// conflict says that a key was written since it was read; by is who did, zero if that is not known.
func (l *leader) conflict(x *intent, key kv.Key, by kv.TxID) *kv.Error {
	id, _ := x.owner.transaction()
	e := keyError(kv.Conflict, key, "written after %v, at which commit %v read it: read again and commit under a new id", x.req.Start, id)
	e.Partition, e.ID = l.id, by
	return e
}

// keyError is an error about one key. Its message does not name the key: how much of it is the
// user's only those know who know the scheme of the keyspace (kv.Keyspace.UserError).
func keyError(k kv.Kind, key kv.Key, format string, args ...any) *kv.Error {
	e := kv.Errorf(k, format, args...)
	e.Key = key
	return e
}

// resolve checks the condition of a write against the newest version of its key, and works
// out a sum.
func (x *intent) resolve(i int, v *FoundVersion) *kv.Error {
	w := &x.req.Writes[i]
	x.declared.newest = max(x.declared.newest, v.Timestamp)
	if !meets(&w.Expect, v) {
		e := keyError(kv.Expectation, w.Key, "not as expected: nothing was written")
		if v.present() {
			e.Actual = &kv.Row{Key: w.Key, Value: v.Value, Version: v.Timestamp}
		}
		return e
	}
	if w.Kind != kv.WriteAdd {
		return nil
	}
	sum, err := add(w, v)
	if err != nil {
		return err
	}
	if x.declared.values == nil {
		x.declared.values = make([]value, len(x.req.Writes))
	}
	x.declared.values[i] = value{bytes: strconv.AppendInt(nil, sum, 10), sum: sum}
	return nil
}

func meets(x *kv.Expect, v *FoundVersion) bool {
	switch x.Kind {
	case kv.ExpectAbsent:
		return !v.present()
	case kv.ExpectVersion:
		return v.present() && v.Timestamp == x.Version
	case kv.ExpectValue:
		return v.present() && bytes.Equal(v.Value, x.Value)
	}
	return true
}

func add(w *kv.Write, v *FoundVersion) (int64, *kv.Error) {
	if !v.present() {
		return w.Delta, nil
	}
	n, err := strconv.ParseInt(string(v.Value), 10, 64)
	if err != nil {
		return 0, keyError(kv.Invalid, w.Key, "the value is no decimal integer of 64 bits: nothing can be added to it")
	}
	if w.Delta > 0 && n > math.MaxInt64-w.Delta || w.Delta < 0 && n < math.MinInt64-w.Delta {
		return 0, keyError(kv.Invalid, w.Key, "the value is %d: adding %d leaves the range of 64 bits", n, w.Delta)
	}
	return n + w.Delta, nil
}

// refuse aborts a commit because of what a key holds. The answer reveals that, so it is given
// like a strong read of the key: once the version is applied, and under the lease.
func (c *commit) refuseBy(l *leader, key kv.Key, err *kv.Error) {
	err.Partition = l.id
	err = c.timer.refused(l, c, err)
	known := &ReadResult{Err: err}
	keys := []kv.Key{key}
	for t := l.kill(c); t != nil; {
		next := t.copy
		l.tickets.remove(t)
		if t.outcome {
			l.answerAborted(t, err)
		} else {
			r := &read{keys: keys, at: txn.Strong, task: ReadTask{Known: known}}
			l.await(r, t.id)
		}
		t = next
	}
}
