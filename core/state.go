package core

import (
	"bytes"
	"cmp"

	"github.com/google/btree"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// state is the applied state: what the log says, and nothing else. All changes go through
// the put and delete methods, which write the system keys.
type state struct {
	cluster    *clusterRecord // nil: not initialized
	nodes      *btree.BTreeG[kv.NodeInfo]
	keyspaces  *btree.BTreeG[keyspaceRecord]
	partitions *btree.BTreeG[*kv.Descriptor] // by id
	bySpan     *btree.BTreeG[*kv.Descriptor] // by span start, then id; without the system partition
	names      map[string]kv.KeyspaceID      // of keyspaces that are not being dropped
	replaced   map[kv.NodeID]kv.Timestamp    // when each node was that is Replaced and not forgotten: the bound at that time
	ids        idsRecord
	bound      kv.Timestamp // the oracle's: no leader granted at or above it
	revision   kv.Revision

	out []Write // of the entry being applied
}

// Write is one change of a system key.
type Write struct {
	Key   string
	Value []byte // nil = delete
}

// clusterRecord is written once, but for Voters, which grows.
type clusterRecord struct {
	ID       uint64
	Replicas int // wanted voters of a data partition, odd
	Voters   int // wanted voters of the system partition
}

// idsRecord holds the next ids. Invariant: none of them, nor a larger one, was ever given.
type idsRecord struct {
	Node      kv.NodeID
	Keyspace  kv.KeyspaceID
	Partition kv.PartitionID
}

// phase of a keyspace. Numbers are durable.
type phase uint8

const (
	phaseCreating phase = 1 // some first replicas may not exist yet
	phaseReady    phase = 2
	phaseDropping phase = 3 // its name is free again, its replicas go
)

type keyspaceRecord struct {
	kv.Keyspace
	Phase phase
}

const treeDegree = 32

func newState() *state {
	return &state{
		nodes:      btree.NewG(treeDegree, func(a, b kv.NodeInfo) bool { return a.ID < b.ID }),
		keyspaces:  btree.NewG(treeDegree, func(a, b keyspaceRecord) bool { return a.ID < b.ID }),
		partitions: btree.NewG(treeDegree, func(a, b *kv.Descriptor) bool { return a.Partition < b.Partition }),
		bySpan:     btree.NewG(treeDegree, spanLess),
		names:      map[string]kv.KeyspaceID{},
		replaced:   map[kv.NodeID]kv.Timestamp{},
		ids:        idsRecord{Node: 1, Keyspace: 1, Partition: kv.SystemPartition},
	}
}

func spanLess(a, b *kv.Descriptor) bool {
	return cmp.Or(bytes.Compare(a.Span.Start, b.Span.Start), cmp.Compare(a.Partition, b.Partition)) < 0
}

func (s *state) node(id kv.NodeID) (kv.NodeInfo, bool) { return s.nodes.Get(kv.NodeInfo{ID: id}) }

func (s *state) partition(id kv.PartitionID) (*kv.Descriptor, bool) {
	return s.partitions.Get(&kv.Descriptor{Partition: id})
}

func (s *state) keyspace(id kv.KeyspaceID) (keyspaceRecord, bool) {
	return s.keyspaces.Get(keyspaceRecord{Keyspace: kv.Keyspace{ID: id}})
}

// phase is that of the partition's keyspace; the system partition is always ready.
func (s *state) phase(d *kv.Descriptor) phase {
	if d.Partition == kv.SystemPartition {
		return phaseReady
	}
	k, ok := s.keyspace(d.Keyspace)
	invariant.Check(ok, "partition %d belongs to a keyspace, but %d has no record", d.Partition, d.Keyspace)
	return k.Phase
}

// partitionsOf visits the partitions of a keyspace in key order.
func (s *state) partitionsOf(k kv.Keyspace, visit func(*kv.Descriptor) bool) {
	from := &kv.Descriptor{Span: kv.Span{Start: k.Span().Start}}
	s.bySpan.AscendGreaterOrEqual(from, func(d *kv.Descriptor) bool {
		return d.Keyspace == k.ID && visit(d)
	})
}

func (s *state) put(key string, value []byte) { s.out = append(s.out, Write{Key: key, Value: value}) }
func (s *state) del(key string)               { s.out = append(s.out, Write{Key: key}) }

func (s *state) putCluster(c *clusterRecord) {
	s.cluster = c
	s.put(keyCluster, appendCluster(nil, c))
}

func (s *state) putNode(n kv.NodeInfo) {
	s.nodes.ReplaceOrInsert(n)
	s.put(nodeKey(n.ID), kv.AppendNodeInfo(nil, n))
}

func (s *state) putReplaced(n kv.NodeID, at kv.Timestamp) {
	s.replaced[n] = at
	s.put(replacedKey(n), appendNumber(nil, uint64(at)))
}

// deleteNode forgets a node that was replaced.
func (s *state) deleteNode(n kv.NodeInfo) {
	s.nodes.Delete(n)
	s.del(nodeKey(n.ID))
	if _, had := s.replaced[n.ID]; had {
		delete(s.replaced, n.ID)
		s.del(replacedKey(n.ID))
	}
}

func (s *state) putKeyspace(k keyspaceRecord) {
	s.keyspaces.ReplaceOrInsert(k)
	if k.Phase != phaseDropping {
		s.names[k.Name] = k.ID
	} else if s.names[k.Name] == k.ID {
		delete(s.names, k.Name)
	}
	s.put(keyspaceKey(k.ID), appendKeyspaceRecord(nil, k))
}

func (s *state) deleteKeyspace(k keyspaceRecord) {
	s.keyspaces.Delete(k)
	s.del(keyspaceKey(k.ID))
}

// putPartition keeps d itself: it must not be changed afterwards.
func (s *state) putPartition(d *kv.Descriptor) {
	s.indexPartition(d)
	s.put(partitionKey(d.Partition), kv.AppendDescriptor(nil, d))
}

func (s *state) indexPartition(d *kv.Descriptor) {
	if old, had := s.partitions.ReplaceOrInsert(d); had && d.Partition != kv.SystemPartition {
		s.bySpan.Delete(old)
	}
	if d.Partition != kv.SystemPartition {
		s.bySpan.ReplaceOrInsert(d)
	}
}

func (s *state) deletePartition(d *kv.Descriptor) {
	s.partitions.Delete(d)
	s.bySpan.Delete(d)
	s.del(partitionKey(d.Partition))
}

func (s *state) putIDs(ids idsRecord) {
	invariant.Check(ids.Node >= s.ids.Node && ids.Keyspace >= s.ids.Keyspace && ids.Partition >= s.ids.Partition,
		"ids are never given twice: %v after %v", ids, s.ids)
	s.ids = ids
	s.put(keyIDs, appendIDs(nil, ids))
}

func (s *state) putBound(t kv.Timestamp) {
	s.bound = t
	s.put(keyBound, appendNumber(nil, uint64(t)))
}
