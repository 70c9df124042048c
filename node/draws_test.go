package node

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/core"
	"github.com/kvd-db/kvd/kv"
)

// TestFarOracle: a node whose oracle takes long to answer waits longer, instead of asking again and again for
// what is on its way: it would never have a timestamp.
func TestFarOracle(t *testing.T) {
	f := newFollowed(t)
	f.lose = func(m *Message) bool { return m.Grant != nil }
	n := f.nodes[f.leader]
	oracle := n.oracle()
	asked := map[uint64]kv.Instant{}
	const away = kv.Instant(500 * time.Millisecond) // there and back
	granted, timestamp := 0, n.Heard()+1000
	n.Request(f.now, 77, &kv.Request{Partition: f.p, Commit: &kv.Commit{
		ID: txid(77), Term: f.term, AsOf: n.Heard(), Writes: []kv.Write{f.write(f.key, "v")},
	}})
	f.turn(f.leader)
	for range 200 {
		if _, done := f.replies[77]; done {
			break
		}
		for _, a := range n.draws.asked {
			if _, known := asked[a.seq]; !known {
				asked[a.seq] = f.now
			}
		}
		f.run(10 * time.Millisecond)
		for seq, at := range asked {
			if f.now-at == away {
				n.draws.answer(n, oracle, &core.Grant{Seq: seq, First: timestamp, Count: 1 << 10})
				timestamp += 1 << 10
				granted++
				f.turn(f.leader)
			}
		}
	}
	if r, done := f.replies[77]; !done || r.Err != nil {
		t.Fatalf("no commit after %d answers of the oracle: %v", granted, r.Err)
	}
}

// TestPatienceWithTheOracle: it doubles while nothing comes, up to a bound, and is that of the answers again when they do.
func TestPatienceWithTheOracle(t *testing.T) {
	f := newFollowed(t)
	n := f.nodes[f.leader]
	d := &n.draws
	for range 10 {
		d.asked = []asked{{seq: 1 << 40, at: n.now, draws: []draw{{}}}}
		n.now += 2 * drawTimeoutMax
		if d.tick(n); len(d.asked) != 0 {
			t.Fatal("it still waits")
		}
	}
	if d.patience != drawTimeoutMax {
		t.Errorf("it waits for %s at last, want %s", time.Duration(d.patience), time.Duration(drawTimeoutMax))
	}
	d.asked = []asked{{seq: 1 << 40, at: n.now, draws: []draw{{}}}}
	n.now += kv.Instant(200 * time.Millisecond)
	d.answer(n, n.oracle(), &core.Grant{Seq: 1 << 40, First: n.Heard() + 1, Count: 1})
	if !n.Answered() {
		t.Error("the oracle has answered, and the node does not say so")
	}
	if want := kv.Instant(400 * time.Millisecond); d.patience != want {
		t.Errorf("it waits for %s after an answer in 200 ms, want %s", time.Duration(d.patience), time.Duration(want))
	}
}
