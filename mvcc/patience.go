package mvcc

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// patientFS is how a store meets a full disk. A failed flush is tried again by Pebble at once, for as
// long as the disk is full: new files are made slowly while that lasts. And a manifest that cannot be written
// is the end for Pebble, so what belongs to it waits for space.
type patientFS struct {
	vfs.FS
	health *health
	pace   *pace
}

const fullRetryPause = 100 * time.Millisecond

// Create is called by flushes without any lock of Pebble's.
func (fs patientFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if !fs.isManifest(name) {
		if fs.health.flush.Load() != nil {
			time.Sleep(fullRetryPause)
		}
		f, err := fs.FS.Create(name, category)
		if err != nil {
			return nil, err
		}
		return fs.pace.paced(f, category), nil
	}
	var f vfs.File
	err := fs.health.whileFull(func() (err error) {
		f, err = fs.FS.Create(name, category)
		return err
	})
	if err != nil {
		return nil, err
	}
	return patientFile{f, fs.health}, nil
}

// isManifest reports whether a file is the list of tables, or says which list is in force.
func (fs patientFS) isManifest(name string) bool {
	base := fs.PathBase(name)
	return strings.HasPrefix(base, "MANIFEST-") || strings.HasPrefix(base, "marker.")
}

// Unwrap is the filesystem below.
func (fs patientFS) Unwrap() vfs.FS { return fs.FS }

// patientFile is a file whose writes wait for space.
type patientFile struct {
	vfs.File
	health *health
}

func (f patientFile) Write(p []byte) (n int, err error) {
	err = f.health.whileFull(func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, err
}

// whileFull tries again for as long as the disk is full and the store is open.
func (h *health) whileFull(do func() error) error {
	for {
		err := do()
		if !errors.Is(err, syscall.ENOSPC) || h.ending.Load() {
			return err
		}
		time.Sleep(fullRetryPause)
	}
}

// steppedFS is how a deterministic store meets a full disk: Pebble's own new attempts at a failed flush wait
// at a gate, so that each attempt is made inside a call of Flush.
type steppedFS struct {
	vfs.FS
	gate *gate
}

// Create is called by flushes without any lock of Pebble's.
func (fs steppedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	fs.gate.pass()
	return fs.FS.Create(name, category)
}

// Unwrap is the filesystem below.
func (fs steppedFS) Unwrap() vfs.FS { return fs.FS }

// gate is closed by a failed flush and opened by the next one that is asked for.
type gate struct {
	mu     sync.Mutex
	moved  sync.Cond
	closed bool
	ended  bool // it stays open
}

func newGate() *gate {
	g := &gate{}
	g.moved.L = &g.mu
	return g
}

func (g *gate) set(open bool) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = !open && !g.ended
	g.moved.Broadcast()
}

// end opens the gate for good.
func (g *gate) end() {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	g.set(true)
}

func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.closed {
		g.moved.Wait()
	}
}
