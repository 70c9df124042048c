package node

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// TestTickEvery: a node is ticked seldom once its groups sleep, and as often as it takes while anything
// is under way.
func TestTickEvery(t *testing.T) {
	f := newFollowed(t)
	f.run(10 * time.Second)
	quiet := make([]int, len(f.nodes))
	for range 100 {
		f.run(10 * time.Millisecond)
		for i, n := range f.nodes {
			if n.TickEvery() == quietTickEvery {
				quiet[i]++
			}
		}
	}
	for i, q := range quiet {
		if q < 90 {
			t.Errorf("node %d was quiet %d times of 100 while all slept", i+1, q)
		}
	}
	f.lose = func(*Message) bool { return true }
	n := f.nodes[f.leader]
	n.Request(f.now, 77, &kv.Request{Partition: f.p, Commit: &kv.Commit{
		ID: txid(77), Term: f.term, AsOf: n.Heard(), Writes: []kv.Write{f.write(f.key, "v")},
	}})
	n.Flush(f.now)
	if every := n.TickEvery(); every != tickEvery {
		t.Errorf("ticks every %s with a commit under way, want %s", every, tickEvery)
	}
}

// TestClosedSeldomWhileIdle: rounds of closing are a second apart while nothing is in use.
func TestClosedSeldomWhileIdle(t *testing.T) {
	f := newFollowed(t)
	sent := 0
	f.lose = func(m *Message) bool {
		if m.Closed != nil {
			sent++
		}
		return false
	}
	rounds := func() int {
		sent = 0
		f.run(10 * time.Second)
		return sent / 2 // each goes to two nodes
	}
	f.run(30 * time.Second)
	idle := rounds() // of three nodes
	f.put("v")
	if busy := rounds(); idle > 36 || idle < 24 || busy < idle+36 {
		t.Errorf("%d rounds in ten seconds while idle, %d while in use", idle, busy)
	}
}
