package core

import (
	"cmp"
	"slices"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/placement"
)

// ChooseCore sets the Core flag of the founders that shall vote in the system partition: up
// to five, an odd number, spread over failure domains. The result is sorted by id.
func ChooseCore(founders []kv.NodeInfo) []kv.NodeInfo {
	all := sortedNodes(founders)
	chosen := placement.Choose(asCandidates(all), nil, placement.Voters(CoreVotersMax, len(all)))
	for i := range all {
		all[i].Core = slices.Contains(chosen, all[i].ID)
	}
	return all
}

// SystemDescriptor is the first descriptor of the system partition: one voter on each founder
// that has the Core flag. Every founder makes the same, and with it the group.
func SystemDescriptor(founders []kv.NodeInfo) *kv.Descriptor {
	d := &kv.Descriptor{Partition: kv.SystemPartition, Generation: 1, Span: kv.SystemSpan()}
	for _, n := range sortedNodes(founders) {
		if n.Core {
			d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(len(d.Replicas) + 1), Node: n.ID, Role: kv.RoleVoter})
		}
	}
	d.NextReplica = kv.ReplicaID(len(d.Replicas) + 1)
	return d
}

func newInitCluster(clusterID uint64, founders []kv.NodeInfo, replicas int) (*initCluster, error) {
	if replicas < 1 || replicas%2 == 0 || replicas > kv.ReplicasMax {
		return nil, kv.Errorf(kv.Invalid, "a partition needs an odd number of replicas, 1 to %d, not %d", kv.ReplicasMax-1, replicas)
	}
	nodes := sortedNodes(founders)
	c := &initCluster{ClusterID: clusterID, Replicas: replicas, Founders: nodes, System: SystemDescriptor(nodes)}
	c.Default = createKeyspace{
		Name: DefaultKeyspace, Scheme: kv.SchemeRange,
		Placement: placement.Place(asCandidates(nodes), 1, placement.Voters(replicas, len(nodes))),
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

func sortedNodes(nodes []kv.NodeInfo) []kv.NodeInfo {
	all := slices.Clone(nodes)
	slices.SortFunc(all, func(a, b kv.NodeInfo) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func asCandidates(nodes []kv.NodeInfo) []placement.Candidate {
	var all []placement.Candidate
	for _, n := range nodes {
		all = append(all, placement.Candidate{Node: n.ID, Locality: n.Locality})
	}
	return all
}
