package mvcc

import (
	"sync"

	"github.com/kvd-db/kvd/kv"
)

// retained knows the G of every replica in the store, so that a read need not look it up: that
// would be a fifth of a short scan.
//
// Invariant: G is raised here before the state that says so can be seen, and forgotten before
// the replica's data are deleted. So a Reader that was opened before G is asked for sees all
// that G promises.
type retained struct {
	mu sync.RWMutex
	gc map[kv.PartitionID]kv.Timestamp
}

func (t *retained) raise(p kv.PartitionID, gc kv.Timestamp) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gc[p] = max(t.gc[p], gc)
}

func (t *retained) forget(p kv.PartitionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.gc, p)
}

// RetainedFrom is the G of the replica of a partition, false if there is none: versions as of
// timestamps below it may be gone. It is that of the Reader's state, or a newer one: it may
// refuse a little more, never less (rule D6).
func (r *Reader) RetainedFrom(p kv.PartitionID) (kv.Timestamp, bool) {
	t := &r.e.retained
	t.mu.RLock()
	defer t.mu.RUnlock()
	gc, ok := t.gc[p]
	return gc, ok
}

// loadRetained fills the table when the store is opened.
func (e *Engine) loadRetained() error {
	states, err := e.Replicas()
	if err != nil {
		return err
	}
	for i := range states {
		e.retained.raise(states[i].Descriptor.Partition, states[i].GC)
	}
	return nil
}
