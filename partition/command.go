package partition

import (
	"encoding/binary"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// entryFormat is the first byte of every entry's data.
const entryFormat = 1

// commandKind is the first byte of a command. Numbers are durable. The bytes of an entry:
//
//	entry      = format 1, then per command: length (uvarint), command
//	write      = 1, id (16), asOf (8), c (8), number of versions (uvarint), versions
//	version    = 1, key, value | 2, key                      a tombstone has no value
//	setGC      = 2, G (8)
//	setHorizon = 3, H (8)
//	digest     = 4, id of the check (8)
//	prepare    = 6, attempt, number of locks (uvarint), locks
//	record     = 7, attempt, c (8), number of participants (uvarint), per participant: partition
//	             (uvarint), term (uvarint; 0: two-phase), start, end; number of versions (uvarint), versions
//	stage      = 8, attempt, c (8), number of participants (uvarint; 0: a participant's part), per
//	             participant as in record; number of locks (uvarint), locks
//	resolve    = 9, id (16), c (8; 0 = aborted), first (1), number of locks (uvarint), per lock: strength (1), key
//	forget     = 11, id (16), anchor key
//	barrier    = 12
//	decide     = 13, attempt, c (8; 0 = aborted), number of participants (uvarint), per participant as
//	             in record; number of locks (uvarint), per lock as in resolve
//	attempt    = id (16), term (8), asOf (8), age (16), partition of the anchor (uvarint), anchor key
//	lock       = 1, version                          exclusive, with what is written
//	           | 2, key, end                         shared; no end: the key alone
//	descriptor = 5, generation that it replaces (uvarint), partition (uvarint), keyspace (uvarint),
//	             start, end, generation (uvarint), next replica (uvarint), number of replicas
//	             (uvarint), per replica: id (uvarint), node (uvarint), role (1)
//
// Keys and values are a length (uvarint) and bytes; numbers of 8 bytes are big-endian; uvarints
// have their shortest form.
type commandKind byte

const (
	commandWrite      commandKind = 1
	commandGC         commandKind = 2
	commandHorizon    commandKind = 3
	commandDigest     commandKind = 4
	commandDescriptor commandKind = 5
	commandPrepare    commandKind = 6
	commandRecord     commandKind = 7
	commandStage      commandKind = 8
	commandResolve    commandKind = 9
	// 10 is reserved for split.
	commandForget  commandKind = 11
	commandBarrier commandKind = 12
	commandDecide  commandKind = 13
)

// Version is one version that a write command makes.
type Version struct {
	Key       kv.Key
	Value     []byte
	Tombstone bool
}

// Command is one decoded command. Keys and values alias the entry.
type Command struct {
	kind commandKind

	// Attempt is whose it is: its ID and AsOf only, of a write.
	kv.Attempt
	// Timestamp is c, or the G of setGC or the H of setHorizon.
	Timestamp kv.Timestamp
	// Versions are what a write or a record writes. The first one carries the id (rule I9).
	Versions     []Version
	Locks        []mvcc.Lock        // prepare, stage; of a resolve or a decide only their keys and strengths
	Participants []mvcc.Participant // record, stage, decide
	First        bool               // resolve: the locks' keys have no versions at c yet

	Digest     uint64         // id of a digest marker
	Descriptor *kv.Descriptor // the new descriptor; it replaces Generation
	Generation kv.Generation
}

// Sizes in bytes.
const (
	writeHeaderBytes      = 1 + 16 + 8 + 8
	timestampBytes        = 1 + 8
	versionKindPut   byte = 1
	versionKindDel   byte = 2
)

func uvarintLen(x uint64) (n int) {
	for n = 1; x >= 0x80; n++ {
		x >>= 7
	}
	return n
}

func bytesLen(b []byte) int { return uvarintLen(uint64(len(b))) + len(b) }

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func appendDescriptor(dst []byte, d *kv.Descriptor) []byte {
	dst = binary.AppendUvarint(dst, uint64(d.Partition))
	dst = binary.AppendUvarint(dst, uint64(d.Keyspace))
	dst = appendBytes(dst, d.Span.Start)
	dst = appendBytes(dst, d.Span.End)
	dst = binary.AppendUvarint(dst, uint64(d.Generation))
	dst = binary.AppendUvarint(dst, uint64(d.NextReplica))
	dst = binary.AppendUvarint(dst, uint64(len(d.Replicas)))
	for _, r := range d.Replicas {
		dst = binary.AppendUvarint(dst, uint64(r.ID))
		dst = binary.AppendUvarint(dst, uint64(r.Node))
		dst = append(dst, byte(r.Role))
	}
	return dst
}

// appendTimestamp encodes setGC and setHorizon.
func appendTimestamp(dst []byte, kind commandKind, ts kv.Timestamp) []byte {
	dst = append(dst, byte(kind))
	return binary.BigEndian.AppendUint64(dst, uint64(ts))
}

// appendWriteHeader encodes what precedes the versions of a write.
func appendWriteHeader(dst []byte, id kv.TxID, asOf, c kv.Timestamp) []byte {
	dst = append(dst, byte(commandWrite))
	dst = append(dst, id[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(asOf))
	return binary.BigEndian.AppendUint64(dst, uint64(c))
}

func appendVersion(dst []byte, key kv.Key, value []byte, tombstone bool) []byte {
	if tombstone {
		return appendBytes(append(dst, versionKindDel), key)
	}
	dst = appendBytes(append(dst, versionKindPut), key)
	return appendBytes(dst, value)
}

func versionLen(key kv.Key, value []byte, tombstone bool) int {
	if tombstone {
		return 1 + bytesLen(key)
	}
	return 1 + bytesLen(key) + bytesLen(value)
}

// appendCommand encodes a command; it is the inverse of decodeCommand.
func appendCommand(dst []byte, c *Command) []byte {
	switch c.kind {
	case commandWrite:
		dst = appendWriteHeader(dst, c.ID, c.AsOf, c.Timestamp)
		dst = binary.AppendUvarint(dst, uint64(len(c.Versions)))
		for _, v := range c.Versions {
			dst = appendVersion(dst, v.Key, v.Value, v.Tombstone)
		}
	case commandGC, commandHorizon:
		dst = appendTimestamp(dst, c.kind, c.Timestamp)
	case commandDigest:
		dst = binary.BigEndian.AppendUint64(append(dst, byte(c.kind)), c.Digest)
	case commandDescriptor:
		dst = binary.AppendUvarint(append(dst, byte(c.kind)), uint64(c.Generation))
		dst = appendDescriptor(dst, c.Descriptor)
	default:
		dst = appendTransaction(dst, c)
	}
	return dst
}

// decoder takes an encoding apart; after the first failure everything is zero.
type decoder struct {
	rest []byte
	bad  string // what is wrong; "" = nothing
}

func (d *decoder) fail(what string) {
	if d.bad == "" {
		d.bad = what
	}
	d.rest = nil
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.fail("it is cut short")
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// uvarint insists on the shortest encoding, so that equal commands are equal bytes.
func (d *decoder) uvarint() uint64 {
	x, n := binary.Uvarint(d.rest)
	if n <= 0 || n != uvarintLen(x) {
		d.fail("it holds a bad number")
		return 0
	}
	d.rest = d.rest[n:]
	return x
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.fail("it is cut short")
		return nil
	}
	return d.take(int(n))
}

func (d *decoder) timestamp() kv.Timestamp {
	ts := kv.Timestamp(d.uint64())
	if ts == 0 {
		d.fail("it has no timestamp")
	}
	return ts
}

// count is a number of items of at least itemBytes each.
func (d *decoder) count(itemBytes int) int {
	n := d.uvarint()
	if n > uint64(len(d.rest)/itemBytes) {
		d.fail("it is cut short")
		return 0
	}
	return int(n)
}

func (d *decoder) versions(dst []Version) []Version {
	n := d.count(2)
	if n == 0 {
		d.fail("it writes nothing")
	}
	for range n {
		dst = append(dst, d.version())
	}
	return dst
}

func (d *decoder) version() Version {
	kind := d.byte()
	v := Version{Key: d.bytes()}
	switch kind {
	case versionKindPut:
		v.Value = d.bytes()
	case versionKindDel:
		v.Tombstone = true
	default:
		d.fail("it has a write of unknown kind")
	}
	return v
}

func (d *decoder) descriptor() *kv.Descriptor {
	x := &kv.Descriptor{Partition: kv.PartitionID(d.uvarint())}
	ks := d.uvarint()
	x.Keyspace = kv.KeyspaceID(ks)
	if uint64(x.Keyspace) != ks {
		d.fail("it holds a bad number")
	}
	// The descriptor outlives the entry.
	x.Span.Start = append(kv.Key(nil), d.bytes()...)
	x.Span.End = append(kv.Key(nil), d.bytes()...)
	x.Generation = kv.Generation(d.uvarint())
	x.NextReplica = kv.ReplicaID(d.uvarint())
	for range d.count(3) {
		x.Replicas = append(x.Replicas, kv.Replica{ID: kv.ReplicaID(d.uvarint()), Node: kv.NodeID(d.uvarint()), Role: kv.Role(d.byte())})
	}
	return x
}

// decodeCommand decodes one command into c, whose memory is reused.
func decodeCommand(b []byte, c *Command) *kv.Error {
	d := decoder{rest: b}
	*c = Command{kind: commandKind(d.byte()), Versions: c.Versions[:0], Locks: c.Locks[:0], Participants: c.Participants[:0]}
	switch c.kind {
	case commandWrite:
		copy(c.ID[:], d.take(len(c.ID)))
		c.AsOf = kv.Timestamp(d.uint64())
		c.Timestamp = d.timestamp()
		c.Versions = d.versions(c.Versions)
	case commandGC, commandHorizon:
		c.Timestamp = d.timestamp()
	case commandDigest:
		c.Digest = d.uint64()
	case commandDescriptor:
		c.Generation = kv.Generation(d.uvarint())
		c.Descriptor = d.descriptor()
	default:
		d.transaction(c)
	}
	if d.bad == "" && len(d.rest) > 0 {
		d.fail("bytes follow it")
	}
	if d.bad != "" {
		return kv.Errorf(kv.Corruption, "a command of kind %d in %d bytes does not decode: %s", byte(c.kind), len(b), d.bad)
	}
	return nil
}

// eachCommand decodes the commands of an entry, in order.
func eachCommand(data []byte, f func(*Command) *kv.Error) *kv.Error {
	if len(data) == 0 || data[0] != entryFormat {
		return kv.Errorf(kv.Corruption, "an entry of %d bytes does not begin with format %d", len(data), entryFormat)
	}
	var c Command
	for d := (decoder{rest: data[1:]}); len(d.rest) > 0; {
		b := d.bytes()
		if d.bad != "" {
			return kv.Errorf(kv.Corruption, "an entry of %d bytes does not decode: %s", len(data), d.bad)
		}
		if err := decodeCommand(b, &c); err != nil {
			return err
		}
		if err := f(&c); err != nil {
			return err
		}
	}
	return nil
}

// RaisesGC reports whether an entry's data has a command that raises G.
func RaisesGC(data []byte) (raises bool) {
	_ = eachCommand(data, func(c *Command) *kv.Error { // what does not decode raises nothing
		raises = raises || c.kind == commandGC
		return nil
	})
	return raises
}
