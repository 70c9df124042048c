package wal

import (
	"slices"
	"sync"

	"github.com/kvd-db/kvd/kv"
)

// reserve is a file of zeros beside the log: space that is there when nothing else is.
type reserve struct {
	mu    sync.Mutex
	bytes int64 // wanted
	held  bool
}

// ReleaseReserve gives the reserve's space back to the filesystem, and reports whether
// there was any.
func (l *Log) ReleaseReserve() (bool, error) {
	r := &l.reserve
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.held {
		return false, nil
	}
	if err := l.files.fs.Remove(l.files.path(reserveName)); err != nil {
		return false, kv.Errorf(kv.Internal, "releasing the log's reserve %s: %v", l.files.path(reserveName), err)
	}
	r.held = false
	return true, nil
}

// RestoreReserve makes the reserve again after it was released: call it when space is
// free again. It is done by Open as well, if there is room.
func (l *Log) RestoreReserve() error {
	r := &l.reserve
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held || r.bytes == 0 {
		return nil
	}
	f, err := l.files.zeroFile(reserveName, r.bytes)
	if err != nil {
		return err
	}
	r.held = true
	if err = f.Close(); err != nil {
		return kv.Errorf(kv.Internal, "closing the log's reserve: %v", err)
	}
	return nil
}

// ReserveHeld reports whether there is a reserve to release.
func (l *Log) ReserveHeld() bool {
	l.reserve.mu.Lock()
	defer l.reserve.mu.Unlock()
	return l.reserve.held
}

// openReserve takes over the reserve of an earlier run. That there is no room for one
// does not keep the log from opening.
func (l *Log) openReserve(names []string) error {
	if slices.Contains(names, reserveName) {
		f, err := l.files.fs.Open(l.files.path(reserveName))
		if err != nil {
			return kv.Errorf(kv.Internal, "opening the log's reserve: %v", err)
		}
		size, err := f.Size()
		_ = f.Close()
		if l.reserve.held = err == nil && size == l.reserve.bytes; l.reserve.held {
			return nil
		}
		if err := l.files.fs.Remove(l.files.path(reserveName)); err != nil {
			return kv.Errorf(kv.Internal, "removing the log's reserve: %v", err)
		}
	}
	if err := l.RestoreReserve(); err != nil && kv.KindOf(err) != kv.DiskFull {
		return err
	}
	return nil
}
