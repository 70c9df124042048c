package kv

import (
	"cmp"
	"slices"
	"time"
)

// Scheme says how a keyspace is cut into partitions.
type Scheme uint8

// The schemes. Numbers are durable.
const (
	SchemeRange Scheme = 1 // key ranges, split points given at creation
	SchemeHash  Scheme = 2 // n fixed partitions by hash of the user key
)

func (s Scheme) String() string {
	switch s {
	case SchemeRange:
		return "range"
	case SchemeHash:
		return "hash"
	}
	return "unknown"
}

// Keyspace is one named set of keys.
type Keyspace struct {
	ID         KeyspaceID
	Name       string
	Scheme     Scheme
	Partitions int // hash: the number of buckets, for ever; range: the number at creation
	// Retention is how long an overwritten version can be read at least; 0 = as the nodes are configured.
	Retention time.Duration
}

// Span is the part of the full-key space that the keyspace owns.
func (k Keyspace) Span() Span {
	s := MakeKey(k.ID, nil)
	return Span{Start: s, End: PrefixEnd(s)}
}

// FullKey is where a user key lives.
func (k Keyspace) FullKey(user []byte) Key {
	if k.Scheme == SchemeHash {
		return MakeHashKey(k.ID, Bucket(user, k.Partitions), user)
	}
	return MakeKey(k.ID, user)
}

// UserKey is the inverse of FullKey; nil for a key that is too short.
func (k Keyspace) UserKey(full Key) []byte {
	n := KeyspacePrefixBytes
	if k.Scheme == SchemeHash {
		n += BucketBytes
	}
	if len(full) < n {
		return nil
	}
	return full[n:]
}

// Role is what a replica may do in its group.
type Role uint8

// The roles. Numbers are durable.
const (
	RoleVoter   Role = 1
	RoleLearner Role = 2
)

// Replica is one copy of a partition.
type Replica struct {
	ID   ReplicaID
	Node NodeID
	Role Role
}

// Descriptor says what a partition holds and where its replicas are.
type Descriptor struct {
	Partition  PartitionID
	Keyspace   KeyspaceID
	Span       Span
	Generation Generation
	Replicas   []Replica // sorted by ID
	// NextReplica is the id that the next added replica gets. Invariant: above all ids ever used.
	NextReplica ReplicaID
}

// ReplicaOn is the replica on a node.
func (d *Descriptor) ReplicaOn(n NodeID) (Replica, bool) {
	for _, r := range d.Replicas {
		if r.Node == n {
			return r, true
		}
	}
	return Replica{}, false
}

// NodeOf is the node of a replica, 0 if the descriptor does not have it.
func (d *Descriptor) NodeOf(id ReplicaID) NodeID {
	for _, r := range d.Replicas {
		if r.ID == id {
			return r.Node
		}
	}
	return 0
}

// Clone is a deep copy.
func (d *Descriptor) Clone() *Descriptor {
	c := *d
	c.Span = Span{Start: slices.Clone(d.Span.Start), End: slices.Clone(d.Span.End)}
	c.Replicas = slices.Clone(d.Replicas)
	return &c
}

// SortReplicas brings the replicas into the order that Descriptor promises.
func (d *Descriptor) SortReplicas() {
	slices.SortFunc(d.Replicas, func(a, b Replica) int { return cmp.Compare(a.ID, b.ID) })
}

// NodeInfo is one entry of the node registry.
type NodeInfo struct {
	ID       NodeID
	Address  string // host:port of the one gRPC port, for clients and peers
	Locality string // "region=x,zone=y"; may be empty
	Nonce    uint64 // drawn when the store was made: a wiped disk has another
	Core     bool   // holds a voter of the system partition
	Replaced bool   // another node has come back at its address: it will not return
}
