package router

import (
	"bytes"
	"context"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// parallelMax is how many requests one GetMany, Scan or Count has under way at most.
const parallelMax = 16

// Found is the answer for one key. Its slices are the caller's own.
type Found struct {
	Row kv.Row
	Ok  bool
}

// ReadMany reads keys at one timestamp, which the answer names: one answer for each key.
func (r *Router) ReadMany(ctx context.Context, keys []kv.Key, from From) ([]Found, kv.Timestamp, *kv.Error) {
	return r.ReadManyMetered(ctx, keys, from, nil)
}

// ReadManyMetered is ReadMany under a meter.
func (r *Router) ReadManyMetered(ctx context.Context, keys []kv.Key, from From, meter *Meter) ([]Found, kv.Timestamp, *kv.Error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	m := &many{router: r, keys: keys, found: make([]Found, len(keys)), from: from, at: from.At, meter: meter}
	left := make([]int, len(keys))
	for i := range left {
		left[i] = i
	}
	for failures := 0; len(left) > 0; failures++ {
		if failures > 0 && !r.pause(ctx, failures-1) {
			return nil, 0, contextError(ctx, nil)
		}
		var err *kv.Error
		if left, err = m.round(ctx, m.group(left)); err != nil {
			return nil, 0, err
		}
	}
	return m.found, m.at, nil
}

// many is one ReadMany.
type many struct {
	router *Router
	keys   []kv.Key
	found  []Found
	from   From
	at     kv.Timestamp // 0: not known yet
	meter  *Meter
}

// group is partitions, the largest first, but for the one that draws the timestamp, if that is to be drawn.
func (m *many) group(keys []int) [][]int {
	groups := m.partitions(keys)
	slices.SortStableFunc(groups, func(a, b []int) int { return len(b) - len(a) })
	if m.at == 0 && m.from.Stale.NotBefore == 0 {
		drawFirst(m.router, groups, func(g []int) kv.Key { return m.keys[g[0]] })
	}
	return groups
}

// partitions parts keys, given by position, by partition as the map has it now, in the order in which they come.
func (m *many) partitions(keys []int) [][]int {
	r := m.router
	r.mu.Lock()
	defer r.mu.Unlock()
	var groups [][]int
	at := map[kv.PartitionID]int{}
	for _, k := range keys {
		var id kv.PartitionID
		if p, ok := r.session.Map.Find(m.keys[k], false); ok {
			id = p.Descriptor.Partition
		}
		g, ok := at[id]
		if !ok || len(groups[g]) >= kv.GetManyKeysMax || id == 0 { // unknown ones go alone
			g = len(groups)
			at[id] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], k)
	}
	return groups
}

// round reads all groups, and returns the keys whose group turned out to be wrong.
func (m *many) round(ctx context.Context, groups [][]int) (again []int, err *kv.Error) {
	for m.at == 0 && len(groups) > 0 {
		wrong, err := m.read(ctx, groups[0], 0)
		if err != nil {
			return nil, err
		}
		again = append(again, wrong...)
		groups = groups[1:]
	}
	for len(groups) > 0 {
		n := min(len(groups), parallelMax)
		wrong, err := m.together(ctx, groups[:n])
		if err != nil {
			return nil, err
		}
		again = append(again, wrong...)
		groups = groups[n:]
	}
	return again, nil
}

// together reads groups at the timestamp that is known now.
func (m *many) together(ctx context.Context, groups [][]int) (again []int, first *kv.Error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	calls := make([]*Call, len(groups))
	for i, g := range groups {
		calls[i] = m.call(g, m.at)
	}
	m.router.startAll(ctx, calls)
	for i, g := range groups {
		wrong, err := m.finish(ctx, calls[i], g, m.at)
		again = append(again, wrong...)
		if err != nil && first == nil {
			first = err
			cancel() // the others end at once
		}
	}
	return again, first
}

// read reads one group at a timestamp; at 0 it takes the one that the answer names. What it
// returns are keys to be parted again.
func (m *many) read(ctx context.Context, group []int, at kv.Timestamp) ([]int, *kv.Error) {
	c := m.call(group, at)
	c.Start(ctx)
	return m.finish(ctx, c, group, at)
}

func (m *many) call(group []int, at kv.Timestamp) *Call {
	c := m.router.NewCall()
	c.Meter = m.meter
	keys := make([]kv.Key, len(group))
	for i, k := range group {
		keys[i] = m.keys[k]
	}
	m.from.Known(at).read(c, keys, true)
	return c
}

// finish takes the answer of a call that was started.
func (m *many) finish(ctx context.Context, c *Call, group []int, at kv.Timestamp) ([]int, *kv.Error) {
	defer c.Release()
	a, err := c.Finish(ctx)
	switch {
	case err != nil && err.Kind == kv.WrongPartition:
		return group, nil
	case err != nil && err.Kind == kv.Limit && len(group) > 1: // the answer is too long for one message
		return m.halves(ctx, group, at)
	case err != nil:
		return nil, err
	case len(a.Found) != len(group):
		return nil, kv.Errorf(kv.Internal, "%d answers for %d keys", len(a.Found), len(group))
	}
	if at == 0 {
		m.at = a.Timestamp
	}
	return nil, m.takeRows(a, group)
}

func (m *many) takeRows(a *kv.Response, group []int) *kv.Error {
	rows := a.Rows
	for i, ok := range a.Found {
		if !ok {
			continue
		}
		if len(rows) == 0 || !bytes.Equal(rows[0].Key, m.keys[group[i]]) {
			return kv.Errorf(kv.Internal, "the rows of an answer do not fit the keys that it found")
		}
		m.found[group[i]] = Found{Row: own(rows[0]), Ok: true}
		rows = rows[1:]
	}
	return nil
}

// halves reads a group in two parts, both at one timestamp.
func (m *many) halves(ctx context.Context, group []int, at kv.Timestamp) ([]int, *kv.Error) {
	var again []int
	for _, half := range [][]int{group[:len(group)/2], group[len(group)/2:]} {
		wrong, err := m.read(ctx, half, at)
		if err != nil {
			return nil, err
		}
		if at == 0 {
			at = m.at
		}
		again = append(again, wrong...)
	}
	return again, nil
}

// own is a copy of a row that aliases no message.
func own(row kv.Row) kv.Row {
	b := make([]byte, len(row.Key)+len(row.Value))
	n := copy(b, row.Key)
	copy(b[n:], row.Value)
	row.Key = b[:n:n]
	row.Value = b[n:]
	return row
}
