package client_test

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"github.com/kvd-db/kvd/kv"
)

func (w *world) read(p *part, q *kv.Read) *kv.Response {
	a := &kv.Response{Term: p.term, Timestamp: q.Timestamp}
	if a.Timestamp == 0 && len(q.Keys) > 1 {
		a.Timestamp = w.draw()
	}
	for _, k := range q.Keys {
		row, ok := p.at(string(k), a.Timestamp)
		a.Found = append(a.Found, ok)
		if ok {
			a.Rows = append(a.Rows, row)
		}
	}
	if q.Timestamp == 0 && len(q.Keys) == 1 && len(a.Rows) > 0 {
		a.Timestamp = a.Rows[0].Version
	}
	return a
}

func (w *world) scan(p *part, q *kv.Scan) *kv.Response {
	a := &kv.Response{Term: p.term, Timestamp: q.Timestamp}
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
	a := &kv.Response{Term: p.term}
	p.seen[q.ID] = &result{}
	values := make([][]byte, len(q.Writes))
	for i := range q.Writes {
		var err *kv.Error
		if values[i], err = p.evaluate(&q.Writes[i], a); err != nil {
			return nil, err
		}
	}
	a.Timestamp = w.draw()
	for i := range q.Writes {
		k := string(q.Writes[i].Key)
		p.rows[k] = append(p.rows[k], kv.Row{Key: kv.Key(k), Value: values[i], Version: a.Timestamp})
	}
	p.seen[q.ID] = &result{response: a}
	p.done[q.ID] = &result{response: a}
	w.executed[q.ID]++
	return a, nil
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
