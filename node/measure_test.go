package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// commit writes n keys in one commit each, or deletes them.
func (w *trio) commit(p kv.PartitionID, keyspace kv.KeyspaceID, n int, kind kv.WriteKind) {
	w.t.Helper()
	node, term := w.leads(p)
	clear(w.replies)
	for i := range n {
		w.nextID++
		write := kv.Write{Kind: kind, Key: kv.MakeHashKey(keyspace, 0, fmt.Appendf(nil, "key%06d", i))}
		if kind == kv.WritePut {
			write.Value = make([]byte, 100)
		}
		w.nodes[node].Request(w.now, w.nextID, &kv.Request{Partition: p, Commit: &kv.Commit{
			ID: txid(uint64(w.nextID)), Term: term, AsOf: w.nodes[node].Heard(), Writes: []kv.Write{write},
		}})
	}
	w.turn(node)
	w.run(200 * time.Millisecond)
	if len(w.replies) != n {
		w.t.Fatalf("%d answers to %d commits", len(w.replies), n)
	}
}

func TestPartitionsTellHowMuchTheyHold(t *testing.T) {
	w := newTrio(t)
	w.run(4 * time.Second)
	core, _ := w.leads(kv.SystemPartition)
	if r := w.tell(core, &kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "k", Scheme: kv.SchemeHash, Partitions: 2}}); r.Err != nil {
		t.Fatal(r.Err)
	}
	holds := func() (full, empty kv.PartitionInfo) {
		w.run(8 * time.Second) // a measurement, and a report
		top := w.tell(core, &kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: "k"}}).Response.Topology
		return top.Partitions[0], top.Partitions[1]
	}
	full, _ := holds()
	p, keyspace := full.Descriptor.Partition, full.Descriptor.Keyspace
	if full.Keys != 0 || full.Bytes != 0 {
		t.Errorf("a new partition holds %d keys, %d bytes", full.Keys, full.Bytes)
	}
	w.commit(p, keyspace, 1000, kv.WritePut)
	w.commit(p, keyspace, 300, kv.WritePut)
	full, empty := holds()
	if full.Keys != 1000 || full.Bytes < 100_000 || full.Bytes > 150_000 {
		t.Errorf("after 1000 puts it holds %d keys, %d bytes", full.Keys, full.Bytes)
	}
	if empty.Keys != 0 || empty.Bytes != 0 {
		t.Errorf("the partition beside it holds %d keys, %d bytes", empty.Keys, empty.Bytes)
	}
	w.commit(p, keyspace, 400, kv.WriteDelete)
	if full, _ = holds(); full.Keys != 600 || full.Bytes < 60_000 || full.Bytes > 90_000 {
		t.Errorf("after 400 deletions it holds %d keys, %d bytes", full.Keys, full.Bytes)
	}
	w.commit(p, keyspace, 1, kv.WritePut) // what was measured goes with the next apply
	for i, e := range w.engines {
		if s, ok, err := e.ReplicaState(p); err != nil || !ok || s.Counters.Keys != 600 {
			t.Errorf("the state of the replica on node %d: %+v %v %v", i+1, s.Counters, ok, err)
		}
	}
	system, _ := w.nodes[core].core.Descriptor(kv.SystemPartition)
	for _, x := range w.nodes[core].core.Topology("").Partitions {
		if x.Descriptor == system && (x.Keys < 5 || x.Bytes < 100) {
			t.Errorf("the system partition holds %d keys, %d bytes", x.Keys, x.Bytes)
		}
	}
	status := w.tell(core, &kv.AdminRequest{Status: &kv.StatusQuery{}}).Response.Status
	for _, n := range status.Nodes {
		if n.Bytes < 60_000 {
			t.Errorf("node %d holds %d bytes", n.Info.ID, n.Bytes)
		}
	}
}
