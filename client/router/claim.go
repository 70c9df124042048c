package router

import (
	"bytes"
	"context"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// ReadClaimed is ReadMany of keys that the transaction of an age is about to write, at a timestamp
// that is drawn once it has claimed them (kv.Read.Claim). Partitions are asked one after the other, in the order of
// their keys, so that no two wait for each other. No key may be named twice.
func (r *Router) ReadClaimed(ctx context.Context, keys []kv.Key, age kv.Age, meter *Meter) ([]Found, kv.Timestamp, *kv.Error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	m := &many{router: r, keys: keys, found: make([]Found, len(keys)), from: From{Claim: age}, meter: meter}
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(keys[a], keys[b]) })
	groups := m.partitions(order)
	first := kv.Timestamp(0)
	for _, g := range groups {
		wrong, err := m.read(ctx, g, 0)
		switch {
		case err != nil:
			return nil, 0, err
		case len(wrong) > 0: // the map has changed: it goes without claims
			return r.ReadManyMetered(ctx, keys, From{}, meter)
		case first == 0:
			first = m.at
		}
	}
	if m.asOf(first) {
		return m.found, first, nil
	}
	// What was claimed first was read before something else changed.
	m.from = From{}
	wrong, err := m.round(ctx, groups[:len(groups)-1])
	if err == nil && len(wrong) > 0 {
		return r.ReadManyMetered(ctx, keys, From{}, meter)
	}
	return m.found, m.at, err
}

// asOf reports whether all that was found, at the timestamp at or later, is also what was there at that.
func (m *many) asOf(at kv.Timestamp) bool {
	return at == m.at || !slices.ContainsFunc(m.found, func(f Found) bool { return !f.Ok || f.Row.Version > at })
}
