package node

import (
	"testing"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

// TestForgottenOnce destroys two replicas of one partition before the engine has flushed the end of the
// first: the log forgets the group once, after the flush that has both.
func TestForgottenOnce(t *testing.T) {
	w := newTrio(t)
	n := w.nodes[0]
	const p = kv.PartitionID(99)
	a := replication.MarkAppend(p, wal.Mark{Kind: wal.MarkTombstone, Replica: 7}, nil)
	pos, err := w.logs[0].Write([]wal.Append{a.Log}, true)
	if err != nil {
		t.Fatal(err)
	}
	v := wal.NewView(p, nil)
	v.Stored(&a.Log, pos[0])
	n.system.others[p] = v
	forgets := func() (count int) {
		for _, x := range n.Flush(w.now).Appends {
			if x.Partition() == p && x.IsMark() && x.Log.Mark.Kind == wal.MarkForget {
				count++
			}
		}
		return count
	}
	for _, r := range []kv.ReplicaID{5, 7} {
		n.destroyed(&Apply{state: &mvcc.ReplicaState{Replica: r, Descriptor: kv.Descriptor{Partition: p}}})
	}
	n.Flushed(w.now, nil)
	if got := forgets(); got != 0 {
		t.Errorf("after the flush for the first end: %d marks to forget", got)
	}
	n.Flushed(w.now, nil)
	if got := forgets(); got != 1 {
		t.Errorf("after the flush for the others: %d marks to forget, want 1", got)
	}
	n.Flushed(w.now, nil)
	if got := forgets(); got != 0 {
		t.Errorf("later: %d marks to forget", got)
	}
}
