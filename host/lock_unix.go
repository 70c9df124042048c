//go:build unix

package host

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kvd-db/kvd/kv"
)

// lockDirectory takes the lock file of a data directory. The lock ends with the process,
// however that ends.
func lockDirectory(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, kv.Errorf(kv.Invalid, "the lock file %s cannot be opened: %v: give this user the right to write there, or give another directory with --data", path, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, kv.Errorf(kv.Internal, "the lock file %s cannot be locked: %v: use a local file system", path, err)
		}
		return nil, kv.Errorf(kv.Unavailable, "the data directory of %s is in use by process %s: stop that one, or give another directory with --data", path, strings.TrimSpace(string(owner)))
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}
