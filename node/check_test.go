package node

import (
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// TestSumGoesToWhoAsked: a replica that knows of no leader when its sum is ready sends it to the node that asked.
func TestSumGoesToWhoAsked(t *testing.T) {
	f := newFollowed(t)
	n := f.nodes[f.other]
	asker := kv.NodeID(f.leader + 1)
	sum := func(check uint64) []Send {
		n.out.Sends = nil
		n.DigestDone(n.now, &DigestTask{digest: Digest{Partition: f.p, Check: check}})
		return n.out.Sends
	}
	id := uint64(asker) << checkNodeShift
	if s := sum(id); len(s) != 1 || s[0].To != asker {
		t.Fatalf("with a leader: %+v", s)
	}
	f.now += kv.Instant(n.cfg.Replication.SupportDuration) + 1 // its promise is over
	n.at(f.now)
	if to := n.replicas[f.p].group.LeaderNode(); to != 0 {
		t.Fatalf("it still knows node %d for the leader: the test tests nothing", to)
	}
	if s := sum(id); len(s) != 1 || s[0].To != asker {
		t.Errorf("without one: %+v", s)
	}
	if s := sum(0); len(s) != 0 {
		t.Errorf("what nobody asked for goes out: %+v", s)
	}
}
