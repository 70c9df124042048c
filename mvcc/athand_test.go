package mvcc

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

func saysOf(t testing.TB, n Newest, k string, ts kv.Timestamp) string {
	t.Helper()
	v, ok := n.Get(kv.Key(k), ts)
	if !ok {
		return "not at hand"
	}
	return fmt.Sprintf("%s at %d", v.Value, v.Timestamp)
}

func wantAtHand(t testing.TB, n Newest, k string, ts kv.Timestamp, want string) {
	t.Helper()
	if got := saysOf(t, n, k, ts); got != want {
		t.Fatalf("at hand of %q as of %d: %s, not %s", k, ts, got, want)
	}
}

func wantVersion(t testing.TB, r *Reader, k string, ts kv.Timestamp, want string) {
	t.Helper()
	v, ok, err := r.Get(kv.Key(k), ts)
	must(t, err)
	got := "none"
	if ok {
		got = fmt.Sprintf("%s at %d", v.Value, v.Timestamp)
	}
	if got != want {
		t.Fatalf("%q as of %d: %s, not %s", k, ts, got, want)
	}
}

func reader(t testing.TB, e *Engine) *Reader {
	t.Helper()
	r, err := e.NewReader()
	must(t, err)
	return r
}

// readsBring is what versions at hand are for: a read brings its key's newest version, and writes keep
// it up to date.
func readsBring(t testing.TB) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	defer e.Abandon()
	put(t, e, "k", 9, []byte("old"))
	put(t, e, "k", 10, []byte("a"))
	if !invariant.Expensive { // whose checks read
		wantAtHand(t, e.Newest(), "k", 10, "not at hand")
	}
	get(t, e, "k", 9)
	wantAtHand(t, e.Newest(), "k", 10, "a at 10")
	wantAtHand(t, e.Newest(), "k", 9, "not at hand")
	for i, value := range []string{"b", "a longer one that needs another place", "c"} {
		put(t, e, "k", kv.Timestamp(11+i), []byte(value))
		wantAtHand(t, e.Newest(), "k", MaxTimestamp, fmt.Sprintf("%s at %d", value, 11+i))
	}
	r := reader(t, e)
	wantVersion(t, r, "k", 11, "b at 11") // what was overwritten is the engine's
	r.Close()
	b := e.NewBatch()
	must(t, b.Delete(kv.Key("k"), 14, kv.TxID{1}))
	must(t, b.Commit())
	wantAtHand(t, e.Newest(), "k", MaxTimestamp, "not at hand")
	if v, ok := get(t, e, "k", MaxTimestamp); !ok || !v.Tombstone {
		t.Fatalf("a tombstone is %+v %v", v, ok)
	}
	wantAtHand(t, e.Newest(), "k", MaxTimestamp, "not at hand") // it may be collected
}

// resolvedLate is not the newest version of its key.
func resolvedLate(t testing.TB) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	defer e.Abandon()
	put(t, e, "k", 20, []byte("b"))
	get(t, e, "k", 20)
	b := e.NewBatch()
	must(t, b.PutResolved(kv.Key("k"), 15, kv.TxID{15}, []byte("late"), false))
	must(t, b.Commit())
	wantAtHand(t, e.Newest(), "k", MaxTimestamp, "b at 20")
}

// olderViews do not see what came after them.
func olderViews(t testing.TB) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	defer e.Abandon()
	put(t, e, "k", 10, []byte("a"))
	get(t, e, "k", 10)
	r, n := reader(t, e), e.Newest()
	defer r.Close()
	put(t, e, "k", 11, []byte("b"))
	wantAtHand(t, n, "k", MaxTimestamp, "not at hand")
	wantVersion(t, r, "k", MaxTimestamp, "a at 10")
	wantAtHand(t, e.Newest(), "k", MaxTimestamp, "b at 11")
}

// lateViews bring nothing that was overwritten meanwhile.
func lateViews(t testing.TB) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	defer e.Abandon()
	put(t, e, "k", 10, []byte("a"))
	r := reader(t, e)
	defer r.Close()
	put(t, e, "k", 11, []byte("b"))
	wantVersion(t, r, "k", MaxTimestamp, "a at 10")
	r2 := reader(t, e)
	defer r2.Close()
	wantVersion(t, r2, "k", MaxTimestamp, "b at 11")
}

// replicaGoes, and what is at hand of it too.
func replicaGoes(t testing.TB) {
	e, a := snapshotStore(t)
	defer e.Abandon()
	k := string(kv.MakeKey(2, fmt.Append(nil, 3)))
	get(t, e, k, MaxTimestamp)
	b := e.NewBatch()
	must(t, b.DeleteReplica(2, a.Span))
	must(t, b.Commit())
	if v, ok := get(t, e, k, MaxTimestamp); ok {
		t.Fatalf("a key of a replica that has gone is %+v", v)
	}
}

// snapshotComes, and what was at hand of the old state goes.
func snapshotComes(t testing.TB) {
	from, a := snapshotStore(t)
	defer from.Abandon()
	chunks, s := export(t, from, a)
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	defer e.Abandon()
	k := string(kv.MakeKey(2, []byte("old")))
	put(t, e, k, 1, []byte("old"))
	get(t, e, k, MaxTimestamp)
	must(t, e.IngestSnapshot(a, chunks, &s))
	if v, ok := get(t, e, k, MaxTimestamp); ok {
		t.Fatalf("a key that the snapshot does not have is %+v", v)
	}
}

func TestReadsBring(t *testing.T)    { readsBring(t) }
func TestResolvedLate(t *testing.T)  { resolvedLate(t) }
func TestOlderViews(t *testing.T)    { olderViews(t) }
func TestLateViews(t *testing.T)     { lateViews(t) }
func TestReplicaGoes(t *testing.T)   { replicaGoes(t) }
func TestSnapshotComes(t *testing.T) { snapshotComes(t) }

// TestShelf compares a small shelf with a map: what it has is what was put last, and what was put just now is there.
func TestShelf(t *testing.T) {
	const keys, maxBytes = 64, 4 << 10
	rng := rand.New(rand.NewPCG(1, 2))
	s := &shelf{max: maxBytes}
	want, last := map[string]string{}, []string{}
	for i := range 50_000 {
		k := fmt.Sprint("key", rng.IntN(keys))
		hash := hashKey(kv.Key(k))
		if rng.IntN(10) == 0 {
			s.write(uint64(i), hash, kv.Key(k), MaxTimestamp-1, nil, false)
			delete(want, k)
		} else {
			stored := fmt.Sprint(i, string(make([]byte, rng.IntN(maxBytes/entriesMin/2))))
			s.put(hash, kv.Key(k), uint64(i), kv.Timestamp(i), []byte(stored))
			want[k] = stored
		}
		last = append(last, k)
		for j, k := range last {
			e := s.find(hashKey(kv.Key(k)), kv.Key(k))
			if e == nil && want[k] != "" && j == len(last)-1 {
				t.Fatalf("step %d: %s was put and is not there", i, k)
			}
			if e != nil && string(e.stored()) != want[k] {
				t.Fatalf("step %d: %s is %q, not %q", i, k, e.stored(), want[k])
			}
		}
		if len(last) > 2*keys {
			last = last[keys:]
		}
		if len(s.ring) > maxBytes {
			t.Fatalf("the ring has %d bytes of %d", len(s.ring), maxBytes)
		}
	}
	if s.put(1, kv.Key("k"), 1, 1, make([]byte, maxBytes)); s.find(1, kv.Key("k")) != nil {
		t.Error("what is as large as the shelf is kept")
	}
	s = &shelf{max: 1 << 20}
	longest := make([]byte, shelvedMax-shelvedHeader-1)
	if s.put(1, kv.Key("k"), 1, 1, longest); s.find(1, kv.Key("k")) == nil {
		t.Error("the longest entry is not kept")
	}
	if s.put(1, kv.Key("k"), 1, 1, append(longest, 0)); s.find(1, kv.Key("k")) != nil {
		t.Error("a longer entry than the longest is kept, or what was there before it")
	}
}

// TestAtHandIsTheEnginesState has readers compare what is at hand in a view with what the engine shows in it,
// while keys are written, deleted and resolved late.
func TestAtHandIsTheEnginesState(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS(), CacheBytes: 1 << 16}) // room for a part of the keys
	defer e.Close()
	const keys, batches = 100, 3000
	key := func(i int) kv.Key { return kv.Key(fmt.Sprint("key", i)) }
	var ended sync.WaitGroup
	done := make(chan struct{})
	for g := range 3 {
		ended.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 7))
			for {
				select {
				case <-done:
					return
				default:
				}
				r, err := e.NewReader()
				if err != nil {
					t.Error(err)
					return
				}
				for range 20 {
					k, ts := key(rng.IntN(keys)), MaxTimestamp
					if rng.IntN(2) == 0 {
						ts = kv.Timestamp(1 + rng.IntN(batches))
					}
					got, ok, err := r.Get(k, ts)
					want, ok2, err2 := r.get(k, ts)
					if err != nil || err2 != nil || ok != ok2 || !sameVersion(got, want) {
						t.Errorf("%s as of %d is %+v %v %v, and %+v %v %v in the engine", k, ts, got, ok, err, want, ok2, err2)
					}
				}
				r.Close()
			}
		})
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range batches {
		b := e.NewBatch()
		for range 1 + rng.IntN(8) {
			k, ts, id := key(rng.IntN(keys)), kv.Timestamp(10*i+10), kv.TxID{1, byte(i), byte(i >> 8)}
			switch rng.IntN(8) {
			case 0:
				must(t, b.Delete(k, ts, id))
			case 1:
				ts -= kv.Timestamp(1 + rng.IntN(5)) // another transaction's, under what may be there
				binary.BigEndian.PutUint64(id[8:], uint64(ts))
				must(t, b.PutResolved(k, ts, id, fmt.Append(nil, "late", i), false))
			default:
				must(t, b.Put(k, ts, id, fmt.Append(nil, i, string(make([]byte, rng.IntN(50))))))
			}
		}
		must(t, b.Commit())
	}
	close(done)
	ended.Wait()
}

func BenchmarkGetAtHand(b *testing.B) {
	const keys = 200_000
	for _, cache := range []int64{1, 64 << 20} {
		b.Run(fmt.Sprintf("at hand %d", cache), func(b *testing.B) {
			e := openTest(b, Options{FS: NewMemFS(), CacheBytes: 4 * cache})
			defer e.Abandon()
			rng := rand.New(rand.NewPCG(1, 1))
			for i := range keys {
				put(b, e, fmt.Sprintf("key%08d", i), 1, make([]byte, 100))
			}
			r := reader(b, e)
			defer r.Close()
			read := func() { _, _, _ = r.Get(kv.Key(fmt.Sprintf("key%08d", rng.IntN(keys))), 5) }
			for range 5 * keys * min(1, int(cache)-1) {
				read()
			}
			b.ResetTimer()
			for range b.N {
				read()
			}
		})
	}
}
