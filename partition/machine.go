package partition

import (
	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
)

// Machine is the applied state of one replica below the log. Given the same entries, all
// replicas of a partition reach the same state. It belongs to whoever applies entries; it
// holds no data, which goes into the batches.
type Machine struct {
	state mvcc.ReplicaState
	// changed says that more than Applied differs from what was last put into a batch.
	changed bool
}

// ApplyResult is what one entry did that others need to know of.
type ApplyResult struct {
	Index      kv.LogIndex
	Writes     int            // write commands
	GC         kv.Timestamp   // G after the entry
	Horizon    kv.Timestamp   // H after the entry
	Descriptor *kv.Descriptor // the new one; nil if it did not change
	Digests    []uint64       // ids of the digest markers: the state to be digested is that at Index
}

// NewMachine begins with an applied state.
func NewMachine(st *mvcc.ReplicaState) *Machine { return &Machine{state: *st} }

// State is the applied state. It must not be changed.
func (m *Machine) State() *mvcc.ReplicaState { return &m.state }

// Apply applies all commands of an entry to the batch, and an entry without data (a leader's
// first one) as well. index must be the one after the last applied. An error is Corruption
// or comes from the engine: the replica stops, and the batch is thrown away.
func (m *Machine) Apply(index kv.LogIndex, term kv.Term, data []byte, b *mvcc.Batch) (ApplyResult, error) {
	if index != m.state.Applied+1 {
		violated("entries are applied one by one: %d came after %d", index, m.state.Applied)
	}
	res := ApplyResult{Index: index}
	if len(data) > 0 {
		if err := eachCommand(data, func(c *Command) *kv.Error { return m.command(c, b, &res) }); err != nil {
			return ApplyResult{}, err
		}
	}
	m.state.Applied, m.state.AppliedTerm = index, term
	res.GC, res.Horizon = m.state.GC, m.state.Horizon
	return res, nil
}

// SetConfState notes Raft's configuration as of the last applied entry, which the next Finish writes.
func (m *Machine) SetConfState(conf []byte) {
	m.state.ConfState = conf
	m.changed = true
}

// SetDescriptor replaces the descriptor as part of a configuration change that is the last
// applied entry; the next Finish writes it.
func (m *Machine) SetDescriptor(d *kv.Descriptor) {
	m.state.Descriptor = *d.Clone()
	m.changed = true
}

// SetCounters notes how much the replica holds, as last measured, which the next Finish writes.
// It is the one part of the state that each replica finds out for itself.
func (m *Machine) SetCounters(c mvcc.Counters) {
	if m.state.Counters != c {
		m.state.Counters = c
		m.changed = true
	}
}

// Finish puts how far the replica has applied into the batch: once, after the last Apply.
func (m *Machine) Finish(b *mvcc.Batch) error {
	p := m.state.Descriptor.Partition
	if !m.changed {
		return b.SetApplied(p, m.state.Applied, m.state.AppliedTerm)
	}
	if err := b.SetReplicaState(p, &m.state); err != nil {
		return err
	}
	m.changed = false
	return nil
}

// violated is invariant.Check for hot paths, where even the arguments of a check that holds
// cost an allocation.
func violated(sentence string, args ...any) { invariant.Check(false, sentence, args...) }

func (m *Machine) command(c *Command, b *mvcc.Batch, res *ApplyResult) *kv.Error {
	switch c.kind {
	case commandWrite:
		res.Writes++
		return m.write(c, b)
	case commandHorizon:
		if c.Timestamp > m.state.Horizon {
			m.state.Horizon = c.Timestamp
			m.changed = true
		}
	case commandGC:
		// Outcomes are versions: those above H must stay (rule I9), so G never passes H.
		if g := min(c.Timestamp, m.state.Horizon); g > m.state.GC {
			m.state.GC = g
			m.changed = true
		}
	case commandDigest:
		res.Digests = append(res.Digests, c.Digest)
	case commandDescriptor:
		m.descriptor(c, res)
	default:
		return kv.AsError(m.transaction(c, b, res))
	}
	return nil
}

// transaction applies the commands of two-phase and of parallel commit.
func (m *Machine) transaction(c *Command, b *mvcc.Batch, res *ApplyResult) error {
	switch c.kind {
	case commandPrepare:
		return m.lock(c, b)
	case commandStage:
		return m.stage(c, b)
	case commandDecide:
		return m.decide(c, b, res)
	case commandRecord:
		res.Writes++
		if err := m.write(c, b); err != nil {
			return err
		}
		return b.PutRecord(&mvcc.Record{Attempt: c.Attempt, State: mvcc.RecordCommitted, Timestamp: c.Timestamp, Participants: c.Participants})
	case commandResolve:
		return m.resolve(c, b)
	case commandForget:
		return b.DeleteRecord(c.Anchor, c.ID)
	}
	return nil
}

func (m *Machine) lock(c *Command, b *mvcc.Batch) error {
	for i := range c.Locks {
		if !m.state.Descriptor.Span.Contains(c.Locks[i].Key) {
			violated("a partition locks its own keys only: %x", []byte(c.Locks[i].Key))
		}
		if err := b.PutLock(&c.Locks[i]); err != nil {
			return err
		}
	}
	return nil
}

// resolve makes versions of the locks of a committed transaction, and drops those of an aborted
// one. It touches no lock of another (rule F5).
func (m *Machine) resolve(c *Command, b *mvcc.Batch) error {
	if c.Timestamp != 0 && c.Timestamp <= m.state.GC {
		violated("nothing is written at or below G: %d, %d", c.Timestamp, m.state.GC)
	}
	put := b.PutResolved
	if c.First {
		put = b.PutFirst
	}
	return takeLocks(c, b, func(k *mvcc.Lock) error {
		return put(k.Key, c.Timestamp, kv.TxID{}, k.Value, k.Write == kv.WriteDelete)
	})
}

// takeLocks takes the locks away that a command names and that are still its transaction's. Of the exclusive
// ones of a committed one it has the version made.
func takeLocks(c *Command, b *mvcc.Batch, put func(*mvcc.Lock) error) error {
	for i := range c.Locks {
		k, ok, err := b.TakeLock(c.Locks[i].Key, c.Locks[i].Strength, c.ID)
		switch {
		case err != nil:
			return err
		case !ok || c.Timestamp == 0 || k.Strength != mvcc.Exclusive:
			continue
		}
		checkStaged(k, c.Timestamp)
		if err := put(k); err != nil {
			return err
		}
	}
	return nil
}

// write makes the versions of a commit. Those of a key come in timestamp order (rule B4): the
// engine checks it where that costs no read, or always with the build tag "invariants".
func (m *Machine) write(c *Command, b *mvcc.Batch) *kv.Error {
	if c.Timestamp <= m.state.GC {
		violated("nothing is written at or below G: %d, %d", c.Timestamp, m.state.GC)
	}
	id := c.ID
	if len(c.Versions) > 0 {
		if err := b.CheckOutcome(c.Versions[0].Key, id, c.AsOf, c.Timestamp); err != nil {
			return kv.AsError(err)
		}
	}
	for i := range c.Versions {
		v := &c.Versions[i]
		if !m.state.Descriptor.Span.Contains(v.Key) {
			violated("a partition writes its own keys only: %x", []byte(v.Key))
		}
		var err error
		if v.Tombstone {
			err = b.Delete(v.Key, c.Timestamp, id)
		} else {
			err = b.Put(v.Key, c.Timestamp, id, v.Value)
		}
		if err != nil {
			return kv.AsError(err)
		}
		id = kv.TxID{} // the first write of the commit is the anchor, which alone carries the id (rule I9)
	}
	return nil
}

// descriptor takes a new descriptor if it was made from the current one.
func (m *Machine) descriptor(c *Command, res *ApplyResult) {
	if c.Generation != m.state.Descriptor.Generation || c.Descriptor.Partition != m.state.Descriptor.Partition {
		return
	}
	m.state.Descriptor = *c.Descriptor.Clone()
	m.changed = true
	res.Descriptor = c.Descriptor
}
