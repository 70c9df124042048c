package mvcc

import (
	"bytes"
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvd-db/kvd/kv"
)

// SnapshotSink takes a copy of a replica in: chunks become tables beside the store, and Ingest
// puts them in its place. Until then the store knows nothing of them, and a restart
// removes them.
type SnapshotSink struct {
	e      *Engine
	args   SnapshotArgs
	state  ReplicaState
	tables tables
	number uint32 // of the chunk that comes next
	totals snapshotTotals
	last   []byte // the last engine key
	ended  bool
	excise pebble.KeyRange // data removed on Ingest
}

// NewSnapshotSink begins to take in a copy; chunks of another partition, span or prefix
// are refused.
func (e *Engine) NewSnapshotSink(a SnapshotArgs) (*SnapshotSink, error) {
	if a.Span.IsEmpty() {
		return nil, kv.Errorf(kv.Internal, "a snapshot of partition %d with an empty span is due: report this", a.Partition)
	}
	lo, hi := spanBounds(kindData, a.Span)
	return &SnapshotSink{
		e: e, args: a, excise: pebble.KeyRange{Start: lo, End: hi},
		tables: tables{e: e, id: e.receivers.Add(1), sections: a.sections(), bytesMax: tableBytesMax},
	}, nil
}

// Replaces widens what Ingest removes to the span of the replica that the copy replaces: an old
// one that has missed splits holds more than its successor. It comes before the first chunk.
func (s *SnapshotSink) Replaces(old kv.Span) {
	for i := range s.tables.sections {
		if t := &s.tables.sections[i]; t.kind != kindSystem && !old.IsEmpty() {
			from, to := spanBounds(t.kind, old)
			if compareKeys(from, t.from) < 0 {
				t.from = from
			}
			if compareKeys(to, t.to) > 0 {
				t.to = to
			}
			if t.kind == kindData {
				s.excise = pebble.KeyRange{Start: t.from, End: t.to}
			}
		}
	}
}

// Add takes the next chunk, and reports whether it was the last.
func (s *SnapshotSink) Add(b []byte) (done bool, err error) {
	c, err := decodeChunk(b)
	if err != nil {
		return false, err
	}
	if c.partition != s.args.Partition || c.number != s.number || s.ended || (c.number == 0) != (c.kind == chunkHeader) {
		return false, kv.Errorf(kv.Invalid, "chunk %d (type %d) of a snapshot of partition %d came where chunk %d of partition %d was due: send the snapshot again",
			c.number, c.kind, c.partition, s.number, s.args.Partition)
	}
	switch c.kind {
	case chunkHeader:
		err = s.header(c.body)
	case chunkEntries:
		err = s.entries(c.body)
	case chunkEnd:
		err = s.end(c.body)
	default:
		err = kv.Errorf(kv.Invalid, "a chunk of a snapshot has the unknown type %d: run nodes of neighbouring versions", c.kind)
	}
	if err != nil {
		return false, err
	}
	s.totals.addChunk(c.sum)
	s.number++
	return s.ended, nil
}

func (s *SnapshotSink) header(body []byte) error {
	a, state, err := decodeSnapshotHeader(body)
	if err != nil {
		return err
	}
	if a.Partition != s.args.Partition || !bytes.Equal(a.Span.Start, s.args.Span.Start) || !bytes.Equal(a.Span.End, s.args.Span.End) || a.SystemPrefix != s.args.SystemPrefix {
		return kv.Errorf(kv.Invalid, "a snapshot of partition %d, span [%x, %x), came where partition %d, span [%x, %x), was due: send the snapshot again",
			a.Partition, a.Span.Start, a.Span.End, s.args.Partition, s.args.Span.Start, s.args.Span.End)
	}
	s.state = state
	return nil
}

func (s *SnapshotSink) entries(body []byte) error {
	c := cursor{b: body}
	for len(c.b) > 0 && !c.bad {
		k, v := c.view(), c.view()
		if c.bad {
			break
		}
		if len(k) == 0 || validateKey(k) != nil || s.last != nil && compareKeys(s.last, k) >= 0 {
			return kv.Errorf(kv.Corruption, "a snapshot of partition %d has the key %x after %x: send it again, from another replica", s.args.Partition, k, s.last)
		}
		if err := s.tables.set(k, v); err != nil {
			return err
		}
		s.last = append(s.last[:0], k...)
		s.totals.entries++
		s.totals.bytes += uint64(len(k) + len(v))
	}
	return c.done("the entries of a snapshot")
}

func (s *SnapshotSink) end(body []byte) error {
	t, err := decodeTotals(body)
	if err != nil {
		return err
	}
	if t != s.totals {
		return kv.Errorf(kv.Corruption, "a snapshot of partition %d ends with %d entries of %d bytes, received were %d of %d: send it again", s.args.Partition, t.entries, t.bytes, s.totals.entries, s.totals.bytes)
	}
	// The disk is asked for the copy's space now, while it can still be refused.
	if s.tables.w != nil {
		if err := s.tables.finishSection(); err != nil {
			return err
		}
	}
	s.ended = true
	return nil
}

// State is the state of the copied replica, without replica id: valid after the first chunk.
func (s *SnapshotSink) State() ReplicaState { return s.state }

// Ingest replaces everything that the store holds of the span (see Replaces), and the state of
// the replica, by the copy and the given state: in one atomic step, durable when it returns (rule
// 50). The sink must have seen its last chunk. With DiskFull nothing is done, and Ingest can be called again.
func (s *SnapshotSink) Ingest(state *ReplicaState) error {
	if !s.ended {
		return kv.Errorf(kv.Internal, "a snapshot of partition %d is taken in before its end: report this", s.args.Partition)
	}
	if state.Descriptor.Partition != s.args.Partition {
		return kv.Errorf(kv.Internal, "a snapshot of partition %d is taken in with a state of partition %d: report this", s.args.Partition, state.Descriptor.Partition)
	}
	// Tables must not overlap the memtable. Pebble would flush it while all commits wait.
	if err := s.e.Flush(); err != nil {
		return err
	}
	was := s.tables.received()
	err := s.tables.finish(state)
	if err == nil {
		err = s.e.checkExcise(s.excise)
	}
	if err == nil {
		s.e.retained.tell(s.args.Partition, state)
		done := s.e.pace.hurry() // all commits wait for a memtable that overlaps
		err = s.e.hand.replace(func() error {
			_, err := s.e.db.IngestAndExcise(context.Background(), s.tables.paths, nil, nil, s.excise)
			return err
		})
		done()
		s.e.recent.forget()
		err = wrapError("taking in a snapshot", err)
	}
	if err != nil {
		s.tables.backTo(was)
		return err
	}
	s.tables.paths = nil
	return nil
}

// Close frees what the sink holds. It must be called, after Ingest too.
func (s *SnapshotSink) Close() { s.tables.remove() }

// IngestSnapshot takes in a copy that is all there: see SnapshotSink.Ingest.
func (e *Engine) IngestSnapshot(a SnapshotArgs, chunks [][]byte, state *ReplicaState) error {
	s, err := e.NewSnapshotSink(a)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, c := range chunks {
		if _, err := s.Add(c); err != nil {
			return err
		}
	}
	return s.Ingest(state)
}
