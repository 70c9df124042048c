package mvcc

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

func benchKey(i int) kv.Key {
	return kv.MakeKey(7, fmt.Appendf(nil, "user%012d", i))
}

// benchStore holds n keys with some versions each, of 100 bytes.
func benchStore(b *testing.B, n, versions int, flushed bool) *Engine {
	b.Helper()
	e, err := Open(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Abandon() })
	value := make([]byte, 100)
	var id kv.TxID
	ts := kv.Timestamp(0)
	for range versions {
		for i := 0; i < n; i += 1000 {
			batch := e.NewBatch()
			for j := i; j < min(n, i+1000); j++ {
				ts++
				binary.BigEndian.PutUint64(id[:], rand.Uint64())
				binary.BigEndian.PutUint64(value, rand.Uint64())
				if err := batch.Put(benchKey(j), ts, id, value); err != nil {
					b.Fatal(err)
				}
			}
			if err := batch.Commit(); err != nil {
				b.Fatal(err)
			}
		}
		if flushed {
			if err := e.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if flushed {
		if err := e.Compact(); err != nil {
			b.Fatal(err)
		}
	}
	return e
}

var benchStores = []struct {
	name     string
	versions int
	flushed  bool
}{{"1version", 1, true}, {"5versions", 5, true}, {"memtable", 1, false}}

const benchKeys = 100_000

func BenchmarkGet(b *testing.B) {
	for _, s := range benchStores {
		e := benchStore(b, benchKeys, s.versions, s.flushed)
		get := func(b *testing.B, r *Reader, k kv.Key, want bool) {
			_, ok, err := r.Get(k, MaxTimestamp)
			if err != nil || ok != want {
				b.Fatal(ok, err)
			}
		}
		keys := make([]kv.Key, 4096)
		for i := range keys {
			keys[i] = benchKey(rand.IntN(benchKeys))
		}
		b.Run(s.name+"/new reader", func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				r, err := e.NewReader()
				if err != nil {
					b.Fatal(err)
				}
				get(b, r, keys[i%len(keys)], true)
				r.Close()
			}
		})
		b.Run(s.name+"/same reader", func(b *testing.B) {
			b.ReportAllocs()
			r, err := e.NewReader()
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			for i := range b.N {
				get(b, r, keys[i%len(keys)], true)
			}
		})
		b.Run(s.name+"/absent", func(b *testing.B) {
			for i := range b.N {
				r, err := e.NewReader()
				if err != nil {
					b.Fatal(err)
				}
				get(b, r, append(keys[i%len(keys)], 'x'), false)
				r.Close()
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	for _, s := range benchStores {
		e := benchStore(b, benchKeys, s.versions, s.flushed)
		for _, rows := range []int{100, 10_000} {
			for _, reverse := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/%d rows/reverse=%v", s.name, rows, reverse), func(b *testing.B) {
					b.ReportAllocs()
					for range b.N {
						r, err := e.NewReader()
						if err != nil {
							b.Fatal(err)
						}
						at := rand.IntN(benchKeys - rows)
						a := ScanArgs{Span: kv.Span{Start: benchKey(at), End: benchKey(at + rows)}, Timestamp: MaxTimestamp, Reverse: reverse}
						got, _, _, err := r.Scan(a)
						if err != nil || len(got) != rows {
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

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("batch of %d", size), func(b *testing.B) {
			e := benchStore(b, 0, 0, false)
			value := make([]byte, 100)
			id := kv.TxID{1}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; {
				batch := e.NewBatch()
				for range size {
					i++
					if err := batch.Put(benchKey(rand.IntN(1_000_000)), kv.Timestamp(i), id, value); err != nil {
						b.Fatal(err)
					}
				}
				if err := batch.SetApplied(2, kv.LogIndex(i), 1); err != nil {
					b.Fatal(err)
				}
				if err := batch.Commit(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNewestIn(b *testing.B) {
	for _, s := range benchStores {
		e := benchStore(b, benchKeys, s.versions, s.flushed)
		b.Run(s.name+"/100000 keys, nothing newer", func(b *testing.B) {
			for range b.N {
				r, err := e.NewReader()
				if err != nil {
					b.Fatal(err)
				}
				if _, _, ok, err := r.NewestIn(kv.Keyspace{ID: 7}.Span(), 10*benchKeys); ok || err != nil {
					b.Fatal(ok, err)
				}
				r.Close()
			}
		})
	}
}

func BenchmarkDigest(b *testing.B) {
	e := benchStore(b, benchKeys, 1, true)
	b.ResetTimer()
	for range b.N {
		r, err := e.NewReader()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Digest(kv.Keyspace{ID: 7}.Span(), 0, MaxTimestamp); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchKeys), "ns/version")
}

func BenchmarkCollectGarbage(b *testing.B) {
	for _, full := range []bool{false, true} {
		b.Run(fmt.Sprintf("nothing to collect, full=%v", full), func(b *testing.B) {
			e := benchStore(b, benchKeys, 1, true)
			b.ResetTimer()
			for range b.N {
				a := GCArgs{Span: kv.Keyspace{ID: 7}.Span(), Threshold: 10 * benchKeys, Full: full}
				for {
					res, err := e.CollectGarbage(a)
					if err != nil {
						b.Fatal(err)
					}
					if res.Resume == nil {
						break
					}
					a.Span.Start = res.Resume
				}
			}
		})
	}
}
