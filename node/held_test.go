package node

import (
	"reflect"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kvd-db/kvd/kv"
)

// hasCommitted has a replica told of an entry of so many bytes, which no leader of this term has proposed.
func (f *followed) hasCommitted(n *Node, bytes int, confs ...*raftpb.ConfState) {
	e := &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Term: new(uint64), Index: new(uint64), Data: make([]byte, bytes)}
	n.committed(n.replicas[f.p].group, []*raftpb.Entry{e}, confs, nil)
}

// handed takes what was handed out to be applied: its bytes, and whether nobody waits for them.
func handed(n *Node) (bytes []int, lazy []bool) {
	for _, a := range n.out.Applies {
		x := 0
		for _, e := range a.entries {
			x += len(e.GetData())
		}
		bytes, lazy = append(bytes, x), append(lazy, a.Lazy())
	}
	n.out.Applies = nil
	return bytes, lazy
}

func wantHanded(t *testing.T, when string, n *Node, bytes []int, lazy []bool) {
	t.Helper()
	if b, l := handed(n); !reflect.DeepEqual(b, bytes) || !reflect.DeepEqual(l, lazy) {
		t.Errorf("%s: entries of %v bytes are handed out, lazy %v, want %v, %v", when, b, l, bytes, lazy)
	}
}

// TestFollowersHoldBack: nobody waits for what a follower applies, unless it is far behind. What goes at once takes along
// what came before.
func TestFollowersHoldBack(t *testing.T) {
	f := newFollowed(t)
	n := f.nodes[f.other]
	r := n.replicas[f.p]
	n.keep.held.letGo(n)
	handed(n)
	f.hasCommitted(n, 1)
	f.hasCommitted(n, 2)
	n.keep.held.tick(n)
	wantHanded(t, "at once", n, nil, nil)
	n.now += heldMax
	n.keep.held.tick(n)
	wantHanded(t, "after a while", n, []int{1, 2}, []bool{true, true})
	n.keep.held.tick(n)
	wantHanded(t, "and once more", n, nil, nil)

	f.hasCommitted(n, 3)
	n.now += heldMax - 1
	n.keep.held.tick(n)
	wantHanded(t, "the time begins anew", n, nil, nil)
	f.hasCommitted(n, 4, nil)
	wantHanded(t, "with a change of configuration", n, []int{3, 4}, []bool{false, false})

	f.hasCommitted(n, 5)
	n.hasten(r)
	wantHanded(t, "when somebody waits", n, []int{5}, []bool{false})

	f.hasCommitted(n, 6)
	n.apply(&Apply{kind: applyDestroy, state: nil})
	wantHanded(t, "before a replica is destroyed", n, []int{6, 0}, []bool{true, false})

	f.hasCommitted(n, 7)
	f.hasCommitted(n, heldBytesMax)
	wantHanded(t, "when it is much", n, []int{7, heldBytesMax}, []bool{false, false})
	if r.held != 0 || len(n.keep.held.applies) != 0 {
		t.Errorf("%d of the replica are held back, of all %d", r.held, len(n.keep.held.applies))
	}
}

// TestHoldingBackKeepsReplicasApart: what one of them is in a hurry for does not hurry another.
func TestHoldingBackKeepsReplicasApart(t *testing.T) {
	f := newFollowed(t)
	n := f.nodes[f.other]
	other := *f
	for p, r := range n.replicas {
		if p != f.p && r.part != nil && !r.leading {
			other.p = p
		}
	}
	if other.p == f.p {
		t.Skip("this node follows one partition only")
	}
	n.keep.held.letGo(n)
	handed(n)
	f.hasCommitted(n, 1)
	other.hasCommitted(n, 2)
	f.hasCommitted(n, 3)
	n.hasten(n.replicas[f.p])
	wantHanded(t, "of one", n, []int{1, 3}, []bool{false, false})
	n.now += heldMax
	n.keep.held.tick(n)
	wantHanded(t, "of the other", n, []int{2}, []bool{true})
}

// TestLeadersHoldBackLocks: a prepare is acknowledged before it is applied, and so is the transaction committed. A read that
// must see what is locked does not wait for a tick. What commits alone is applied at once, since it is read soon.
func TestLeadersHoldBackLocks(t *testing.T) {
	f := newFollowed(t)
	r := f.nodes[f.leader].replicas[f.p]
	f.put("old")
	f.run(300 * time.Millisecond)
	was := r.group.Applied()
	c := f.ask(f.anchorLeader, &kv.Request{Partition: f.anchor, Commit: &kv.Commit{
		ID: txid(100), Term: f.anchorTerm, AsOf: f.nodes[f.anchorLeader].Heard(), Age: kv.Age{1},
		Writes: []kv.Write{f.write(f.anchorKey, "a")},
		Parts:  []kv.Part{{Partition: f.p, Writes: []kv.Write{f.write(f.key, "new")}}},
	}})
	if c.Err != nil || r.held == 0 || r.group.Applied() != was {
		t.Fatalf("committed with %v: %d applies are held back, %d entries were applied", c.Err, r.held, r.group.Applied()-was)
	}
	now := f.now
	f.want(f.get(f.leader, kv.Read{}), "new")
	if f.now != now || r.group.Applied() == was {
		t.Errorf("the read waited %v, %d entries were applied", f.now-now, r.group.Applied()-was)
	}
	f.run(300 * time.Millisecond)
	was, now = r.group.Applied(), f.now
	f.put("newer")
	if f.now != now || r.group.Applied() == was || r.held != 0 {
		t.Errorf("after a commit %d applies are held back, %d entries were applied", r.held, r.group.Applied()-was)
	}
}

// TestHoldingBackLeavesRoom: with a small bound on what raft hands out at once, no more than half of it waits.
func TestHoldingBackLeavesRoom(t *testing.T) {
	f := newFollowed(t)
	n := f.nodes[f.other]
	n.cfg.Flow.ApplyBytesMax = 100
	n.keep.held.letGo(n)
	handed(n)
	f.hasCommitted(n, 50)
	wantHanded(t, "half of the bound", n, nil, nil)
	f.hasCommitted(n, 1)
	wantHanded(t, "more than half", n, []int{50, 1}, []bool{false, false})
}

// TestReadsThatAwaitApplyHoldNothingBack: proven reads go on as soon as what they wait for is applied.
func TestReadsThatAwaitApplyHoldNothingBack(t *testing.T) {
	f := newFollowed(t)
	n := f.nodes[f.other]
	r := n.replicas[f.p]
	n.keep.held.letGo(n)
	handed(n)
	f.hasCommitted(n, 1)
	n.reads.parked[7] = &indexRead{rep: r}
	n.readReady(r.group, 7, r.group.Applied()+2)
	wantHanded(t, "when a read comes", n, []int{1}, []bool{false})
	f.hasCommitted(n, 2)
	wantHanded(t, "while it waits", n, []int{2}, []bool{false})
}

// TestHoldingBackTicks: a quiet node ticks often again while it holds something back.
func TestHoldingBackTicks(t *testing.T) {
	f := newFollowed(t)
	f.run(20 * time.Second)
	n := f.nodes[f.other]
	quiet := n.TickEvery()
	f.hasCommitted(n, 1)
	if held := n.TickEvery(); quiet <= tickEvery || held != tickEvery {
		t.Errorf("it ticks every %v when it is quiet, every %v when it holds something back", quiet, held)
	}
}
