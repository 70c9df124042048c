package check

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/kvd-db/kvd/kv"
)

// Limits of the search in Linear. A key beyond them is left to Serial and Zones, which are
// exact and take no search.
const (
	UnknownPerKeyMax  = 10
	AccessesPerKeyMax = 6000
	// RepeatedPerKeyMax is the same for a key to which the same values are put again and again: a read does not name
	// the write that it saw, and the search has too many ways to go.
	RepeatedPerKeyMax = 200
)

// searchMax is the real time that one key may take; it is reached only by histories that the
// limits above should have excluded, and such a key counts as skipped.
const searchMax = 20 * time.Second

// Linear judges each key by itself with porcupine: is there an order of its operations that
// agrees with real time and explains every value? It returns how many keys it left out.
func Linear(h *History) (findings []Finding, skipped int) {
	keys, byKey := Accesses(h)
	for _, k := range keys {
		all := byKey[k]
		ops := make([]porcupine.Operation, 0, len(all))
		unknown := 0
		for _, a := range all {
			if a.Unknown {
				unknown++
			}
			ops = append(ops, porcupine.Operation{ClientId: a.Client, Input: a, Call: a.Call, Return: a.Return})
		}
		if unknown > UnknownPerKeyMax || len(ops) > AccessesPerKeyMax || len(ops) > RepeatedPerKeyMax && repeated(all) {
			skipped++
			continue
		}
		switch porcupine.CheckOperationsTimeout(registers, ops, searchMax) {
		case porcupine.Illegal:
			if len(findings) < findingsMax {
				findings = append(findings, Finding{Check: "linearizable", Key: k, Text: fmt.Sprintf("no order of the %d operations on key %s explains what they returned", len(ops), printable(k)), Ops: culprits(all)})
			}
		case porcupine.Unknown:
			skipped++
		}
	}
	return findings, skipped
}

// repeated reports whether one value in four, or more, was put before.
func repeated(all []Access) bool {
	puts, again, before := 0, 0, map[string]bool{}
	for _, a := range all {
		if a.Write != nil && a.Write.Kind == kv.WritePut {
			if puts++; before[string(a.Write.Value)] {
				again++
			}
			before[string(a.Write.Value)] = true
		}
	}
	return 4*again > puts
}

var registers = porcupine.Model{
	Init: func() any { return cell{} },
	Step: func(state, input, _ any) (bool, any) {
		next, ok := state.(cell).step(input.(Access))
		return ok, next
	},
}

// culprits shortens an illegal history: the shortest prefix that is still illegal, and of that
// the end, which is where the contradiction shows.
func culprits(all []Access) []*Op {
	lo, hi := 0, len(all) // the prefix of lo is legal, that of hi is not
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		var ops []porcupine.Operation
		for _, a := range all[:mid] {
			ops = append(ops, porcupine.Operation{ClientId: a.Client, Input: a, Call: a.Call, Return: a.Return})
		}
		// A read may be explained by a write that was called later but is left out here: that
		// only makes the prefix longer than needed.
		if porcupine.CheckOperationsTimeout(registers, ops, searchMax) == porcupine.Illegal {
			hi = mid
		} else {
			lo = mid
		}
	}
	const shown = 12
	var story []*Op
	for _, a := range all[max(0, hi-shown):hi] {
		story = append(story, a.Op)
	}
	return story
}
