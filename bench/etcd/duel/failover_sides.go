package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvd-db/kvd/bench"
	"github.com/kvd-db/kvd/client"
	"github.com/kvd-db/kvd/kv"
)

// spaceProbes is the keyspace of the probers.
const spaceProbes = "probes"

// createMax bounds the making of a keyspace with many partitions.
const createMax = 5 * time.Minute

// etcdProbers is how many keys of etcd's one group are written to: enough to see the gap, and
// few enough to leave it at rest otherwise.
const etcdProbers = 30

// bucketKeys are n keys, the i-th of which lies in the hash partition i of n.
func bucketKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for missing, i := n, 0; missing > 0; i++ {
		k := fmt.Appendf(nil, "probe%d", i)
		if b := kv.Bucket(k, n); keys[b] == nil {
			keys[b] = k
			missing--
		}
	}
	return keys
}

func (s *kvdSide) probes(ctx context.Context, partitions int) (bench.Target, [][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, createMax)
	defer cancel()
	if err := s.client.Admin().CreateKeyspace(ctx, spaceProbes, client.ByHash(partitions)); err != nil {
		return nil, nil, err
	}
	return s.target(spaceProbes), bucketKeys(partitions), nil
}

func (s *kvdSide) opMax() time.Duration { return kv.RequestTimeoutDefault }

func (s *kvdSide) victim(ctx context.Context) (process int, led []bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, openMax)
	defer cancel()
	partitions, err := s.client.In(spaceProbes).Admin().Partitions(ctx)
	if err != nil {
		return 0, nil, err
	}
	count := make([]int, len(s.members))
	leaders := make([]int, len(partitions)) // in key order, which is that of the buckets
	for i, p := range partitions {
		if leaders[i] = s.memberOf(p.Leader); leaders[i] >= 0 {
			count[leaders[i]]++
		}
	}
	for i, n := range count {
		if n > count[process] {
			process = i
		}
	}
	if count[process] == 0 {
		return 0, nil, errors.New("no leader of any partition is known")
	}
	led = make([]bool, len(partitions))
	for i, l := range leaders {
		led[i] = l == process
	}
	return process, led, nil
}

func (s *kvdSide) reborn(process int, ready string) error {
	m, err := parseReady(ready)
	if err != nil {
		return err
	}
	if m.node != s.members[process].node {
		return fmt.Errorf("node %d came back as node %d", s.members[process].node, m.node)
	}
	s.members[process] = m
	return nil
}

// whole compares the applied indexes of the node's replicas with those of the others.
func (s *kvdSide) whole(ctx context.Context, process int) error {
	status, err := s.client.Admin().Status(ctx)
	if err != nil {
		return err
	}
	if len(status.Unhealthy) > 0 {
		return errors.New(status.Unhealthy[0])
	}
	want := map[kv.PartitionID]kv.LogIndex{}
	for i, m := range s.members {
		if i == process {
			continue
		}
		n, err := s.client.Admin().NodeStatus(ctx, m.node)
		if err != nil {
			return err
		}
		for _, r := range n.Replicas {
			want[r.Partition] = max(want[r.Partition], r.Applied)
		}
	}
	n, err := s.client.Admin().NodeStatus(ctx, s.members[process].node)
	if err != nil {
		return err
	}
	for _, r := range n.Replicas {
		if r.Applied < want[r.Partition] {
			return fmt.Errorf("partition %d has applied %d of %d", r.Partition, r.Applied, want[r.Partition])
		}
		delete(want, r.Partition)
	}
	if len(want) > 0 {
		return fmt.Errorf("%d replicas are missing", len(want))
	}
	return nil
}

func (s *etcdSide) probes(context.Context, int) (bench.Target, [][]byte, error) {
	return s.target(""), bucketKeys(etcdProbers), nil
}

func (s *etcdSide) opMax() time.Duration { return 200 * time.Millisecond }

func (s *etcdSide) victim(ctx context.Context) (process int, led []bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, openMax)
	defer cancel()
	led = make([]bool, etcdProbers)
	for i := range led {
		led[i] = true
	}
	process, err = s.leaderIndex(ctx)
	return process, led, err
}

func (s *etcdSide) reborn(int, string) error { return nil }

func (s *etcdSide) whole(ctx context.Context, process int) error {
	leader, err := s.leaderIndex(ctx)
	if err != nil {
		return err
	}
	want, err := s.client.Status(ctx, s.endpoints[leader])
	if err != nil {
		return err
	}
	got, err := s.client.Status(ctx, s.endpoints[process])
	if err != nil {
		return err
	}
	if got.RaftAppliedIndex < want.RaftAppliedIndex {
		return fmt.Errorf("it has applied %d of %d", got.RaftAppliedIndex, want.RaftAppliedIndex)
	}
	return nil
}
