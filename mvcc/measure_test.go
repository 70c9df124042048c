package mvcc

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

func measureSpan() kv.Span {
	return kv.Span{Start: kv.MakeKey(7, nil), End: kv.MakeKey(8, nil)}
}

// TestMeasureCountsGarbage: what is due by the measurement is what a collection takes.
func TestMeasureCountsGarbage(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS()})
	defer func() { must(t, e.Close()) }()
	key := func(i int) string { return string(kv.MakeKey(7, fmt.Appendf(nil, "%04d", i))) }
	value := make([]byte, 100)
	check := func(threshold kv.Timestamp, garbage, due int64, since kv.Timestamp) {
		t.Helper()
		m, err := e.Measure(measureSpan(), threshold)
		must(t, err)
		if m.Garbage != garbage || m.Due != due || m.Since != since {
			t.Errorf("at %d: %+v, want %d of garbage, %d due, since %d", threshold, m, garbage, due, since)
		}
	}
	for i := range 100 {
		put(t, e, key(i), kv.Timestamp(10+i), value)
	}
	check(200, 0, 0, 0)
	for i := range 50 {
		put(t, e, key(0), kv.Timestamp(500+i), value) // a hot key
	}
	must(t, e.Flush())
	b := e.NewBatch()
	for i := range 10 {
		must(t, b.Delete(kv.Key(key(90+i)), kv.Timestamp(1000+i), kv.TxID{2}))
	}
	must(t, b.Commit())
	check(499, 70, 0, 500)
	check(500, 70, 1, 500)
	check(999, 70, 50, 500)
	check(1004, 70, 60, 500)
	check(2000, 70, 70, 500)
	if sum := collectAll(t, e, GCArgs{Span: measureSpan(), Threshold: 1004, Full: true}); sum.Versions != 60 {
		t.Errorf("%+v were collected", sum)
	}
	check(1004, 10, 0, 1005)
	collectAll(t, e, GCArgs{Span: measureSpan(), Threshold: 2000, Full: true})
	check(2000, 0, 0, 0)
}

func TestMeasureCountsWhatIsLive(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS()})
	defer func() { must(t, e.Close()) }()
	check := func(when string, keys int64) {
		t.Helper()
		m, err := e.Measure(measureSpan(), 0)
		must(t, err)
		if m.Keys != keys || m.Bytes < keys*100 || m.Bytes > keys*140 || !m.Exact {
			t.Errorf("%s: %+v, want %d keys of about 120 bytes", when, m, keys)
		}
	}
	check("of nothing", 0)
	value := make([]byte, 100)
	key := func(i int) string { return string(kv.MakeKey(7, fmt.Appendf(nil, "%04d", i))) }
	for i := range 1000 {
		put(t, e, key(i), kv.Timestamp(10+i), value)
	}
	put(t, e, string(kv.MakeKey(6, []byte("x"))), 1, value)
	put(t, e, string(kv.MakeKey(8, []byte("x"))), 1, value)
	check("in the memtable", 1000)
	must(t, e.Flush())
	check("in a table", 1000)
	for i := range 500 {
		put(t, e, key(i), 5000, value)
	}
	check("overwritten", 1000)
	b := e.NewBatch()
	for i := range 300 {
		must(t, b.Delete(kv.Key(key(i)), 6000, kv.TxID{2}))
	}
	must(t, b.Commit())
	check("with tombstones", 700)
	must(t, e.Flush())
	check("with flushed tombstones", 700)
}

// TestMeasureSamples holds the estimate of a large span to a few percent of the truth: with keys of
// very different sizes, with updates that lie in upper levels, with deletions, and behind the last table.
func TestMeasureSamples(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS(), BlobValueBytes: -1, tune: func(p *pebble.Options) {
		for i := range p.TargetFileSizes {
			p.TargetFileSizes[i] = 64 << 10
		}
		for i := range p.Levels {
			p.Levels[i].BlockSize = 1 << 10
		}
	}})
	defer func() { must(t, e.Close()) }()
	rng := rand.New(rand.NewPCG(1, 2))
	ts, live, garbage := kv.Timestamp(0), int64(0), int64(0)
	write := func(from, to, step, valueBytes int) {
		b := e.NewBatch()
		for i := from; i < to; i += step {
			value := make([]byte, valueBytes)
			for j := range value {
				value[j] = byte(rng.Uint32())
			}
			ts++
			must(t, b.Put(kv.MakeKey(7, fmt.Appendf(nil, "%08d", i)), ts, kv.TxID{1}, value))
		}
		must(t, b.Commit())
	}
	check := func(when string) {
		t.Helper()
		m, err := e.measure(measureSpan(), MaxTimestamp, measuring{samples: 24, sampleVersions: 1000})
		must(t, err)
		if m.Exact || m.Examined > 60_000 {
			t.Errorf("%s: it should be a sample: %+v", when, m)
		}
		if off := float64(m.Keys)/float64(live) - 1; off < -0.07 || off > 0.07 {
			t.Errorf("%s: %d keys of %d: off by %.1f%%", when, m.Keys, live, 100*off)
		}
		if off := m.Garbage - garbage; 100*off < -7*(live+garbage) || 100*off > 7*(live+garbage) || m.Due != m.Garbage {
			t.Errorf("%s: %+v, want %d versions of garbage, all due", when, m, garbage)
		}
	}
	write(0, 100_000, 1, 60)
	write(100_000, 110_000, 1, 600)
	live = 110_000
	must(t, e.Flush())
	must(t, e.Compact())
	check("compacted")
	write(0, 100_000, 7, 60)
	garbage += 100_000/7 + 1
	must(t, e.Flush())
	check("with updates")
	b := e.NewBatch()
	for i := 0; i < 100_000; i += 3 {
		ts++
		must(t, b.Delete(kv.MakeKey(7, fmt.Appendf(nil, "%08d", i)), ts, kv.TxID{1}))
		live--
		garbage += 2
	}
	must(t, b.Commit())
	must(t, e.Flush())
	check("with deletions")
	for range 20 { // a key with more versions than one sample looks at
		b = e.NewBatch()
		for range 2000 {
			ts++
			must(t, b.Put(kv.MakeKey(7, fmt.Appendf(nil, "%08d", 50_000)), ts, kv.TxID{1}, make([]byte, 60)))
			garbage++
		}
		must(t, b.Commit())
		must(t, e.Flush())
	}
	check("with a hot key")
	write(200_000, 230_000, 1, 60)
	live += 30_000
	check("with a tail in the memtable")
}

func BenchmarkMeasure(b *testing.B) {
	for _, n := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			e := benchStore(b, n, 1, true)
			for b.Loop() {
				m, err := e.Measure(measureSpan(), 0)
				if err != nil || m.Keys < int64(n)*9/10 || m.Keys > int64(n)*11/10 {
					b.Fatal(m, err)
				}
			}
		})
	}
}
