package core

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// TestReportsOfLoopsAreOneNode: each loop of a node speaks for its own replicas; the node is their sum, and is
// as silent as its most silent loop.
func TestReportsOfLoopsAreOneNode(t *testing.T) {
	f := founded(t)
	lead := func(p kv.PartitionID) kv.NodeID { return f.m.part(p).leader }
	node := func() kv.NodeReport {
		for _, n := range f.m.status().Nodes {
			if n.Info.ID == 2 {
				return n
			}
		}
		t.Fatal("node 2 is not in the status")
		return kv.NodeReport{}
	}
	sick := ReplicaRef{2, 2}
	f.m.Report(2, &Report{Loop: 1, Loops: 3, Complete: true, Replicas: 5, Bytes: 50, Draining: true, Damaged: []ReplicaRef{sick}, Leaders: []LeaderReport{{Partition: 2, Term: 90}}})
	f.m.Report(2, &Report{Loop: 0, Loops: 3, Complete: true, Replicas: 2, Bytes: 20, Leaders: []LeaderReport{{Partition: 1, Term: 90}}})
	if n := node(); n.Replicas != 7 || n.Bytes != 70 || n.Leaders != 2 || !f.m.nodeState(2).draining() {
		t.Errorf("node 2 is %+v", n)
	}
	if lead(1) != 2 || lead(2) != 2 || len(f.m.part(2).damaged) != 1 {
		t.Errorf("the report of loop 0 takes away what loop 1 leads (%d, %d), or heals what is damaged there", lead(1), lead(2))
	}
	f.m.Report(2, &Report{Loop: 1, Loops: 3, Complete: true})
	if lead(1) != 2 || lead(2) != 0 || len(f.m.part(2).damaged) != 0 || f.m.nodeState(2).draining() {
		t.Errorf("loop 1 says that it leads nothing and that all is well: leaders %d, %d", lead(1), lead(2))
	}

	f.m.Report(2, &Report{Loop: 1, Loops: 3, Damaged: []ReplicaRef{sick}, Replicas: 9})
	f.m.Report(2, &Report{Loop: 0, Loops: 1, Replicas: 4})
	if n := node(); n.Replicas != 4 || len(f.m.part(2).damaged) != 0 {
		t.Errorf("another number of loops is another life: %+v", n)
	}

	f.nodes[2].alive = false // it reports by hand from here
	for range 10 {
		f.m.Report(2, &Report{Loop: 0, Loops: 2})
		f.run(500 * time.Millisecond)
		f.m.Report(2, &Report{Loop: 0, Loops: 2})
	}
	if l := f.m.liveness(2); l == kv.NodeLive {
		t.Error("loop 1 has not been heard of for 5 s, and the node counts as live")
	}
}
