package mvcc

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// Batch gathers the writes of one or more applies, of one or more replicas, and makes them
// visible at once. It ends with Commit or Discard.
type Batch struct {
	e *Engine
	b *pebble.Batch
	// written has the newest version of each key in this batch: only for the check of rule B4.
	written map[string]Version
	locks   pendingRows
	records pendingRows
	// outcomes has the transactions that were committed in this batch: only for the check of rule C7.
	outcomes map[kv.TxID]kv.Timestamp
	// resolved has the engine keys of the versions that were resolved in this batch.
	resolved map[string]bool
	deletes  int // of single engine keys
}

// NewBatch begins an empty batch.
func (e *Engine) NewBatch() *Batch {
	b := &Batch{e: e, b: e.db.NewBatch()}
	if invariant.Expensive {
		b.written, b.outcomes = make(map[string]Version), make(map[kv.TxID]kv.Timestamp)
	}
	return b
}

// Len is the size of the batch in bytes.
func (b *Batch) Len() int { return b.b.Len() }

// Empty reports whether nothing was written to the batch.
func (b *Batch) Empty() bool { return b.b.Count() == 0 && len(b.locks.put)+len(b.records.put) == 0 }

// Put writes a version. id is that of the transaction, zero for none.
func (b *Batch) Put(k kv.Key, ts kv.Timestamp, id kv.TxID, value []byte) error {
	return b.version(k, ts, id, value, false)
}

// Delete writes a tombstone: the key is absent from ts on.
func (b *Batch) Delete(k kv.Key, ts kv.Timestamp, id kv.TxID) error {
	return b.version(k, ts, id, nil, true)
}

// PutResolved writes the version of a transaction that was prepared before, at its commit timestamp: value,
// or a tombstone. Newer versions of the key may be there already, and so may this very one, which then stays as
// it is: a late copy of a prepare can lock the key again after its resolve (rule D8a), and what it adds up to then is
// another sum. ts must be above the partition's G: below it, what this version was overwritten by may be gone (rule J2).
func (b *Batch) PutResolved(k kv.Key, ts kv.Timestamp, id kv.TxID, value []byte, tombstone bool) error {
	if tombstone {
		value = nil
	}
	if err := checkVersion(k, ts, value); err != nil {
		return err
	}
	if invariant.Expensive {
		if err := b.checkResolved(k, Version{Timestamp: ts, ID: id}); err != nil {
			return err
		}
	}
	if there, err := b.resolvedBefore(k, ts); err != nil || there {
		return err
	}
	return b.setVersion(k, ts, id, value, tombstone)
}

// PutFirst is PutResolved for a version of which the caller knows that it is not there yet: the look for it in the
// engine costs more than the write.
func (b *Batch) PutFirst(k kv.Key, ts kv.Timestamp, id kv.TxID, value []byte, tombstone bool) error {
	if invariant.Expensive {
		there, err := b.hasVersion(appendDataKey(nil, k, ts), k)
		if err != nil {
			return err
		}
		invariant.Check(!there, "the key %x has a version at %v already, which is called the first", k, ts)
		return b.PutResolved(k, ts, id, value, tombstone)
	}
	if tombstone {
		value = nil
	}
	if err := checkVersion(k, ts, value); err != nil {
		return err
	}
	b.willHave(appendDataKey(nil, k, ts))
	return b.setVersion(k, ts, id, value, tombstone)
}

// resolvedBefore reports whether a key has a version at ts, and notes that it will have one.
func (b *Batch) resolvedBefore(k kv.Key, ts kv.Timestamp) (bool, error) {
	ek := appendDataKey(nil, k, ts)
	there, err := b.hasVersion(ek, k)
	if err == nil {
		b.willHave(ek)
	}
	return there, err
}

// willHave notes that a version is resolved in this batch.
func (b *Batch) willHave(ek []byte) {
	if b.resolved == nil {
		b.resolved = map[string]bool{}
	}
	b.resolved[string(ek)] = true
}

// hasVersion reports whether there is a version at its engine key ek, in this batch or before it.
func (b *Batch) hasVersion(ek []byte, k kv.Key) (bool, error) {
	if b.resolved[string(ek)] {
		return true, nil
	}
	if b.locks.dropped(k) {
		return false, nil
	}
	_, closer, err := b.e.db.Get(ek)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, wrapError("looking for a version", err)
	}
	_ = closer.Close() // returns memory only
	return true, nil
}

func (b *Batch) version(k kv.Key, ts kv.Timestamp, id kv.TxID, value []byte, tombstone bool) error {
	if err := checkVersion(k, ts, value); err != nil {
		return err
	}
	if invariant.Expensive {
		if err := b.checkOrder(k, Version{Timestamp: ts, ID: id}); err != nil {
			return err
		}
	}
	return b.setVersion(k, ts, id, value, tombstone)
}

// checkVersion holds a version to its limits.
func checkVersion(k kv.Key, ts kv.Timestamp, value []byte) error {
	if len(value) > kv.ValueBytesMax {
		return kv.LimitError("the length of a value in bytes", kv.ValueBytesMax, int64(len(value)), "store it in parts")
	}
	if len(k) > fullKeyBytesMax {
		return kv.LimitError("the length of a full key in bytes", fullKeyBytesMax, int64(len(k)), "use a shorter key")
	}
	if ts == 0 || ts == MaxTimestamp {
		return kv.Errorf(kv.Invalid, "a version of the key %x would have the timestamp %d, which means none or the newest: draw one from the oracle", k, uint64(ts))
	}
	return nil
}

func (b *Batch) setVersion(k kv.Key, ts kv.Timestamp, id kv.TxID, value []byte, tombstone bool) error {
	op := b.b.SetDeferred(1+len(k)+1+versionSuffixBytes, storedLen(id, value))
	appendDataKey(op.Key[:0], k, ts)
	putStored(op.Value, id, value, tombstone)
	return wrapError("writing a version", op.Finish())
}

// checkOrder is rule B4: versions of a key are written in timestamp order, and an equal
// timestamp carries the same id. A version that is there already may be written again.
func (b *Batch) checkOrder(k kv.Key, v Version) error {
	r, err := b.e.NewReader()
	if err != nil {
		return err
	}
	defer r.Close()
	newest, ok, err := r.Get(k, MaxTimestamp)
	if err != nil {
		return err
	}
	if w, both := b.written[string(k)]; both && (!ok || w.Timestamp > newest.Timestamp) {
		newest, ok = w, true
	}
	if ok && newest.Timestamp > v.Timestamp {
		same, found, err := r.Get(k, v.Timestamp)
		if err != nil {
			return err
		}
		invariant.Check(found && same.Timestamp == v.Timestamp && same.ID == v.ID,
			"versions of the key %x are written in timestamp order: %v by %v comes after %v by %v (rule B4)", k, v.Timestamp, v.ID, newest.Timestamp, newest.ID)
		return nil
	}
	invariant.Check(!ok || newest.Timestamp < v.Timestamp || newest.ID == v.ID,
		"two transactions write the key %x at %v: %v and %v (rule B4)", k, v.Timestamp, newest.ID, v.ID)
	b.written[string(k)] = v
	return nil
}

// checkResolved is what is left of rule B4 for a resolved version: whatever is at its timestamp is by the
// same transaction. What the batch has written last counts for checkOrder.
func (b *Batch) checkResolved(k kv.Key, v Version) error {
	r, err := b.e.NewReader()
	if err != nil {
		return err
	}
	defer r.Close()
	there, ok, err := r.Get(k, v.Timestamp)
	if err != nil {
		return err
	}
	invariant.Check(!ok || there.Timestamp != v.Timestamp || there.ID == v.ID,
		"the key %x has another version at %v, by %v, than the transaction %v resolves (rule B4)", k, v.Timestamp, there.ID, v.ID)
	w, both := b.written[string(k)]
	invariant.Check(!both || w.Timestamp != v.Timestamp || w.ID == v.ID,
		"two transactions write the key %x at %v: %v and %v (rule B4)", k, v.Timestamp, w.ID, v.ID)
	if !both || w.Timestamp < v.Timestamp {
		b.written[string(k)] = Version{Timestamp: v.Timestamp, ID: v.ID}
	}
	return nil
}

// CheckOutcome is rule C7, in builds with the tag "invariants": a transaction that is committed at ts has no other outcome, which
// would be a version of its anchor key above asOf.
func (b *Batch) CheckOutcome(anchor kv.Key, id kv.TxID, asOf, ts kv.Timestamp) error {
	if !invariant.Expensive {
		return nil
	}
	r, err := b.e.NewReader()
	if err != nil {
		return err
	}
	defer r.Close()
	c, ok, err := r.FindOutcome(anchor, id, asOf)
	if err != nil {
		return err
	}
	if w, both := b.outcomes[id]; both {
		c, ok = w, true
	}
	invariant.Check(!ok || c == ts, "a transaction commits once: %v at %v, and at %v (rule C7)", id, c, ts)
	b.outcomes[id] = ts
	return nil
}

// SetReplicaState writes the whole state of a replica.
func (b *Batch) SetReplicaState(p kv.PartitionID, s *ReplicaState) error {
	if s.Descriptor.Partition != p {
		return kv.Errorf(kv.Internal, "the state of partition %d names partition %d: report this", p, s.Descriptor.Partition)
	}
	b.e.retained.tell(p, s)
	if err := b.set(appendStateKey(nil, p, stateRecord), appendStateRecord(nil, s)); err != nil {
		return err
	}
	if err := b.SetCounters(p, s.Counters); err != nil {
		return err
	}
	return b.SetApplied(p, s.Applied, s.AppliedTerm)
}

// SetApplied writes how far the replica of p has applied its log, in the batch of what was
// applied. It is the cheap part of the state, written on every apply.
func (b *Batch) SetApplied(p kv.PartitionID, index kv.LogIndex, term kv.Term) error {
	if invariant.Mutated(invariant.ApplyWithoutIndex) {
		return b.e.plantIndex(p, index, term)
	}
	return b.setApplied(p, index, term)
}

func (b *Batch) setApplied(p kv.PartitionID, index kv.LogIndex, term kv.Term) error {
	op := b.b.SetDeferred(stateKeyBytes, appliedBytes)
	appendStateKey(op.Key[:0], p, stateApplied)
	appendApplied(op.Value[:0], index, term)
	return wrapError("writing an applied index", op.Finish())
}

// SetCounters writes the estimates of a partition's size.
func (b *Batch) SetCounters(p kv.PartitionID, c Counters) error {
	op := b.b.SetDeferred(stateKeyBytes, countersBytes)
	appendStateKey(op.Key[:0], p, stateCounters)
	appendCounters(op.Value[:0], c)
	return wrapError("writing counters", op.Finish())
}

// DeleteReplica drops the state of the replica of p, and the data, locks and records of its
// span. It is for replicas that go, not for keys: each call costs every later read a little
// until the next flush.
func (b *Batch) DeleteReplica(p kv.PartitionID, span kv.Span) error {
	b.e.retained.forget(p)
	for _, sub := range [...]byte{stateRecord, stateApplied, stateCounters} {
		if err := b.b.Delete(appendStateKey(nil, p, sub), nil); err != nil {
			return wrapError("deleting the state of a replica", err)
		}
	}
	if span.IsEmpty() {
		return nil
	}
	b.locks.dropSpan(span, func(ek []byte) (kv.Key, error) {
		k, _, _, err := splitLockKey(ek)
		return k, err
	})
	b.records.dropSpan(span, func(ek []byte) (kv.Key, error) {
		k, _, err := splitRecordKey(ek)
		return k, err
	})
	for ek := range b.resolved { // in any order: each is looked at alone
		if k, _, err := splitDataKey([]byte(ek)); err == nil && span.Contains(k) {
			delete(b.resolved, ek)
		}
	}
	for _, kind := range [...]byte{kindData, kindLock, kindRecord} {
		lo, hi := spanBounds(kind, span)
		if err := b.b.DeleteRange(lo, hi, nil); err != nil {
			return wrapError("deleting the data of a replica", err)
		}
	}
	return nil
}

// PutSystem writes an unversioned record. key may be any string.
func (b *Batch) PutSystem(key string, value []byte) error {
	return b.set(appendSystemKey(nil, key), value)
}

// DeleteSystem removes an unversioned record.
func (b *Batch) DeleteSystem(key string) error {
	return wrapError("deleting a system record", b.b.Delete(appendSystemKey(nil, key), nil))
}

// deleteKey deletes one engine key.
func (b *Batch) deleteKey(ek []byte) error {
	b.deletes++
	return b.b.Delete(ek, nil)
}

func (b *Batch) set(key, value []byte) error {
	return wrapError("writing", b.b.Set(key, value, nil))
}

// Discard ends the batch without writing it.
func (b *Batch) Discard() {
	_ = b.b.Close() // returns memory only
	b.b = nil
	b.locks, b.records = pendingRows{}, pendingRows{}
}

// Commit makes the batch visible, and ends it. It is not durable before a flush: the Raft log
// has what is needed to write it again. While the disk refuses flushes Commit fails with
// DiskFull, writes nothing, and leaves the batch as it was, to be committed again or discarded:
// so it does not wait for ever for room in memory.
func (b *Batch) Commit() error {
	if err := b.e.health.flush.Load(); err != nil {
		return err // nothing was done: the batch is as it was
	}
	for _, rows := range [...]*pendingRows{&b.locks, &b.records} {
		if err := rows.write(b.set); err != nil {
			return err
		}
	}
	size := b.b.Len() + perEntryBytes*int(b.b.Count())
	err := wrapError("committing a batch", b.e.hand.commit(b.b, func() error { return b.b.Commit(pebble.NoSync) }))
	if err == nil {
		b.e.recent.committed(&b.locks)
	}
	b.Discard()
	if err != nil {
		b.e.recent.forget()
		return err
	}
	return b.e.committed(size, b.deletes)
}

// plantIndex is the planted bug ApplyWithoutIndex: the applied index is not in the batch of its
// data but goes ahead of it, and now and then a flush comes between.
func (e *Engine) plantIndex(p kv.PartitionID, index kv.LogIndex, term kv.Term) error {
	b := e.NewBatch()
	err := b.setApplied(p, index, term)
	if err == nil {
		err = b.b.Commit(pebble.NoSync)
	}
	b.Discard()
	const flushEvery = 8
	if e.planted++; err == nil && e.planted%flushEvery == 0 {
		err = e.Flush()
	}
	return err
}
