package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// TestSeveralPartitions looks at the commit that is sent.
func TestSeveralPartitions(t *testing.T) {
	w, c := opened(t)
	names := keyspaces(t, c)
	ranges, hashes := names[1], names[2]
	sent := w.commits()
	done := update(t, c.In(ranges), func(_ context.Context, tx *client.Tx) error {
		text(t, tx, "a1")
		list(t, tx, client.Range{Start: []byte("a5"), End: []byte("c5")})
		text(t, tx.In(hashes), "h")
		tx.Put([]byte("bb"), []byte("first"))
		tx.Put([]byte("aa"), []byte("2"))
		tx.Put([]byte("k2"), []byte("3"))
		tx.In(hashes).Add([]byte("n"), 4)
		return nil
	})
	q := sent()[0]
	var anchor *part
	w.do(func() { anchor = w.partOf(ranges, "bb") })
	if string(q.Writes[0].Value) != "first" || len(q.Writes) != 1 || len(q.Reads) != 0 || len(q.Spans) != 1 {
		t.Errorf("the anchor's part: %+v", q)
	}
	if q.Term != anchor.term || q.AsOf == 0 || q.Start == 0 || done.Stats.OnePhase || done.Stats.Partitions != 1+len(q.Parts) || done.Stats.WrittenKeys != 4 {
		t.Errorf("%+v, %+v", q, done.Stats)
	}
	seen := map[kv.PartitionID]bool{anchor.d.Partition: true}
	reads, spans, writes := 0, 1, 1
	for _, p := range q.Parts {
		if seen[p.Partition] || p.Generation != 1 {
			t.Errorf("part %+v", p)
		}
		seen[p.Partition] = true
		reads, spans, writes = reads+len(p.Reads), spans+len(p.Spans), writes+len(p.Writes)
	}
	if reads != 2 || spans != 3 || writes != 4 {
		t.Errorf("%d reads, %d spans, %d writes: %+v", reads, spans, writes, q)
	}
	if get(t, c.In(ranges), "k2") != "3" || get(t, c.In(hashes), "n") != "4" {
		t.Error("not all of it is there")
	}
	update(t, c.In(hashes), func(_ context.Context, tx *client.Tx) error {
		list(t, tx, client.All(), client.Limit(1))
		tx.Put([]byte("x"), nil)
		return nil
	})
	if q := sent()[1]; len(q.Parts) != 6 || len(q.Spans) != 1 {
		t.Errorf("a scan of a hash keyspace reads all its partitions: %+v", q)
	}
}

// TestOldMap: the keys have moved, at the anchor and elsewhere, since the client asked.
func TestOldMap(t *testing.T) {
	w, c := opened(t)
	names := keyspaces(t, c)
	c = c.In(names[1])
	write := func() client.Commit {
		return update(t, c, func(_ context.Context, tx *client.Tx) error {
			for _, k := range []string{"k1", "k2", "a1", "a2"} {
				tx.Add([]byte(k), 1)
			}
			list(t, tx, client.All())
			return nil
		})
	}
	write()
	splitAt := func(k string) {
		w.do(func() {
			ks := w.keyspaces[slices.IndexFunc(w.keyspaces, func(k kv.Keyspace) bool { return k.Name == names[1] })]
			w.split(ks.FullKey([]byte(k)))
		})
	}
	for i, at := range []string{"a2", "k2", "k19"} {
		splitAt(at)
		done := write()
		if n := done.Stats.Partitions; n != 5+i || done.Stats.Attempts != 1 {
			t.Errorf("after the split at %s: %+v", at, done.Stats)
		}
	}
	if got := strings.Join(scan(t, c, client.All()), " "); got != "a1=4 a2=4 k1=4 k2=4" {
		t.Error(got)
	}
}

// TestTxExactlyOnce moves money between accounts in several partitions, through lost answers,
// refusals, elections and splits: none is lost and no id is executed twice.
func TestTxExactlyOnce(t *testing.T) {
	w, c := opened(t)
	names := keyspaces(t, c)
	rng := rand.New(rand.NewPCG(5, 6))
	var mu sync.Mutex
	w.do(func() {
		w.fault = func(_ *node, q *kv.Request) fault {
			if q.Commit != nil && rng.IntN(40) == 0 {
				w.elect(w.parts[rng.IntN(len(w.parts))])
			}
			if f := fault(rng.IntN(60)); f <= notLeader {
				return f
			}
			return none
		}
	})
	account := func(tx *client.Tx, rng *rand.Rand) (*client.Tx, []byte) {
		return tx.In(names[rng.IntN(3)]), fmt.Appendf(nil, "%c", "abck"[rng.IntN(4)])
	}
	var wg sync.WaitGroup
	told := map[client.TxID]bool{}
	for worker := range uint64(6) {
		wg.Go(func() {
			for i := range uint64(25) {
				done, err := c.Update(t.Context(), func(ctx context.Context, tx *client.Tx) error {
					rng := rand.New(rand.NewPCG(worker, i))
					from, a := account(tx, rng)
					to, b := account(tx, rng)
					p, err := from.Get(ctx, a)
					if err != nil && !errors.Is(err, client.ErrNotFound) {
						return err
					}
					n := 0
					fmt.Sscan(string(p.Value), &n)
					from.Put(a, fmt.Append(nil, n-1))
					to.Add(b, 1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				told[done.ID] = true
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		for _, k := range []string{"aa", "bb"} {
			time.Sleep(20 * time.Millisecond)
			w.do(func() { w.split(kv.MakeKey(w.keyspaces[1].ID, []byte(k))) })
		}
	})
	wg.Wait()
	w.do(func() { w.fault = nil })
	total := 0
	for _, n := range names {
		for _, pair := range scan(t, c.In(n), client.All()) {
			_, v, _ := strings.Cut(pair, "=")
			n := 0
			fmt.Sscan(v, &n)
			total += n
		}
	}
	if total != 0 || len(told) != 150 {
		t.Errorf("the sum is %d, %d commits", total, len(told))
	}
	for id, n := range w.executed {
		if n > 1 || !told[id] {
			t.Errorf("%s was executed %d times, told: %t", id, n, told[id])
		}
	}
}
