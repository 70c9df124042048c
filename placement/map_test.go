package placement

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

func desc(p kv.PartitionID, g kv.Generation, start, end string) *kv.Descriptor {
	d := &kv.Descriptor{Partition: p, Keyspace: 1, Generation: g, Span: kv.Span{Start: kv.MakeKey(1, []byte(start))}}
	d.Span.End = kv.MakeKey(1, []byte(end))
	if end == "" {
		d.Span.End = kv.PrefixEnd(kv.MakeKey(1, nil))
	}
	return d
}

func ids(m *Map) (all []string) {
	m.Ascend(kv.Span{}, func(d *kv.Descriptor) bool {
		all = append(all, fmt.Sprintf("%d/%d", d.Partition, d.Generation))
		return true
	})
	return all
}

func TestMapNewestWins(t *testing.T) {
	m := NewMap()
	steps := []struct {
		insert *kv.Descriptor
		news   bool
		want   string
	}{
		{desc(2, 1, "", ""), true, "[2/1]"},
		{desc(2, 1, "", ""), false, "[2/1]"},
		{desc(2, 5, "", "m"), true, "[2/5]"}, // it was split, and the right half is not known yet
		{desc(2, 4, "", ""), false, "[2/5]"},
		{desc(3, 5, "m", ""), true, "[2/5 3/5]"},
		{desc(2, 4, "", ""), false, "[2/5 3/5]"},
		{desc(4, 6, "f", "m"), true, "[4/6 3/5]"}, // the right half of 2 comes first: the old whole goes
		{desc(2, 6, "", "f"), true, "[2/6 4/6 3/5]"},
		{desc(9, 5, "a", "z"), false, "[2/6 4/6 3/5]"}, // older than some of what it overlaps
		{desc(2, 9, "", ""), true, "[2/9]"},            // merged
	}
	for i, s := range steps {
		if news := m.Insert(s.insert); news != s.news {
			t.Errorf("step %d: news %v, want %v", i, news, s.news)
		}
		if got := fmt.Sprint(ids(m)); got != s.want {
			t.Errorf("step %d: %s, want %s", i, got, s.want)
		}
	}
}

func TestMapSystemPartition(t *testing.T) {
	m := NewMap()
	m.Insert(desc(2, 1, "", ""))
	system := &kv.Descriptor{Partition: kv.SystemPartition, Generation: 3}
	if !m.Insert(system) || m.Len() != 1 {
		t.Fatal("the system partition, whose span is unbounded, pushed others out")
	}
	if d, ok := m.Get(kv.SystemPartition); !ok || d != system {
		t.Fatal("the system partition is not found by its id")
	}
	m.Remove(kv.SystemPartition)
	if _, ok := m.Get(kv.SystemPartition); ok || m.Len() != 1 {
		t.Fatal("removing the system partition removed something else")
	}
}

// Against a plain list: the map holds no overlaps, answers like a search of the list, and
// never takes an older generation.
func TestMapRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		m := NewMap()
		var model []*kv.Descriptor
		for range 60 {
			d := randomDescriptor(rng)
			model = insertModel(t, m, model, d)
			if m.Len() != len(model) {
				t.Fatalf("%d entries, want %d", m.Len(), len(model))
			}
			key := kv.MakeKey(1, []byte{byte('a' + rng.IntN(8))})
			checkLookup(t, m, model, key)
			checkBefore(t, m, model, key)
		}
	}
}

func randomDescriptor(rng *rand.Rand) *kv.Descriptor {
	a, b := rng.IntN(8), rng.IntN(8)
	if a == b {
		b++
	}
	end := string(rune('a' + max(a, b)))
	if max(a, b) == 8 {
		end = ""
	}
	return desc(kv.PartitionID(2+rng.IntN(6)), kv.Generation(1+rng.IntN(10)), string(rune('a'+min(a, b))), end)
}

func insertModel(t *testing.T, m *Map, model []*kv.Descriptor, d *kv.Descriptor) []*kv.Descriptor {
	news := true
	for _, o := range model {
		if o.Partition == d.Partition && o.Generation >= d.Generation || o.Span.Overlaps(d.Span) && o.Partition != d.Partition && o.Generation > d.Generation {
			news = false
		}
	}
	if got := m.Insert(d); got != news {
		t.Fatalf("inserting %+v into %v: news %v, want %v", d, ids(m), got, news)
	}
	if !news {
		return model
	}
	model = slices.DeleteFunc(model, func(o *kv.Descriptor) bool { return o.Partition == d.Partition || o.Span.Overlaps(d.Span) })
	return append(model, d)
}

func checkLookup(t *testing.T, m *Map, model []*kv.Descriptor, key kv.Key) {
	t.Helper()
	got, ok := m.Lookup(key)
	i := slices.IndexFunc(model, func(d *kv.Descriptor) bool { return d.Span.Contains(key) })
	if ok != (i >= 0) || ok && got != model[i] {
		t.Fatalf("lookup of %q in %v: %v", key, ids(m), got)
	}
}

func checkBefore(t *testing.T, m *Map, model []*kv.Descriptor, end kv.Key) {
	t.Helper()
	got, ok := m.LookupBefore(end)
	i := slices.IndexFunc(model, func(d *kv.Descriptor) bool {
		return bytes.Compare(d.Span.Start, end) < 0 && bytes.Compare(d.Span.End, end) >= 0
	})
	if ok != (i >= 0) || ok && got != model[i] {
		t.Fatalf("lookup before %q in %v: %v", end, ids(m), got)
	}
}

func BenchmarkLookup(b *testing.B) {
	m := NewMap()
	const partitions = 10_000
	for i := range partitions {
		d := desc(kv.PartitionID(i+2), 1, fmt.Sprintf("%06d", i), fmt.Sprintf("%06d", i+1))
		m.Insert(d)
	}
	key := kv.MakeKey(1, []byte("004242x"))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := m.Lookup(key); !ok {
			b.Fatal("not found")
		}
	}
}
