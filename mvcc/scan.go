package mvcc

import (
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// ScanArgs say what to read; the meanings are those of kv.Scan.
type ScanArgs struct {
	Span      kv.Span
	Timestamp kv.Timestamp // MaxTimestamp: the newest versions
	Reverse   bool
	KeysOnly  bool
	CountOnly bool
	Keys      int // at most so many rows; 0 = kv.ScanPageKeysMax
	Bytes     int // at most so many bytes of keys and values; 0 = kv.ScanPageBytesMax
}

// ScanExaminedMax bounds the versions that one Scan looks at: a page that meets more deleted
// or overwritten versions than that ends early, with a resume key.
const ScanExaminedMax = 1 << 20

// breatheEvery is how many versions a scan looks at between two calls of what Reader.Breathe has set: about a
// tenth of a millisecond.
const breatheEvery = 256

// Steps within one key before a seek is cheaper.
const (
	versionStepsMax = 4
	// reverseStepsMax is more: what they save is two seeks.
	reverseStepsMax = 12
	// copyBytesMax is the length from which a reverse scan seeks the right version at once,
	// instead of copying candidates on its way.
	copyBytesMax = 4 << 10
)

// Scan reads the rows of a span as of a timestamp. resume is where to go on, nil when the
// span is done: forward the first key not looked at, in reverse the exclusive upper bound of
// what is left. The first row is returned even if it alone is above the limit of bytes.
func (r *Reader) Scan(a ScanArgs) (rows []kv.Row, resume kv.Key, count int64, err error) {
	return r.scan(a, ScanExaminedMax)
}

func (r *Reader) scan(a ScanArgs, examinedMax int) (rows []kv.Row, resume kv.Key, count int64, err error) {
	if a.Span.IsEmpty() {
		return nil, nil, 0, nil
	}
	if a.Timestamp == 0 {
		return nil, nil, 0, kv.Errorf(kv.Internal, "a scan came without a timestamp: report this")
	}
	s := scan{it: r.it, a: a, left: examinedMax, breathe: r.breathe, breatheAt: examinedMax - breatheEvery}
	if s.a.Keys <= 0 || s.a.Keys > kv.ScanPageKeysMax {
		s.a.Keys = kv.ScanPageKeysMax
	}
	if s.a.Bytes <= 0 || s.a.Bytes > kv.ScanPageBytesMax {
		s.a.Bytes = kv.ScanPageBytesMax
	}
	r.setBounds(spanBounds(kindData, a.Span))
	if a.Reverse {
		err = s.reverse()
	} else {
		err = s.forward()
	}
	if err == nil {
		err = wrapError("scanning", r.it.Error())
	}
	if err != nil {
		return nil, nil, 0, err
	}
	return s.rows, s.resume, s.count, nil
}

// scan is one Scan under way.
type scan struct {
	it     *pebble.Iterator
	a      ScanArgs
	rows   []kv.Row
	resume kv.Key
	count  int64
	bytes  int
	left   int    // versions that may still be examined
	prefix []byte // engine key of the current key, without suffix
	stored []byte // a candidate in reverse: a stored value
	arena  []byte // what rows are copied into

	breathe   func()
	breatheAt int // value of left
}

// mayBreathe calls what Reader.Breathe has set, now and then.
func (s *scan) mayBreathe() {
	if s.left <= s.breatheAt && s.breathe != nil {
		s.breatheAt = s.left - breatheEvery
		s.breathe()
	}
}

func (s *scan) forward() error {
	for ok := s.it.First(); ok; {
		k, ts, err := splitDataKey(s.it.Key())
		if err != nil {
			return err
		}
		if s.left--; s.left < 0 {
			s.resume = slices.Clone(k)
			return nil
		}
		s.mayBreathe()
		if ts > s.a.Timestamp {
			found, err := s.olderForward()
			if err != nil {
				return err
			}
			if !found {
				ok = s.it.Valid()
				continue
			}
			if k, ts, err = splitDataKey(s.it.Key()); err != nil {
				return err
			}
		}
		more, err := s.here(k, ts)
		if err != nil {
			return err
		}
		if !more {
			s.resume = slices.Clone(k)
			return nil
		}
		ok = s.it.NextPrefix()
	}
	return nil
}

// olderForward moves from a version that is too new to the newest one of the same key that is
// not, or else to the next key.
func (s *scan) olderForward() (found bool, err error) {
	ek := s.it.Key()
	s.prefix = append(s.prefix[:0], ek[:splitKey(ek)]...)
	for range versionStepsMax {
		s.left--
		if !s.it.Next() || !samePrefix(s.it.Key(), s.prefix) {
			return false, nil
		}
		_, ts, err := splitDataKey(s.it.Key())
		if err != nil || ts <= s.a.Timestamp {
			return err == nil, err
		}
	}
	ok := s.seekVersion()
	return ok && samePrefix(s.it.Key(), s.prefix), nil
}

// seekVersion moves to the version of the current key that the scan wants, or beyond.
func (s *scan) seekVersion() bool {
	n := len(s.prefix)
	s.prefix = appendVersion(s.prefix, s.a.Timestamp)
	ok := s.it.SeekGE(s.prefix)
	s.prefix = s.prefix[:n]
	return ok
}

// here takes the version at which the iterator stands. It reports false when the page is full.
func (s *scan) here(k kv.Key, ts kv.Timestamp) (more bool, err error) {
	if s.a.KeysOnly || s.a.CountOnly {
		if lv := s.it.LazyValue(); lv.Len() > tombstoneBytesMax {
			return s.row(k, ts, nil), nil
		}
	}
	b, err := s.it.ValueAndErr()
	if err != nil {
		return false, wrapError("reading a value", err)
	}
	return s.candidate(k, ts, b)
}

// candidate takes a stored value that is the version the scan wants.
func (s *scan) candidate(k kv.Key, ts kv.Timestamp, stored []byte) (more bool, err error) {
	v, err := splitStored(stored)
	if err != nil {
		return false, err
	}
	if v.Tombstone {
		return true, nil
	}
	return s.row(k, ts, v.Value), nil
}

// row adds a row, or reports false if the page has no room for it.
func (s *scan) row(k kv.Key, ts kv.Timestamp, value []byte) (more bool) {
	size := len(k)
	if !s.a.KeysOnly {
		size += len(value)
	}
	if s.a.CountOnly {
		size = 0
	}
	if s.count > 0 && (s.count >= int64(s.a.Keys) || s.bytes+size > s.a.Bytes) {
		return false
	}
	s.count++
	s.bytes += size
	if s.a.CountOnly {
		return true
	}
	if s.rows == nil {
		s.rows = make([]kv.Row, 0, min(s.a.Keys, rowsCapacity))
	}
	row := kv.Row{Key: s.copy(k), Version: ts}
	if !s.a.KeysOnly {
		row.Value = s.copy(value)
	}
	s.rows = append(s.rows, row)
	return true
}

// Rows are copied into chunks: two allocations a row are more than reading it costs.
const (
	arenaBytesMin = 4 << 10
	arenaBytesMax = 64 << 10
	rowsCapacity  = 32 // at first
)

func (s *scan) copy(b []byte) []byte {
	if len(b) > cap(s.arena)-len(s.arena) {
		n := min(max(2*cap(s.arena), arenaBytesMin), arenaBytesMax)
		s.arena = make([]byte, 0, max(n, len(b)))
	}
	n := len(s.arena)
	s.arena = append(s.arena, b...)
	return s.arena[n:len(s.arena):len(s.arena)]
}

// reverse meets the oldest version of a key first.
func (s *scan) reverse() error {
	for ok := s.it.Last(); ok; {
		ek := s.it.Key()
		s.prefix = append(s.prefix[:0], ek[:splitKey(ek)]...)
		k := kv.Key(s.prefix[1 : len(s.prefix)-1])
		if s.left <= 0 {
			s.resume = k.Next()
			return nil
		}
		s.mayBreathe()
		ts, left, err := s.newestBackward()
		if err != nil {
			return err
		}
		if ts != 0 {
			more, err := s.take(k, ts)
			if err != nil {
				return err
			}
			if !more {
				s.resume = k.Next()
				return nil
			}
		}
		if left {
			ok = s.it.Valid()
		} else {
			ok = s.it.SeekLT(s.prefix)
		}
	}
	return nil
}

// take is candidate for a version whose stored value was kept aside.
func (s *scan) take(k kv.Key, ts kv.Timestamp) (more bool, err error) {
	return s.candidate(k, ts, s.stored)
}

// newestBackward finds, from the oldest version of a key, the newest one that is not too new,
// and keeps its stored value in s.stored. ts is 0 if there is none. left says whether the
// iterator has left the key, to the one before.
func (s *scan) newestBackward() (ts kv.Timestamp, left bool, err error) {
	for range reverseStepsMax {
		s.left--
		_, t, err := splitDataKey(s.it.Key())
		if err != nil {
			return 0, false, err
		}
		if t > s.a.Timestamp {
			return ts, s.leaveBackward(), nil
		}
		if lv := s.it.LazyValue(); lv.Len() > copyBytesMax {
			break
		}
		if err := s.keep(); err != nil {
			return 0, false, err
		}
		ts = t
		if !s.it.Prev() || !samePrefix(s.it.Key(), s.prefix) {
			return ts, true, nil
		}
	}
	s.left--
	if !s.seekVersion() || !samePrefix(s.it.Key(), s.prefix) {
		return 0, false, wrapError("scanning", s.it.Error())
	}
	if _, ts, err = splitDataKey(s.it.Key()); err != nil {
		return 0, false, err
	}
	return ts, false, s.keep()
}

// leaveBackward tries whether the key before is a few steps away: then they cost less than a seek.
func (s *scan) leaveBackward() (left bool) {
	for range versionStepsMax {
		s.left--
		if !s.it.Prev() || !samePrefix(s.it.Key(), s.prefix) {
			return true
		}
	}
	return false
}

func (s *scan) keep() error {
	if s.a.KeysOnly || s.a.CountOnly {
		if lv := s.it.LazyValue(); lv.Len() > tombstoneBytesMax {
			s.stored = append(s.stored[:0], 0) // any present value
			return nil
		}
	}
	b, err := s.it.ValueAndErr()
	if err != nil {
		return wrapError("reading a value", err)
	}
	s.stored = append(s.stored[:0], b...)
	return nil
}
