package core

import (
	"encoding/binary"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// entryFormat begins the data of every entry of the system partition.
const entryFormat = 1

// kind of a command. Numbers are durable; 9 (allocate partitions, for splits) is reserved.
type kind byte

const (
	kindInitCluster    kind = 1
	kindJoin           kind = 2
	kindCreateKeyspace kind = 3
	kindDropKeyspace   kind = 4
	kindKeyspaceReady  kind = 5
	kindForgetKeyspace kind = 6
	kindPutDescriptor  kind = 7
	kindExtendBound    kind = 8
	kindForgetNode     kind = 10
	kindSetVoters      kind = 11
	kindSetKeyspace    kind = 12
)

// command is one change of the applied state.
type command interface {
	kind() kind
	appendBody(b []byte) []byte
	decodeBody(d *kv.Decoder)
	// apply is deterministic. It changes nothing if it refuses.
	apply(s *state) result
}

// result is what the proposer wants to know of an applied command.
type result struct {
	err      *kv.Error
	node     kv.NodeID
	keyspace kv.KeyspaceID
	touched  []kv.PartitionID // their orders may have changed
}

// proposed is a command with the number under which its leader waits for it; 0 = nobody does.
type proposed struct {
	number  uint64
	command command
}

func encodeCommand(p proposed) []byte {
	b := binary.AppendUvarint([]byte{byte(p.command.kind())}, p.number)
	return p.command.appendBody(b)
}

func decodeCommand(b []byte) (proposed, error) {
	d := kv.NewDecoder("command of the core", b)
	k := kind(d.Byte())
	p := proposed{number: d.Uvarint(maxUint64), command: newCommand(k)}
	if p.command == nil {
		d.Fail("kind %d is not known to this version", k)
		return proposed{}, d.Err()
	}
	p.command.decodeBody(d)
	return p, d.Finish()
}

func newCommand(k kind) command {
	switch k {
	case kindInitCluster:
		return &initCluster{}
	case kindJoin:
		return &join{}
	case kindCreateKeyspace:
		return &createKeyspace{}
	case kindDropKeyspace:
		return &dropKeyspace{}
	case kindKeyspaceReady:
		return &keyspaceReady{}
	case kindForgetKeyspace:
		return &forgetKeyspace{}
	case kindPutDescriptor:
		return &putDescriptor{}
	case kindExtendBound:
		return &extendBound{}
	case kindSetVoters:
		return &setVoters{}
	case kindForgetNode:
		return &forgetNode{}
	case kindSetKeyspace:
		return &setKeyspace{}
	}
	return nil
}

// PackCommands makes the data of one entry.
func PackCommands(cmds [][]byte) []byte {
	n := 1
	for _, c := range cmds {
		n += binary.MaxVarintLen32 + len(c)
	}
	b := append(make([]byte, 0, n), entryFormat)
	for _, c := range cmds {
		b = kv.AppendBytes(b, c)
	}
	return b
}

func unpackCommands(data []byte) ([]proposed, error) {
	d := kv.NewDecoder("entry of the core", data)
	d.Format(entryFormat)
	var all []proposed
	for d.Err() == nil && d.More() {
		c := d.Bytes(CommandBytesMax)
		if d.Err() != nil {
			break
		}
		p, err := decodeCommand(c)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, d.Finish()
}

// initCluster makes the cluster: its founders, the system partition as they made it, and the
// default keyspace.
type initCluster struct {
	ClusterID uint64
	Replicas  int
	Founders  []kv.NodeInfo
	System    *kv.Descriptor
	Default   createKeyspace
}

func (*initCluster) kind() kind { return kindInitCluster }

func (c *initCluster) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, c.ClusterID)
	b = binary.AppendUvarint(b, uint64(c.Replicas))
	b = binary.AppendUvarint(b, uint64(len(c.Founders)))
	for _, n := range c.Founders {
		b = kv.AppendNodeInfo(b, n)
	}
	b = kv.AppendDescriptor(b, c.System)
	return c.Default.appendBody(b)
}

func (c *initCluster) decodeBody(d *kv.Decoder) {
	c.ClusterID = d.Uint64()
	c.Replicas = int(d.Uvarint(kv.ReplicasMax))
	for range d.Count(NodesMax, nodeInfoBytesMin) {
		c.Founders = append(c.Founders, d.NodeInfo())
	}
	c.System = d.Descriptor()
	c.Default.decodeBody(d)
}

// nodeInfoBytesMin is the shortest encoding of a kv.NodeInfo.
const nodeInfoBytesMin = 13

// join registers a node, or a node's new address.
type join struct {
	Address  string
	Locality string
	Nonce    uint64
}

func (*join) kind() kind { return kindJoin }

func (c *join) appendBody(b []byte) []byte {
	b = kv.AppendString(b, c.Address)
	b = kv.AppendString(b, c.Locality)
	return binary.BigEndian.AppendUint64(b, c.Nonce)
}

func (c *join) decodeBody(d *kv.Decoder) {
	c.Address, c.Locality, c.Nonce = d.String(kv.AddressBytesMax), d.String(kv.LocalityBytesMax), d.Uint64()
}

// createKeyspace makes a keyspace whose partitions lie where the proposing leader put them.
type createKeyspace struct {
	Name      string
	Scheme    kv.Scheme
	SplitAt   [][]byte      // scheme range: len(Placement)-1 user keys, strictly ascending
	Placement [][]kv.NodeID // of each partition, in key order; the preferred first leader is first
	Retention time.Duration
}

func (*createKeyspace) kind() kind { return kindCreateKeyspace }

func (c *createKeyspace) appendBody(b []byte) []byte {
	b = kv.AppendString(b, c.Name)
	b = append(b, byte(c.Scheme))
	b = binary.AppendUvarint(b, uint64(len(c.SplitAt)))
	for _, k := range c.SplitAt {
		b = kv.AppendBytes(b, k)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Placement)))
	for _, nodes := range c.Placement {
		b = binary.AppendUvarint(b, uint64(len(nodes)))
		for _, n := range nodes {
			b = binary.AppendUvarint(b, uint64(n))
		}
	}
	return kv.AppendRetention(b, c.Retention)
}

func (c *createKeyspace) decodeBody(d *kv.Decoder) {
	c.Name, c.Scheme = d.String(kv.KeyspaceNameBytesMax), kv.Scheme(d.Byte())
	for range d.Count(kv.HashPartitionsMax, 1) {
		c.SplitAt = append(c.SplitAt, d.Bytes(kv.KeyBytesMax))
	}
	for range d.Count(kv.HashPartitionsMax, 1) {
		var nodes []kv.NodeID
		for range d.Count(kv.ReplicasMax, 1) {
			nodes = append(nodes, kv.NodeID(d.Uvarint(maxUint64)))
		}
		c.Placement = append(c.Placement, nodes)
	}
	c.Retention = d.Retention()
}

// dropKeyspace frees the name and condemns the data.
type dropKeyspace struct{ Keyspace kv.KeyspaceID }

func (*dropKeyspace) kind() kind { return kindDropKeyspace }

func (c *dropKeyspace) appendBody(b []byte) []byte {
	return binary.AppendUvarint(b, uint64(c.Keyspace))
}

func (c *dropKeyspace) decodeBody(d *kv.Decoder) { c.Keyspace = kv.KeyspaceID(d.Uvarint(1<<32 - 1)) }

// keyspaceReady says that all first replicas exist.
type keyspaceReady struct{ Keyspace kv.KeyspaceID }

func (*keyspaceReady) kind() kind { return kindKeyspaceReady }

func (c *keyspaceReady) appendBody(b []byte) []byte {
	return binary.AppendUvarint(b, uint64(c.Keyspace))
}

func (c *keyspaceReady) decodeBody(d *kv.Decoder) { c.Keyspace = kv.KeyspaceID(d.Uvarint(1<<32 - 1)) }

// forgetKeyspace removes the records of a dropped keyspace whose replicas are gone.
type forgetKeyspace struct{ Keyspace kv.KeyspaceID }

func (*forgetKeyspace) kind() kind { return kindForgetKeyspace }

func (c *forgetKeyspace) appendBody(b []byte) []byte {
	return binary.AppendUvarint(b, uint64(c.Keyspace))
}

func (c *forgetKeyspace) decodeBody(d *kv.Decoder) { c.Keyspace = kv.KeyspaceID(d.Uvarint(1<<32 - 1)) }

// putDescriptor keeps a descriptor that a partition's leader reported.
type putDescriptor struct{ Descriptor *kv.Descriptor }

func (*putDescriptor) kind() kind { return kindPutDescriptor }

func (c *putDescriptor) appendBody(b []byte) []byte { return kv.AppendDescriptor(b, c.Descriptor) }
func (c *putDescriptor) decodeBody(d *kv.Decoder)   { c.Descriptor = d.Descriptor() }

// extendBound raises the oracle's bound.
type extendBound struct{ Bound kv.Timestamp }

func (*extendBound) kind() kind { return kindExtendBound }

func (c *extendBound) appendBody(b []byte) []byte { return binary.AppendUvarint(b, uint64(c.Bound)) }
func (c *extendBound) decodeBody(d *kv.Decoder)   { c.Bound = kv.Timestamp(d.Uvarint(maxUint64)) }
