package mvcc

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// Measured is how much a span holds that is live, and how much that is garbage or will be.
type Measured struct {
	Counters              // keys that are not deleted, bytes of them and of their newest values, as stored; all other versions
	Due      int64        // of the garbage: what a collection with the threshold would delete
	Since    kv.Timestamp // when the oldest garbage became that, so that a lower threshold finds none; 0: there is none
	Examined int          // versions looked at
	Exact    bool
}

// add notes a version that was overwritten, or a tombstone that was written, at a time.
func (m *Measured) add(since, threshold kv.Timestamp) {
	m.Garbage++
	if since <= threshold {
		m.Due++
	}
	if m.Since == 0 || since < m.Since {
		m.Since = since
	}
}

// measuring bounds one measurement.
type measuring struct {
	exactDiskBytesMax uint64 // a span with no more than this in tables is counted key by key
	samples           int    // places of a larger span that are looked at
	sampleVersions    int    // versions looked at in each
}

// Some tens of milliseconds at most, unless a full memtable is counted.
var measuringDefault = measuring{exactDiskBytesMax: 16 << 20, samples: 24, sampleVersions: 16 << 10}

// Measure counts what a span holds: exactly while the span has little in tables, and else
// by samples: versions per byte of table, looked at in places that are spread evenly over the bytes.
// What lies behind the last table's last key is counted as well, so only what a
// memtable adds between the keys of large tables makes the estimate of a large span
// worse, until it is flushed.
func (e *Engine) Measure(s kv.Span, threshold kv.Timestamp) (Measured, error) {
	return e.measure(s, threshold, measuringDefault)
}

func (e *Engine) measure(s kv.Span, threshold kv.Timestamp, limits measuring) (Measured, error) {
	if s.IsEmpty() {
		return Measured{Exact: true}, nil
	}
	lo, hi := spanBounds(kindData, s)
	disk, err := e.tableBytes(lo, hi)
	if err != nil {
		return Measured{}, err
	}
	r, err := e.NewReader()
	if err != nil {
		return Measured{}, err
	}
	defer r.Close()
	if disk > limits.exactDiskBytesMax {
		m, ok, err := e.sample(&counting{r: r, threshold: threshold}, lo, hi, limits)
		if ok || err != nil {
			return m, err
		}
	}
	m := Measured{Exact: true}
	_, err = (&counting{r: r, threshold: threshold}).count(lo, hi, 0, &m)
	return m, err
}

// counting goes over versions and adds up what they are.
type counting struct {
	r         *Reader
	threshold kv.Timestamp
	prefix    []byte       // of the key under way
	newer     kv.Timestamp // its last version seen
}

// count adds what is in [lo, hi) to m, until it has looked at so many versions (0: no limit); next
// is the engine key where to go on then, which may be in the middle of a key's versions, else nil.
func (c *counting) count(lo, hi []byte, versionsMax int, m *Measured) (next []byte, err error) {
	it := c.r.it
	c.r.setBounds(lo, hi)
	c.prefix = c.prefix[:0]
	stop := m.Examined + versionsMax
	for ok := it.First(); ok; ok = it.Next() {
		ek := it.Key()
		k, ts, err := splitDataKey(ek)
		if err != nil {
			return nil, err
		}
		if versionsMax > 0 && m.Examined == stop {
			return slices.Clone(ek), nil
		}
		if samePrefix(ek, c.prefix) {
			m.add(c.newer, c.threshold)
		} else {
			c.prefix = append(c.prefix[:0], ek[:splitKey(ek)]...)
			if err := c.newest(k, ts, m); err != nil {
				return nil, err
			}
		}
		c.newer = ts
		m.Examined++
	}
	return nil, wrapError("counting keys", it.Error())
}

// newest adds the newest version of a key, at which the iterator stands.
func (c *counting) newest(k kv.Key, ts kv.Timestamp, m *Measured) error {
	lv := c.r.it.LazyValue()
	n := lv.Len()
	if n <= tombstoneBytesMax {
		b, err := c.r.it.ValueAndErr()
		if err != nil {
			return wrapError("reading a value", err)
		}
		v, err := splitStored(b)
		if err != nil {
			return err
		}
		if v.Tombstone {
			m.add(ts, c.threshold)
			return nil
		}
	}
	m.Keys++
	m.Bytes += int64(len(k) + n)
	return nil
}

// piece is a part of a span between the first keys of two tables.
type piece struct {
	lo, hi []byte
	disk   uint64
}

// estimate is what samples say about a span, each with the weight of its share of the bytes in tables.
type estimate struct{ keys, bytes, garbage, due, samples float64 }

func (x *estimate) add(m *Measured, weight int, disk uint64) {
	w := float64(weight) / float64(disk)
	x.keys += w * float64(m.Keys)
	x.bytes += w * float64(m.Bytes)
	x.garbage += w * float64(m.Garbage)
	x.due += w * float64(m.Due)
	x.samples += float64(weight)
}

// addTo adds what so many bytes of tables hold by that.
func (x *estimate) addTo(m *Measured, disk uint64) {
	of := func(sum float64) int64 { return int64(sum / x.samples * float64(disk)) }
	m.Keys += of(x.keys)
	m.Bytes += of(x.bytes)
	m.Garbage += of(x.garbage)
	m.Due += of(x.due)
}

// sample estimates what a span holds by looking at some of its pieces, each chosen as often as
// its share of the span's bytes in tables says. It reports false if that gives nothing to
// reckon with.
func (e *Engine) sample(c *counting, lo, hi []byte, limits measuring) (Measured, bool, error) {
	pieces, tail, err := e.pieces(lo, hi)
	if err != nil {
		return Measured{}, false, err
	}
	total := uint64(0)
	for i := range pieces {
		total += pieces[i].disk
	}
	var res Measured
	var sum estimate
	before, next := uint64(0), 0
	for i := range pieces {
		p := &pieces[i]
		n := 0
		for ; next < limits.samples && (2*uint64(next)+1)*total < 2*uint64(limits.samples)*(before+p.disk); next++ {
			n++
		}
		before += p.disk
		if n == 0 {
			continue
		}
		m, disk, err := e.samplePiece(c, p, n*limits.sampleVersions)
		if err != nil {
			return Measured{}, false, err
		}
		res.Examined += m.Examined
		if m.Since != 0 && (res.Since == 0 || m.Since < res.Since) {
			res.Since = m.Since
		}
		if disk > 0 {
			sum.add(&m, n, disk)
		}
	}
	if sum.samples == 0 {
		return Measured{}, false, nil
	}
	if _, err = c.count(tail, hi, 0, &res); err != nil {
		return Measured{}, false, err
	}
	sum.addTo(&res, total)
	return res, true, nil
}

// samplePiece counts the first versions of a piece, and tells how many bytes of tables they are in.
func (e *Engine) samplePiece(c *counting, p *piece, versionsMax int) (m Measured, disk uint64, err error) {
	next, err := c.count(p.lo, p.hi, versionsMax, &m)
	if err != nil || next == nil {
		return m, p.disk, err
	}
	disk, err = e.tableBytes(p.lo, next)
	return m, disk, err
}

// pieces cuts [lo, hi) at the first keys of its tables; tail is where its last table ends. Only
// keys without suffix are cuts, so that no key's versions are parted.
func (e *Engine) pieces(lo, hi []byte) (pieces []piece, tail []byte, err error) {
	levels, err := e.db.SSTables(pebble.WithKeyRangeFilter(lo, hi))
	if err != nil {
		return nil, nil, wrapError("listing tables", err)
	}
	cuts, tail := [][]byte{lo}, lo
	for _, tables := range levels {
		for i := range tables {
			first, last := tables[i].Smallest.UserKey, tables[i].Largest.UserKey
			if first = first[:splitKey(first)]; compareKeys(first, lo) > 0 {
				cuts = append(cuts, slices.Clone(first))
			}
			if last = append(slices.Clone(last[:splitKey(last)]), sentinel); compareKeys(last, tail) > 0 {
				tail = last
			}
		}
	}
	if compareKeys(tail, hi) > 0 {
		tail = hi
	}
	slices.SortFunc(cuts, compareKeys)
	cuts = append(slices.CompactFunc(cuts, bytes.Equal), tail)
	for i := range len(cuts) - 1 {
		p := piece{lo: cuts[i], hi: cuts[i+1]}
		if p.disk, err = e.tableBytes(p.lo, p.hi); err != nil {
			return nil, nil, err
		}
		pieces = append(pieces, p)
	}
	return pieces, tail, nil
}

// tableBytes estimates the bytes on disk of [lo, hi).
func (e *Engine) tableBytes(lo, hi []byte) (uint64, error) {
	if compareKeys(lo, hi) >= 0 {
		return 0, nil
	}
	n, err := e.db.EstimateDiskUsage(lo, hi)
	return n, wrapError("estimating disk usage", err)
}

// MeasureSystem counts the system records whose keys begin with prefix.
func (e *Engine) MeasureSystem(prefix string) (Measured, error) {
	m := Measured{Exact: true}
	err := e.SystemScan(prefix, func(key string, value []byte) error {
		m.Examined++
		m.Keys++
		m.Bytes += int64(len(key) + len(value))
		return nil
	})
	return m, err
}
