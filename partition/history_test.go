package partition

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strconv"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/txn"
)

// history is what clients saw and what the log holds, judged at the end against a sequential
// map: timestamps say in which order everything is to have happened.
type history struct {
	clock   int // counts begins and ends
	ops     []*op
	byID    map[kv.TxID]*op
	problem string
	named   int // conflicts that say who was in the way
	pending int // those among them that only a pending version can have told
}

// op is one operation of a client, over all its copies and retries.
type op struct {
	begin, end int // end 0: never answered

	commit *kv.Commit
	told   kv.Outcome
	c      kv.Timestamp // of the answer, then of the log
	sums   []int64

	read *kv.Read // what a read saw
	scan *kv.Scan
	resp *kv.Response
	// refused is the answer of a commit that found something unexpected: it is a strong
	// read of one key.
	refused *kv.Error
}

func newHistory() *history { return &history{byID: map[kv.TxID]*op{}} }

func (h *history) fail(format string, args ...any) {
	if h.problem == "" {
		h.problem = fmt.Sprintf(format, args...)
	}
}

func (h *history) began(o *op) *op {
	h.clock++
	o.begin = h.clock
	h.ops = append(h.ops, o)
	if o.commit != nil {
		h.byID[o.commit.ID] = o
	}
	return o
}

func (h *history) ended(o *op) {
	if o.end == 0 {
		h.clock++
		o.end = h.clock
	}
}

// overtakenBy checks that whoever is said to have overtaken a commit writes the key.
func (h *history) overtakenBy(o *op, err *kv.Error) {
	if err.Kind != kv.Conflict || err.ID.IsZero() {
		return
	}
	h.named++
	by := h.byID[err.ID]
	if by == nil || by == o || !slices.ContainsFunc(by.commit.Writes, func(w kv.Write) bool { return bytes.Equal(w.Key, err.Key) }) {
		h.fail("commit %v was overtaken at %x by %v, which does not write that", o.commit.ID, err.Key, err.ID)
	} else if !bytes.Equal(by.commit.Writes[0].Key, err.Key) { // only the first version is stored with its id
		h.pending++
	}
}

// tell notes an answer about a commit; all answers must agree.
func (h *history) tell(o *op, told kv.Outcome, c kv.Timestamp, sums []int64) {
	if o.told != kv.OutcomeUnknown && (o.told != told || o.c != c) {
		h.fail("commit %v is told outcome %d at %d and then %d at %d", o.commit.ID, o.told, o.c, told, c)
	}
	o.told, o.c = told, c
	if sums != nil {
		if o.sums != nil && fmt.Sprint(o.sums) != fmt.Sprint(sums) {
			h.fail("commit %v is told the sums %d and then %d", o.commit.ID, o.sums, sums)
		}
		o.sums = sums
	}
	h.ended(o)
}

// stored is one version of a key in the log.
type stored struct {
	ts   kv.Timestamp
	v    Version
	id   kv.TxID
	from int // position in the log
}

// model is the versions of each key, ascending.
type model map[string][]stored

// newest is the version of a key at or below ts; ts 0 if there is none.
func (m model) newest(k kv.Key, ts kv.Timestamp) stored {
	vs := m[string(k)]
	i := sort.Search(len(vs), func(i int) bool { return vs[i].ts > ts })
	if i == 0 {
		return stored{v: Version{Tombstone: true}}
	}
	return vs[i-1]
}

// next is when the version of a key that was in force at ts ends.
func (m model) next(k kv.Key, ts kv.Timestamp) kv.Timestamp {
	vs := m[string(k)]
	i := sort.Search(len(vs), func(i int) bool { return vs[i].ts > ts })
	if i == len(vs) {
		return txn.Strong
	}
	return vs[i].ts
}

// build reads the log.
func (h *history) build(log []logEntry) model {
	m := model{}
	committed := map[kv.TxID]kv.Timestamp{}
	for i, e := range log {
		if e.data == nil {
			continue
		}
		err := eachCommand(e.data, func(c *Command) *kv.Error {
			if c.kind != commandWrite {
				return nil
			}
			if _, twice := committed[c.ID]; twice {
				h.fail("commit %v is applied twice", c.ID)
			}
			committed[c.ID] = c.Timestamp
			for _, v := range c.Versions {
				k := string(v.Key)
				if n := len(m[k]); n > 0 && m[k][n-1].ts >= c.Timestamp {
					h.fail("versions of %s are applied out of timestamp order", k)
				}
				m[k] = append(m[k], stored{c.Timestamp, v, c.ID, i})
			}
			return nil
		})
		if err != nil {
			h.fail("%v", err)
		}
	}
	for _, o := range h.ops {
		if o.commit != nil && len(o.commit.Writes) > 0 {
			h.checkTold(o, committed[o.commit.ID])
		}
	}
	return m
}

func (h *history) checkTold(o *op, c kv.Timestamp) {
	switch {
	case o.told == kv.OutcomeCommitted && c != o.c:
		h.fail("commit %v is told committed at %d, the log has %d", o.commit.ID, o.c, c)
	case o.told == kv.OutcomeAborted && c != 0:
		h.fail("commit %v is told aborted, the log has it at %d", o.commit.ID, c)
	}
	o.c = c
}

// judge checks everything: each operation has a place in the order of timestamps that agrees
// with what it saw and with real time.
func (h *history) judge(log []logEntry) {
	m := h.build(log)
	for _, o := range h.ops {
		if o.commit != nil && o.c != 0 {
			h.checkCommit(m, o)
		}
	}
	h.checkOrder(m)
}

// checkCommit executes the commit on what was there just before its timestamp.
func (h *history) checkCommit(m model, o *op) {
	q := o.commit
	var sums []int64
	for i := range q.Writes {
		w := &q.Writes[i]
		was := m.newest(w.Key, o.c-1)
		found := FoundVersion{Timestamp: was.ts, Value: was.v.Value, Tombstone: was.v.Tombstone}
		if !meets(&w.Expect, &found) {
			h.fail("commit %v at %d wrote %s although the expectation did not hold", q.ID, o.c, w.Key)
		}
		want := w.Value
		if w.Kind == kv.WriteAdd {
			sum, err := add(w, &found)
			if err != nil {
				h.fail("commit %v added to %q", q.ID, was.v.Value)
			}
			sums = append(sums, sum)
			want = strconv.AppendInt(nil, sum, 10)
		}
		if now := m.newest(w.Key, o.c); now.id != q.ID || !bytes.Equal(now.v.Value, want) || now.v.Tombstone != (w.Kind == kv.WriteDelete) {
			h.fail("commit %v at %d wrote %q to %s, the log has %q", q.ID, o.c, want, w.Key, now.v.Value)
		}
	}
	if o.sums != nil && fmt.Sprint(o.sums) != fmt.Sprint(sums) {
		h.fail("commit %v was told the sums %d, they are %d", q.ID, o.sums, sums)
	}
	for k := range m { // each is checked: the order does not matter
		read := false
		for _, r := range q.Reads {
			read = read || string(r.Key) == k
		}
		for _, s := range q.Spans {
			read = read || s.Contains(kv.Key(k))
		}
		if was := m.newest(kv.Key(k), o.c-1); read && was.ts > q.Start {
			h.fail("commit %v at %d read %s at %d, which was written at %d", q.ID, o.c, k, q.Start, was.ts)
		}
	}
}

// checkOrder gives each operation the earliest place that real time and what it saw allow.
func (h *history) checkOrder(m model) {
	type event struct {
		at  int
		op  *op
		end bool
	}
	var events []event
	for _, o := range h.ops {
		events = append(events, event{at: o.begin, op: o})
		if o.end != 0 {
			events = append(events, event{at: o.end, op: o, end: true})
		}
	}
	sort.Slice(events, func(i, j int) bool { return events[i].at < events[j].at })
	floors := map[*op]kv.Timestamp{}
	var reached kv.Timestamp // the latest place of what has ended
	for _, e := range events {
		if !e.end {
			floors[e.op] = reached
			if e.op.c != 0 && e.op.c <= reached {
				h.fail("commit %v at %d began after something at %d had ended", e.op.commit.ID, e.op.c, reached)
			}
			continue
		}
		reached = max(reached, h.place(m, e.op, floors[e.op]))
	}
}

// place is the earliest place of an operation that has ended, not before floor.
func (h *history) place(m model, o *op, floor kv.Timestamp) kv.Timestamp {
	switch {
	case o.refused != nil:
		return h.placeRefused(m, o.refused, floor)
	case o.commit != nil:
		return o.c
	case o.resp == nil:
		return 0
	case o.scan != nil:
		h.checkScan(m, o)
	case len(o.read.Keys) == 1 && o.read.Timestamp == 0:
		return h.placeStrong(m, o, floor)
	default:
		h.checkRead(m, o)
	}
	if at := o.resp.Timestamp; o.read != nil && o.read.Timestamp != 0 || o.scan != nil && o.scan.Timestamp != 0 {
		return 0 // a look into the past
	} else if at <= floor {
		h.fail("a read drew %d after something at %d had ended", at, floor)
		return at
	} else {
		return at
	}
}

func (h *history) placeStrong(m model, o *op, floor kv.Timestamp) kv.Timestamp {
	k := o.read.Keys[0]
	if o.resp.Timestamp == 0 {
		return h.placeAbsent(m, k, floor)
	}
	v := m.newest(k, o.resp.Timestamp)
	if v.ts != o.resp.Timestamp || v.v.Tombstone == o.resp.Found[0] || o.resp.Found[0] && !bytes.Equal(v.v.Value, o.resp.Rows[0].Value) {
		h.fail("a strong read of %s saw a version at %d that is not in the log", k, o.resp.Timestamp)
	}
	return h.placeVersion(m, k, v.ts, floor)
}

func (h *history) placeVersion(m model, k kv.Key, ts, floor kv.Timestamp) kv.Timestamp {
	at := max(ts, floor)
	if end := m.next(k, ts); at >= end {
		h.fail("a strong read of %s saw the version at %d, which ended at %d, after something at %d had ended", k, ts, end, floor)
	}
	return at
}

// placeAbsent finds the first time from floor on at which a key is absent.
func (h *history) placeAbsent(m model, k kv.Key, floor kv.Timestamp) kv.Timestamp {
	for at := floor; ; at = m.next(k, at) {
		if at == txn.Strong {
			h.fail("a strong read of %s saw it absent after something at %d had ended", k, floor)
			return floor
		}
		if m.newest(k, at).v.Tombstone {
			return at
		}
	}
}

func (h *history) placeRefused(m model, e *kv.Error, floor kv.Timestamp) kv.Timestamp {
	if e.Actual == nil {
		return h.placeAbsent(m, e.Key, floor)
	}
	v := m.newest(e.Key, e.Actual.Version)
	if v.ts != e.Actual.Version || v.v.Tombstone || !bytes.Equal(v.v.Value, e.Actual.Value) {
		h.fail("a commit was refused because of a version of %s at %d that is not in the log", e.Key, e.Actual.Version)
	}
	return h.placeVersion(m, e.Key, v.ts, floor)
}

// checkRead compares a read at a timestamp with the versions of that moment.
func (h *history) checkRead(m model, o *op) {
	rows := o.resp.Rows
	for i, k := range o.read.Keys {
		want := m.newest(k, o.resp.Timestamp)
		if want.v.Tombstone == o.resp.Found[i] {
			h.fail("a read of %s at %d found it: %v", k, o.resp.Timestamp, o.resp.Found[i])
			return
		}
		if !o.resp.Found[i] {
			continue
		}
		if rows[0].Version != want.ts || !bytes.Equal(rows[0].Value, want.v.Value) {
			h.fail("a read of %s at %d saw the version at %d, not that at %d", k, o.resp.Timestamp, rows[0].Version, want.ts)
		}
		rows = rows[1:]
	}
}

func (h *history) checkScan(m model, o *op) {
	var keys []string
	for k := range m {
		if o.scan.Span.Contains(kv.Key(k)) && !m.newest(kv.Key(k), o.resp.Timestamp).v.Tombstone {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	if len(keys) != len(o.resp.Rows) {
		h.fail("a scan at %d saw %d rows, not %v", o.resp.Timestamp, len(o.resp.Rows), keys)
		return
	}
	for i, k := range keys {
		want := m.newest(kv.Key(k), o.resp.Timestamp)
		if r := o.resp.Rows[i]; string(r.Key) != k || r.Version != want.ts || !bytes.Equal(r.Value, want.v.Value) {
			h.fail("a scan at %d saw %s at %d, not %s at %d", o.resp.Timestamp, r.Key, r.Version, k, want.ts)
		}
	}
}
