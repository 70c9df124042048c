package check

import (
	"slices"
	"strconv"

	"github.com/kvd-db/kvd/kv"
)

// Access is what one operation did to one key: it saw a value, or left one, or both.
type Access struct {
	Client       int
	Call, Return Time
	Unknown      bool // it may not have happened
	Saw          *Seen
	Write        *kv.Write
	Sum          *int64 // result of an add
	Op           *Op
}

// Accesses takes a history apart into keys, sorted, each with what was done to it in the
// order of the calls. What holds for the whole holds for each key; refused commits and
// reads of the past say nothing.
func Accesses(h *History) (keys []string, byKey map[string][]Access) {
	byKey = map[string][]Access{}
	add := func(k string, a Access) {
		if byKey[k] == nil {
			keys = append(keys, k)
		}
		byKey[k] = append(byKey[k], a)
	}
	for _, o := range h.Ops {
		if o.Result == Refused || o.Past || o.Result == Unknown && o.Kind != Commit {
			continue
		}
		base := Access{Client: o.Client, Call: o.Call, Return: o.Return, Unknown: o.Result == Unknown, Op: o}
		if base.Unknown {
			base.Return = Never
		}
		for k, a := range accesses(o, base) {
			add(k, a)
		}
	}
	slices.Sort(keys)
	return keys, byKey
}

// accesses yields the keys of one operation, each once.
func accesses(o *Op, base Access) func(yield func(string, Access) bool) {
	return func(yield func(string, Access) bool) {
		for i := range o.Reads {
			a := base
			a.Saw = &o.Reads[i]
			if w, sum := o.writeOf(o.Reads[i].Key); w != nil {
				a.Write, a.Sum = w, sum
			}
			if !yield(o.Reads[i].Key, a) {
				return
			}
		}
		if o.Change == nil {
			return
		}
		for i := range o.Change.Writes {
			k := string(o.Change.Writes[i].Key)
			if slices.ContainsFunc(o.Reads, func(r Seen) bool { return r.Key == k }) {
				continue
			}
			a := base
			a.Write, a.Sum = o.writeOf(k)
			if !yield(k, a) {
				return
			}
		}
	}
}

// writeOf is what a commit does to a key, with the sum that it was told.
func (o *Op) writeOf(key string) (*kv.Write, *int64) {
	if o.Change == nil {
		return nil, nil
	}
	adds := 0
	for i := range o.Change.Writes {
		w := &o.Change.Writes[i]
		if string(w.Key) == key {
			if w.Kind == kv.WriteAdd && adds < len(o.Change.Sums) {
				return w, &o.Change.Sums[adds]
			}
			return w, nil
		}
		if w.Kind == kv.WriteAdd {
			adds++
		}
	}
	return nil, nil
}

// cell is the state of one key for those who know no timestamps.
type cell struct {
	found bool
	value string
}

// step runs an access on a cell; ok is false if the access cannot have happened there. One of unknown
// fate can happen anywhere: where its conditions fail, it does nothing.
func (c cell) step(a Access) (next cell, ok bool) {
	if a.Saw != nil && (a.Saw.Found != c.found || c.found && a.Saw.Value != c.value) {
		return c, a.Unknown
	}
	if a.Write == nil {
		return c, true
	}
	before := Version{Value: c.value, Deleted: !c.found}
	if e := a.Write.Expect; e.Kind != kv.ExpectVersion && !holds(e, before) {
		return c, a.Unknown
	}
	value, deleted, good := after(*a.Write, before)
	if !good || a.Sum != nil && strconv.FormatInt(*a.Sum, 10) != value {
		return c, a.Unknown
	}
	return cell{found: !deleted, value: value}, true
}
