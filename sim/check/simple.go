package check

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/kvd-db/kvd/kv"
)

// Counters judges keys that are only read and added to, all deltas being positive: no sum is
// told twice, and every value lies between what was surely added before and all that can
// have been added until then.
func Counters(h *History) []Finding {
	var findings []Finding
	keys, byKey := Accesses(h)
	for _, k := range keys {
		if f := counter(k, byKey[k]); f != nil && len(findings) < findingsMax {
			findings = append(findings, *f)
		}
	}
	return findings
}

func counter(key string, all []Access) *Finding {
	told := map[int64]*Op{}
	for _, a := range all {
		if a.Write != nil && (a.Write.Kind != kv.WriteAdd || a.Write.Delta <= 0) {
			return nil
		}
		if a.Sum == nil {
			continue
		}
		if o := told[*a.Sum]; o != nil {
			return &Finding{Check: "counters", Key: key, Text: fmt.Sprintf("two adds to %s were told the sum %d", printable(key), *a.Sum), Ops: ops(o, a.Op)}
		}
		told[*a.Sum] = a.Op
	}
	adds := newTally(all)
	for _, a := range all {
		v, ok := a.counted()
		if !ok {
			continue
		}
		if least, most := adds.surely(a.Call), adds.possibly(a.Return); v < least || v > most {
			return &Finding{Check: "counters", Key: key, Text: fmt.Sprintf("counter %s is %d, it must be between %d and %d", printable(key), v, least, most), Ops: ops(a.Op)}
		}
	}
	return nil
}

// counted is the value of the counter that an access was told.
func (a Access) counted() (int64, bool) {
	switch {
	case a.Sum != nil:
		return *a.Sum, true
	case a.Saw == nil || a.Unknown:
		return 0, false
	case !a.Saw.Found:
		return 0, true
	}
	v, err := strconv.ParseInt(a.Saw.Value, 10, 64)
	return v, err == nil
}

// tally knows what was added when.
type tally struct{ called, returned []step }

type step struct {
	at  Time
	sum int64 // of this and all before
}

func newTally(all []Access) tally {
	var t tally
	for _, a := range all {
		if a.Write == nil {
			continue
		}
		t.called = append(t.called, step{a.Call, a.Write.Delta})
		if !a.Unknown {
			t.returned = append(t.returned, step{a.Return, a.Write.Delta})
		}
	}
	for _, s := range [][]step{t.called, t.returned} {
		slices.SortStableFunc(s, func(a, b step) int { return int(min(max(a.at-b.at, -1), 1)) })
		for i := 1; i < len(s); i++ {
			s[i].sum += s[i-1].sum
		}
	}
	return t
}

func upTo(s []step, at Time) int64 {
	i, _ := slices.BinarySearchFunc(s, at, func(s step, at Time) int { return int(min(max(s.at-at, -1), 1)) })
	if i == 0 {
		return 0
	}
	return s[i-1].sum
}

func (t tally) surely(before Time) int64  { return upTo(t.returned, before) }
func (t tally) possibly(until Time) int64 { return upTo(t.called, min(until, Never-1)+1) }

// Sets judges scans over keys that are inserted once and written by nobody else: what was
// surely inserted before is there, what was inserted later is not.
func Sets(h *History) []Finding {
	inserts, sorted := insertsOf(h)
	var findings []Finding
	for _, o := range h.Ops {
		if o.Kind != Scan || o.Result != Done || o.Past {
			continue
		}
		for _, sc := range o.Scanned {
			has := map[string]bool{}
			for _, r := range sc.Rows {
				has[r.Key] = true
			}
			for i, _ := slices.BinarySearch(sorted, string(sc.Span.Start)); i < len(sorted) && sc.Span.Contains(kv.Key(sorted[i])); i++ {
				k := sorted[i]
				in := inserts[k]
				lost := !has[k] && in.Result == Done && in.Return < o.Call
				early := has[k] && in.Call > o.Return
				if (lost || early) && len(findings) < findingsMax {
					findings = append(findings, Finding{Check: "sets", Key: k, Text: fmt.Sprintf("scan has key %s: %v", printable(k), has[k]), Ops: ops(in, o)})
				}
			}
		}
	}
	return findings
}

// insertsOf are the keys that one operation inserts and no other one writes.
func insertsOf(h *History) (inserts map[string]*Op, sorted []string) {
	inserts = map[string]*Op{}
	writers := map[string]int{}
	for _, o := range h.Ops {
		if o.Kind != Commit || o.Result == Refused {
			continue
		}
		for _, w := range o.Change.Writes {
			writers[string(w.Key)]++
			if w.Kind == kv.WritePut && w.Expect.Kind == kv.ExpectAbsent {
				inserts[string(w.Key)] = o
			}
		}
	}
	for k := range inserts {
		if writers[k] > 1 {
			delete(inserts, k)
			continue
		}
		sorted = append(sorted, k)
	}
	slices.Sort(sorted)
	return inserts, sorted
}

// Totals judges scans over accounts between which money is moved: no scan may see it made or
// lost. spans are the banks, total what each holds; a bank that is still empty is let pass.
func Totals(h *History, spans []kv.Span, total int64) []Finding {
	var findings []Finding
	for _, o := range h.Ops {
		if o.Kind != Scan || o.Result != Done {
			continue
		}
		for _, sc := range o.Scanned {
			if !slices.ContainsFunc(spans, func(s kv.Span) bool {
				return string(s.Start) == string(sc.Span.Start) && string(s.End) == string(sc.Span.End)
			}) || len(sc.Rows) == 0 {
				continue
			}
			var sum int64
			for _, r := range sc.Rows {
				n, _ := strconv.ParseInt(r.Value, 10, 64)
				sum += n
			}
			if sum != total && len(findings) < findingsMax {
				findings = append(findings, Finding{Check: "totals", Key: string(sc.Span.Start), Text: fmt.Sprintf("the accounts hold %d, not %d", sum, total), Ops: ops(o)})
			}
		}
	}
	return findings
}
