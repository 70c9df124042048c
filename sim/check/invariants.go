package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kvd-db/kvd/kv"
)

// whole are the reads of all of some keys at one timestamp, each with what it saw, in the order of the keys. Those that
// found nothing at all are left out: what the keys hold was not made yet.
func whole(h *History, keys []string) func(yield func(*Op, []Seen) bool) {
	return func(yield func(*Op, []Seen) bool) {
		for _, o := range h.Ops {
			if o.Kind != Read || o.Result != Done || o.Strong || len(o.Reads) < len(keys) {
				continue
			}
			byKey := map[string]Seen{}
			for _, r := range o.Reads {
				byKey[r.Key] = r
			}
			all, found := make([]Seen, 0, len(keys)), false
			for _, k := range keys {
				if r, ok := byKey[k]; ok {
					all, found = append(all, r), found || r.Found
				}
			}
			if found && len(all) == len(keys) && !yield(o, all) {
				return
			}
		}
	}
}

// number is the number that a value begins with. What comes after a space only makes values unlike each other, so that
// Zones and Linear have it easy.
func (s Seen) number() (int64, error) {
	n, _, _ := strings.Cut(s.Value, " ")
	return strconv.ParseInt(n, 10, 64)
}

// Bank judges reads of all accounts of all banks, between which money is moved: none may see it made or lost, or an
// account that is overdrawn. Transfers move what is there only. A bank opens with all of its accounts at once, which
// hold total then.
func Bank(h *History, banks [][]string, total int64) []Finding {
	var findings []Finding
	found := func(key, text string, o *Op) {
		if len(findings) < findingsMax {
			findings = append(findings, Finding{Check: "bank", Key: key, Text: text, Ops: ops(o)})
		}
	}
	accounts := slices.Concat(banks...)
	for o, all := range whole(h, accounts) {
		var sum, opened int64
		for _, b := range banks {
			of := all[:len(b)]
			all = all[len(b):]
			for _, r := range of {
				n, err := r.number()
				if r.Found && err != nil || n < 0 {
					found(r.Key, fmt.Sprintf("account %s holds %q", printable(r.Key), r.Value), o)
				}
				sum += n
			}
			if slices.ContainsFunc(of, func(r Seen) bool { return r.Found }) {
				opened++
			}
		}
		if sum != total*opened {
			found(accounts[0], fmt.Sprintf("the accounts of %d banks hold %d, not %d", opened, sum, total*opened), o)
		}
	}
	return findings
}

// Twins judges reads of two counters at one timestamp to which everybody adds the same in one transaction.
func Twins(h *History, twins [][2]string) []Finding {
	var findings []Finding
	for _, pair := range twins {
		for o, all := range whole(h, pair[:]) {
			if all[0].Value != all[1].Value && len(findings) < findingsMax {
				findings = append(findings, Finding{Check: "twins", Key: pair[0], Text: fmt.Sprintf("%s and %s differ", all[0], all[1]), Ops: ops(o)})
			}
		}
	}
	return findings
}

// Ring judges reads of all keys of a ring, of which each names the position of the next one: whoever takes links out
// and puts them back elsewhere leaves one ring of all of them.
func Ring(h *History, keys []string) []Finding {
	var findings []Finding
	for o, all := range whole(h, keys) {
		at, steps, broken := 0, 0, ""
		for ; steps < len(keys) && broken == "" && (steps == 0 || at != 0); steps++ {
			next, err := all[at].number()
			if err != nil || next < 0 || next >= int64(len(keys)) {
				broken = fmt.Sprintf("%s leads nowhere: %q", printable(keys[at]), all[at].Value)
			}
			at = int(next)
		}
		if broken == "" && (at != 0 || steps < len(keys)) {
			broken = fmt.Sprintf("from %s it takes %d steps to come to position %d, not %d to come back", printable(keys[0]), steps, at, len(keys))
		}
		if broken != "" && len(findings) < findingsMax {
			findings = append(findings, Finding{Check: "ring", Key: keys[0], Text: broken, Ops: ops(o)})
		}
	}
	return findings
}

// Predicates judges commits that found all of some spans empty and put something into one of them, where nobody ever
// deletes: of those that looked at the same spans only one can have committed.
func Predicates(h *History) []Finding {
	var findings []Finding
	first := map[string]*Op{}
	for _, o := range h.Ops {
		if o.Kind != Commit || o.Result != Done || len(o.Scanned) == 0 {
			continue
		}
		var spans strings.Builder
		empty, into := true, false
		for _, s := range o.Scanned {
			fmt.Fprintf(&spans, "%q-%q ", s.Span.Start, s.Span.End)
			empty = empty && len(s.Rows) == 0
			into = into || slices.ContainsFunc(o.Change.Writes, func(w kv.Write) bool { return w.Kind == kv.WritePut && s.Span.Contains(w.Key) })
		}
		if !empty || !into {
			continue
		}
		other := first[spans.String()]
		if other == nil {
			first[spans.String()] = o
		} else if len(findings) < findingsMax {
			findings = append(findings, Finding{Check: "predicates", Key: string(o.Scanned[0].Span.Start), Text: "both found the same spans empty, and put something into them", Ops: ops(other, o)})
		}
	}
	return findings
}

// Sideband judges operations of clients whom somebody has told of a version, in a key that is never deleted: a
// snapshot that was asked for afterwards is not older than that version, a commit is newer, and whoever reads the
// key at the version's timestamp or later sees it, or a newer one.
func Sideband(h *History) []Finding {
	var findings []Finding
	for _, o := range h.Ops {
		if o.Result != Done {
			continue
		}
		for _, told := range o.Told {
			if text := o.missed(told); text != "" && len(findings) < findingsMax {
				findings = append(findings, Finding{Check: "sideband", Key: told.Key, Text: text, Ops: ops(o)})
			}
		}
	}
	return findings
}

// missed says what an operation should have seen of a version, "" if it is all right.
func (o *Op) missed(told Seen) string {
	switch {
	case o.Kind == Commit && o.Timestamp <= told.Version:
		return fmt.Sprintf("it committed at %d, and its client had been told of %s before", uint64(o.Timestamp), told)
	case o.Kind == Commit:
		return ""
	case !o.Strong && o.Timestamp < told.Version:
		if o.Past {
			return "" // it chose to look at what was before
		}
		return fmt.Sprintf("it read at %d, and its client had been told of %s before", uint64(o.Timestamp), told)
	}
	for _, r := range o.Reads {
		if r.Key == told.Key && (!r.Found || r.Version < told.Version || r.Version == told.Version && r.Value != told.Value) {
			return fmt.Sprintf("it read %s, and its client had been told of %s before", r, told)
		}
	}
	for _, s := range o.Scanned {
		has := slices.ContainsFunc(s.Rows, func(r Seen) bool { return r.Key == told.Key && r.Version >= told.Version })
		if s.Span.Contains(kv.Key(told.Key)) && !has {
			return fmt.Sprintf("its scan lacks %s, of which its client had been told before", told)
		}
	}
	return ""
}
