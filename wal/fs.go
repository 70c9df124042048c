package wal

import (
	"errors"
	"syscall"

	"github.com/kvd-db/kvd/kv"
)

// FS is the filesystem that a log lives on: OSFS is the real one, MemFS one that crashes.
type FS interface {
	// Create makes an empty file, or empties the one that is there.
	Create(path string) (File, error)
	// Open opens a file for reading and writing.
	Open(path string) (File, error)
	// List returns the names of the files in a directory, sorted.
	List(dir string) ([]string, error)
	// Rename replaces what has the new name. Durable after SyncDir.
	Rename(from, to string) error
	// Remove is durable after SyncDir.
	Remove(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
}

// File is one open file of an FS. ReadAt may run concurrently with everything but Close.
type File interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Size() (int64, error)
	// Sync makes the content durable (fdatasync).
	Sync() error
	// Evict forgets what is cached of a synced file, so that the next read asks the
	// device: after a failed sync the cache may show what the device does not hold.
	Evict() error
	Close() error
}

// writeError is the error of a write that has left no trace in the log.
func writeError(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return kv.Errorf(kv.DiskFull, "%s: %v: free some space (the log's reserve can be released), then retry", what, err)
	}
	return kv.Errorf(kv.Internal, "%s: %v", what, err)
}
