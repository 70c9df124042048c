package bench

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/btree"
)

// Memory is a Target in this process's memory: the yardstick for what the harness itself
// costs, and the store of its tests.
type Memory struct {
	mu      sync.RWMutex
	tree    *btree.BTreeG[Record]
	version uint64
}

// NewMemory makes an empty one.
func NewMemory() *Memory {
	const degree = 32
	return &Memory{tree: btree.NewG(degree, func(a, b Record) bool { return bytes.Compare(a.Key, b.Key) < 0 })}
}

// Describe implements Describer.
func (m *Memory) Describe() Description {
	return Description{Name: "memory", Facts: map[string]string{"durability": "none"}}
}

// Get implements Target.
func (m *Memory) Get(ctx context.Context, key []byte) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	r, ok := m.tree.Get(Record{Key: key})
	if !ok {
		return Record{}, ErrNotFound
	}
	return r, nil
}

// Put implements Target.
func (m *Memory) Put(ctx context.Context, key, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(key, value)
	return nil
}

// Delete removes a key, behind the back of a run if need be.
func (m *Memory) Delete(key []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tree.Delete(Record{Key: key})
}

// set stores copies; stored slices are never changed, so that readers may keep them.
func (m *Memory) set(key, value []byte) {
	m.version++
	m.tree.ReplaceOrInsert(Record{Key: slices.Clone(key), Value: slices.Clone(value), Version: m.version})
}

// Scan implements Target.
func (m *Memory) Scan(ctx context.Context, start, end []byte, limit int) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found []Record
	m.tree.AscendGreaterOrEqual(Record{Key: start}, func(r Record) bool {
		if len(found) == limit || end != nil && bytes.Compare(r.Key, end) >= 0 {
			return false
		}
		found = append(found, r)
		return true
	})
	return found, nil
}

// CompareAndSet implements Target.
func (m *Memory) CompareAndSet(ctx context.Context, key []byte, version uint64, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, _ := m.tree.Get(Record{Key: key}); r.Version != version {
		return ErrConflict
	}
	m.set(key, value)
	return nil
}

// Update implements Transactor: the first to commit wins.
func (m *Memory) Update(ctx context.Context, fn func(ctx context.Context, tx Tx) error) (took Attempts, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return took, err
		}
		took.Made++
		tx := m.begin()
		if err := fn(ctx, tx); err != nil {
			return took, err
		}
		if m.commit(tx) {
			return took, nil
		}
		took.Aborted++
	}
}

// View implements Transactor. Nothing in it is stale.
func (m *Memory) View(ctx context.Context, keys [][]byte, _ time.Duration) (at uint64, found []Record, err error) {
	tx := m.begin()
	found, err = tx.GetMany(ctx, keys...)
	return tx.at, found, err
}

func (m *Memory) begin() *memoryTx {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memoryTx{tree: m.tree.Clone(), at: m.version, seen: map[string]uint64{}, puts: map[string][]byte{}}
}

// commit writes what a transaction has put, if all that it has read is still so.
func (m *Memory) commit(tx *memoryTx) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, version := range tx.seen {
		if r, _ := m.tree.Get(Record{Key: []byte(key)}); r.Version != version {
			return false
		}
	}
	for key, value := range tx.puts {
		m.set([]byte(key), value)
	}
	return true
}

// memoryTx is a transaction of Memory.
type memoryTx struct {
	tree *btree.BTreeG[Record] // as it was at the beginning
	at   uint64
	seen map[string]uint64
	puts map[string][]byte
}

// GetMany implements Tx.
func (t *memoryTx) GetMany(ctx context.Context, keys ...[]byte) ([]Record, error) {
	found := make([]Record, len(keys))
	for i, k := range keys {
		if value, ok := t.puts[string(k)]; ok {
			found[i] = Record{Key: k, Value: value, Version: t.at + 1}
			continue
		}
		r, _ := t.tree.Get(Record{Key: k})
		t.seen[string(k)] = r.Version
		found[i] = Record{Key: k, Value: r.Value, Version: r.Version}
	}
	return found, ctx.Err()
}

// Put implements Tx.
func (t *memoryTx) Put(key, value []byte) { t.puts[string(key)] = slices.Clone(value) }
