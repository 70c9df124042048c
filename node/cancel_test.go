package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// alone lets time pass for node i, to which nobody speaks.
func (w *trio) alone(i int, d time.Duration) {
	for end := w.now + kv.Instant(d); w.now < end; {
		w.now += kv.Instant(10 * time.Millisecond)
		w.nodes[i].Tick(w.now, 1_700_000_000_000+int64(w.now)/1e6)
		w.turn(i)
		w.mail = nil
	}
}

// hashed is a trio with a keyspace of n partitions.
func hashed(t testing.TB, n int) (*trio, *kv.Topology) {
	w := newTrio(t)
	w.run(4 * time.Second)
	core, _ := w.leads(kv.SystemPartition)
	if r := w.tell(core, &kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "k", Scheme: kv.SchemeHash, Partitions: n}}); r.Err != nil {
		t.Fatal(r.Err)
	}
	return w, w.tell(core, &kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: "k"}}).Response.Topology
}

func (w *trio) put(i int, top *kv.Topology, part int) RequestID {
	w.nextID++
	p := top.Partitions[part].Descriptor.Partition
	write := kv.Write{Kind: kv.WritePut, Key: kv.MakeHashKey(top.Keyspaces[0].ID, uint16(part), fmt.Append(nil, w.nextID)), Value: []byte("v")}
	w.nodes[i].Request(w.now, w.nextID, &kv.Request{Partition: p, Commit: &kv.Commit{
		ID: txid(uint64(w.nextID)), Term: w.nodes[i].set.Group(p).Term(), AsOf: w.nodes[i].Heard(), Writes: []kv.Write{write},
	}})
	return w.nextID
}

// TestCancel: a canceled request is not answered, wherever it waits; those beside it are.
func TestCancel(t *testing.T) {
	w, top := hashed(t, 2)
	p := top.Partitions[0].Descriptor.Partition
	leader, _ := w.leads(p)
	// With the leader, on its way through the log.
	gone, stays := w.put(leader, top, 0), w.put(leader, top, 0)
	w.nodes[leader].Cancel(w.now, gone, p)
	w.turn(leader)
	w.run(200 * time.Millisecond)
	if _, answered := w.replies[gone]; answered {
		t.Error("a canceled commit was answered")
	}
	if r, answered := w.replies[stays]; !answered || r.Err != nil {
		t.Errorf("the commit beside it: %v, %v", answered, r.Err)
	}
	// With a node that knows of no leader: the others are not heard of any more.
	follower := (leader + 1) % 3
	w.alone(follower, 2*time.Second)
	if n := w.nodes[follower].set.Group(p).LeaderNode(); n != 0 {
		t.Fatalf("node %d is taken for the leader", n)
	}
	gone, stays = w.put(follower, top, 0), w.put(follower, top, 0)
	w.nextID++
	check := w.nextID
	w.nodes[follower].Admin(w.now, check, &kv.AdminRequest{Check: &kv.CheckQuery{Partition: p}})
	w.nodes[follower].Cancel(w.now, gone, p)
	w.nodes[follower].Cancel(w.now, check, 0)
	if n := w.nodes[follower].replicas[p].waiting.len(); n != 1 {
		t.Errorf("%d requests wait, want 1", n)
	}
	w.alone(follower, time.Second)
	if _, answered := w.replies[gone]; answered {
		t.Error("a canceled request that was parked was answered")
	}
	if _, answered := w.admin[check]; answered {
		t.Error("a canceled request of an administrator that was parked was answered")
	}
	if r, answered := w.replies[stays]; !answered || kv.KindOf(r.Err) != kv.Unavailable {
		t.Errorf("the request beside it: %v, %v", answered, r.Err)
	}
}

// BenchmarkCancel is a mass timeout: all requests that wait are canceled.
func BenchmarkCancel(b *testing.B) {
	for _, partitions := range []int{4, 256} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			w, top := hashed(b, partitions)
			w.alone(1, 2*time.Second)
			n := w.nodes[1]
			ids := make([]RequestID, 0, waitingMax)
			b.ResetTimer()
			for done := 0; done < b.N; {
				b.StopTimer()
				ids = ids[:0]
				for i := range waitingMax {
					ids = append(ids, w.put(1, top, i%partitions))
				}
				b.StartTimer()
				for i, id := range ids {
					n.Cancel(w.now, id, top.Partitions[i%partitions].Descriptor.Partition)
					done++
				}
			}
		})
	}
}
