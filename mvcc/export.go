package mvcc

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// SnapshotSource reads one consistent copy of a replica, chunk by chunk. It holds the tables
// that it reads; how fast it goes is the caller's choice.
type SnapshotSource struct {
	r        *Reader
	args     SnapshotArgs
	state    ReplicaState
	sections []section // still to be read; the first one is under way
	it       *pebble.Iterator
	number   uint32
	totals   snapshotTotals
	ended    bool
}

// NewSnapshotSource takes the copy. Its state, without replica id, is part of it.
func (e *Engine) NewSnapshotSource(a SnapshotArgs) (*SnapshotSource, error) {
	if a.Span.IsEmpty() {
		return nil, kv.Errorf(kv.Internal, "a copy of partition %d with an empty span is asked for: report this", a.Partition)
	}
	r, err := e.NewReader()
	if err != nil {
		return nil, err
	}
	s, ok, err := r.ReplicaState(a.Partition)
	if err == nil && !ok {
		err = kv.Errorf(kv.NotFound, "the store has no replica of partition %d to copy", a.Partition)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	if a.ChunkBytes <= 0 || a.ChunkBytes > ChunkBytesDefault {
		a.ChunkBytes = ChunkBytesDefault
	}
	s.Replica = 0
	return &SnapshotSource{r: r, args: a, state: s, sections: a.sections()}, nil
}

// State is the state of the replica in this copy, without replica id.
func (s *SnapshotSource) State() ReplicaState { return s.state }

// Close ends the copy.
func (s *SnapshotSource) Close() {
	if s.it != nil {
		_ = s.it.Close()
		s.it = nil
	}
	s.r.Close()
}

// Next is the next chunk, nil after the last. The caller owns it.
func (s *SnapshotSource) Next() ([]byte, error) {
	if s.ended {
		return nil, nil
	}
	if s.number == 0 {
		b := beginChunk(nil, chunkHeader, s.args.Partition, s.number)
		return s.seal(appendSnapshotHeader(b, &s.args, &s.state)), nil
	}
	b := beginChunk(make([]byte, 0, s.args.ChunkBytes+1<<10), chunkEntries, s.args.Partition, s.number)
	empty := len(b)
	b, err := s.fill(b)
	if err != nil {
		return nil, err
	}
	if len(b) > empty {
		return s.seal(b), nil
	}
	s.ended = true
	return s.seal(s.totals.append(beginChunk(b[:0], chunkEnd, s.args.Partition, s.number))), nil
}

func (s *SnapshotSource) seal(b []byte) []byte {
	b, sum := sealChunk(b)
	s.totals.addChunk(sum)
	s.number++
	return b
}

// fill appends entries, one at least, until the chunk is full or everything was read.
func (s *SnapshotSource) fill(b []byte) ([]byte, error) {
	for begin := len(b); len(b)-begin < s.args.ChunkBytes; {
		ok, err := s.entry()
		if err != nil || !ok {
			return b, err
		}
		v, err := s.it.ValueAndErr()
		if err != nil {
			return b, wrapError("copying a replica", err)
		}
		k := s.it.Key()
		b = binary.AppendUvarint(b, uint64(len(k)))
		b = append(b, k...)
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
		s.totals.entries++
		s.totals.bytes += uint64(len(k) + len(v))
	}
	return b, nil
}

// entry moves to the next entry, of the next section if need be; false at the end.
func (s *SnapshotSource) entry() (bool, error) {
	for len(s.sections) > 0 {
		var ok bool
		if s.it == nil {
			it, err := s.r.clone(&pebble.IterOptions{LowerBound: s.sections[0].lo, UpperBound: s.sections[0].hi})
			if err != nil {
				return false, err
			}
			s.it = it
			ok = it.First()
		} else {
			ok = s.it.Next()
		}
		if ok {
			return true, nil
		}
		err := wrapError("copying a replica", s.it.Error())
		_ = s.it.Close() // its error is err
		s.it = nil
		if err != nil {
			return false, err
		}
		s.sections = s.sections[1:]
	}
	return false, nil
}

// ExportSnapshot hands a consistent copy of a replica to fn, chunk by chunk, and returns the
// state in it. fn owns the chunks and sets the pace.
func (e *Engine) ExportSnapshot(a SnapshotArgs, fn func(chunk []byte) error) (ReplicaState, error) {
	s, err := e.NewSnapshotSource(a)
	if err != nil {
		return ReplicaState{}, err
	}
	defer s.Close()
	for {
		chunk, err := s.Next()
		if err != nil {
			return ReplicaState{}, err
		}
		if chunk == nil {
			return s.state, nil
		}
		if err := fn(chunk); err != nil {
			return ReplicaState{}, err
		}
	}
}
