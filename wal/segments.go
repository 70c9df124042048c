package wal

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kvd-db/kvd/kv"
)

// Names in the log's directory.
const (
	segmentSuffix = ".log"        // 16 hexadecimal digits before it
	sparePrefix   = "spare-"      // a released segment that waits for its next use
	prepareName   = "prepare"     // a segment that is being zero-filled
	reserveName   = "reserve"     // zeros that can be released when the disk is full
	fillBytes     = 1 << 20       // bytes zeroed in one write
	fillSyncBytes = 4 << 20       // bytes zeroed between two syncs
	segmentMax    = 1<<31 - 1<<20 // bytes of a segment: offsets are 32 bits
)

func segmentName(n uint64) string { return fmt.Sprintf("%016x%s", n, segmentSuffix) }

func parseSegmentName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, err == nil && n > 0
}

// segment is one file of the log.
type segment struct {
	number uint64
	file   File
	size   int64
	seed   uint32
}

// spares are the released segments that are kept for reuse.
type spares struct {
	names []string
	max   int
}

// segments owns the files of the log. Its methods may run concurrently: reading, and
// preparing the next segment, go on beside the writer.
type segments struct {
	fs        FS
	dir       string
	store     uint64
	size      int64 // of an ordinary segment
	fault     *fault
	preparing sync.Mutex // held while a file is made; guards next, current and closed
	next      *segment   // prepared, with a durable header and name; nil = none
	current   uint64     // the segment that is written to
	closed    bool
	mu        sync.RWMutex        // guards files and spares
	files     map[uint64]*segment // all but next
	spares    spares
}

func (s *segments) path(name string) string { return filepath.Join(s.dir, name) }

// prepare makes sure that the segment after the current one is there, with at least
// sizeMin bytes. It is durable, and empty.
func (s *segments) prepare(sizeMin int64) error {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	if s.closed {
		return kv.Errorf(kv.Closed, "the log is closed")
	}
	number := s.current + 1
	if s.next != nil && s.next.size >= sizeMin {
		return nil
	}
	if s.next != nil {
		n := s.next
		s.next = nil
		if err := s.discard(n); err != nil {
			return writeError("giving up "+segmentName(number), err)
		}
	}
	file, temporary, size, err := s.blank(max(s.size, sizeMin))
	if err != nil {
		return err
	}
	if err = s.christen(file, temporary, number, size); err != nil {
		_ = file.Close()
		if temporary != prepareName { // an unused prepareName is overwritten next time
			s.addSpare(temporary)
		}
		return err
	}
	s.next = &segment{number: number, file: file, size: size, seed: segmentSeed(s.store, number)}
	return nil
}

// blank is a file of the size that holds nothing of value: a spare, or zeros.
func (s *segments) blank(size int64) (File, string, int64, error) {
	if size == s.size {
		if name, ok := s.takeSpare(); ok {
			file, err := s.fs.Open(s.path(name))
			if err == nil {
				return file, name, size, nil
			}
			return nil, "", 0, kv.Errorf(kv.Internal, "opening the spare log segment %s: %v", s.path(name), err)
		}
	}
	file, err := s.zeroFile(prepareName, size)
	return file, prepareName, size, err
}

// addSpare counts a spare. One of its name may be there: a crash can leave a segment beside the spare that it was
// before, or became, and the newer file has taken the other's place.
func (s *segments) addSpare(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.spares.names, name) {
		s.spares.names = append(s.spares.names, name)
	}
}

func (s *segments) takeSpare() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.spares.names)
	if n == 0 {
		return "", false
	}
	name := s.spares.names[n-1]
	s.spares.names = s.spares.names[:n-1]
	return name, true
}

// christen makes a blank file segment number: first the header is durable, then the name.
func (s *segments) christen(file File, temporary string, number uint64, size int64) error {
	what := "preparing log segment " + s.path(segmentName(number))
	h := segmentHeader{version: formatVersion, store: s.store, segment: number, size: uint64(size)}
	if _, err := file.WriteAt(h.encode(), 0); err != nil {
		return writeError(what, err)
	}
	if err := file.Sync(); err != nil {
		return s.fault.set(what, err)
	}
	if err := s.fs.Rename(s.path(temporary), s.path(segmentName(number))); err != nil {
		return writeError(what, err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return s.fault.set(what, err)
	}
	return nil
}

// zeroFile makes a file of durable zeros: blocks are allocated now, not in Write. It syncs as
// it goes, so that no one sync of the disk, which Write shares, takes long.
func (s *segments) zeroFile(name string, size int64) (File, error) {
	path := s.path(name)
	file, err := s.fs.Create(path)
	if err != nil {
		return nil, writeError("creating "+path, err)
	}
	zeros := make([]byte, min(size, fillBytes))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if off > 0 && off%fillSyncBytes == 0 {
			if err = file.Sync(); err != nil {
				break
			}
		}
		if _, err = file.WriteAt(zeros[:min(size-off, int64(len(zeros)))], off); err != nil {
			_ = file.Close()
			_ = s.fs.Remove(path) // gives the space back; if it fails Open removes it
			return nil, writeError(fmt.Sprintf("filling %s with %d zero bytes", path, size), err)
		}
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		_ = file.Close()
		return nil, s.fault.set("filling "+path, err)
	}
	return file, nil
}

// take makes the prepared segment the current one.
func (s *segments) take() *segment {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	n := s.next
	s.next, s.current = nil, n.number
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[n.number] = n
	return n
}

// release lets go of all segments below base.
func (s *segments) release(base uint64) error {
	s.mu.Lock()
	var gone []*segment
	for n, f := range s.files {
		if n < base {
			gone = append(gone, f)
			delete(s.files, n)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(gone, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	for _, f := range gone {
		if err := s.discard(f); err != nil {
			return kv.Errorf(kv.Internal, "releasing log segment %s: %v", s.path(segmentName(f.number)), err)
		}
	}
	return nil
}

// discard makes a segment that is not needed a spare, or removes it. Its name may come
// back after a crash: such a segment is below the base, or empty, and discarded again.
func (s *segments) discard(f *segment) error {
	if err := f.file.Close(); err != nil {
		return err
	}
	name := segmentName(f.number)
	s.mu.Lock()
	keep := f.size == s.size && len(s.spares.names) < s.spares.max
	s.mu.Unlock()
	if !keep {
		return s.fs.Remove(s.path(name))
	}
	spare := sparePrefix + name
	if err := s.fs.Rename(s.path(name), s.path(spare)); err != nil {
		return err
	}
	s.addSpare(spare)
	return nil
}

// read reads p of a segment; false if the log does not have the segment.
func (s *segments) read(number uint64, p []byte, off int64) (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f := s.files[number]
	if f == nil {
		return false, nil
	}
	_, err := f.file.ReadAt(p, off)
	return true, err
}

func (s *segments) close() error {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var first error
	if s.next != nil {
		first = s.next.file.Close()
	}
	for _, f := range s.files {
		if err := f.file.Close(); first == nil {
			first = err
		}
	}
	s.next, s.files, s.closed = nil, nil, true
	return first
}

// fault remembers the error after which the store cannot be trusted any more.
type fault struct {
	mu  sync.Mutex
	err error
}

// set records a failed sync: what the device holds is not known from here on (rule 57).
func (f *fault) set(what string, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = kv.Errorf(kv.Internal, "%s: sync failed: %v: the log takes no more writes; check the disk and restart the node", what, err)
	}
	return f.err
}

func (f *fault) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// close makes every later write fail.
func (f *fault) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = kv.Errorf(kv.Closed, "the log is closed")
	}
}
