package check

import (
	"fmt"
	"slices"
	"sort"

	"github.com/kvd-db/kvd/kv"
)

// Collected judges what the ledger no longer can, since the versions are collected: reads at or
// below complete, by what clients were told of commits alone. A read at r that saw a version, or
// none, is wrong if an acknowledged commit wrote the key above that version and not above r.
func Collected(h *History, complete kv.Timestamp) []Finding {
	written := map[string][]*Op{} // acknowledged commits by key, in the order of their timestamps
	for _, o := range h.Ops {
		if o.Kind == Commit && o.Result == Done {
			for _, w := range o.Change.Writes {
				written[string(w.Key)] = append(written[string(w.Key)], o)
			}
		}
	}
	for _, ops := range written { // each by itself: no order is seen
		slices.SortStableFunc(ops, func(a, b *Op) int { return int(int64(a.Timestamp) - int64(b.Timestamp)) })
	}
	var findings []Finding
	for _, o := range h.Ops {
		if o.Kind != Read || o.Result != Done || o.Strong || o.Timestamp > complete {
			continue
		}
		for _, r := range o.Reads {
			ops := written[r.Key]
			n := sort.Search(len(ops), func(i int) bool { return ops[i].Timestamp > o.Timestamp })
			if n == 0 || ops[n-1].Timestamp <= r.Version {
				continue
			}
			if w := ops[n-1]; r.Found || !deletes(w, r.Key) {
				findings = append(findings, Finding{Check: "reads below G", Key: r.Key, Text: fmt.Sprintf("it read %s at %d, where a newer version was", r, uint64(o.Timestamp)), Ops: []*Op{o, w}})
			}
		}
		if len(findings) >= findingsMax {
			break
		}
	}
	return findings
}

// deletes reports whether what a commit left of a key is nothing.
func deletes(o *Op, key string) bool {
	for _, w := range o.Change.Writes {
		if string(w.Key) == key {
			return w.Kind == kv.WriteDelete
		}
	}
	return false
}
