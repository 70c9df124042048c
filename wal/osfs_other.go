//go:build !linux

package wal

// Sync makes the content durable; on darwin os.File.Sync is F_FULLFSYNC.
func (f osFile) Sync() error { return f.File.Sync() }

// Evict does nothing: there is no portable way to drop a file from the page cache.
func (f osFile) Evict() error { return nil }
