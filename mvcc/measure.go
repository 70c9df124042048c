package mvcc

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// Measured is how much a span holds that is live.
type Measured struct {
	Counters     // keys that are not deleted; bytes of them and of their newest values, as stored
	Examined int // keys looked at
	Exact    bool
}

// measuring bounds one measurement.
type measuring struct {
	exactDiskBytesMax uint64 // a span with no more than this in tables is counted key by key
	samples           int    // places of a larger span that are looked at
	sampleKeys        int    // keys looked at in each
}

// Some tens of milliseconds at most, unless a full memtable is counted.
var measuringDefault = measuring{exactDiskBytesMax: 16 << 20, samples: 24, sampleKeys: 16 << 10}

// Measure counts what is live in a span: exactly while the span has little in tables, and else
// by samples: keys per byte of table, looked at in places that are spread evenly over the bytes.
// What lies behind the last table's last key is counted as well, so only what a
// memtable adds between the keys of large tables makes the estimate of a large span
// worse, until it is flushed.
func (e *Engine) Measure(s kv.Span) (Measured, error) { return e.measure(s, measuringDefault) }

func (e *Engine) measure(s kv.Span, limits measuring) (Measured, error) {
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
		m, ok, err := e.sample(r, lo, hi, limits)
		if ok || err != nil {
			return m, err
		}
	}
	m := Measured{Exact: true}
	_, err = r.countLive(lo, hi, 0, &m)
	return m, err
}

// countLive adds what is live in [lo, hi) to m, until it has looked at keysMax keys (0: no limit);
// next is where to go on then, else nil.
func (r *Reader) countLive(lo, hi []byte, keysMax int, m *Measured) (next []byte, err error) {
	r.setBounds(lo, hi)
	stop := m.Examined + keysMax
	for ok := r.it.First(); ok; ok = r.it.NextPrefix() {
		k, _, err := splitDataKey(r.it.Key())
		if err != nil {
			return nil, err
		}
		if keysMax > 0 && m.Examined == stop {
			ek := r.it.Key()
			return slices.Clone(ek[:splitKey(ek)]), nil
		}
		m.Examined++
		lv := r.it.LazyValue()
		n := lv.Len()
		if n <= tombstoneBytesMax {
			b, err := r.it.ValueAndErr()
			if err != nil {
				return nil, wrapError("reading a value", err)
			}
			v, err := splitStored(b)
			if err != nil {
				return nil, err
			}
			if v.Tombstone {
				continue
			}
		}
		m.Keys++
		m.Bytes += int64(len(k) + n)
	}
	return nil, wrapError("counting keys", r.it.Error())
}

// piece is a part of a span between the first keys of two tables.
type piece struct {
	lo, hi []byte
	disk   uint64
}

// sample estimates what is live in a span by looking at some of its pieces, each chosen as often as
// its share of the span's bytes in tables says. It reports false if that gives nothing to
// reckon with.
func (e *Engine) sample(r *Reader, lo, hi []byte, limits measuring) (Measured, bool, error) {
	pieces, tail, err := e.pieces(lo, hi)
	if err != nil {
		return Measured{}, false, err
	}
	total := uint64(0)
	for i := range pieces {
		total += pieces[i].disk
	}
	var res Measured
	var keys, size, samples float64
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
		m, disk, err := e.samplePiece(r, p, n*limits.sampleKeys)
		if err != nil {
			return Measured{}, false, err
		}
		res.Examined += m.Examined
		if disk > 0 {
			keys += float64(n) * float64(m.Keys) / float64(disk)
			size += float64(n) * float64(m.Bytes) / float64(disk)
			samples += float64(n)
		}
	}
	if samples == 0 {
		return Measured{}, false, nil
	}
	if _, err = r.countLive(tail, hi, 0, &res); err != nil {
		return Measured{}, false, err
	}
	res.Keys += int64(keys / samples * float64(total))
	res.Bytes += int64(size / samples * float64(total))
	return res, true, nil
}

// samplePiece counts the first keys of a piece, and tells how many bytes of tables they are in.
func (e *Engine) samplePiece(r *Reader, p *piece, keysMax int) (m Measured, disk uint64, err error) {
	next, err := r.countLive(p.lo, p.hi, keysMax, &m)
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
