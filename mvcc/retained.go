package mvcc

import (
	"sync"

	"github.com/kvd-db/kvd/kv"
)

// retained knows of every replica in the store what each read must know, so that it need not be looked up: that
// would be a fifth of a short scan.
//
// Invariant: it is told here before the state that says so can be seen, and forgotten before
// the replica's data are deleted. So a Reader that was opened before it is asked for sees all
// that it promises.
type retained struct {
	mu sync.RWMutex
	of map[kv.PartitionID]Retained
}

// Retained is what a store keeps of a replica.
type Retained struct {
	Replica kv.ReplicaID
	GC      kv.Timestamp // versions as of timestamps below it may be gone (rule D6)
	// Descriptor is read only. It is told before the state that has it is committed: a Reader may see one that is newer
	// than its state. That is harmless as long as spans only shrink.
	Descriptor *kv.Descriptor
}

// tell takes over a state that is about to be written.
func (t *retained) tell(p kv.PartitionID, s *ReplicaState) {
	desc := s.Descriptor
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of[p] = Retained{Replica: s.Replica, GC: max(t.of[p].GC, s.GC), Descriptor: &desc}
}

func (t *retained) forget(p kv.PartitionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.of, p)
}

// Replica is what is retained of the replica of a partition, false if there is none. It is that of the
// Reader's state, or of a newer one: G may refuse a little more, never less.
func (r *Reader) Replica(p kv.PartitionID) (Retained, bool) { return r.e.retained.get(p) }

// RetainedFrom is the G of Replica.
func (r *Reader) RetainedFrom(p kv.PartitionID) (kv.Timestamp, bool) {
	x, ok := r.Replica(p)
	return x.GC, ok
}

func (t *retained) get(p kv.PartitionID) (Retained, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	x, ok := t.of[p]
	return x, ok
}

// loadRetained fills the table when the store is opened.
func (e *Engine) loadRetained() error {
	states, err := e.Replicas()
	if err != nil {
		return err
	}
	for i := range states {
		e.retained.tell(states[i].Descriptor.Partition, &states[i])
	}
	return nil
}
