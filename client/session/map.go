package session

import (
	"bytes"
	"cmp"
	"slices"
	"sort"

	"github.com/kvd-db/kvd/kv"
)

// Map is what a client believes about where keys live: partitions by key, their leaders
// and terms, keyspaces by name, nodes by id. All of it may be old; answers correct it.
type Map struct {
	cluster   uint64
	places    []*Place // sorted by Span.Start. Invariant: no two overlap
	byID      map[kv.PartitionID]*Place
	keyspaces map[string]kv.Keyspace
	nodes     []kv.NodeInfo // sorted by ID
	core      kv.NodeID     // that leads the core; 0 = not known
	coreDoubt bool          // a partition has left that node since CoreDoubted was asked
}

// Place is one partition as the map knows it.
type Place struct {
	Descriptor *kv.Descriptor // read only
	Leader     kv.NodeID      // 0 = not known
	Term       kv.Term        // the newest one that a leader of the partition was heard to have; 0 = none
	led        kv.NodeID      // the newest leader that was known
}

func newMap() Map {
	return Map{byID: map[kv.PartitionID]*Place{}, keyspaces: map[string]kv.Keyspace{}}
}

// Find is the partition of a full key; with before, the one of the keys just below it
// (an empty key means the end of all keys).
func (m *Map) Find(key kv.Key, before bool) (*Place, bool) {
	i := len(m.places)
	if !before || len(key) > 0 {
		i = sort.Search(len(m.places), func(i int) bool {
			c := bytes.Compare(m.places[i].Descriptor.Span.Start, key)
			return c > 0 || before && c == 0
		})
	}
	if i == 0 {
		return nil, false
	}
	p := m.places[i-1]
	end := p.Descriptor.Span.End
	switch {
	case len(end) == 0 || before && len(key) > 0 && bytes.Compare(key, end) <= 0:
		return p, true
	case before:
		return nil, false
	}
	return p, bytes.Compare(key, end) < 0
}

// Partition is the place of a partition.
func (m *Map) Partition(id kv.PartitionID) (*Place, bool) {
	p, ok := m.byID[id]
	return p, ok
}

// Overlapping is the places that have keys of a span, in key order.
func (m *Map) Overlapping(s kv.Span) []*Place {
	var found []*Place
	for _, p := range m.places {
		if p.Descriptor.Span.Overlaps(s) {
			found = append(found, p)
		}
	}
	return found
}

// Keyspace is the keyspace of a name.
func (m *Map) Keyspace(name string) (kv.Keyspace, bool) {
	k, ok := m.keyspaces[name]
	return k, ok
}

// KeyspaceName is the name of the keyspace that a full key belongs to; "" if not known.
func (m *Map) KeyspaceName(key kv.Key) string {
	id, name := key.Keyspace(), ""
	for n, k := range m.keyspaces { // at most one has the id, so the order does not matter
		if k.ID == id {
			name = n
		}
	}
	return name
}

// Nodes is the registry, sorted by id. Read only.
func (m *Map) Nodes() []kv.NodeInfo { return m.nodes }

// Cluster is the cluster's id; 0 = not known yet.
func (m *Map) Cluster() uint64 { return m.cluster }

// Node is the entry of a node.
func (m *Map) Node(id kv.NodeID) (kv.NodeInfo, bool) {
	i, ok := slices.BinarySearchFunc(m.nodes, id, func(n kv.NodeInfo, id kv.NodeID) int { return cmp.Compare(n.ID, id) })
	if !ok {
		return kv.NodeInfo{}, false
	}
	return m.nodes[i], true
}

// CoreLeader is the node that leads the core; 0 = not known. A wrong belief costs messages and nothing else.
func (m *Map) CoreLeader() kv.NodeID { return m.core }

// CoreDoubted reports, once each time, whether a partition was heard to have left the node that leads the core: the
// core itself may have too, so it is worth a question for the map.
func (m *Map) CoreDoubted() bool {
	was := m.coreDoubt
	m.coreDoubt = false
	return was
}

// anchorLookMax is how many writes of a commit are looked at for its anchor.
const anchorLookMax = 64

// Anchor is the position of the write that is the best anchor of a commit: the first one whose partition's leader
// draws timestamps without a message, else the first of all. If the writes are in one partition, it is the first in
// either case. There must be one.
func (m *Map) Anchor(writes []kv.Write) int {
	if m.core == 0 {
		return 0
	}
	var place *Place // of the write before: the next one is often there too
	for i := range writes[:min(len(writes), anchorLookMax)] {
		if place != nil && place.Descriptor.Span.Contains(writes[i].Key) {
			continue
		}
		place, _ = m.Find(writes[i].Key, false)
		if place != nil && place.Leader == m.core {
			return i
		}
	}
	return 0
}

// Learn takes the answer to a TopologyQuery for one keyspace, or for all ("").
func (m *Map) Learn(keyspace string, t *kv.Topology) {
	m.cluster = t.ClusterID
	if t.CoreLeader != 0 {
		m.core = t.CoreLeader
	}
	if len(t.Nodes) > 0 {
		m.nodes = slices.Clone(t.Nodes)
		slices.SortFunc(m.nodes, func(a, b kv.NodeInfo) int { return cmp.Compare(a.ID, b.ID) })
	}
	if keyspace == "" {
		clear(m.keyspaces)
	} else {
		delete(m.keyspaces, keyspace)
	}
	for _, k := range t.Keyspaces {
		m.keyspaces[k.Name] = k
	}
	m.forgetDropped()
	for i := range t.Partitions {
		p := &t.Partitions[i]
		m.LearnDescriptor(p.Descriptor)
		if p.Leader != 0 {
			m.LearnLeader(p.Descriptor.Partition, p.Leader, p.Term)
		}
	}
	m.coreDoubt = false // this was the answer
}

// Forget drops the belief that there is a keyspace of a name.
func (m *Map) Forget(keyspace string) {
	delete(m.keyspaces, keyspace)
	m.forgetDropped()
}

// forgetDropped removes the places of keyspaces that have no name any more.
func (m *Map) forgetDropped() {
	known := map[kv.KeyspaceID]bool{}
	for _, k := range m.keyspaces {
		known[k.ID] = true
	}
	m.places = slices.DeleteFunc(m.places, func(p *Place) bool {
		gone := !known[p.Descriptor.Keyspace]
		if gone {
			delete(m.byID, p.Descriptor.Partition)
		}
		return gone
	})
}

// LearnDescriptor takes news of one partition; false if the map knew as much. It replaces
// whatever overlaps, unless that is the same partition at a later generation: generations
// of different partitions cannot be compared, and a wrong belief is corrected by the
// next answer.
func (m *Map) LearnDescriptor(d *kv.Descriptor) bool {
	if d == nil || d.Span.IsEmpty() {
		return false
	}
	old := m.byID[d.Partition]
	if old != nil && old.Descriptor.Generation >= d.Generation {
		return false
	}
	place := &Place{Descriptor: d}
	if old != nil {
		place.Leader, place.Term, place.led = old.Leader, old.Term, old.led
	}
	if _, ok := d.ReplicaOn(place.Leader); !ok {
		place.Leader = 0
	}
	if old != nil {
		i := m.firstEndingAfter(old.Descriptor.Span.Start)
		m.places = slices.Delete(m.places, i, i+1)
	}
	i := m.firstEndingAfter(d.Span.Start)
	j := i
	for ; j < len(m.places) && m.places[j].Descriptor.Span.Overlaps(d.Span); j++ {
		delete(m.byID, m.places[j].Descriptor.Partition)
	}
	m.places = slices.Replace(m.places, i, j, place)
	m.byID[d.Partition] = place
	return true
}

// firstEndingAfter is the position of the first place with keys at or above a key.
func (m *Map) firstEndingAfter(key kv.Key) int {
	return sort.Search(len(m.places), func(i int) bool {
		end := m.places[i].Descriptor.Span.End
		return len(end) == 0 || bytes.Compare(end, key) > 0
	})
}

// LearnLeader takes news of who leads a partition in a term. News of an older term than a
// known one is old; true if the news changed anything.
func (m *Map) LearnLeader(id kv.PartitionID, node kv.NodeID, term kv.Term) bool {
	p := m.byID[id]
	if p == nil || term < p.Term || p.Leader == node && p.Term == term {
		return false
	}
	if p.led == m.core && node != m.core && m.core != 0 {
		m.coreDoubt = true
	}
	p.Leader, p.Term, p.led = node, term, node
	return true
}

// ForgetLeader drops the belief that a node leads a partition. The term stays: it was a
// leader's, and a commit under it finds out what became of it.
func (m *Map) ForgetLeader(id kv.PartitionID, node kv.NodeID) {
	if p := m.byID[id]; p != nil && p.Leader == node {
		p.Leader = 0
	}
}

// correctTerm takes the term of a leader that has just answered, even if it is older than
// the one that the map believed in.
func (m *Map) correctTerm(id kv.PartitionID, node kv.NodeID, term kv.Term) {
	if p := m.byID[id]; p != nil {
		p.Leader, p.Term, p.led = node, term, node
	}
}
