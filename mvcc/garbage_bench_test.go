package mvcc

import (
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// littered is a store whose span 7 holds rows live keys of 100 bytes, each with versions versions, and behind each of
// them dead keys that were written and deleted. at is the newest timestamp.
func littered(tb testing.TB, o Options, rows, versions, dead int) (e *Engine, at kv.Timestamp) {
	tb.Helper()
	e = openTest(tb, o)
	tb.Cleanup(func() { _ = e.Abandon() })
	value := make([]byte, 100)
	batch := e.NewBatch()
	next := func() kv.Timestamp {
		if batch.Len() > 1<<20 {
			must(tb, batch.Commit())
			batch = e.NewBatch()
		}
		at++
		return at
	}
	for range versions {
		for row := range rows {
			must(tb, batch.Put(litterKey(row, 0), next(), kv.TxID{1}, value))
		}
	}
	for row := range rows {
		for i := range dead {
			must(tb, batch.Put(litterKey(row, 1+i), next(), kv.TxID{1}, value))
		}
	}
	for row := range rows {
		for i := range dead {
			must(tb, batch.Delete(litterKey(row, 1+i), next(), kv.TxID{1}))
		}
	}
	must(tb, batch.Commit())
	return e, at
}

func litterKey(row, i int) kv.Key { return kv.MakeKey(7, fmt.Appendf(nil, "%06d/%06d", row, i)) }

func collectAll(tb testing.TB, e *Engine, a GCArgs) (sum GCResult) {
	tb.Helper()
	for {
		res, err := e.CollectGarbage(a)
		must(tb, err)
		sum.Examined += res.Examined
		sum.Versions += res.Versions
		sum.Keys += res.Keys
		if res.Resume == nil {
			return sum
		}
		a.Span.Start = res.Resume
	}
}

// stages are what a store goes through while garbage becomes nothing.
var stages = []struct {
	name      string
	collected bool
	do        func(tb testing.TB, e *Engine, g kv.Timestamp)
}{
	{"memtable", false, func(testing.TB, *Engine, kv.Timestamp) {}},
	{"flushed", false, func(tb testing.TB, e *Engine, _ kv.Timestamp) { must(tb, e.Flush()) }},
	{"compacted", false, func(tb testing.TB, e *Engine, _ kv.Timestamp) { must(tb, e.Compact()) }},
	{"collected", true, func(tb testing.TB, e *Engine, g kv.Timestamp) {
		collectAll(tb, e, GCArgs{Span: kv.Keyspace{ID: 7}.Span(), Threshold: g})
	}},
	{"collected, flushed", true, func(tb testing.TB, e *Engine, _ kv.Timestamp) { must(tb, e.Flush()) }},
	{"collected, compacted", true, func(tb testing.TB, e *Engine, _ kv.Timestamp) { must(tb, e.Compact()) }},
}

type litter struct {
	name                 string
	rows, versions, dead int
}

var litters = []litter{
	{"1 version", 200, 1, 0},
	{"10 versions", 200, 10, 0},
	{"100 versions", 200, 100, 0},
	{"1000 versions", 200, 1000, 0},
	{"10000 tombstones", 11, 1, 10_000},
}

// BenchmarkGarbage reads over old versions and tombstones: the newest state, and one in the middle of the versions.
func BenchmarkGarbage(b *testing.B) {
	for _, l := range litters {
		e, at := littered(b, Options{Dir: b.TempDir()}, l.rows, l.versions, l.dead)
		middle := kv.Timestamp(l.rows * max(l.versions/2, 1))
		rows := min(l.rows, 100)
		for _, s := range stages {
			s.do(b, e, at)
			for _, read := range []struct {
				name string
				at   kv.Timestamp
			}{{"newest", MaxTimestamp}, {"middle", middle}} {
				if read.at != MaxTimestamp && s.collected {
					continue
				}
				name := fmt.Sprintf("%s/%s/%s", l.name, s.name, read.name)
				b.Run(name+"/get", func(b *testing.B) {
					for i := range b.N {
						r, err := e.NewReader()
						must(b, err)
						if _, ok, err := r.Get(litterKey(i%l.rows, 0), read.at); !ok || err != nil {
							b.Fatal(ok, err)
						}
						r.Close()
					}
				})
				for _, reverse := range []bool{false, true} {
					b.Run(fmt.Sprintf("%s/scan, reverse=%v", name, reverse), func(b *testing.B) {
						for range b.N {
							r, err := e.NewReader()
							must(b, err)
							a := ScanArgs{Span: kv.Keyspace{ID: 7}.Span(), Timestamp: read.at, Keys: rows, Reverse: reverse}
							if got, _, _, err := r.Scan(a); len(got) != rows || err != nil {
								b.Fatal(len(got), err)
							}
							r.Close()
						}
						b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
					})
				}
			}
		}
	}
}
