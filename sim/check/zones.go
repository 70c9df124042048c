package check

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/kvd-db/kvd/kv"
)

// zone is the operations on one value of one register: first is the earliest return of any of
// them, last the latest call.
type zone struct {
	value       string
	first, last Time
	called      Time // of the write
	written     bool
	reads       int
	firstOp     *Op
	lastOp      *Op
}

// Zones decides linearizability exactly for keys that are only put and read, with values
// that are all different (Gibbons and Korach, 1997): a value's zone is the time that it must
// have been the register's; the zones of values that were there for sure must not overlap, and none of the
// others may lie inside one. It takes n log n where a search, faced with many writes of
// unknown outcome, may not end.
func Zones(h *History) []Finding {
	var findings []Finding
	keys, byKey := Accesses(h)
	for _, k := range keys {
		zones, ok := zonesOf(byKey[k])
		if !ok {
			continue
		}
		if f := judge(k, zones); f != nil && len(findings) < findingsMax {
			findings = append(findings, *f)
		}
	}
	return findings
}

// zonesOf sorts the accesses of a key by value; ok is false if the key is not a register of unique values.
func zonesOf(all []Access) (zones []*zone, ok bool) {
	byValue := map[string]*zone{}
	get := func(v string) *zone {
		z := byValue[v]
		if z == nil {
			z = &zone{value: v, first: math.MaxInt64, last: math.MinInt64}
			byValue[v] = z
			zones = append(zones, z)
		}
		return z
	}
	absent := get("") // written before everything
	absent.written, absent.first, absent.last, absent.called = true, math.MinInt64, math.MinInt64, math.MinInt64
	for _, a := range all {
		if a.Write != nil {
			if a.Write.Kind != kv.WritePut || len(a.Write.Value) == 0 {
				return nil, false
			}
			z := get(string(a.Write.Value))
			if z.written {
				return nil, false
			}
			z.written, z.called = true, a.Call
			z.take(a)
		}
		if a.Saw != nil && !a.Unknown {
			v := ""
			if a.Saw.Found {
				v = a.Saw.Value
			}
			z := get(v)
			z.reads++
			z.take(a)
		}
	}
	return zones, true
}

func (z *zone) take(a Access) {
	if a.Return < z.first {
		z.first, z.firstOp = a.Return, a.Op
	}
	if a.Call > z.last {
		z.last, z.lastOp = a.Call, a.Op
	}
}

// judge finds two zones that contradict each other.
func judge(key string, zones []*zone) *Finding {
	var forward, backward []*zone
	for _, z := range zones {
		switch {
		case !z.written:
			return &Finding{Check: "registers", Key: key, Text: fmt.Sprintf("%q was read from key %s and never written", z.value, printable(key)), Ops: ops(z.firstOp)}
		case z.reads > 0 && z.first < z.called:
			return &Finding{Check: "registers", Key: key, Text: fmt.Sprintf("%q was read from key %s before it was written", z.value, printable(key)), Ops: ops(z.firstOp, z.lastOp)}
		case z.reads == 0 && z.first == Never:
			// unknown and never seen
		case z.first < z.last:
			forward = append(forward, z)
		default:
			backward = append(backward, z)
		}
	}
	slices.SortFunc(forward, func(a, b *zone) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	for i := 1; i < len(forward); i++ {
		if a, b := forward[i-1], forward[i]; b.first < a.last {
			return &Finding{Check: "registers", Key: key, Text: fmt.Sprintf("key %s held %q both before and after %q", printable(key), a.value, b.value), Ops: ops(a.firstOp, b.firstOp, a.lastOp, b.lastOp)}
		}
	}
	for _, b := range backward {
		i := sort.Search(len(forward), func(i int) bool { return forward[i].first >= b.last }) - 1
		if i >= 0 && b.first < forward[i].last {
			f := forward[i]
			return &Finding{Check: "registers", Key: key, Text: fmt.Sprintf("%q was in key %s only while it held %q", b.value, printable(key), f.value), Ops: ops(f.firstOp, b.firstOp, f.lastOp)}
		}
	}
	return nil
}

func ops(all ...*Op) []*Op {
	var some []*Op
	for _, o := range all {
		if o != nil && !slices.Contains(some, o) {
			some = append(some, o)
		}
	}
	return some
}
