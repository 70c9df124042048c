package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// nobody takes a machine's decisions and forgets them, but for the last command.
type nobody struct{ command []byte }

func (n *nobody) Propose(cmd []byte)                            { n.command = cmd }
func (n *nobody) Order(kv.NodeID, Order)                        {}
func (n *nobody) Grant(kv.NodeID, Grant)                        {}
func (n *nobody) Retain(kv.NodeID, Retain)                      {}
func (n *nobody) Reply(RequestID, *kv.AdminResponse, *kv.Error) {}

// BenchmarkCreateKeyspace is what the largest keyspace costs the loop of the core's leader: to be
// placed, and to be applied.
func BenchmarkCreateKeyspace(b *testing.B) {
	for _, nodes := range []int{3, 100} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			var founders []kv.NodeInfo
			for i := range nodes {
				founders = append(founders, kv.NodeInfo{ID: kv.NodeID(i + 1), Address: fmt.Sprint("n", i), Nonce: uint64(i + 1)})
			}
			cluster, err := newInitCluster(7, ChooseCore(founders), 3)
			if err != nil {
				b.Fatal(err)
			}
			var placed, applied int64
			for range b.N {
				b.StopTimer()
				sink := &nobody{}
				m := New(Options{Self: 1}, sink)
				m.Lead(1)
				if _, err := m.Apply(1, 1, PackCommands([][]byte{encodeCommand(proposed{command: cluster})})); err != nil {
					b.Fatal(err)
				}
				m.Tick(1, 1)
				b.StartTimer()
				begun := b.Elapsed()
				m.Admin(1, &kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: "k", Scheme: kv.SchemeHash, Partitions: kv.HashPartitionsMax}})
				placed += int64(b.Elapsed() - begun)
				begun = b.Elapsed()
				if _, err := m.Apply(2, 1, PackCommands([][]byte{sink.command})); err != nil {
					b.Fatal(err)
				}
				applied += int64(b.Elapsed() - begun)
				if m.state.partitions.Len() < kv.HashPartitionsMax {
					b.Fatal("it was not made")
				}
			}
			b.ReportMetric(float64(placed)/float64(b.N)/1e6, "place-ms/op")
			b.ReportMetric(float64(applied)/float64(b.N)/1e6, "apply-ms/op")
		})
	}
}

// BenchmarkPlan is a look at a whole cluster in which nothing is to be done, which the leader takes
// once a second.
func BenchmarkPlan(b *testing.B) {
	f := newFakeCluster(b, Options{Self: 1})
	f.found(3, 3, func(int) string { return "" })
	for i := range 3 {
		f.admin(&kv.AdminRequest{CreateKeyspace: &kv.CreateKeyspace{Name: fmt.Sprint("k", i), Scheme: kv.SchemeHash, Partitions: 3333}})
		f.run(2 * time.Second)
	}
	b.ReportAllocs()
	for b.Loop() {
		f.m.plan()
	}
}
