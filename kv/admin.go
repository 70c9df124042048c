package kv

import "time"

// AdminRequest is one question to the consistent core or to one node. Exactly one part is
// set. Those to the core are answered with NotLeader by a node that does not lead it.
type AdminRequest struct {
	CreateKeyspace *CreateKeyspace
	DropKeyspace   *DropKeyspace
	Topology       *TopologyQuery
	Join           *JoinCluster // a node that comes to an existing cluster, or comes back
	Status         *StatusQuery // what the core's leader knows of the cluster
	NodeStatus     *NodeQuery   // what the asked node knows of itself
	MoveLeader     *MoveLeader  // to the partition's leader
	Check          *CheckQuery  // to the partition's leader
	ChangeReplicas *ChangeReplicas
	Transactions   *TransactionsQuery // to the partition's leader
	SetKeyspace    *SetKeyspace
	Hold           *Hold
}

// CreateKeyspace makes a keyspace; it is answered once all its partitions have a leader.
type CreateKeyspace struct {
	Name       string
	Scheme     Scheme
	Partitions int      // SchemeHash: number of buckets; SchemeRange: ignored
	SplitAt    [][]byte // SchemeRange: user keys, strictly ascending
	Retention  time.Duration
}

// SetKeyspace changes how long old versions of a keyspace are kept.
type SetKeyspace struct {
	Name      string
	Retention time.Duration // 0 = as the nodes are configured
}

// Hold asks the core to let no partition collect what a read at a timestamp needs, for a while. Whoever
// has something open for long asks again and again (docs/adr/0015).
type Hold struct{ Timestamp Timestamp }

// HoldAnswer says that all from Oldest on, and the timestamp that was asked for if it is not older, is held.
type HoldAnswer struct{ Oldest Timestamp }

// DropKeyspace removes a keyspace with all its data.
type DropKeyspace struct{ Name string }

// TopologyQuery asks for the keyspace of a name ("" = all), its partitions and all nodes.
type TopologyQuery struct {
	Keyspace string
	// Local allows the answer of a node that does not lead the core, which may be old.
	Local bool
}

// JoinCluster registers a node; it is idempotent by Nonce.
type JoinCluster struct {
	Address  string
	Locality string
	Nonce    uint64
}

// StatusQuery asks for the state of the cluster.
type StatusQuery struct{}

// NodeQuery asks one node about itself.
type NodeQuery struct{}

// MoveLeader asks a partition's leader to hand over to the voter on a node; 0 = to any.
type MoveLeader struct {
	Partition PartitionID
	To        NodeID
}

// CheckQuery compares all replicas of a partition at one applied index.
type CheckQuery struct{ Partition PartitionID }

// ChangeReplicas moves a partition one step: a replica more on Add, one less on Remove (0 = none).
type ChangeReplicas struct {
	Partition PartitionID
	Add       NodeID
	Remove    NodeID
}

// AdminResponse answers an AdminRequest.
type AdminResponse struct {
	Topology *Topology
	Join     *JoinAnswer
	Status   *Status
	Node     *NodeStatus
	Check    *CheckAnswer

	Transactions *TransactionsAnswer
	Hold         *HoldAnswer
}

// Topology is a part of the cluster's map.
type Topology struct {
	ClusterID  uint64
	Keyspaces  []Keyspace
	Partitions []PartitionInfo // in key order
	Nodes      []NodeInfo
	Heard      Timestamp // the newest that the answering node has heard of
	// CoreLeader is who leads the core, as the answering node believes: there a timestamp is drawn without a message. 0 = not known.
	CoreLeader NodeID
}

// PartitionInfo is a descriptor with who was last heard to lead it.
type PartitionInfo struct {
	Descriptor *Descriptor
	Leader     NodeID // 0 = not known
	Term       Term   // of that leader
	Keys       int64  // live keys, an estimate: measured by its leader some seconds ago
	Bytes      int64  // of these keys and their newest values as stored, an estimate likewise
	Garbage    int64  // old versions that go sooner or later, an estimate likewise
	Applied    LogIndex
}

// JoinAnswer is what a node needs to take part.
type JoinAnswer struct {
	ClusterID uint64
	Node      NodeID
	Nodes     []NodeInfo
}

// Liveness of a node as the core's leader sees it.
type Liveness uint8

// The states of a node.
const (
	NodeLive      Liveness = 1
	NodeSuspected Liveness = 2
	NodeDead      Liveness = 3
	NodeReplaced  Liveness = 4 // it came back without its data, as another node: this one will not return
)

func (l Liveness) String() string {
	switch l {
	case NodeLive:
		return "live"
	case NodeSuspected:
		return "suspected"
	case NodeDead:
		return "dead"
	case NodeReplaced:
		return "replaced"
	}
	return "unknown"
}

// Status is the state of the cluster.
type Status struct {
	ClusterID  uint64
	CoreLeader NodeID
	Nodes      []NodeReport
	Partitions PartitionCounts
	Unhealthy  []string  // a sentence for each thing that is wrong
	Held       Timestamp // the oldest that open snapshots hold; 0 = none is old enough
	// HeldUntil is when that hold ends if nobody renews it, in timestamps: it stands while none above
	// it may be granted. Timestamps may be granted up to three seconds ahead of the clock. 0 = nothing is held.
	HeldUntil Timestamp
}

// NodeReport is one node in a Status.
type NodeReport struct {
	Info      NodeInfo
	Liveness  Liveness
	LastHeard time.Duration // before the answer; 0 = now
	Leaders   int
	Replicas  int
	Bytes     int64
}

// PartitionCounts counts partitions by health.
type PartitionCounts struct {
	Total, UnderReplicated, Unavailable, Unknown int
}

// NodeStatus is one node's view of itself.
type NodeStatus struct {
	Info     NodeInfo
	Replicas []ReplicaStatus
	Faulty   []string // damaged replicas, each with the reason
	Draining bool
	Heard    Timestamp // the newest that the node has heard of
}

// ReplicaStatus is one replica on the asked node.
type ReplicaStatus struct {
	Partition PartitionID
	Replica   ReplicaID
	Role      string // leader, follower, candidate, learner
	Term      Term
	Leader    NodeID
	Commit    LogIndex
	Applied   LogIndex
	LastIndex LogIndex
	LeaseLeft time.Duration // leaders; 0 = no lease
	Asleep    bool
	// Closed is up to which timestamp the replica answers reads that any may; of a leader, which answers
	// all others as well, what it has closed for its followers. 0 = none.
	Closed Timestamp
}

// CheckAnswer is the comparison of a partition's replicas.
type CheckAnswer struct {
	Partition PartitionID
	Index     LogIndex
	Digests   []ReplicaDigest
	Equal     bool
}

// ReplicaDigest sums up all versions of a partition on one replica.
type ReplicaDigest struct {
	Node     NodeID
	Hash     uint64
	Keys     int64
	Versions int64
	Missing  bool // the node did not answer in time
}
