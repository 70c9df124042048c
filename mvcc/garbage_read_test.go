package mvcc

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// seekSteps is what a seek counts for, in steps.
const seekSteps = 8

// effort is what Pebble's iterators did under a reader, in steps over entries, deleted ones too.
func effort(r *Reader) int {
	s := r.it.Stats()
	return s.ForwardStepCount[pebble.InternalIterCall] + s.ReverseStepCount[pebble.InternalIterCall] +
		seekSteps*(s.ForwardSeekCount[pebble.InternalIterCall]+s.ReverseSeekCount[pebble.InternalIterCall])
}

// readEffort reads rows and one key of a littered store, and reports what that cost a row.
func readEffort(t *testing.T, e *Engine, rows int, at kv.Timestamp, reverse bool) (scan, get float64) {
	t.Helper()
	r, err := e.NewReader()
	must(t, err)
	defer r.Close()
	got, _, _, err := r.Scan(ScanArgs{Span: kv.Keyspace{ID: 7}.Span(), Timestamp: at, Keys: rows, Reverse: reverse})
	must(t, err)
	if len(got) != rows {
		t.Fatalf("%d rows, want %d", len(got), rows)
	}
	scan = float64(effort(r)) / float64(rows)
	r.it.ResetStats()
	for row := range 10 {
		if _, ok, err := r.Get(litterKey(row, 0), at); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	return scan, float64(effort(r)) / 10
}

// TestReadsPassOverGarbage: what a row costs does not grow with the versions of its key. A tombstone costs the steps over it
// and what it hides until it is collected, and so does a deleted key until it is flushed and compacted.
func TestReadsPassOverGarbage(t *testing.T) {
	const perRowMax, perGetMax = 40, seekSteps + 2
	for _, l := range []litter{
		{"1 version", 100, 1, 0},
		{"10 versions", 100, 10, 0},
		{"100 versions", 100, 100, 0},
		{"1000 versions", 100, 1000, 0},
		{"1000 tombstones", 11, 1, 1000},
	} {
		e, at := littered(t, Options{FS: NewMemFS(), Deterministic: true}, l.rows, l.versions, l.dead)
		middle := kv.Timestamp(l.rows * max(l.versions/2, 1))
		for _, s := range stages {
			s.do(t, e, at)
			for _, ts := range []kv.Timestamp{MaxTimestamp, middle} {
				if ts == middle && s.collected {
					continue
				}
				for _, reverse := range []bool{false, true} {
					dead := 2 * l.dead
					switch {
					case s.name == "collected, compacted":
						dead = 0
					case s.collected && reverse:
						dead = 2*dead + 2*l.versions
					case s.collected:
						dead = 2 * dead
					}
					scan, get := readEffort(t, e, l.rows, ts, reverse)
					if scan > float64(perRowMax+dead) || get > perGetMax {
						t.Errorf("%s, %s, at %d, reverse %v: %.1f steps a row, at most %d are due; %.1f a get, at most %d",
							l.name, s.name, ts, reverse, scan, perRowMax+dead, get, perGetMax)
					}
				}
			}
		}
	}
}

// TestDeletionsAreFlushed: deleted keys in memory stand before readers, so they must not gather there.
func TestDeletionsAreFlushed(t *testing.T) {
	for name, remove := range map[string]func(b *Batch, k kv.Key) error{
		"locks":   func(b *Batch, k kv.Key) error { return b.DeleteLock(k, Exclusive, kv.TxID{1}) },
		"records": func(b *Batch, k kv.Key) error { return b.DeleteRecord(k, kv.TxID{1}) },
	} {
		e := openTest(t, Options{FS: NewMemFS(), Deterministic: true, MemTableBytes: 1 << 28})
		k, flushes := kv.MakeKey(2, nil), e.Flushes()
		for range 2 {
			for n := 0; n <= unflushedDeletesMax; n += 1 << 12 {
				b := e.NewBatch()
				for range 1 << 12 {
					must(t, remove(b, k))
				}
				must(t, b.Commit())
			}
		}
		if n := e.Flushes() - flushes; n != 2 {
			t.Errorf("%s: %d flushes, want 2", name, n)
		}
		must(t, e.Close())
	}
	e, at := littered(t, Options{FS: NewMemFS(), Deterministic: true, MemTableBytes: 1 << 28}, 10, unflushedDeletesMax/5, 0)
	flushes := e.Flushes()
	collectAll(t, e, GCArgs{Threshold: at})
	if n := e.Flushes() - flushes; n != 1 {
		t.Errorf("a collection: %d flushes, want 1", n)
	}
}
