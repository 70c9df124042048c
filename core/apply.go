package core

import (
	"bytes"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

func (c *initCluster) apply(s *state) result {
	if s.cluster != nil {
		return result{err: kv.Errorf(kv.Exists, "the cluster is initialized already, under the id %x", s.cluster.ID)}
	}
	if err := c.check(); err != nil {
		return result{err: err}
	}
	s.putCluster(&clusterRecord{ID: c.ClusterID, Replicas: c.Replicas, Voters: len(c.System.Replicas)})
	ids := idsRecord{Node: 1, Keyspace: 1, Partition: kv.SystemPartition + 1}
	for _, n := range c.Founders {
		_, n.Core = c.System.ReplicaOn(n.ID)
		n.Replaced = false
		s.putNode(n)
		ids.Node = max(ids.Node, n.ID+1)
	}
	s.putIDs(ids)
	s.putPartition(c.System)
	return c.Default.apply(s)
}

func (c *initCluster) check() *kv.Error {
	if len(c.Founders) == 0 {
		return kv.Errorf(kv.Invalid, "a cluster needs at least one founding node")
	}
	for i, n := range c.Founders {
		if n.ID == 0 || i > 0 && c.Founders[i-1].ID >= n.ID {
			return kv.Errorf(kv.Invalid, "founding nodes need ids, from 1, ascending")
		}
	}
	if err := c.System.Validate(); err != nil {
		return kv.AsError(err)
	}
	if c.System.Partition != kv.SystemPartition {
		return kv.Errorf(kv.Invalid, "the system partition has the id %d, not %d", kv.SystemPartition, c.System.Partition)
	}
	return c.Default.check()
}

// apply knows a node by its nonce. An unknown nonce at a known address is a wiped node: it
// gets a new id, and the old one will not return. An entry without nonce is that of a founder who was
// not asked for it: the first to come from its address is the one.
func (c *join) apply(s *state) result {
	if s.cluster == nil {
		return result{err: notInitialized()}
	}
	var same, sameAddress *kv.NodeInfo
	s.nodes.Ascend(func(n kv.NodeInfo) bool {
		if n.Nonce == c.Nonce {
			same = &n
		} else if n.Address == c.Address && !n.Replaced {
			sameAddress = &n
		}
		return true
	})
	if same == nil && sameAddress != nil && sameAddress.Nonce == 0 {
		same = sameAddress
	}
	switch {
	case same != nil && same.Replaced:
		return result{err: kv.Errorf(kv.Denied,
			"node %d was replaced by another at its address and may not come back: remove its data directory, it then joins as a new node", same.ID)}
	case same != nil:
		news := *same
		news.Address, news.Locality, news.Nonce = c.Address, c.Locality, c.Nonce
		if news != *same {
			s.putNode(news)
		}
		return result{node: same.ID}
	}
	if s.nodes.Len() >= NodesMax {
		return result{err: kv.LimitError("the number of nodes ever registered", NodesMax, int64(s.nodes.Len())+1, "this cluster takes no further node")}
	}
	ids := s.ids
	id := ids.Node
	ids.Node++
	s.putIDs(ids)
	if sameAddress != nil {
		sameAddress.Replaced = true
		s.putNode(*sameAddress)
		s.putReplaced(sameAddress.ID, s.bound)
	}
	s.putNode(kv.NodeInfo{ID: id, Address: c.Address, Locality: c.Locality, Nonce: c.Nonce})
	return result{node: id}
}

func notInitialized() *kv.Error {
	return kv.Errorf(kv.Unavailable, "the cluster is not initialized yet")
}

func (c *createKeyspace) apply(s *state) result {
	if s.cluster == nil {
		return result{err: notInitialized()}
	}
	if err := c.check(); err != nil {
		return result{err: err}
	}
	if err := s.mayCreate(c.Name, len(c.Placement)); err != nil {
		return result{err: err}
	}
	ids := s.ids
	k := keyspaceRecord{Phase: phaseCreating}
	k.Keyspace = kv.Keyspace{ID: ids.Keyspace, Name: c.Name, Scheme: c.Scheme, Partitions: len(c.Placement), Retention: c.Retention}
	first := ids.Partition
	ids.Keyspace++
	ids.Partition += kv.PartitionID(len(c.Placement))
	s.putIDs(ids)
	s.putKeyspace(k)
	res := result{keyspace: k.ID}
	for i, span := range spans(k.Keyspace, c.SplitAt) {
		d := &kv.Descriptor{Partition: first + kv.PartitionID(i), Keyspace: k.ID, Span: span, Generation: 1}
		for j, n := range c.Placement[i] {
			d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(j + 1), Node: n, Role: kv.RoleVoter})
		}
		d.NextReplica = kv.ReplicaID(len(d.Replicas) + 1)
		s.putPartition(d)
		res.touched = append(res.touched, d.Partition)
	}
	return res
}

// mayCreate checks what depends on the state.
func (s *state) mayCreate(name string, partitions int) *kv.Error {
	if _, taken := s.names[name]; taken {
		return kv.Errorf(kv.Exists, "keyspace %q exists", name)
	}
	if s.keyspaces.Len() >= KeyspacesMax {
		return kv.LimitError("the number of keyspaces", KeyspacesMax, int64(s.keyspaces.Len())+1, "drop one first")
	}
	if n := s.partitions.Len() + partitions; n > PartitionsMax {
		return kv.LimitError("the number of partitions of the cluster", PartitionsMax, int64(n), "create the keyspace with fewer partitions")
	}
	return nil
}

// check does not depend on the state.
func (c *createKeyspace) check() *kv.Error {
	if err := checkName(c.Name); err != nil {
		return err
	}
	n := len(c.Placement)
	switch {
	case n == 0:
		return kv.Errorf(kv.Invalid, "keyspace %q needs at least one partition", c.Name)
	case n > kv.HashPartitionsMax:
		return kv.LimitError("the number of partitions of a keyspace", kv.HashPartitionsMax, int64(n), "create it with fewer")
	case c.Scheme == kv.SchemeHash && len(c.SplitAt) != 0:
		return kv.Errorf(kv.Invalid, "keyspace %q is of scheme hash, which has no split keys", c.Name)
	case c.Scheme == kv.SchemeRange && len(c.SplitAt) != n-1:
		return kv.Errorf(kv.Invalid, "keyspace %q has %d split keys, so it needs %d partitions, not %d", c.Name, len(c.SplitAt), len(c.SplitAt)+1, n)
	case c.Scheme != kv.SchemeHash && c.Scheme != kv.SchemeRange:
		return kv.Errorf(kv.Invalid, "keyspace %q is of the unknown scheme %d", c.Name, c.Scheme)
	}
	for _, nodes := range c.Placement {
		if err := checkNodes(nodes); err != nil {
			return err
		}
	}
	if err := kv.CheckRetention(c.Retention); err != nil {
		return err
	}
	return checkSplitAt(c.SplitAt)
}

func checkNodes(nodes []kv.NodeID) *kv.Error {
	sorted := slices.Clone(nodes)
	slices.Sort(sorted)
	if len(nodes) == 0 || len(nodes) > kv.ReplicasMax || sorted[0] == 0 || len(slices.Compact(sorted)) != len(nodes) {
		return kv.Errorf(kv.Invalid, "a partition needs 1 to %d different nodes, not %v", kv.ReplicasMax, nodes)
	}
	return nil
}

func checkSplitAt(keys [][]byte) *kv.Error {
	total := 0
	for i, k := range keys {
		switch {
		case len(k) == 0:
			return kv.Errorf(kv.Invalid, "split key %d is empty: the first partition begins there anyway", i)
		case len(k) > kv.KeyBytesMax:
			return kv.LimitError("the length of a split key", kv.KeyBytesMax, int64(len(k)), "cut it at a shorter key")
		case i > 0 && bytes.Compare(keys[i-1], k) >= 0:
			return kv.Errorf(kv.Invalid, "split keys must ascend strictly: %q comes after %q", k, keys[i-1])
		}
		total += len(k)
	}
	if total > SplitAtBytesMax {
		return kv.LimitError("the length of all split keys", SplitAtBytesMax, int64(total), "use shorter or fewer ones")
	}
	return nil
}

// checkName: letters, digits, '.', '_' and '-', the first one a letter or a digit.
func checkName(name string) *kv.Error {
	if len(name) > kv.KeyspaceNameBytesMax {
		return kv.LimitError("the length of a keyspace name", kv.KeyspaceNameBytesMax, int64(len(name)), "choose a shorter one")
	}
	for i := range len(name) {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return kv.Errorf(kv.Invalid, "keyspace name %q: a name is made of letters, digits, '.', '_' and '-', and begins with a letter or a digit", name)
		}
	}
	if name == "" || name == SystemName {
		return kv.Errorf(kv.Invalid, "a keyspace cannot be called %q: choose another name", name)
	}
	return nil
}

// spans cuts a keyspace; together they are its whole span.
func spans(k kv.Keyspace, splitAt [][]byte) []kv.Span {
	all := make([]kv.Span, k.Partitions)
	whole := k.Span()
	for i := range all {
		all[i] = whole
		if i == 0 {
			continue
		}
		cut := kv.MakeHashKey(k.ID, uint16(i), nil)
		if k.Scheme == kv.SchemeRange {
			cut = kv.MakeKey(k.ID, splitAt[i-1])
		}
		all[i-1].End, all[i].Start = cut, cut
	}
	return all
}

func (c *dropKeyspace) apply(s *state) result {
	k, ok := s.keyspace(c.Keyspace)
	if !ok || k.Phase == phaseDropping {
		return result{err: kv.Errorf(kv.NotFound, "keyspace %d does not exist", c.Keyspace)}
	}
	k.Phase = phaseDropping
	s.putKeyspace(k)
	return result{keyspace: k.ID, touched: s.idsOf(k.Keyspace)}
}

func (s *state) idsOf(k kv.Keyspace) []kv.PartitionID {
	var all []kv.PartitionID
	s.partitionsOf(k, func(d *kv.Descriptor) bool {
		all = append(all, d.Partition)
		return true
	})
	return all
}

func (c *keyspaceReady) apply(s *state) result {
	k, ok := s.keyspace(c.Keyspace)
	if !ok || k.Phase != phaseCreating {
		return result{}
	}
	k.Phase = phaseReady
	s.putKeyspace(k)
	return result{keyspace: k.ID}
}

func (c *forgetKeyspace) apply(s *state) result {
	k, ok := s.keyspace(c.Keyspace)
	if !ok || k.Phase != phaseDropping {
		return result{}
	}
	res := result{keyspace: k.ID, touched: s.idsOf(k.Keyspace)}
	for _, id := range res.touched {
		d, _ := s.partition(id)
		s.deletePartition(d)
	}
	s.deleteKeyspace(k)
	return res
}

// apply takes the descriptor only if it is newer than the one of the partition's record.
func (c *putDescriptor) apply(s *state) result {
	d := c.Descriptor
	if err := d.Validate(); err != nil {
		return result{err: kv.AsError(err)}
	}
	old, ok := s.partition(d.Partition)
	if !ok || old.Keyspace != d.Keyspace {
		return result{err: kv.Errorf(kv.NotFound, "partition %d of keyspace %d is not known", d.Partition, d.Keyspace)}
	}
	if old.Generation >= d.Generation {
		return result{}
	}
	s.putPartition(d)
	if d.Partition == kv.SystemPartition {
		s.markCore(d)
	}
	return result{touched: []kv.PartitionID{d.Partition}}
}

// markCore keeps NodeInfo.Core true to the system partition's descriptor.
func (s *state) markCore(system *kv.Descriptor) {
	var changed []kv.NodeInfo
	s.nodes.Ascend(func(n kv.NodeInfo) bool {
		r, ok := system.ReplicaOn(n.ID)
		if core := ok && r.Role == kv.RoleVoter; core != n.Core {
			n.Core = core
			changed = append(changed, n)
		}
		return true
	})
	for _, n := range changed {
		s.putNode(n)
	}
}

func (c *extendBound) apply(s *state) result {
	if c.Bound > s.bound && s.cluster != nil {
		s.putBound(c.Bound)
	}
	return result{}
}
