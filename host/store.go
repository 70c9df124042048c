package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Names below a data directory (rule S8).
const (
	storeName    = "store"
	lockName     = "lock"
	logDirName   = "log"
	stateDirName = "state"
	probeName    = "probe"
)

// Store is what a data directory says of itself: to whom it belongs, and what was promised
// from it. It lives in DATA/store; storecodec.go is its layout.
type Store struct {
	StoreID     uint64
	Nonce       uint64 // drawn when the store was made: a wiped disk has another
	Cluster     uint64 // 0: of no cluster yet
	Node        kv.NodeID
	Incarnation uint64
	Support     time.Duration // D, a constant of the cluster (L7)
	// Formatted says that the first state of this node is durable in the log: from then on an
	// empty log is a lost log.
	Formatted bool
	Address   string
	Founders  []kv.NodeInfo // of a cluster that this node helps to found; empty for one that joined
	Peers     []kv.NodeInfo // the registry as last heard
}

// isMember reports whether the store belongs to a cluster.
func (s *Store) isMember() bool { return s.Node != 0 }

// forming reports whether this node has begun to found a cluster and is not sure yet that
// all others know.
func (s *Store) forming() bool { return s.Cluster != 0 && s.Node == 0 }

// founder reports whether this node is one of those that the cluster began with.
func (s *Store) founder() bool {
	for _, f := range s.Founders {
		if f.Nonce == s.Nonce {
			return true
		}
	}
	return false
}

// directory is an open data directory. Whoever has it has its lock.
type directory struct {
	path  string
	lock  *os.File
	fresh bool // the store was made by this process

	mu    sync.Mutex // guards store, and orders the writes of its file
	store Store
}

// openDirectory takes the lock of a data directory and reads what it says of itself; in an
// empty one it makes a store that belongs to nobody.
func openDirectory(path string, support time.Duration) (*directory, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, kv.Errorf(kv.Invalid, "the data directory %s cannot be made: %v: give another one with --data", path, err)
	}
	lock, err := lockDirectory(filepath.Join(path, lockName))
	if err != nil {
		return nil, err
	}
	d := &directory{path: path, lock: lock}
	if err := d.load(support); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *directory) load(support time.Duration) error {
	raw, err := os.ReadFile(d.file(storeName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d.create(support)
	case err != nil:
		return kv.Errorf(kv.Internal, "the file %s cannot be read: %v", d.file(storeName), err)
	}
	s, err := decodeStore(raw)
	if err != nil {
		e := kv.AsError(err)
		return kv.Errorf(e.Kind, "the file %s %s", d.file(storeName), e.Message)
	}
	if s.Formatted && !notEmpty(d.file(logDirName)) {
		return kv.Errorf(kv.Corruption, "the data directory %s has lost its log (%s is empty): what it promised is not known any more; start this node with an empty directory, and it comes back as a new node", d.path, d.file(logDirName))
	}
	if support != 0 && support != s.Support {
		return kv.Errorf(kv.Invalid, "the data directory %s belongs to a cluster with a support duration of %s, but %s is configured: remove support-duration from the configuration", d.path, s.Support, support)
	}
	d.store = s
	return nil
}

func (d *directory) create(support time.Duration) error {
	for _, name := range []string{logDirName, stateDirName} {
		if notEmpty(d.file(name)) {
			return kv.Errorf(kv.Corruption, "the data directory %s holds %s but no file %s, so it cannot be told whose it is: restore that file, or start with an empty directory, and the node comes back as a new one", d.path, d.file(name), storeName)
		}
	}
	if support == 0 {
		support = SupportDurationDefault
	}
	d.fresh = true
	return d.update(func(s *Store) { *s = Store{StoreID: drawID(), Nonce: drawID(), Support: support} })
}

// drawID is a random number that is not 0.
func drawID() uint64 {
	for {
		if id := rand.Uint64(); id != 0 {
			return id
		}
	}
}

// current is a copy of the store as it is on the disk.
func (d *directory) current() *Store {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.store
	return &s
}

// update changes the store; it returns when that is durable.
func (d *directory) update(change func(*Store)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.store
	change(&s)
	encoded := encodeStore(&s)
	if bytes.Equal(encoded, encodeStore(&d.store)) {
		return nil
	}
	if err := writeDurably(d.file(storeName), encoded); err != nil {
		return kv.Errorf(kv.Internal, "the file %s cannot be written: %v: free some space or repair the disk, then start again", d.file(storeName), err)
	}
	d.store = s
	return nil
}

func (d *directory) file(name string) string { return filepath.Join(d.path, name) }

func (d *directory) close() { _ = d.lock.Close() } // the lock goes with it

// writeDurably replaces a file in one step: after a crash it is the old one or the new one.
func writeDurably(path string, content []byte) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func notEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// String names the store for people.
func (s *Store) String() string {
	if !s.isMember() {
		return "a store of no cluster"
	}
	return fmt.Sprintf("the store of node %d of cluster %016x", s.Node, s.Cluster)
}
