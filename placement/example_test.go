package placement_test

import (
	"fmt"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/placement"
)

func ExampleMap() {
	m := placement.NewMap()
	cut := kv.MakeKey(1, []byte("m"))
	whole := kv.Keyspace{ID: 1}.Span()
	m.Insert(&kv.Descriptor{Partition: 2, Generation: 1, Span: whole})
	m.Insert(&kv.Descriptor{Partition: 3, Generation: 2, Span: kv.Span{Start: cut, End: whole.End}})
	m.Insert(&kv.Descriptor{Partition: 2, Generation: 2, Span: kv.Span{Start: whole.Start, End: cut}})
	m.Insert(&kv.Descriptor{Partition: 2, Generation: 1, Span: whole}) // old news

	d, _ := m.Lookup(kv.MakeKey(1, []byte("apple")))
	e, _ := m.Lookup(kv.MakeKey(1, []byte("pear")))
	fmt.Println(d.Partition, e.Partition)
	// Output: 2 3
}

func ExampleChoose() {
	nodes := []placement.Candidate{
		{Node: 1, Locality: "region=eu,zone=a", Replicas: 10},
		{Node: 2, Locality: "region=eu,zone=a", Replicas: 3},
		{Node: 3, Locality: "region=eu,zone=b", Replicas: 12},
		{Node: 4, Locality: "region=us,zone=c", Replicas: 40},
	}
	fmt.Println(placement.Choose(nodes, nil, 3))
	fmt.Println(placement.Choose(nodes, []kv.NodeID{1, 3}, 1))
	// Output:
	// [2 4 3]
	// [4]
}

func ExamplePlan() {
	live := func(n kv.NodeID) placement.Node {
		return placement.Node{Candidate: placement.Candidate{Node: n}, Liveness: kv.NodeLive}
	}
	dead := live(3)
	dead.Liveness = kv.NodeDead
	d := &kv.Descriptor{Partition: 7, Generation: 1, NextReplica: 4}
	for i := range kv.NodeID(3) {
		d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(i + 1), Node: i + 1, Role: kv.RoleVoter})
	}
	for _, o := range placement.Plan(&placement.View{
		Nodes:      []placement.Node{live(1), live(2), dead, live(4)},
		Partitions: []placement.Partition{{Descriptor: d, Leader: 1, Want: 3}},
		RepairsMax: 4,
	}) {
		fmt.Println(o)
	}
	// Output: replace replica of partition 7 on node 3 by one on node 4: replica 3 is on node 3, which is dead
}
