package mvcc

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// ReplicaState is what the store knows of a replica beside its data. It is written in the
// batches of that data, so each state of the store is a state that the replica has been in.
type ReplicaState struct {
	Replica     kv.ReplicaID
	Applied     kv.LogIndex
	AppliedTerm kv.Term
	Descriptor  kv.Descriptor
	ConfState   []byte       // Raft's configuration as of Applied; opaque here
	GC          kv.Timestamp // G: reads below it are refused (rule D6)
	Horizon     kv.Timestamp // H: outcomes at or below it may be forgotten (rule I2)
	Counters    Counters
}

// Counters estimate the size of a partition, as Measure does; their owner keeps them.
type Counters struct {
	Keys    int64
	Bytes   int64
	Garbage int64 // versions that are overwritten, or tombstones: what a collection takes sooner or later
}

// ReplicaState is the newest state of the replica of a partition; false if there is none.
func (e *Engine) ReplicaState(p kv.PartitionID) (ReplicaState, bool, error) {
	r, err := e.NewReader()
	if err != nil {
		return ReplicaState{}, false, err
	}
	defer r.Close()
	return r.ReplicaState(p)
}

// ReplicaState is the state of the replica of a partition as of this view. It costs a seek for each of its
// records: a step from one to the next would go over all that the memtables hold of it, one for every apply.
func (r *Reader) ReplicaState(p kv.PartitionID) (ReplicaState, bool, error) {
	var s ReplicaState
	for _, sub := range [...]byte{stateRecord, stateApplied, stateCounters} {
		r.key = appendStateKey(r.key[:0], p, sub)
		if !r.seekPrefix() {
			if err := r.it.Error(); err != nil || sub == stateRecord {
				return ReplicaState{}, false, wrapError("reading the state of a replica", err)
			}
			continue
		}
		v, err := r.it.ValueAndErr()
		if err != nil {
			return s, false, wrapError("reading the state of a replica", err)
		}
		switch sub {
		case stateRecord:
			err = decodeStateRecord(v, &s)
		case stateApplied:
			s.Applied, s.AppliedTerm, err = decodeApplied(v)
		case stateCounters:
			s.Counters, err = decodeCounters(v)
		}
		if err != nil {
			return s, false, err
		}
	}
	if s.Descriptor.Partition != p {
		return s, false, kv.Errorf(kv.Corruption, "the state of partition %d names partition %d: replace this replica", p, s.Descriptor.Partition)
	}
	return s, true, nil
}

// Applied is how far the replica of a partition had come in this view; 0 if there is none.
func (r *Reader) Applied(p kv.PartitionID) (kv.LogIndex, error) {
	r.key = appendStateKey(r.key[:0], p, stateApplied)
	if !r.seekPrefix() {
		return 0, wrapError("reading an applied index", r.it.Error())
	}
	v, err := r.it.ValueAndErr()
	if err != nil {
		return 0, wrapError("reading an applied index", err)
	}
	index, _, err := decodeApplied(v)
	return index, err
}

// Retained is what the replica of a partition still keeps as of this view: G and H of its
// state, without the cost of reading all of it; false if there is no replica.
func (r *Reader) Retained(p kv.PartitionID) (gc, horizon kv.Timestamp, ok bool, err error) {
	r.key = appendStateKey(r.key[:0], p, stateRecord)
	if !r.seekPrefix() {
		return 0, 0, false, wrapError("reading the state of a replica", r.it.Error())
	}
	v, err := r.it.ValueAndErr()
	if err != nil {
		return 0, 0, false, wrapError("reading the state of a replica", err)
	}
	c := cursor{b: v}
	format := c.byte()
	c.uint64() // the replica's id
	gc, horizon = kv.Timestamp(c.uint64()), kv.Timestamp(c.uint64())
	if c.bad || format != stateFormat {
		return 0, 0, false, kv.Errorf(kv.Corruption, "the state of a replica has the unknown format %d, or is cut short: replace this replica", format)
	}
	return gc, horizon, true, nil
}

// Replicas are the newest states of all replicas in the store, by partition.
func (e *Engine) Replicas() ([]ReplicaState, error) {
	r, err := e.NewReader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var partitions []kv.PartitionID
	err = r.applied(func(p kv.PartitionID, _ kv.LogIndex, _ kv.Term) { partitions = append(partitions, p) })
	if err != nil {
		return nil, err
	}
	states := make([]ReplicaState, 0, len(partitions))
	for _, p := range partitions {
		s, ok, err := r.ReplicaState(p)
		if err != nil {
			return nil, err
		}
		if ok {
			states = append(states, s)
		}
	}
	return states, nil
}

// FlushedReplicaStates calls fn for every replica, by partition, with the applied index and
// term that a crash now would leave.
func (e *Engine) FlushedReplicaStates(fn func(p kv.PartitionID, applied kv.LogIndex, term kv.Term)) error {
	r, err := e.newReader(&pebble.IterOptions{OnlyReadGuaranteedDurable: !invariant.Mutated(invariant.LogCutPastFlushed)})
	if err != nil {
		return err
	}
	defer r.Close()
	return r.applied(fn)
}

// FlushedApplied is the applied index of a partition that a crash now would leave, 0 if none:
// the log may be cut up to it (rule 51).
func (e *Engine) FlushedApplied(p kv.PartitionID) (kv.LogIndex, error) {
	key := appendStateKey(nil, p, stateApplied)
	r, err := e.newReader(&pebble.IterOptions{OnlyReadGuaranteedDurable: !invariant.Mutated(invariant.LogCutPastFlushed)})
	if err != nil {
		return 0, err
	}
	defer r.Close()
	v, ok, err := r.raw(key)
	if err != nil || !ok {
		return 0, err
	}
	index, _, err := decodeApplied(v)
	return index, err
}

// applied calls fn for every replica of this view, by partition.
func (r *Reader) applied(fn func(kv.PartitionID, kv.LogIndex, kv.Term)) error {
	r.setBounds(appendPrefix(nil, kindReplica, nil), appendPrefix(nil, kindReplica+1, nil))
	for ok := r.it.First(); ok; ok = r.it.Next() {
		p, sub, err := splitStateKey(r.it.Key())
		if err != nil {
			return err
		}
		if sub != stateApplied {
			continue
		}
		v, err := r.it.ValueAndErr()
		if err != nil {
			return wrapError("reading the states of replicas", err)
		}
		index, term, err := decodeApplied(v)
		if err != nil {
			return err
		}
		fn(p, index, term)
	}
	return wrapError("reading the states of replicas", r.it.Error())
}

const (
	appliedBytes  = 16
	countersBytes = 24
	// stateFormat is the first byte of the state record.
	stateFormat byte = 1
)

func appendApplied(dst []byte, index kv.LogIndex, term kv.Term) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(index))
	return binary.BigEndian.AppendUint64(dst, uint64(term))
}

func decodeApplied(b []byte) (kv.LogIndex, kv.Term, error) {
	if len(b) != appliedBytes {
		return 0, 0, kv.Errorf(kv.Corruption, "an applied index has %d bytes, not %d: replace this replica", len(b), appliedBytes)
	}
	return kv.LogIndex(binary.BigEndian.Uint64(b)), kv.Term(binary.BigEndian.Uint64(b[8:])), nil
}

func appendCounters(dst []byte, c Counters) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.Keys))
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.Bytes))
	return binary.BigEndian.AppendUint64(dst, uint64(c.Garbage))
}

func decodeCounters(b []byte) (Counters, error) {
	if len(b) != countersBytes {
		return Counters{}, kv.Errorf(kv.Corruption, "the counters of a replica have %d bytes, not %d: replace this replica", len(b), countersBytes)
	}
	c := cursor{b: b}
	return c.counters(), nil
}

func (c *cursor) counters() Counters {
	return Counters{Keys: int64(c.uint64()), Bytes: int64(c.uint64()), Garbage: int64(c.uint64())}
}

// appendStateRecord appends everything of a state but the applied index and the counters,
// which are records of their own.
func appendStateRecord(dst []byte, s *ReplicaState) []byte {
	d := &s.Descriptor
	dst = append(dst, stateFormat)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Replica))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.GC))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Horizon))
	dst = appendBytes(dst, s.ConfState)
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.Partition))
	dst = binary.BigEndian.AppendUint32(dst, uint32(d.Keyspace))
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.Generation))
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.NextReplica))
	dst = appendBytes(dst, d.Span.Start)
	dst = appendBytes(dst, d.Span.End)
	dst = binary.AppendUvarint(dst, uint64(len(d.Replicas)))
	for _, r := range d.Replicas {
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.ID))
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.Node))
		dst = append(dst, byte(r.Role))
	}
	return dst
}

// decodeStateRecord fills s; what it stores is a copy.
func decodeStateRecord(b []byte, s *ReplicaState) error {
	c := cursor{b: b}
	if f := c.byte(); f != stateFormat {
		return kv.Errorf(kv.Corruption, "the state of a replica has the unknown format %d: replace this replica", f)
	}
	d := &s.Descriptor
	s.Replica = kv.ReplicaID(c.uint64())
	s.GC = kv.Timestamp(c.uint64())
	s.Horizon = kv.Timestamp(c.uint64())
	s.ConfState = c.bytes()
	d.Partition = kv.PartitionID(c.uint64())
	d.Keyspace = kv.KeyspaceID(c.uint32())
	d.Generation = kv.Generation(c.uint64())
	d.NextReplica = kv.ReplicaID(c.uint64())
	d.Span.Start = c.bytes()
	d.Span.End = c.bytes()
	const replicaBytes = 17
	n := c.uvarint()
	if n > uint64(len(c.b)/replicaBytes) {
		c.fail()
	}
	for i := uint64(0); i < n && !c.bad; i++ {
		d.Replicas = append(d.Replicas, kv.Replica{ID: kv.ReplicaID(c.uint64()), Node: kv.NodeID(c.uint64()), Role: kv.Role(c.byte())})
	}
	return c.done("the state of a replica")
}
