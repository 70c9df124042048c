package mvcc

import (
	"math/rand/v2"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// TestClaimedSpansNeverOverlap compares claims, releases and restarts with a list.
func TestClaimedSpansNeverOverlap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	fs := NewMemFS()
	open := func() *Engine {
		e, err := Open(Options{Dir: "d", FS: fs, Deterministic: true})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := open()
	held := map[kv.PartitionID]kv.Span{}
	claims, refusals := 0, 0
	for i := range 3000 {
		p := kv.PartitionID(1 + rng.IntN(12))
		switch rng.IntN(8) {
		case 0, 1:
			b := e.NewBatch()
			if err := b.DeleteReplica(p, held[p]); err != nil {
				t.Fatal(err)
			}
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			e.ReleaseSpan(p)
			delete(held, p)
		case 2:
			if i%5 == 0 {
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				e = open()
			}
		default:
			if _, ok := held[p]; ok {
				continue
			}
			span := kv.Span{Start: kv.Key{byte(rng.IntN(60))}}
			if rng.IntN(10) > 0 {
				span.End = kv.Key{span.Start[0] + byte(1+rng.IntN(8))}
			}
			want := false
			for _, s := range held {
				want = want || s.Overlaps(span)
			}
			holder, err := e.ClaimSpan(p, span)
			if err != nil || (holder != 0) != want || holder != 0 && !held[holder].Overlaps(span) {
				t.Fatalf("step %d: the claim of %v finds holder %d, %v; held are %v", i, span, holder, err, held)
			}
			if holder != 0 {
				refusals++
				continue
			}
			claims++
			held[p] = span
			b := e.NewBatch()
			if err := b.SetReplicaState(p, &ReplicaState{Replica: 1, Descriptor: kv.Descriptor{Partition: p, Span: span}}); err != nil {
				t.Fatal(err)
			}
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if claims < 100 || refusals < 100 {
		t.Errorf("%d claims and %d refusals test nothing", claims, refusals)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
