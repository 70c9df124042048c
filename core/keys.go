package core

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// The system keys. Ids are decimal with leading zeros, so that keys order like numbers.
const (
	keyCluster      = "cluster"
	keyIDs          = "meta/ids"
	keyRevision     = "meta/revision"
	keyBound        = "oracle/bound"
	prefixKeyspace  = "keyspace/"
	prefixNode      = "node/"
	prefixPartition = "partition/"
	prefixReplaced  = "replaced/"
	idDigits        = 20
)

func nodeKey(id kv.NodeID) string { return fmt.Sprintf("%s%0*d", prefixNode, idDigits, id) }

func replacedKey(id kv.NodeID) string { return fmt.Sprintf("%s%0*d", prefixReplaced, idDigits, id) }

func keyspaceKey(id kv.KeyspaceID) string { return fmt.Sprintf("%s%0*d", prefixKeyspace, idDigits, id) }

func partitionKey(id kv.PartitionID) string {
	return fmt.Sprintf("%s%0*d", prefixPartition, idDigits, id)
}

// valueFormat begins the values that this package encodes.
const valueFormat = 1

const maxUint64 = 1<<64 - 1

func appendNumber(b []byte, v uint64) []byte {
	return binary.AppendUvarint(append(b, valueFormat), v)
}

func appendCluster(b []byte, c *clusterRecord) []byte {
	b = binary.BigEndian.AppendUint64(append(b, valueFormat), c.ID)
	b = binary.AppendUvarint(b, uint64(c.Replicas))
	return binary.AppendUvarint(b, uint64(c.Voters))
}

func appendIDs(b []byte, ids idsRecord) []byte {
	b = binary.AppendUvarint(append(b, valueFormat), uint64(ids.Node))
	b = binary.AppendUvarint(b, uint64(ids.Keyspace))
	return binary.AppendUvarint(b, uint64(ids.Partition))
}

func appendKeyspaceRecord(b []byte, k keyspaceRecord) []byte {
	b = append(b, valueFormat, byte(k.Phase))
	return kv.AppendKeyspace(b, k.Keyspace)
}

// Load replaces the applied state by what the engine's system keys say, in any order: at
// start, and after a snapshot was installed. The machine must not be leading. After an error it has the state from before.
func (m *Machine) Load(kvs func(yield func(key string, value []byte) bool)) error {
	invariant.Check(m.lead == nil, "the state of a leading core is not replaced")
	s := newState()
	var failed error
	kvs(func(key string, value []byte) bool {
		failed = s.load(key, value)
		return failed == nil
	})
	if failed == nil {
		failed = s.verify()
	}
	if failed != nil {
		return failed
	}
	m.state = s
	return nil
}

func (s *state) load(key string, value []byte) error {
	d := kv.NewDecoder("system key "+key, value)
	switch key {
	case keyCluster:
		d.Format(valueFormat)
		s.cluster = &clusterRecord{ID: d.Uint64(), Replicas: int(d.Uvarint(kv.ReplicasMax)), Voters: int(d.Uvarint(kv.ReplicasMax))}
	case keyIDs:
		d.Format(valueFormat)
		s.ids = idsRecord{
			Node: kv.NodeID(d.Uvarint(maxUint64)), Keyspace: kv.KeyspaceID(d.Uvarint(1<<32 - 1)),
			Partition: kv.PartitionID(d.Uvarint(maxUint64)),
		}
	case keyRevision:
		d.Format(valueFormat)
		s.revision = kv.Revision(d.Uvarint(maxUint64))
	case keyBound:
		d.Format(valueFormat)
		s.bound = kv.Timestamp(d.Uvarint(maxUint64))
	default:
		return s.loadRecord(key, d)
	}
	return d.Finish()
}

// loadRecord reads a value whose key ends in the id that the value has as well.
func (s *state) loadRecord(key string, d *kv.Decoder) error {
	slash := strings.IndexByte(key, '/') + 1
	id, err := strconv.ParseUint(key[slash:], 10, 64)
	if err != nil || len(key)-slash != idDigits {
		return kv.Errorf(kv.Corruption, "system key %q is not known to this version", key)
	}
	var found uint64
	switch key[:slash] {
	case prefixNode:
		n := d.NodeInfo()
		s.nodes.ReplaceOrInsert(n)
		found = uint64(n.ID)
	case prefixReplaced:
		d.Format(valueFormat)
		s.replaced[kv.NodeID(id)] = kv.Timestamp(d.Uvarint(maxUint64))
		found = id
	case prefixKeyspace:
		d.Format(valueFormat)
		k := keyspaceRecord{Phase: phase(d.Byte())}
		k.Keyspace = d.Keyspace()
		if k.Phase < phaseCreating || k.Phase > phaseDropping {
			d.Fail("unknown phase %d", k.Phase)
		}
		s.keyspaces.ReplaceOrInsert(k)
		if k.Phase != phaseDropping {
			s.names[k.Name] = k.ID
		}
		found = uint64(k.ID)
	case prefixPartition:
		p := d.Descriptor()
		s.indexPartition(p)
		found = uint64(p.Partition)
	default:
		return kv.Errorf(kv.Corruption, "system key %q is not known to this version", key)
	}
	if err := d.Finish(); err != nil {
		return err
	}
	if found != id {
		return kv.Errorf(kv.Corruption, "system key %q holds the record of %d", key, found)
	}
	return nil
}

// verify checks what must hold between the records.
func (s *state) verify() error {
	var err error
	s.partitions.Ascend(func(d *kv.Descriptor) bool {
		if _, ok := s.keyspace(d.Keyspace); !ok && d.Partition != kv.SystemPartition {
			err = kv.Errorf(kv.Corruption, "the keyspace %d of partition %d has no record", d.Keyspace, d.Partition)
		} else if d.Partition >= s.ids.Partition {
			err = kv.Errorf(kv.Corruption, "partition %d exists, but the next id is %d", d.Partition, s.ids.Partition)
		} else {
			err = asCorruption(d.Validate())
		}
		return err == nil
	})
	if n, ok := s.nodes.Max(); ok && n.ID >= s.ids.Node {
		err = kv.Errorf(kv.Corruption, "node %d exists, but the next id is %d", n.ID, s.ids.Node)
	}
	if k, ok := s.keyspaces.Max(); ok && k.ID >= s.ids.Keyspace {
		err = kv.Errorf(kv.Corruption, "keyspace %d exists, but the next id is %d", k.ID, s.ids.Keyspace)
	}
	for _, id := range sortedKeys(s.replaced) {
		if n, ok := s.node(id); !ok || !n.Replaced {
			err = kv.Errorf(kv.Corruption, "node %d was replaced at some time, but has no record that says so", id)
		}
	}
	if s.cluster == nil && s.revision != 0 {
		err = kv.Errorf(kv.Corruption, "the state is at revision %d, but has no cluster record", s.revision)
	}
	return err
}

func asCorruption(err error) error {
	if err == nil {
		return nil
	}
	return kv.Errorf(kv.Corruption, "%v", err)
}
