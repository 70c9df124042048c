package wal

import (
	"cmp"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"github.com/kvd-db/kvd/kv"
)

// sectorBytes is what a device writes in one piece.
const sectorBytes = 512

// CrashMode says what a crash of a MemFS does with what was not synced.
type CrashMode int

// The ways to crash.
const (
	CrashLose   CrashMode = iota // all of it is lost
	CrashKeep                    // all of it is there: only the process died
	CrashPrefix                  // sectors are there up to a random one, file by file in the order of writing
	CrashTorn                    // any subset of the sectors is there
)

// CrashModes are all of them.
var CrashModes = []CrashMode{CrashLose, CrashKeep, CrashPrefix, CrashTorn}

func (c CrashMode) String() string {
	names := [...]string{"lose", "keep", "prefix", "torn"}
	if c < 0 || int(c) >= len(names) {
		return "unknown"
	}
	return names[c]
}

// Crash stops the machine: open files are dead, and what was not synced is kept or lost
// as the mode says. Changes of names that were not synced survive up to a random one.
func (m *MemFS) Crash(rng *rand.Rand, mode CrashMode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	m.crashNames(rng, mode)
	pieces := 0
	nodes := m.nodes()
	for _, n := range nodes {
		for i := range n.pending {
			pieces += len(n.pending[i].sectors())
		}
	}
	limit, chance := 0, 0.0
	switch mode {
	case CrashKeep:
		limit, chance = pieces, 1
	case CrashPrefix:
		limit, chance = rng.IntN(pieces+1), 1
	case CrashTorn:
		limit, chance = pieces, rng.Float64()
	}
	for _, n := range nodes {
		for i := range n.pending {
			for _, s := range n.pending[i].sectors() {
				if limit--; limit >= 0 && (chance == 1 || rng.Float64() < chance) {
					s.apply(&n.disk)
				}
			}
		}
		n.pending = nil
		n.view = slices.Clone(n.disk)
	}
}

func (m *MemFS) crashNames(rng *rand.Rand, mode CrashMode) {
	keep := 0
	switch mode {
	case CrashKeep:
		keep = len(m.dirOps)
	case CrashPrefix, CrashTorn:
		keep = rng.IntN(len(m.dirOps) + 1)
	}
	for i := range keep {
		m.dirOps[i].apply(m.durable)
	}
	m.dirOps = nil
	m.names = make(map[string]*memNode, len(m.durable))
	for p, n := range m.durable {
		m.names[p] = n
	}
}

// nodes are the files that have a name, in the order of their names.
func (m *MemFS) nodes() []*memNode {
	type named struct {
		path string
		node *memNode
	}
	all := make([]named, 0, len(m.names))
	for p, n := range m.names {
		all = append(all, named{p, n})
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Compare(a.path, b.path) })
	nodes := make([]*memNode, 0, len(all))
	for _, x := range all {
		if !slices.Contains(nodes, x.node) {
			nodes = append(nodes, x.node)
		}
	}
	return nodes
}

// sectors cuts a write where the device may tear it.
func (w *memWrite) sectors() []memWrite {
	var out []memWrite
	for off, data := w.off, w.data; len(data) > 0; {
		n := min(int64(len(data)), sectorBytes-off%sectorBytes)
		out = append(out, memWrite{off, data[:n]})
		off, data = off+n, data[n:]
	}
	return out
}

// Clone is a copy that shares nothing with m: content, what is synced, and faults, but
// no open file and no OnOp.
func (m *MemFS) Clone() *MemFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	copies := map[*memNode]*memNode{nil: nil}
	dup := func(n *memNode) *memNode {
		c, ok := copies[n]
		if !ok {
			c = &memNode{view: slices.Clone(n.view), disk: slices.Clone(n.disk), pending: slices.Clone(n.pending)}
			copies[n] = c
		}
		return c
	}
	c := NewMemFS()
	c.faults = m.faults
	for p, n := range m.names {
		c.names[p] = dup(n)
	}
	for p, n := range m.durable {
		c.durable[p] = dup(n)
	}
	for _, op := range m.dirOps {
		o := dirOp{dir: op.dir}
		for _, ch := range op.changes {
			o.changes = append(o.changes, nameChange{ch.path, dup(ch.node)})
		}
		c.dirOps = append(c.dirOps, o)
	}
	return c
}

// SetCapacity limits the bytes of all files together; 0 = no limit. What exceeds it is
// answered with ENOSPC, after the part that fits was written.
func (m *MemFS) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.capacity = bytes
}

// Used is the bytes of all files together.
func (m *MemFS) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used()
}

// FailSync makes the n-th Sync or SyncDir from now fail; what it was to make durable is
// lost, though reads go on showing it. 0: none. It returns what was left of an earlier n, 0 if that has struck.
func (m *MemFS) FailSync(n int) (left int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	left, m.faults.syncs = m.faults.syncs, n
	return left
}

// FailWrite makes the n-th WriteAt from now fail with err, after keep bytes.
func (m *MemFS) FailWrite(n, keep int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.writes, m.faults.writeKeep, m.faults.writeErr = n, keep, err
}

// FileSize is the size of a file, -1 if it is not there.
func (m *MemFS) FileSize(path string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[filepath.Clean(path)]
	if n == nil {
		return -1
	}
	return int64(len(n.view))
}

// FlipBit flips one bit of a file, on the device and in the cache. Bit 0 is the lowest
// bit of the first byte.
func (m *MemFS) FlipBit(path string, bit int64) error {
	return m.damage(path, bit/8, func(b []byte) { b[bit/8] ^= 1 << (bit % 8) })
}

// Overwrite replaces bytes of a file, on the device and in the cache: a bad sector, a
// misplaced write.
func (m *MemFS) Overwrite(path string, off int64, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	return m.damage(path, off+int64(len(data))-1, func(b []byte) { copy(b[off:], data) })
}

// Truncate cuts a file.
func (m *MemFS) Truncate(path string, size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[filepath.Clean(path)]
	if n == nil || size > int64(len(n.disk)) {
		return notExist("truncate", path)
	}
	n.view, n.disk = n.view[:size], n.disk[:size]
	return nil
}

// damage changes a file behind the back of whoever writes it; last is the highest offset.
func (m *MemFS) damage(path string, last int64, change func([]byte)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[filepath.Clean(path)]
	if n == nil {
		return notExist("damage", path)
	}
	if last >= int64(len(n.disk)) || last < 0 {
		return kv.Errorf(kv.Invalid, "%s has %d durable bytes, no byte %d", path, len(n.disk), last)
	}
	change(n.disk)
	change(n.view)
	return nil
}
