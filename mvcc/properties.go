package mvcc

import (
	"bytes"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/kvd-db/kvd/kv"
)

// Every block, index block and table of Pebble carries two properties, each an interval of
// timestamps. Their names and meanings are durable.
const (
	// propertyVersion is [oldest, newest+1) of the versions in it. With it a search for what
	// is newer than a timestamp reads nothing else.
	propertyVersion = "kvd.version"
	// propertyShadowed is [s, infinity), s the smallest timestamp at which a version in
	// it was overwritten. With it a collection of garbage reads nothing that has none.
	propertyShadowed = "kvd.shadowed"
)

var blockProperties = []func() pebble.BlockPropertyCollector{
	func() pebble.BlockPropertyCollector {
		return sstable.NewBlockIntervalCollector(propertyVersion, versionMapper{}, nil)
	},
	func() pebble.BlockPropertyCollector {
		return sstable.NewBlockIntervalCollector(propertyShadowed, &shadowMapper{}, nil)
	},
}

// newerThan lets through what may hold a version above after.
func newerThan(after kv.Timestamp) pebble.BlockPropertyFilter {
	return sstable.NewBlockIntervalFilter(propertyVersion, uint64(after)+1, math.MaxUint64, nil)
}

// shadowedBy lets through what may hold a version overwritten at or below g.
func shadowedBy(g kv.Timestamp) pebble.BlockPropertyFilter {
	return sstable.NewBlockIntervalFilter(propertyShadowed, 0, uint64(g)+1, nil)
}

type noRangeKeys struct{}

// MapRangeKeys is asked about a kind of key that the store never writes.
func (noRangeKeys) MapRangeKeys(sstable.Span) (sstable.BlockInterval, error) {
	return sstable.BlockInterval{}, nil
}

// versionMapper counts deletions of versions too: a deleted version must not come to light
// because the block of its deletion was passed over.
type versionMapper struct{ noRangeKeys }

// MapPointKey is the version of a data key.
func (versionMapper) MapPointKey(k pebble.InternalKey, _ []byte) (sstable.BlockInterval, error) {
	_, ts, ok := versionOf(k)
	if !ok {
		return sstable.BlockInterval{}, nil
	}
	return sstable.BlockInterval{Lower: uint64(ts), Upper: uint64(ts) + 1}, nil
}

// versionOf is the prefix and the timestamp of a data key. Other kinds have none.
func versionOf(k pebble.InternalKey) (prefix []byte, ts kv.Timestamp, ok bool) {
	u := k.UserKey
	if len(u) == 0 || u[0] != kindData {
		return nil, 0, false
	}
	_, ts, err := splitDataKey(u)
	if err != nil {
		return nil, 0, false // the reader reports it
	}
	return u[:len(u)-versionSuffixBytes], ts, true
}

// shadowMapper sees the keys of one table in order.
type shadowMapper struct {
	noRangeKeys
	prefix []byte       // of the last version
	last   kv.Timestamp // its timestamp
}

// MapPointKey is the time from which a version is garbage, as far as this table can tell.
func (m *shadowMapper) MapPointKey(k pebble.InternalKey, _ []byte) (sstable.BlockInterval, error) {
	prefix, ts, ok := versionOf(k)
	if !ok {
		return sstable.BlockInterval{}, nil
	}
	newer := m.last
	m.last = ts
	if !bytes.Equal(prefix, m.prefix) {
		m.prefix = append(m.prefix[:0], prefix...)
		return sstable.BlockInterval{}, nil
	}
	if ts == newer {
		return sstable.BlockInterval{}, nil // the same version again, or its deletion
	}
	return sstable.BlockInterval{Lower: uint64(newer), Upper: math.MaxUint64}, nil
}
