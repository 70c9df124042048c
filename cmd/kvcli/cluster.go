package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

func newStatus(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "The health of the cluster",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withStore(cmd, func(ctx context.Context, s store.Store) error {
				st, err := s.Status(ctx)
				if err != nil {
					return err
				}
				return c.one(statusRecord(st), "")
			})
		},
	}
}

func statusRecord(st *kv.Status) output.Record {
	count := map[kv.Liveness]int{}
	for _, n := range st.Nodes {
		count[n.Liveness]++
	}
	p := st.Partitions
	return output.Record{
		{Name: "cluster_id", Value: strconv.FormatUint(st.ClusterID, 10)}, // text: it may not fit a number of JSON
		{Name: "healthy", Value: len(st.Unhealthy) == 0},
		{Name: "nodes", Value: output.Record{
			{Name: "live", Value: count[kv.NodeLive]},
			{Name: "suspected", Value: count[kv.NodeSuspected]},
			{Name: "dead", Value: count[kv.NodeDead]},
			{Name: "replaced", Value: count[kv.NodeReplaced]},
		}},
		{Name: "partitions", Value: output.Record{
			{Name: "total", Value: p.Total},
			{Name: "under_replicated", Value: p.UnderReplicated},
			{Name: "unavailable", Value: p.Unavailable},
			{Name: "unknown", Value: p.Unknown},
		}},
		{Name: "core_leader", Value: uint64(st.CoreLeader)},
		{Name: "held", Value: heldText(st.Held)},            // the oldest that open snapshots keep from being collected
		{Name: "held_until", Value: heldText(st.HeldUntil)}, // if nobody renews it
		{Name: "unhealthy", Value: st.Unhealthy},
	}
}

// heldText is a timestamp as data, nothing for none.
func heldText(t kv.Timestamp) any {
	if t == 0 {
		return nil
	}
	return t
}

func newNodes(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withStore(cmd, func(ctx context.Context, s store.Store) error {
				st, err := s.Status(ctx)
				if err != nil {
					return err
				}
				l := c.list()
				for _, n := range st.Nodes {
					if err := l.Row(nodeRecord(n)); err != nil {
						return err
					}
				}
				return c.listed(l)
			})
		},
	}
}

func nodeRecord(n kv.NodeReport) output.Record {
	return output.Record{
		{Name: "id", Value: uint64(n.Info.ID)},
		{Name: "address", Value: n.Info.Address},
		{Name: "liveness", Value: n.Liveness.String()},
		{Name: "last_heard", Value: n.LastHeard},
		{Name: "leaders", Value: n.Leaders},
		{Name: "replicas", Value: n.Replicas},
		{Name: "bytes", Value: n.Bytes},
		{Name: "core", Value: n.Info.Core},
		{Name: "replaced", Value: n.Info.Replaced},
		{Name: "locality", Value: n.Info.Locality},
	}
}

// topology is the map of one keyspace if --keyspace was given, else of all of them.
func (c *call) topology(ctx context.Context, cmd *cobra.Command, s store.Store) (*kv.Topology, error) {
	name := ""
	if cmd.Flags().Changed("keyspace") {
		name = c.globals.keyspace
	}
	t, err := s.Topology(ctx, name)
	if err == nil && name != "" && len(t.Keyspaces) == 0 {
		err = kv.Errorf(kv.NotFound, "keyspace %q does not exist; kvcli keyspace list shows those that do", name)
	}
	return t, err
}

func replicaRecords(d *kv.Descriptor) []output.Record {
	out := make([]output.Record, len(d.Replicas))
	for i, r := range d.Replicas {
		role := "voter"
		if r.Role == kv.RoleLearner {
			role = "learner"
		}
		out[i] = output.Record{{Name: "node", Value: uint64(r.Node)}, {Name: "role", Value: role}}
	}
	return out
}

// bounds are a partition's bounds as its keyspace's users know them. Where one is the
// keyspace's own end it is empty; the parts of a hash keyspace are numbered.
func bounds(t *kv.Topology, d *kv.Descriptor) (name string, start, end any) {
	for _, k := range t.Keyspaces {
		if k.ID != d.Keyspace {
			continue
		}
		if k.Scheme == kv.SchemeHash {
			return k.Name, bucketOf(d.Span.Start), nil
		}
		if k.Span().Contains(d.Span.End) {
			end = output.Bytes(k.UserKey(d.Span.End))
		}
		return k.Name, output.Bytes(k.UserKey(d.Span.Start)), end
	}
	return "(system)", output.Bytes(d.Span.Start), output.Bytes(d.Span.End)
}

// bucketOf names the part of a hash keyspace that begins at a full key.
func bucketOf(start kv.Key) string {
	if len(start) < kv.KeyspacePrefixBytes+kv.BucketBytes {
		return "bucket 0"
	}
	b := start[kv.KeyspacePrefixBytes:]
	return fmt.Sprintf("bucket %d", int(b[0])<<8|int(b[1]))
}

func newLocate(c *call) *cobra.Command {
	return &cobra.Command{
		Use:               "locate KEY",
		Short:             "Tell which partition and nodes hold a key",
		Args:              exactly("KEY"),
		ValidArgsFunction: c.completeKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			words, err := c.parse(args...)
			if err != nil {
				return err
			}
			return c.withStore(cmd, func(ctx context.Context, s store.Store) error {
				rec, err := c.locate(ctx, s, words[0])
				if err != nil {
					return err
				}
				return c.one(rec, "partition")
			})
		},
	}
}

func (c *call) locate(ctx context.Context, s store.Store, key []byte) (output.Record, error) {
	name := c.globals.keyspace
	if name == "" {
		name = "default"
	}
	t, err := s.Topology(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, k := range t.Keyspaces {
		if k.Name != name {
			continue
		}
		full := k.FullKey(key)
		for _, p := range t.Partitions {
			if p.Descriptor.Keyspace == k.ID && p.Descriptor.Span.Contains(full) {
				return locatedRecord(t, key, k.Name, &p), nil
			}
		}
		return nil, kv.Errorf(kv.Unavailable, "no partition of keyspace %q is known that holds the key", name)
	}
	return nil, kv.Errorf(kv.NotFound, "keyspace %q does not exist; kvcli keyspace list shows those that do", name)
}

func locatedRecord(t *kv.Topology, key []byte, keyspace string, p *kv.PartitionInfo) output.Record {
	addresses := map[kv.NodeID]string{}
	for _, n := range t.Nodes {
		addresses[n.ID] = n.Address
	}
	replicas := replicaRecords(p.Descriptor)
	for i, r := range p.Descriptor.Replicas {
		replicas[i] = append(replicas[i], output.Field{Name: "address", Value: addresses[r.Node]})
	}
	return output.Record{
		{Name: "key", Value: output.Bytes(key)},
		{Name: "keyspace", Value: keyspace},
		{Name: "partition", Value: uint64(p.Descriptor.Partition)},
		{Name: "leader", Value: uint64(p.Leader)},
		{Name: "leader_address", Value: addresses[p.Leader]},
		{Name: "term", Value: uint64(p.Term)},
		{Name: "generation", Value: uint64(p.Descriptor.Generation)},
		{Name: "replicas", Value: replicas},
	}
}

func newCheck(c *call) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Compare all replicas of all partitions; a difference is exit code 1",
		Long: `check has every partition's replicas sum up all their versions at one applied index and
compares the sums, of one keyspace if --keyspace is given. The first difference is named,
with exit code 1. A replica that does not answer is no difference, but exit code 5.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, touch, cancel := c.idle(cmd.Context())
			defer cancel()
			s, err := c.store(ctx)
			if err == nil {
				err = c.check(ctx, cmd, s, touch)
			}
			return cause(ctx, err)
		},
	}
}

func (c *call) check(ctx context.Context, cmd *cobra.Command, s store.Store, touch func()) error {
	t, err := c.topology(ctx, cmd, s)
	if err != nil {
		return err
	}
	l := c.list()
	var differs, missing error
	for _, p := range t.Partitions {
		if p.Descriptor.Partition == kv.SystemPartition {
			continue // the cluster's core keeps no versions that could be compared
		}
		touch()
		a, err := s.Check(ctx, p.Descriptor.Partition)
		if err != nil {
			return errors.Join(l.Close(), fmt.Errorf("partition %d: %w", p.Descriptor.Partition, err))
		}
		if err := l.Row(checkRecord(a)); err != nil {
			return err
		}
		d, m := judge(a)
		if differs == nil {
			differs = d
		}
		if missing == nil {
			missing = m
		}
	}
	if err := c.listed(l); err != nil {
		return err
	}
	if differs != nil {
		return differs
	}
	return missing
}

func checkRecord(a *kv.CheckAnswer) output.Record {
	replicas := make([]output.Record, len(a.Digests))
	for i, d := range a.Digests {
		hash := fmt.Sprintf("%016x", d.Hash)
		if d.Missing {
			hash = "missing"
		}
		replicas[i] = output.Record{{Name: "node", Value: uint64(d.Node)}, {Name: "hash", Value: hash}}
	}
	rec := output.Record{{Name: "partition", Value: uint64(a.Partition)}, {Name: "index", Value: uint64(a.Index)}, {Name: "equal", Value: a.Equal}}
	keys, versions := int64(0), int64(0)
	for _, d := range a.Digests {
		keys, versions = max(keys, d.Keys), max(versions, d.Versions)
	}
	return append(rec, output.Field{Name: "keys", Value: keys}, output.Field{Name: "versions", Value: versions}, output.Field{Name: "replicas", Value: replicas})
}

// judge says how replicas differ, and which of them did not answer.
func judge(a *kv.CheckAnswer) (differs, missing error) {
	var first *kv.ReplicaDigest
	for i := range a.Digests {
		d := &a.Digests[i]
		switch {
		case d.Missing:
			if missing == nil {
				missing = kv.Errorf(kv.Unavailable, "partition %d: node %d did not answer, so its replica was not compared", a.Partition, d.Node)
			}
		case first == nil:
			first = d
		case *d != (kv.ReplicaDigest{Node: d.Node, Hash: first.Hash, Keys: first.Keys, Versions: first.Versions}):
			return kv.Errorf(kv.Corruption, "partition %d differs at index %d: node %d has %d keys, %d versions, sum %016x; node %d has %d keys, %d versions, sum %016x",
				a.Partition, a.Index, first.Node, first.Keys, first.Versions, first.Hash, d.Node, d.Keys, d.Versions, d.Hash), missing
		}
	}
	if !a.Equal && missing == nil {
		return kv.Errorf(kv.Corruption, "partition %d: its leader says that its replicas differ at index %d", a.Partition, a.Index), nil
	}
	return nil, missing
}

func newMoveLeader(c *call) *cobra.Command {
	var to uint64
	cmd := &cobra.Command{
		Use:   "move-leader PARTITION [NODE]",
		Short: "Hand the leadership of a partition over",
		Args:  between(1, "PARTITION", "[NODE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || p == 0 {
				return usage("%q is no number of a partition; kvcli partitions lists them", args[0])
			}
			if len(args) > 1 {
				if to, err = strconv.ParseUint(args[1], 10, 64); err != nil || cmd.Flags().Changed("to") {
					return usage("%q is no number of a node, or --to names one as well; kvcli nodes lists them", args[1])
				}
			}
			return c.withStore(cmd, func(ctx context.Context, s store.Store) error {
				if err := s.MoveLeader(ctx, kv.PartitionID(p), kv.NodeID(to)); err != nil {
					return err
				}
				return c.one(output.Record{{Name: "partition", Value: p}, {Name: "to", Value: to}}, "partition")
			})
		},
	}
	cmd.Flags().Uint64Var(&to, "to", 0, "`NODE` that is to lead; 0: any other one")
	return cmd
}
