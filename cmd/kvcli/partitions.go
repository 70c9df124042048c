package main

import (
	"context"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

const partitionsLong = `partitions lists the partitions in key order, of one keyspace if --keyspace is given.

closed says for each replica how old a state must be at least that it answers reads at, as with
--stale-by; closed_age is the largest of these. It is empty where nothing is known: a node does not answer,
or the cluster runs with --read-mode=quorum. A partition's leader answers reads of any state.`

func newPartitions(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "partitions",
		Short: "List the partitions in key order, and how far behind their replicas are",
		Long:  partitionsLong,
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withStore(cmd, func(ctx context.Context, s store.Store) error {
				t, err := c.topology(ctx, cmd, s)
				if err != nil {
					return err
				}
				l := c.list()
				ages := askClosed(ctx, s)
				for i := range t.Partitions {
					if err := l.Row(partitionRecord(t, &t.Partitions[i], ages)); err != nil {
						return err
					}
				}
				return c.listed(l)
			})
		},
	}
}

func partitionRecord(t *kv.Topology, p *kv.PartitionInfo, ages closedAges) output.Record {
	d := p.Descriptor
	name, start, end := bounds(t, d)
	oldest, each := ages.of(d)
	return output.Record{
		{Name: "id", Value: uint64(d.Partition)},
		{Name: "keyspace", Value: name},
		{Name: "start", Value: start},
		{Name: "end", Value: end},
		{Name: "leader", Value: uint64(p.Leader)},
		{Name: "term", Value: uint64(p.Term)},
		{Name: "replicas", Value: replicaRecords(d)},
		{Name: "keys", Value: p.Keys},
		{Name: "bytes", Value: p.Bytes},
		{Name: "garbage", Value: p.Garbage}, // old versions
		{Name: "applied", Value: uint64(p.Applied)},
		{Name: "generation", Value: uint64(d.Generation)},
		{Name: "closed_age", Value: oldest},
		{Name: "closed", Value: each},
	}
}

// replicaOn is a replica by its node.
type replicaOn struct {
	partition kv.PartitionID
	node      kv.NodeID
}

// closedAges is how old what is closed is, by replica, as far as nodes have told.
type closedAges map[replicaOn]time.Duration

// closedPatience is how long a node may take to say what is closed there.
const closedPatience = 2 * time.Second

// askClosed asks all nodes that live. Who does not answer is left out: that is no error here.
func askClosed(ctx context.Context, s store.Store) closedAges {
	ctx, cancel := context.WithTimeout(ctx, closedPatience)
	defer cancel()
	st, err := s.Status(ctx)
	if err != nil {
		return nil
	}
	answers := make([]*kv.NodeStatus, len(st.Nodes))
	var asking sync.WaitGroup
	for i := range st.Nodes {
		if n := &st.Nodes[i]; n.Liveness == kv.NodeLive {
			asking.Go(func() {
				if a, err := s.NodeStatus(ctx, n.Info.ID); err == nil {
					answers[i] = a
				}
			})
		}
	}
	asking.Wait()
	return agesOf(answers)
}

// agesOf counts from the newest timestamp that any of the nodes has heard of: one that lags may have heard of
// nothing for long.
func agesOf(answers []*kv.NodeStatus) closedAges {
	newest := kv.Timestamp(0)
	for _, a := range answers {
		if a != nil {
			newest = max(newest, a.Heard)
		}
	}
	ages := closedAges{}
	for _, a := range answers {
		if a == nil {
			continue
		}
		for i := range a.Replicas {
			if r := &a.Replicas[i]; r.Closed != 0 {
				ages[replicaOn{r.Partition, a.Info.ID}] = time.Duration(max(newest.UnixMillis()-r.Closed.UnixMillis(), 0)) * time.Millisecond
			}
		}
	}
	return ages
}

// of is the largest age of a partition's replicas, nil if none is known, and that of each.
func (c closedAges) of(d *kv.Descriptor) (oldest *time.Duration, each []output.Record) {
	for _, r := range d.Replicas {
		var age *time.Duration
		if a, ok := c[replicaOn{d.Partition, r.Node}]; ok {
			age = &a
			if oldest == nil || a > *oldest {
				oldest = age
			}
		}
		each = append(each, output.Record{{Name: "node", Value: uint64(r.Node)}, {Name: "age", Value: age}})
	}
	return oldest, each
}
