package kv

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
)

// Every encoding of this file begins with its format byte. Numbers are unsigned varints
// in their shortest form, byte strings carry their length before them, and nothing
// follows the last field: so each value has exactly one encoding, and two replicas that
// hold the same value hold the same bytes.
const (
	descriptorFormat = 1
	keyspaceFormat   = 1
	nodeInfoFormat   = 1
)

// ReplicasMax is how many replicas a descriptor may name: joint changes of the largest
// groups, with room.
const ReplicasMax = 64

// AddressBytesMax and LocalityBytesMax bound the texts of a NodeInfo.
const (
	AddressBytesMax  = 512
	LocalityBytesMax = 1024
)

// Bits of the flags byte of a NodeInfo.
const (
	nodeFlagCore     = 1 << 0
	nodeFlagReplaced = 1 << 1
)

// AppendBytes appends a byte string with its length before it.
func AppendBytes(b, s []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendString is AppendBytes of a string.
func AppendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendDescriptor appends the encoding of a descriptor:
//
//	[format 1][partition][keyspace][start][end][generation][next replica][count]([id][node][role byte])*
//
// Replicas must be sorted by ID, as Descriptor promises.
func AppendDescriptor(b []byte, d *Descriptor) []byte {
	b = append(b, descriptorFormat)
	b = binary.AppendUvarint(b, uint64(d.Partition))
	b = binary.AppendUvarint(b, uint64(d.Keyspace))
	b = AppendBytes(b, d.Span.Start)
	b = AppendBytes(b, d.Span.End)
	b = binary.AppendUvarint(b, uint64(d.Generation))
	b = binary.AppendUvarint(b, uint64(d.NextReplica))
	b = binary.AppendUvarint(b, uint64(len(d.Replicas)))
	for _, r := range d.Replicas {
		b = binary.AppendUvarint(b, uint64(r.ID))
		b = binary.AppendUvarint(b, uint64(r.Node))
		b = append(b, byte(r.Role))
	}
	return b
}

// DecodeDescriptor reads what AppendDescriptor wrote; b must hold nothing else.
func DecodeDescriptor(b []byte) (*Descriptor, error) {
	d := NewDecoder("descriptor", b)
	v := d.Descriptor()
	if err := d.Finish(); err != nil {
		return nil, err
	}
	return v, nil
}

// Validate says what makes a descriptor unusable, nil if nothing does.
func (d *Descriptor) Validate() error {
	switch {
	case d.Partition == 0:
		return Errorf(Invalid, "a descriptor without a partition id")
	case d.Generation == 0:
		return Errorf(Invalid, "the descriptor of partition %d has no generation; the first is 1", d.Partition)
	case d.Span.IsEmpty():
		return Errorf(Invalid, "the span of partition %d is empty", d.Partition)
	case len(d.Replicas) == 0 || len(d.Replicas) > ReplicasMax:
		return Errorf(Invalid, "partition %d has %d replicas; it needs 1 to %d", d.Partition, len(d.Replicas), ReplicasMax)
	}
	nodes := make([]NodeID, 0, len(d.Replicas))
	for i, r := range d.Replicas {
		switch {
		case r.ID == 0 || r.Node == 0:
			return Errorf(Invalid, "partition %d has a replica without an id or a node", d.Partition)
		case i > 0 && d.Replicas[i-1].ID >= r.ID:
			return Errorf(Invalid, "the replicas of partition %d are not in the order of their ids", d.Partition)
		case r.ID >= d.NextReplica:
			return Errorf(Invalid, "replica %d of partition %d is not below its next replica id %d", r.ID, d.Partition, d.NextReplica)
		case r.Role != RoleVoter && r.Role != RoleLearner:
			return Errorf(Invalid, "replica %d of partition %d has the unknown role %d", r.ID, d.Partition, r.Role)
		case slices.Contains(nodes, r.Node):
			return Errorf(Invalid, "partition %d has two replicas on node %d", d.Partition, r.Node)
		}
		nodes = append(nodes, r.Node)
	}
	return nil
}

// AppendKeyspace appends the encoding of a keyspace:
//
//	[format 1][id][name][scheme byte][partitions][retention in nanoseconds]
func AppendKeyspace(b []byte, k Keyspace) []byte {
	b = append(b, keyspaceFormat)
	b = binary.AppendUvarint(b, uint64(k.ID))
	b = AppendString(b, k.Name)
	b = append(b, byte(k.Scheme))
	b = binary.AppendUvarint(b, uint64(k.Partitions))
	return AppendRetention(b, k.Retention)
}

// AppendRetention appends a retention, which must not be negative, in nanoseconds.
func AppendRetention(b []byte, d time.Duration) []byte { return binary.AppendUvarint(b, uint64(d)) }

// Retention reads what AppendRetention wrote.
func (d *Decoder) Retention() time.Duration { return time.Duration(d.Uvarint(math.MaxInt64)) }

// DecodeKeyspace reads what AppendKeyspace wrote; b must hold nothing else.
func DecodeKeyspace(b []byte) (Keyspace, error) {
	d := NewDecoder("keyspace", b)
	k := d.Keyspace()
	if err := d.Finish(); err != nil {
		return Keyspace{}, err
	}
	return k, nil
}

// AppendNodeInfo appends the encoding of an entry of the node registry:
//
//	[format 1][id][address][locality][nonce, 8 bytes big-endian][flags: 1 core, 2 replaced]
func AppendNodeInfo(b []byte, n NodeInfo) []byte {
	b = append(b, nodeInfoFormat)
	b = binary.AppendUvarint(b, uint64(n.ID))
	b = AppendString(b, n.Address)
	b = AppendString(b, n.Locality)
	b = binary.BigEndian.AppendUint64(b, n.Nonce)
	var flags byte
	if n.Core {
		flags |= nodeFlagCore
	}
	if n.Replaced {
		flags |= nodeFlagReplaced
	}
	return append(b, flags)
}

// DecodeNodeInfo reads what AppendNodeInfo wrote; b must hold nothing else.
func DecodeNodeInfo(b []byte) (NodeInfo, error) {
	d := NewDecoder("node info", b)
	n := d.NodeInfo()
	if err := d.Finish(); err != nil {
		return NodeInfo{}, err
	}
	return n, nil
}

// Decoder reads the canonical encodings of this file. Its first failure sticks: later
// reads return zeros, and Finish returns it with Kind Corruption. What it returns shares no memory
// with its input.
type Decoder struct {
	what string
	rest []byte
	err  *Error
}

// NewDecoder reads b; what names the thing in errors.
func NewDecoder(what string, b []byte) *Decoder { return &Decoder{what: what, rest: b} }

// Fail records a failure, unless there is one already.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = Errorf(Corruption, "%s: %s", d.what, fmt.Sprintf(format, args...))
	}
	d.rest = nil
}

// Err is the first failure, nil if there is none so far.
func (d *Decoder) Err() error {
	if d.err == nil {
		return nil
	}
	return d.err
}

// Finish is the first failure; bytes that are left over are one.
func (d *Decoder) Finish() error {
	if len(d.rest) != 0 {
		d.Fail("%d bytes too many", len(d.rest))
	}
	return d.Err()
}

// More reports whether bytes are left to read.
func (d *Decoder) More() bool { return len(d.rest) != 0 }

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if len(d.rest) == 0 {
		d.Fail("cut short")
		return 0
	}
	v := d.rest[0]
	d.rest = d.rest[1:]
	return v
}

// Format reads a format byte and insists on the known one.
func (d *Decoder) Format(known byte) {
	if v := d.Byte(); v != known {
		d.Fail("format %d; this version knows format %d only", v, known)
	}
}

// Uint64 reads 8 bytes, big-endian.
func (d *Decoder) Uint64() uint64 {
	if len(d.rest) < 8 {
		d.Fail("cut short")
		return 0
	}
	v := binary.BigEndian.Uint64(d.rest)
	d.rest = d.rest[8:]
	return v
}

// Uvarint reads one number of at most limit, in its shortest form.
func (d *Decoder) Uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	switch {
	case n <= 0:
		d.Fail("cut short, or a number of more than 64 bits")
		return 0
	case n > 1 && d.rest[n-1] == 0:
		d.Fail("a number that is not in its shortest form")
		return 0
	case v > limit:
		d.Fail("a number of %d where at most %d is allowed", v, limit)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// Count reads how many elements follow; each takes at least elementBytes, so that a
// damaged count cannot ask for more memory than the input is long.
func (d *Decoder) Count(limit, elementBytes int) int {
	n := d.Uvarint(uint64(limit))
	if n > uint64(len(d.rest)/max(elementBytes, 1)) {
		d.Fail("%d elements announced, %d bytes left", n, len(d.rest))
		return 0
	}
	return int(n)
}

// Bytes reads a byte string of at most limit bytes; an empty one is nil.
func (d *Decoder) Bytes(limit int) []byte {
	n := d.Count(limit, 1)
	if n == 0 {
		return nil
	}
	v := slices.Clone(d.rest[:n])
	d.rest = d.rest[n:]
	return v
}

// String reads a byte string of at most limit bytes as a string.
func (d *Decoder) String(limit int) string {
	n := d.Count(limit, 1)
	v := string(d.rest[:n])
	d.rest = d.rest[n:]
	return v
}

// Descriptor reads one descriptor.
func (d *Decoder) Descriptor() *Descriptor {
	const fullKeyBytesMax = KeyspacePrefixBytes + BucketBytes + KeyBytesMax
	d.Format(descriptorFormat)
	v := &Descriptor{
		Partition: PartitionID(d.Uvarint(maxUint64)),
		Keyspace:  KeyspaceID(d.Uvarint(1<<32 - 1)),
	}
	v.Span.Start = d.Bytes(fullKeyBytesMax + 1)
	v.Span.End = d.Bytes(fullKeyBytesMax + 1)
	v.Generation = Generation(d.Uvarint(maxUint64))
	v.NextReplica = ReplicaID(d.Uvarint(maxUint64))
	n := d.Count(ReplicasMax, 3)
	for i := range n {
		r := Replica{ID: ReplicaID(d.Uvarint(maxUint64)), Node: NodeID(d.Uvarint(maxUint64)), Role: Role(d.Byte())}
		if d.err == nil && r.Role != RoleVoter && r.Role != RoleLearner {
			d.Fail("unknown role %d", r.Role)
		}
		if d.err == nil && i > 0 && v.Replicas[i-1].ID >= r.ID {
			d.Fail("replicas not in the order of their ids")
		}
		if d.err != nil {
			return v
		}
		v.Replicas = append(v.Replicas, r)
	}
	return v
}

// Keyspace reads one keyspace.
func (d *Decoder) Keyspace() Keyspace {
	d.Format(keyspaceFormat)
	k := Keyspace{ID: KeyspaceID(d.Uvarint(1<<32 - 1)), Name: d.String(KeyspaceNameBytesMax), Scheme: Scheme(d.Byte())}
	k.Partitions = int(d.Uvarint(1 << 31))
	k.Retention = d.Retention()
	if d.err == nil && k.Scheme != SchemeRange && k.Scheme != SchemeHash {
		d.Fail("unknown scheme %d", k.Scheme)
	}
	return k
}

// NodeInfo reads one entry of the node registry.
func (d *Decoder) NodeInfo() NodeInfo {
	d.Format(nodeInfoFormat)
	n := NodeInfo{ID: NodeID(d.Uvarint(maxUint64)), Address: d.String(AddressBytesMax), Locality: d.String(LocalityBytesMax), Nonce: d.Uint64()}
	flags := d.Byte()
	if d.err == nil && flags&^(nodeFlagCore|nodeFlagReplaced) != 0 {
		d.Fail("unknown flags %#x", flags)
	}
	n.Core = flags&nodeFlagCore != 0
	n.Replaced = flags&nodeFlagReplaced != 0
	return n
}

const maxUint64 = 1<<64 - 1
