package client_test

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"github.com/kvd-db/kvd/kv"
)

func (w *world) read(p *part, q *kv.Read) *kv.Response {
	a := &kv.Response{Timestamp: q.Timestamp}
	if a.Timestamp == 0 && (len(q.Keys) > 1 || q.Stamped || q.NotBefore != 0) {
		a.Timestamp = w.draw()
	}
	for _, k := range q.Keys {
		row, ok := p.at(string(k), a.Timestamp)
		a.Found = append(a.Found, ok)
		if ok {
			a.Rows = append(a.Rows, row)
		}
	}
	if a.Timestamp == 0 && len(a.Rows) > 0 {
		a.Timestamp = a.Rows[0].Version
	}
	return a
}

// answer is what a node sends: only a leader has a term.
func (p *part) answer(n *node, a *kv.Response) *kv.Response {
	if n.id == p.leader {
		a.Term = p.term
	}
	return a
}

// covered is rule G5: whether a node that does not lead may answer.
func (w *world) covered(q *kv.Request) bool {
	at, s := kv.Timestamp(0), kv.Stale{}
	switch {
	case q.Read != nil:
		at, s = q.Read.Timestamp, q.Read.Stale
	case q.Scan != nil:
		at, s = q.Scan.Timestamp, q.Scan.Stale
	}
	return s.Follower && at != 0 && at <= w.closed || s.NotBefore != 0 && s.NotBefore <= w.closed
}

func (w *world) scan(p *part, q *kv.Scan) *kv.Response {
	a := &kv.Response{Timestamp: q.Timestamp}
	if a.Timestamp == 0 {
		a.Timestamp = w.draw()
	}
	var rows []kv.Row
	for k := range p.rows {
		if row, ok := p.at(k, a.Timestamp); ok && q.Span.Contains(kv.Key(k)) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b kv.Row) int { return bytes.Compare(a.Key, b.Key) })
	if q.Reverse {
		slices.Reverse(rows)
	}
	n := cmp.Or(q.Keys, 10) // small pages
	if len(rows) > n {
		a.Resume = rows[n].Key
		if q.Reverse {
			a.Resume = rows[n-1].Key
		}
		rows = rows[:n]
	}
	for _, r := range rows {
		if q.KeysOnly {
			r.Value = nil
		}
		if a.Count++; !q.CountOnly {
			a.Rows = append(a.Rows, r)
		}
	}
	if !q.CountOnly {
		a.Count = 0
	}
	return a
}

// commit is rule C1.
func (w *world) commit(p *part, q *kv.Commit) (*kv.Response, *kv.Error) {
	r := p.seen[q.ID]
	if q.Term != p.term {
		if r = p.done[q.ID]; r == nil {
			return nil, &kv.Error{Kind: kv.StaleTerm, Term: p.term}
		}
	}
	switch {
	case r != nil && r.response == nil:
		return nil, kv.Errorf(kv.Aborted, "this attempt was aborted")
	case r != nil:
		a := *r.response
		a.Term = p.term // the answering leader's, not that of the one who executed it
		return &a, nil
	case q.AsOf.UnixMillis() < w.oracle.UnixMillis()-10_000:
		return nil, kv.Errorf(kv.Aborted, "the attempt is older than the window")
	}
	p.seen[q.ID] = &result{}
	a, err := w.execute(p, q)
	if err != nil {
		return nil, err
	}
	p.seen[q.ID] = &result{response: a}
	p.done[q.ID] = &result{response: a}
	w.executed[q.ID]++
	return a, nil
}

// piece is what a commit does in one partition.
type piece struct {
	p      *part
	q      *kv.Part
	values [][]byte
}

// execute is rules C3 and H at once: the world is held still.
func (w *world) execute(p *part, q *kv.Commit) (*kv.Response, *kv.Error) {
	pieces := []*piece{{p: p, q: &kv.Part{Reads: q.Reads, Spans: q.Spans, Writes: q.Writes}}}
	for i := range q.Parts {
		other := &q.Parts[i]
		j := slices.IndexFunc(w.parts, func(p *part) bool { return p.d.Partition == other.Partition })
		if j < 0 || w.parts[j] == p {
			return nil, kv.Errorf(kv.NotFound, "partition %d is not here", other.Partition)
		}
		if !w.parts[j].holdsAll(other.Reads, other.Spans, other.Writes) {
			return nil, &kv.Error{Kind: kv.WrongPartition, Descriptors: w.descriptorsAround(w.parts[j])}
		}
		pieces = append(pieces, &piece{p: w.parts[j], q: other})
	}
	a := &kv.Response{Term: p.term}
	for _, x := range pieces {
		if err := x.validate(q); err != nil {
			return nil, err
		}
		for i := range x.q.Writes {
			value, err := x.p.evaluate(&x.q.Writes[i], a)
			if err != nil {
				return nil, err
			}
			x.values = append(x.values, value)
		}
	}
	a.Timestamp = w.draw()
	for _, x := range pieces {
		for i := range x.q.Writes {
			k := string(x.q.Writes[i].Key)
			x.p.rows[k] = append(x.p.rows[k], kv.Row{Key: kv.Key(k), Value: x.values[i], Version: a.Timestamp})
		}
	}
	return a, nil
}

// validate refuses reads that were overtaken.
func (x *piece) validate(q *kv.Commit) *kv.Error {
	newer := func(k string) *kv.Error {
		if row, _ := x.p.at(k, 0); row.Version > q.Start {
			return &kv.Error{Kind: kv.Conflict, Partition: x.p.d.Partition, Key: kv.Key(k), Message: "written after it was read"}
		}
		return nil
	}
	if len(x.q.Reads)+len(x.q.Spans) > 0 && q.Start == 0 {
		return kv.Errorf(kv.Invalid, "reads without their timestamp")
	}
	for _, r := range x.q.Reads {
		if err := newer(string(r.Key)); err != nil {
			return err
		}
	}
	for _, s := range x.q.Spans {
		for k := range x.p.rows {
			if s.Contains(kv.Key(k)) {
				if err := newer(k); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (p *part) evaluate(w *kv.Write, a *kv.Response) ([]byte, *kv.Error) {
	old, ok := p.at(string(w.Key), 0)
	met := true
	switch w.Expect.Kind {
	case kv.ExpectAbsent:
		met = !ok
	case kv.ExpectVersion:
		met = ok && old.Version == w.Expect.Version
	case kv.ExpectValue:
		met = ok && bytes.Equal(old.Value, w.Expect.Value)
	}
	if !met {
		e := &kv.Error{Kind: kv.Expectation, Key: w.Key}
		if ok {
			e.Actual = &old
		}
		return nil, e
	}
	switch w.Kind {
	case kv.WritePut:
		return append([]byte{}, w.Value...), nil
	case kv.WriteAdd:
		n := int64(0)
		if ok {
			n, _ = strconv.ParseInt(string(old.Value), 10, 64)
		}
		a.Sums = append(a.Sums, n+w.Delta)
		return strconv.AppendInt(nil, n+w.Delta, 10), nil
	}
	return nil, nil
}

// outcome is rule I1.
func (p *part) outcome(q *kv.OutcomeOf) *kv.Response {
	a := &kv.Response{Term: p.term, Outcome: kv.OutcomeAborted}
	if r := p.done[q.ID]; r != nil {
		a.Outcome, a.Timestamp = kv.OutcomeCommitted, r.response.Timestamp
	} else if q.Term == p.term && p.seen[q.ID] == nil {
		p.seen[q.ID] = &result{}
	}
	return a
}
