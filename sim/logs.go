package sim

import (
	"github.com/cespare/xxhash/v2"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
)

// logs is what all nodes have written to their logs: two entries of one index and one term are one entry
// (the log matching property), so that replicas that have applied the same index are equal.
type logs map[kv.PartitionID]map[logPoint]uint64

// logPoint is a place in a group's log.
type logPoint struct {
	index kv.LogIndex
	term  kv.Term
}

func (l logs) match(w *World, p *process, a *replication.Append) {
	group := l[a.Partition()]
	if group == nil {
		group = map[logPoint]uint64{}
		l[a.Partition()] = group
	}
	for _, e := range a.Log.Entries {
		at, sum := logPoint{e.Index, e.Term}, xxhash.Sum64(e.Data)+uint64(e.Type)
		if was, ok := group[at]; ok && was != sum {
			w.violate("log matching", "", "partition %d has two entries at index %d in term %d, one of them on node %d", a.Partition(), e.Index, e.Term, p.m.id)
		}
		group[at] = sum
	}
}
