package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// findingsMax bounds what one check reports: the first contradictions tell the story.
const findingsMax = 5

// serial replays a history in timestamp order against the ledger.
type serial struct {
	h        *History
	l        *Ledger
	sorted   []string
	byID     map[kv.TxID]*Op
	placed   map[kv.TxID]kv.Timestamp // where the ledger has each id
	findings []Finding
}

// Serial judges strict serializability: what every client was told must be what happens when
// the commits in the ledger are run one at a time in the order of their timestamps, and that
// order must agree with real time.
func Serial(h *History, l *Ledger) []Finding {
	s := &serial{h: h, l: l, sorted: l.Keys(), byID: map[kv.TxID]*Op{}, placed: map[kv.TxID]kv.Timestamp{}}
	for _, o := range h.Ops {
		if o.Kind == Commit {
			s.byID[o.ID] = o
		}
	}
	s.ledger()
	for _, o := range h.Ops {
		if o.Kind == Commit {
			s.commit(o)
		} else if o.Result == Done {
			s.read(o)
		}
	}
	s.realTime()
	return s.findings
}

func (s *serial) found(check, key, text string, ops ...*Op) {
	if len(s.findings) < findingsMax {
		s.findings = append(s.findings, Finding{Check: check, Key: key, Text: text, Ops: ops})
	}
}

// ledger judges the versions: each was asked for by somebody who was not told that it had
// failed, once, and no two commits have one timestamp.
func (s *serial) ledger() {
	at := map[kv.Timestamp]kv.TxID{}
	for _, k := range s.sorted {
		for _, v := range s.l.keys[k] {
			if v.ID.IsZero() && v.At <= s.l.Complete {
				continue // the version that carried the id is collected
			}
			o := s.byID[v.ID]
			if o == nil {
				s.found("no ghosts", k, fmt.Sprintf("key %s has a version at %d of the unknown id %s", printable(k), uint64(v.At), v.ID))
				continue
			}
			if c, ok := s.placed[v.ID]; ok && c != v.At {
				s.found("exactly once", k, fmt.Sprintf("id %s was applied at %d and again at %d", v.ID, uint64(c), uint64(v.At)), o)
			}
			if other, ok := at[v.At]; ok && other != v.ID {
				s.found("timestamps unique", k, fmt.Sprintf("two commits have the timestamp %d", uint64(v.At)), o, s.byID[other])
			}
			s.placed[v.ID], at[v.At] = v.At, v.ID
		}
	}
}

// commit judges one commit.
func (s *serial) commit(o *Op) {
	c, applied := s.placed[o.ID]
	switch {
	case o.Result == Refused && applied:
		s.found("refused is final", "", fmt.Sprintf("the client was told that %s had failed, and it was applied at %d", o.ID, uint64(c)), o)
		return
	case o.Result == Done && len(o.Change.Writes) > 0 && !applied && o.Timestamp > s.l.Complete:
		s.found("acknowledged writes survive", string(o.Change.Writes[0].Key), fmt.Sprintf("no version of the acknowledged commit %s is left", o.ID), o)
		return
	case o.Result == Done && applied && c != o.Timestamp:
		s.found("told is applied", "", fmt.Sprintf("the client was told %d, applied was %d", uint64(o.Timestamp), uint64(c)), o)
		return
	case o.Result == Done && !applied:
		c, applied = o.Timestamp, true
	}
	if !applied || c <= s.l.Complete {
		return
	}
	s.validated(o, c)
	sums := o.Change.Sums
	for _, w := range o.Change.Writes {
		s.write(o, w, c)
		if w.Kind != kv.WriteAdd || o.Result != Done {
			continue
		}
		if len(sums) == 0 {
			break // told by Outcome: no sums
		}
		if v, _ := s.l.at(string(w.Key), c); fmt.Sprint(sums[0]) != v.Value {
			s.found("sums", string(w.Key), fmt.Sprintf("the client was told the sum %d, the version at %d is %s", sums[0], uint64(c), v.Value), o)
		}
		sums = sums[1:]
	}
}

// validated judges that what a transaction had read still held when it committed.
func (s *serial) validated(o *Op, c kv.Timestamp) {
	for _, r := range o.Reads {
		if v := s.l.before(r.Key, c); !v.Deleted != r.Found || r.Found && v.At != r.Version {
			s.found("reads validated", r.Key, fmt.Sprintf("it read %s, but below %d the newest version is %s", r, uint64(c), shown(r.Key, v)), o, s.byID[v.ID])
		}
	}
	for _, sc := range o.Scanned {
		rows := s.l.rows(s.sorted, sc.Span, c-1)
		if !slices.Equal(rows, sc.Rows) {
			s.found("spans validated", string(sc.Span.Start), fmt.Sprintf("it scanned %v, but below %d there are %v", sc.Rows, uint64(c), rows), o)
		}
	}
}

func (s *serial) write(o *Op, w kv.Write, c kv.Timestamp) {
	k := string(w.Key)
	v, ok := s.l.at(k, c)
	if !ok || v.At != c || v.ID != o.ID {
		s.found("all or nothing", k, fmt.Sprintf("commit %s is applied at %d, but key %s has no version of it", o.ID, uint64(c), printable(k)), o)
		return
	}
	before := s.l.before(k, c)
	if !holds(w.Expect, before) {
		s.found("expectations hold", k, fmt.Sprintf("the expectation on key %s is not met by %s", printable(k), shown(k, before)), o, s.byID[before.ID])
	}
	if want, deleted, ok := after(w, before); !ok || deleted != v.Deleted || want != v.Value {
		s.found("writes replay", k, fmt.Sprintf("key %s is %s, the write makes it %q", printable(k), shown(k, v), want), o, s.byID[before.ID])
	}
}

// read judges what a read or a scan saw.
func (s *serial) read(o *Op) {
	if o.Strong {
		s.strong(o)
		return
	}
	if o.Timestamp <= s.l.Complete {
		return
	}
	for _, r := range o.Reads {
		if v, _ := s.l.at(r.Key, o.Timestamp); !v.Deleted != r.Found || r.Found && (v.At != r.Version || v.Value != r.Value) {
			s.found("snapshot reads", r.Key, fmt.Sprintf("it read %s, at %d the version is %s", r, uint64(o.Timestamp), shown(r.Key, v)), o, s.byID[v.ID])
		}
	}
	for _, sc := range o.Scanned {
		if rows := s.l.rows(s.sorted, sc.Span, o.Timestamp); !slices.Equal(rows, sc.Rows) {
			s.found("snapshot scans", string(sc.Span.Start), fmt.Sprintf("it scanned %v, at %d there are %v", sc.Rows, uint64(o.Timestamp), rows), o)
		}
	}
}

func (s *serial) strong(o *Op) {
	for _, r := range o.Reads {
		if !r.Found || r.Version <= s.l.Complete {
			continue
		}
		if v, ok := s.l.at(r.Key, r.Version); !ok || v.At != r.Version || v.Deleted || v.Value != r.Value {
			s.found("strong reads", r.Key, fmt.Sprintf("it read %s, which no replica holds", r), o)
		}
	}
}

func shown(k string, v Version) Seen {
	return Seen{Key: k, Value: v.Value, Version: v.At, Found: !v.Deleted}
}

// place is a position in the serial order: a commit at c stands at 2c, a read at r at 2r+1.
type place uint64

// edge is the call or the return of an operation.
type edge struct {
	at   Time
	call bool
	o    *Op
}

// realTime judges that an operation that ended before another began stands before it. A
// strong read may stand anywhere between the version that it read and the next one: it is
// put as early as possible, which leaves the most room to all others.
func (s *serial) realTime() {
	var edges []edge
	for _, o := range s.h.Ops {
		if o.Result == Refused || o.Past || o.Kind != Commit && o.Result != Done {
			continue
		}
		edges = append(edges, edge{o.Call, true, o})
		if o.Return != Never && o.Result == Done {
			edges = append(edges, edge{o.Return, false, o})
		}
	}
	slices.SortStableFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b2i(!a.call), b2i(!b.call)))
	})
	type bound struct {
		p place
		o *Op // who set it
	}
	var floor bound
	places := map[*Op]place{}
	for _, e := range edges {
		if !e.call {
			if p := places[e.o]; p > floor.p {
				floor = bound{p, e.o}
			}
			continue
		}
		lo, hi, ok := s.room(e.o, floor.p)
		if !ok {
			continue
		}
		places[e.o] = max(lo, floor.p)
		if places[e.o] > hi {
			s.found("real time", s.aboutKey(e.o), fmt.Sprintf("it stands at %d or below, after an operation that had ended before it began and stands at %d", uint64(hi/2), uint64(floor.p/2)), floor.o, e.o)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *serial) aboutKey(o *Op) string {
	if len(o.Reads) > 0 {
		return o.Reads[0].Key
	}
	if o.Change != nil && len(o.Change.Writes) > 0 {
		return string(o.Change.Writes[0].Key)
	}
	return ""
}

// room is the first place at or after floor where an operation can stand, if any is left; ok is
// false if it has not happened.
func (s *serial) room(o *Op, floor place) (lo, hi place, ok bool) {
	switch {
	case o.Kind == Commit && o.Result == Done && len(o.Change.Writes) == 0:
		// Only its reads were validated: it stands where they held, right after c.
		return place(2*o.Timestamp + 1), place(2*o.Timestamp + 1), true
	case o.Kind == Commit:
		c, ok := s.placed[o.ID]
		return place(2 * c), place(2 * c), ok
	case o.Strong && !o.Reads[0].Found:
		lo, hi = s.roomAbsent(o.Reads[0], floor)
		return lo, hi, true
	case o.Strong:
		r := o.Reads[0]
		return place(2*r.Version + 1), place(2*s.l.next(r.Key, r.Version) - 1), true
	}
	return place(2*o.Timestamp + 1), place(2*o.Timestamp + 1), true
}

// roomAbsent is the room of a strong read that found nothing: the first time at or after
// floor at which the key was absent, or the last one.
func (s *serial) roomAbsent(r Seen, floor place) (lo, hi place) {
	lo, hi = 1, place(2*s.l.next(r.Key, 0)-1)
	if hi >= floor {
		return lo, hi
	}
	for _, v := range s.l.keys[r.Key] {
		if !v.Deleted {
			continue
		}
		lo, hi = place(2*v.At+1), place(2*s.l.next(r.Key, v.At)-1)
		if hi >= floor {
			break
		}
	}
	return lo, hi
}
