package mvcc

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Faults are what a disk under a store does at the moment, for simulators and tests. They concern tables
// and blobs: what keeps the list of them waits for space in a real store (patientFS), and its failure is the end of the process.
type Faults struct {
	Full   atomic.Bool // no table can be made or grow
	Broken atomic.Bool // writes and syncs of tables fail
}

// Filesystem is fs with these faults.
func (f *Faults) Filesystem(fs FS) FS { return faultFS{fs, f} }

// now is the error of a write to a file, nil if it goes well.
func (f *Faults) now(name string) error {
	switch {
	case !strings.HasSuffix(name, ".sst") && !strings.HasSuffix(name, ".blob"):
		return nil
	case f.Broken.Load():
		return syscall.EIO
	case f.Full.Load():
		return syscall.ENOSPC
	}
	return nil
}

type faultFS struct {
	vfs.FS
	faults *Faults
}

func (fs faultFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.faults.now(name); err != nil {
		return nil, err
	}
	f, err := fs.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	return faultFile{f, name, fs.faults}, nil
}

func (fs faultFS) Link(from, to string) error {
	if err := fs.faults.now(to); err != nil {
		return err
	}
	return fs.FS.Link(from, to)
}

// Unwrap is the filesystem below.
func (fs faultFS) Unwrap() vfs.FS { return fs.FS }

type faultFile struct {
	vfs.File
	name   string
	faults *Faults
}

func (f faultFile) Write(p []byte) (int, error) {
	if err := f.faults.now(f.name); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f faultFile) Sync() error {
	if err := f.faults.now(f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f faultFile) SyncData() error {
	if err := f.faults.now(f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

// Table is a file of tables that a store reads.
type Table struct {
	Path  string
	Bytes int64
}

// Tables are those of the store now, level by level. The directory may hold more: what is obsolete goes some
// time later.
func (e *Engine) Tables() ([]Table, error) {
	levels, err := e.db.SSTables()
	if err != nil {
		return nil, wrapError("listing the tables", err)
	}
	var all []Table
	for _, level := range levels {
		for i := range level {
			t := Table{Path: e.tablePath(&level[i])}
			i, err := e.opts.FS.Stat(t.Path)
			if err != nil {
				return nil, wrapError("looking at "+t.Path, err)
			}
			t.Bytes = i.Size()
			all = append(all, t)
		}
	}
	return all, nil
}

func (e *Engine) tablePath(x *pebble.SSTableInfo) string {
	return e.opts.FS.PathJoin(e.opts.Dir, fmt.Sprintf("%s.sst", x.BackingSSTNum))
}

// FlipBit damages a file durably.
func FlipBit(fs *MemFS, path string, bit int64) error {
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return wrapError("opening "+path, err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], bit/8); err != nil {
		return wrapError("reading "+path, err)
	}
	b[0] ^= 1 << (bit % 8)
	if _, err := f.WriteAt(b[:], bit/8); err != nil {
		return wrapError("writing "+path, err)
	}
	return wrapError("syncing "+path, f.Sync())
}
