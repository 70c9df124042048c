package mvcc

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// durability applies log entries 1.. of two partitions, flushes now and then, and crashes. Each
// entry writes its index. It reports what the contract between log and store forbids.
func durability(t *testing.T, seed uint64) (found string) {
	rng := rand.New(rand.NewPCG(seed, 3))
	fs := NewMemFS()
	e := openTest(t, Options{FS: fs, Deterministic: true})
	next := map[kv.PartitionID]kv.LogIndex{2: 1, 3: 1}
	ts := kv.Timestamp(0)
	for range 5 {
		for range rng.IntN(8) {
			b := e.NewBatch()
			for range 1 + rng.IntN(2) { // entries of both in one batch
				p := kv.PartitionID(2 + rng.IntN(2))
				ts++
				must(t, b.Put(kv.MakeKey(kv.KeyspaceID(p), nil), ts, kv.TxID{}, fmt.Append(nil, next[p])))
				if wrong := lockAsOf(t, b, p, next[p]); wrong != "" {
					found = wrong
				}
				must(t, b.SetApplied(p, next[p], 1))
				next[p]++
			}
			must(t, b.Commit())
			if rng.IntN(4) == 0 {
				must(t, e.Flush())
			}
		}
		claimed := map[kv.PartitionID]kv.LogIndex{}
		for p := range next {
			index, err := e.FlushedApplied(p)
			must(t, err)
			claimed[p] = index
		}
		fs = CrashClone(fs)
		must(t, e.Abandon())
		e = openTest(t, Options{FS: fs, Deterministic: true})
		for p := range next {
			applied, err := e.FlushedApplied(p)
			must(t, err)
			data := kv.LogIndex(0)
			if v, ok := get(t, e, string(kv.MakeKey(kv.KeyspaceID(p), nil)), MaxTimestamp); ok {
				_, err := fmt.Sscan(string(v.Value), &data)
				must(t, err)
			}
			if data != applied {
				found = fmt.Sprintf("the data is that of entry %d, the applied index %d", data, applied)
			}
			if wrong := notLockedAsOf(t, e, p, applied); wrong != "" && data == applied {
				found = wrong
			}
			if applied < claimed[p] {
				found = fmt.Sprintf("index %d was claimed to be flushed, %d is left", claimed[p], applied)
			}
			next[p] = applied + 1 // the log replays the rest
		}
	}
	must(t, e.Close())
	return found
}

// lockAsOf makes the lock and the record of an entry take the place of those of the entry before, or says what is
// wrong with those.
func lockAsOf(t *testing.T, b *Batch, p kv.PartitionID, index kv.LogIndex) string {
	k := kv.MakeKey(kv.KeyspaceID(p), []byte("lock"))
	last := kv.TxID{1, byte(index - 1)}
	l, ok, err := b.TakeLock(k, Exclusive, last)
	must(t, err)
	if ok != (index > 1) || ok && l.Term != kv.Term(index-1) {
		return fmt.Sprintf("entry %d takes the lock %+v %v", index, l, ok)
	}
	must(t, b.DeleteRecord(k, last))
	a := kv.Attempt{ID: kv.TxID{1, byte(index)}, Term: kv.Term(index), Anchor: k}
	must(t, b.PutLock(&Lock{Key: k, Strength: Exclusive, Attempt: a}))
	must(t, b.PutRecord(&Record{Attempt: a, State: RecordCommitted}))
	return ""
}

// notLockedAsOf says what is wrong with the lock and the record after so many entries.
func notLockedAsOf(t *testing.T, e *Engine, p kv.PartitionID, index kv.LogIndex) string {
	locks, records := locksOf(t, e, p)
	if len(locks) != min(int(index), 1) || len(records) != len(locks) || len(locks) == 1 && (locks[0].Term != kv.Term(index) || records[0].Term != kv.Term(index)) {
		return fmt.Sprintf("at entry %d the locks are %+v, the records %+v", index, locks, records)
	}
	return ""
}

func TestDurability(t *testing.T) {
	for seed := range uint64(50) {
		if found := durability(t, seed); found != "" {
			t.Fatalf("seed %d: %s", seed, found)
		}
	}
}

// TestDurabilityFindsItsMutants proves that TestDurability can fail.
func TestDurabilityFindsItsMutants(t *testing.T) {
	if !invariant.MutantsBuilt {
		t.Skip("needs the build tag mutants")
	}
	defer invariant.Plant("")
	for _, m := range []invariant.Mutant{invariant.ApplyWithoutIndex, invariant.LogCutPastFlushed} {
		invariant.Plant(m)
		found := ""
		for seed := uint64(0); seed < 50 && found == ""; seed++ {
			found = durability(t, seed)
		}
		if found == "" {
			t.Errorf("mutant %s was not found", m)
		}
		t.Logf("%s: %s", m, found)
	}
}

// TestDeterministicCrash runs the same history twice, with a memtable so small that it flushes
// in the middle: the crash leaves the same state.
func TestDeterministicCrash(t *testing.T) {
	left := func() (applied []kv.LogIndex) {
		fs := NewMemFS()
		e := openTest(t, Options{FS: fs, Deterministic: true, MemTableBytes: 256 << 10})
		for i := range kv.LogIndex(600) {
			b := e.NewBatch()
			must(t, b.Put(kv.Key("k"), kv.Timestamp(i+1), kv.TxID{}, make([]byte, 1+i%977)))
			must(t, b.SetApplied(2, i+1, 1))
			must(t, b.Commit())
			if i%97 == 0 {
				clone := openTest(t, Options{FS: CrashClone(fs), Deterministic: true})
				index, err := clone.FlushedApplied(2)
				must(t, err)
				applied = append(applied, index)
				must(t, clone.Abandon())
			}
		}
		must(t, e.Abandon())
		return applied
	}
	first := left()
	if first[len(first)-1] == 0 {
		t.Error("nothing was ever flushed")
	}
	for range 3 {
		if again := left(); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Fatalf("the same history leaves %v, then %v", first, again)
		}
	}
}

// TestAbandonClosesReaders: a crash in a simulator cuts readers short; nothing of them may be left.
func TestAbandonClosesReaders(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	put(t, e, "k", 1, nil)
	for range 3 {
		if _, err := e.NewReader(); err != nil {
			t.Fatal(err)
		}
	}
	must(t, e.Flush())
	must(t, e.Abandon())
}
