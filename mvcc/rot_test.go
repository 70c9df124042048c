package mvcc

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// TestDamageIsNeverSkipped: a scan over a table of many blocks of which one is damaged fails, or finds all that it should.
func TestDamageIsNeverSkipped(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	mem := NewMemFS()
	e := openTest(t, Options{FS: mem, Deterministic: true, BlockBytes: 512})
	ts := kv.Timestamp(0)
	for range 3 {
		for range 150 {
			ts++
			v := make([]byte, 40+rng.IntN(300))
			for i := range v {
				v[i] = byte(rng.Uint32())
			}
			put(t, e, fmt.Sprintf("key%02d", rng.IntN(30)), ts, v)
		}
		must(t, e.Flush())
	}
	span := kv.Span{Start: kv.Key("a"), End: kv.Key("z")}
	var args []ScanArgs
	for _, at := range []kv.Timestamp{ts, ts / 2, ts / 7} {
		for _, reverse := range []bool{false, true} {
			args = append(args, ScanArgs{Span: span, Timestamp: at, Reverse: reverse}, ScanArgs{Span: span, Timestamp: at, Reverse: reverse, KeysOnly: true})
		}
	}
	var want [][]kv.Row
	for _, a := range args {
		r, err := e.NewReader()
		must(t, err)
		rows, _, _, err := r.Scan(a)
		must(t, err)
		want = append(want, rows)
		r.Close()
	}
	tables, err := e.Tables()
	must(t, err)
	must(t, e.Close())
	refused := 0
	for n := range 600 {
		damaged := CrashClone(mem)
		x := tables[rng.IntN(len(tables))]
		bit := rng.Int64N(8 * x.Bytes)
		must(t, FlipBit(damaged, x.Path, bit))
		e := openTest(t, Options{FS: damaged, Deterministic: true, BlockBytes: 512})
		for i, a := range args {
			r, err := e.NewReader()
			if err != nil {
				refused++
				continue
			}
			rows, _, _, err := r.Scan(a)
			r.Close()
			switch {
			case err != nil && kv.KindOf(err) != kv.Corruption:
				t.Fatal(err)
			case err != nil:
				refused++
			case !reflect.DeepEqual(rows, want[i]):
				t.Fatalf("attempt %d, bit %d of %s: a scan at %d, reverse %v, keys only %v, found %d rows of %d, or others", n, bit, x.Path, a.Timestamp, a.Reverse, a.KeysOnly, len(rows), len(want[i]))
			}
		}
		must(t, e.Abandon())
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}

// TestDamageBesideASnapshotIsNoLoss: a copy is taken in over a table that holds other replicas' keys too, and is damaged. Either that is
// refused, or the others keep what they have, as far as it can be read.
func TestDamageBesideASnapshotIsNoLoss(t *testing.T) {
	from := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	put(t, from, "m5", 1, []byte("new"))
	s := ReplicaState{Replica: 1, Applied: 9, AppliedTerm: 2, Descriptor: kv.Descriptor{Partition: 4, Span: kv.Span{Start: kv.Key("m"), End: kv.Key("n")}}}
	b := from.NewBatch()
	must(t, b.SetReplicaState(4, &s))
	must(t, b.Commit())
	args := SnapshotArgs{Partition: 4, Span: s.Descriptor.Span}
	var chunks [][]byte
	_, err := from.ExportSnapshot(args, func(c []byte) error {
		chunks = append(chunks, c)
		return nil
	})
	must(t, err)
	must(t, from.Close())

	rng := rand.New(rand.NewPCG(3, 4))
	mem := NewMemFS()
	e := openTest(t, Options{FS: mem, Deterministic: true, BlockBytes: 512})
	var keys []string
	for i := range 90 {
		k := fmt.Sprintf("%c%02d", "lmn"[i%3], i)
		keys = append(keys, k)
		v := make([]byte, 100)
		for j := range v {
			v[j] = byte(rng.Uint32())
		}
		put(t, e, k, kv.Timestamp(i+1), v)
	}
	must(t, e.Flush())
	tables, err := e.Tables()
	must(t, err)
	must(t, e.Close())
	refused := 0
	for range 400 {
		damaged := CrashClone(mem)
		must(t, FlipBit(damaged, tables[0].Path, rng.Int64N(8*tables[0].Bytes)))
		e := openTest(t, Options{FS: damaged, Deterministic: true, BlockBytes: 512})
		if err := e.IngestSnapshot(args, chunks, &s); err != nil {
			if kv.KindOf(err) != kv.Corruption {
				t.Fatal(err)
			}
			refused++
			must(t, e.Abandon())
			continue
		}
		for _, k := range keys {
			r, err := e.NewReader()
			if err != nil {
				continue
			}
			_, ok, err := r.Get(kv.Key(k), MaxTimestamp)
			r.Close()
			if err == nil && ok != (k[0] != 'm') {
				t.Fatalf("key %s is there: %v", k, ok)
			}
		}
		must(t, e.Abandon())
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}
