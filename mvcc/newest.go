package mvcc

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// NewestIn looks for the first key of the span with a version newer than after, tombstones
// included, and returns its newest version. It passes over every block that holds nothing
// newer, so that a large span that did not change costs little.
func (r *Reader) NewestIn(s kv.Span, after kv.Timestamp) (kv.Key, kv.Timestamp, bool, error) {
	if s.IsEmpty() || after >= MaxTimestamp-1 {
		return nil, 0, false, nil
	}
	lo, hi := spanBounds(kindData, s)
	it, err := r.clone(&pebble.IterOptions{LowerBound: lo, UpperBound: hi, PointKeyFilters: filters(newerThan(after))})
	if err != nil {
		return nil, 0, false, err
	}
	defer func() { _ = it.Close() }()
	for ok := it.First(); ok; ok = it.NextPrefix() {
		// What is hidden is not newer than after, so this is the key's newest version, or
		// the key has none that is newer.
		k, ts, err := splitDataKey(it.Key())
		if err != nil {
			return nil, 0, false, err
		}
		if ts > after {
			return append(kv.Key{}, k...), ts, true, nil
		}
	}
	return nil, 0, false, wrapError("looking for newer versions", it.Error())
}

// clone opens another iterator on the same state.
func (r *Reader) clone(o *pebble.IterOptions) (*pebble.Iterator, error) {
	it, err := r.it.Clone(pebble.CloneOptions{IterOptions: o})
	return it, wrapError("opening a reader", err)
}

// filters has room for the one filter that Pebble appends.
func filters(f pebble.BlockPropertyFilter) []pebble.BlockPropertyFilter {
	return append(make([]pebble.BlockPropertyFilter, 0, 2), f)
}
