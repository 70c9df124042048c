package mvcc

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// wrapError turns an error of Pebble or of the filesystem into a kv.Error. what names the
// operation. nil stays nil, and a kv.Error stays as it is.
func wrapError(what string, err error) error {
	if err == nil {
		return nil
	}
	var known *kv.Error
	if errors.As(err, &known) {
		return known
	}
	switch {
	case pebble.IsCorruptionError(err):
		text, _, _ := strings.Cut(err.Error(), "\n") // Pebble's details are for its own ears
		return kv.Errorf(kv.Corruption, "%s: %s: what is damaged is never served; replace the replicas on this store", what, text)
	case errors.Is(err, syscall.ENOSPC):
		return kv.Errorf(kv.DiskFull, "%s: %v: free space on the disk of the data directory", what, err)
	case errors.Is(err, pebble.ErrClosed), errors.Is(err, os.ErrClosed):
		return kv.Errorf(kv.Closed, "%s: the store is closed", what)
	}
	return kv.Errorf(kv.Internal, "%s: %v", what, err)
}
