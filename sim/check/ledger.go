package check

import (
	"cmp"
	"slices"
	"sort"
	"strconv"

	"github.com/kvd-db/kvd/kv"
)

// Version is one version of one key as a replica holds it.
type Version struct {
	At      kv.Timestamp
	ID      kv.TxID // of the commit that wrote it
	Value   string
	Deleted bool
}

// Ledger is all versions of all keys: what has really happened.
type Ledger struct {
	keys map[string][]Version // oldest first
	// Complete is the timestamp above which no version has been collected as garbage.
	Complete kv.Timestamp
}

// NewLedger is an empty ledger.
func NewLedger() *Ledger { return &Ledger{keys: map[string][]Version{}} }

// Put adds the versions of a key, in any order.
func (l *Ledger) Put(key string, vs ...Version) {
	all := append(l.keys[key], vs...)
	slices.SortFunc(all, func(a, b Version) int { return cmp.Compare(a.At, b.At) })
	l.keys[key] = all
}

// Name gives every version without an id the id of the version at the same timestamp that has
// one: only the first version of a commit carries it.
func (l *Ledger) Name() {
	ids := map[kv.Timestamp]kv.TxID{}
	for _, vs := range l.keys {
		for _, v := range vs {
			if !v.ID.IsZero() {
				ids[v.At] = v.ID
			}
		}
	}
	for _, vs := range l.keys {
		for i := range vs {
			if vs[i].ID.IsZero() {
				vs[i].ID = ids[vs[i].At]
			}
		}
	}
}

// Versions are those of a key, oldest first.
func (l *Ledger) Versions(key string) []Version { return l.keys[key] }

// Keys are all keys, sorted.
func (l *Ledger) Keys() []string {
	ks := make([]string, 0, len(l.keys))
	for k := range l.keys {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

// upTo is the number of versions of the key at or below ts.
func (l *Ledger) upTo(key string, ts kv.Timestamp) int {
	vs := l.keys[key]
	return sort.Search(len(vs), func(i int) bool { return vs[i].At > ts })
}

// at is the newest version of the key at or below ts.
func (l *Ledger) at(key string, ts kv.Timestamp) (Version, bool) {
	n := l.upTo(key, ts)
	if n == 0 {
		return Version{Deleted: true}, false
	}
	return l.keys[key][n-1], true
}

// before is the newest version of the key below ts.
func (l *Ledger) before(key string, ts kv.Timestamp) Version {
	v, _ := l.at(key, ts-1)
	return v
}

// next is the timestamp of the first version of the key above ts, or the largest there is.
func (l *Ledger) next(key string, ts kv.Timestamp) kv.Timestamp {
	if n := l.upTo(key, ts); n < len(l.keys[key]) {
		return l.keys[key][n].At
	}
	return 1<<63 - 1
}

// rows are the keys in the span with a value at ts, in key order.
func (l *Ledger) rows(sorted []string, s kv.Span, ts kv.Timestamp) []Seen {
	var rows []Seen
	i, _ := slices.BinarySearch(sorted, string(s.Start))
	for ; i < len(sorted) && s.Contains(kv.Key(sorted[i])); i++ {
		if v, ok := l.at(sorted[i], ts); ok && !v.Deleted {
			rows = append(rows, Seen{Key: sorted[i], Value: v.Value, Version: v.At, Found: true})
		}
	}
	return rows
}

// after is the value that a write leaves on top of a version.
func after(w kv.Write, before Version) (value string, deleted bool, ok bool) {
	switch w.Kind {
	case kv.WriteDelete:
		return "", true, true
	case kv.WriteAdd:
		var n int64
		if !before.Deleted {
			var err error
			if n, err = strconv.ParseInt(before.Value, 10, 64); err != nil {
				return "", false, false
			}
		}
		return strconv.FormatInt(n+w.Delta, 10), false, true
	}
	return string(w.Value), false, true
}

// holds reports whether an expectation is met by the version that a write found.
func holds(e kv.Expect, before Version) bool {
	switch e.Kind {
	case kv.ExpectAbsent:
		return before.Deleted
	case kv.ExpectVersion:
		return !before.Deleted && before.At == e.Version
	case kv.ExpectValue:
		return !before.Deleted && before.Value == string(e.Value)
	}
	return true
}
