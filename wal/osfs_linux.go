package wal

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Sync is fdatasync: the segments do not change size, so their metadata can wait.
func (f osFile) Sync() error { return retryEINTR(func() error { return unix.Fdatasync(int(f.Fd())) }) }

// Evict drops the clean pages of the file from the page cache.
func (f osFile) Evict() error {
	return retryEINTR(func() error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) })
}

func retryEINTR(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
