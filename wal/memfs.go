package wal

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/kvd-db/kvd/kv"
)

// MemFS is a filesystem in memory that keeps apart what was synced and what was not, and
// can crash. It is deterministic: the same calls, with the same random source for Crash,
// give the same bytes. Methods may be called concurrently.
//
// It behaves like the worst that a real one may do: an unsynced write may survive in
// part, sector by sector; a failed sync leaves the page cache showing what the device
// does not have; names are durable only after SyncDir.
type MemFS struct {
	mu      sync.Mutex
	names   map[string]*memNode // as a running process sees them
	durable map[string]*memNode // as they are after a crash
	dirOps  []dirOp             // not yet durable, in order
	life    int                 // counts crashes: files opened before one are dead
	faults  memFaults
	// OnOp, if set, is called after each change, without a lock: tests clone the
	// filesystem there. Set it before use.
	OnOp func(op Op)
}

// Op is one change of a MemFS.
type Op struct {
	Kind string // "create", "write", "sync", "rename", "remove" or "syncdir"
	Path string
}

// memNode is the content of a file; names point to it.
type memNode struct {
	view    []byte     // what a read shows: the page cache
	disk    []byte     // what the device holds
	pending []memWrite // written and not synced, in order; lost from the cache after a failed sync
}

type memWrite struct {
	off  int64
	data []byte
}

// dirOp is one change of names: nil removes.
type dirOp struct {
	dir     string
	changes []nameChange
}

type nameChange struct {
	path string
	node *memNode
}

// memFaults is what goes wrong on request.
type memFaults struct {
	capacity  int64 // bytes of all files together; 0 = no limit
	syncs     int   // the n-th sync from now fails; 0 = none
	writes    int   // the n-th write from now fails
	writeErr  error
	writeKeep int // bytes of the failing write that arrive all the same
}

var _ FS = (*MemFS)(nil)

// NewMemFS makes an empty filesystem.
func NewMemFS() *MemFS {
	return &MemFS{names: map[string]*memNode{}, durable: map[string]*memNode{}}
}

func (m *MemFS) done(kind, path string) {
	if m.OnOp != nil {
		m.OnOp(Op{Kind: kind, Path: path})
	}
}

func notExist(op, path string) error { return &fs.PathError{Op: op, Path: path, Err: fs.ErrNotExist} }

// Create makes an empty file, or empties the one that is there.
func (m *MemFS) Create(path string) (File, error) {
	path = filepath.Clean(path)
	m.mu.Lock()
	n := &memNode{}
	m.rename(path, nameChange{path, n})
	f := &memFile{fs: m, node: n, path: path, life: m.life}
	m.mu.Unlock()
	m.done("create", path)
	return f, nil
}

// Open opens a file for reading and writing.
func (m *MemFS) Open(path string) (File, error) {
	path = filepath.Clean(path)
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[path]
	if n == nil {
		return nil, notExist("open", path)
	}
	return &memFile{fs: m, node: n, path: path, life: m.life}, nil
}

// List returns the names of the files in a directory, sorted.
func (m *MemFS) List(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for p := range m.names {
		if filepath.Dir(p) == dir {
			names = append(names, filepath.Base(p))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Rename replaces what has the new name.
func (m *MemFS) Rename(from, to string) error {
	from, to = filepath.Clean(from), filepath.Clean(to)
	m.mu.Lock()
	n := m.names[from]
	if n == nil {
		m.mu.Unlock()
		return notExist("rename", from)
	}
	m.rename(to, nameChange{from, nil}, nameChange{to, n})
	m.mu.Unlock()
	m.done("rename", to)
	return nil
}

// Remove removes a file.
func (m *MemFS) Remove(path string) error {
	path = filepath.Clean(path)
	m.mu.Lock()
	if m.names[path] == nil {
		m.mu.Unlock()
		return notExist("remove", path)
	}
	m.rename(path, nameChange{path, nil})
	m.mu.Unlock()
	m.done("remove", path)
	return nil
}

func (m *MemFS) rename(path string, changes ...nameChange) {
	op := dirOp{dir: filepath.Dir(path), changes: changes}
	op.apply(m.names)
	m.dirOps = append(m.dirOps, op)
}

func (op *dirOp) apply(names map[string]*memNode) {
	for _, c := range op.changes {
		if c.node == nil {
			delete(names, c.path)
		} else {
			names[c.path] = c.node
		}
	}
}

// SyncDir makes the names in a directory durable.
func (m *MemFS) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	m.mu.Lock()
	if err := m.syncFault(); err != nil {
		m.mu.Unlock()
		return err
	}
	m.dirOps = slices.DeleteFunc(m.dirOps, func(op dirOp) bool {
		if op.dir != dir {
			return false
		}
		op.apply(m.durable)
		return true
	})
	m.mu.Unlock()
	m.done("syncdir", dir)
	return nil
}

// memFile is an open file; after a crash it is dead.
type memFile struct {
	fs     *MemFS
	node   *memNode
	path   string
	life   int
	closed bool
}

func (f *memFile) alive() error {
	if f.closed || f.life != f.fs.life {
		return kv.Errorf(kv.Closed, "%s is closed", f.path)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.alive(); err != nil {
		return 0, err
	}
	n := 0
	if off < int64(len(f.node.view)) {
		n = copy(p, f.node.view[off:])
	}
	if n < len(p) {
		return n, fmt.Errorf("reading %s past its end: %w", f.path, io.EOF)
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	if err := f.alive(); err != nil {
		f.fs.mu.Unlock()
		return 0, err
	}
	n, err := f.fs.room(f.node, p, off)
	if n > 0 {
		w := memWrite{off, slices.Clone(p[:n])}
		f.node.pending = append(f.node.pending, w)
		w.apply(&f.node.view)
	}
	f.fs.mu.Unlock()
	f.fs.done("write", f.path)
	return n, err
}

func (w *memWrite) apply(content *[]byte) {
	if end := int(w.off) + len(w.data); end > len(*content) {
		*content = append(*content, make([]byte, end-len(*content))...)
	}
	copy((*content)[w.off:], w.data)
}

// room is how much of a write arrives, with the error if that is not all.
func (m *MemFS) room(n *memNode, p []byte, off int64) (int, error) {
	if m.faults.writes > 0 {
		if m.faults.writes--; m.faults.writes == 0 {
			return min(m.faults.writeKeep, len(p)), m.faults.writeErr
		}
	}
	grow := off + int64(len(p)) - int64(len(n.view))
	if m.faults.capacity == 0 || grow <= 0 {
		return len(p), nil
	}
	if free := m.faults.capacity - m.used(); grow > free {
		return max(0, len(p)-int(grow-max(0, free))), syscall.ENOSPC
	}
	return len(p), nil
}

func (m *MemFS) used() int64 {
	var sum int64
	for _, n := range m.names {
		sum += int64(len(n.view))
	}
	return sum
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.node.view)), f.alive()
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	err := f.alive()
	if err == nil {
		err = f.fs.syncFault()
		if err == nil {
			for i := range f.node.pending {
				f.node.pending[i].apply(&f.node.disk)
			}
		}
		f.node.pending = nil // after a failed one the pages are clean, and wrong
	}
	f.fs.mu.Unlock()
	f.fs.done("sync", f.path)
	return err
}

func (m *MemFS) syncFault() error {
	if m.faults.syncs > 0 {
		if m.faults.syncs--; m.faults.syncs == 0 {
			return syscall.EIO
		}
	}
	return nil
}

// Evict makes reads show the device, plus what is still to be synced.
func (f *memFile) Evict() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.alive(); err != nil {
		return err
	}
	f.node.view = slices.Clone(f.node.disk)
	for i := range f.node.pending {
		f.node.pending[i].apply(&f.node.view)
	}
	return nil
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.alive()
	f.closed = true
	return err
}
