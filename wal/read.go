package wal

import "github.com/kvd-db/kvd/kv"

// Read fetches one entry and compares its checksum again. It may run concurrently with
// everything. A position in a released segment is kind NotFound; what cannot be read, or
// does not check, is kind Corruption: the replica is faulty (rule 56), and it is never served.
func (l *Log) Read(p Position, e *Entry) error {
	if p.Len < entryHeaderBytes || int64(p.Offset)+int64(p.Len) > segmentMax {
		return kv.Errorf(kv.Corruption, "there is no log entry of %d bytes at offset %d of segment %d", p.Len, p.Offset, p.Segment)
	}
	b := make([]byte, p.Len)
	ok, err := l.files.read(p.Segment, b, int64(p.Offset))
	if !ok {
		return kv.Errorf(kv.NotFound, "log segment %d is released", p.Segment)
	}
	if err != nil {
		return kv.Errorf(kv.Corruption, "reading %d bytes at offset %d of log segment %d: %v", p.Len, p.Offset, p.Segment, err)
	}
	x, n, good := decodeEntry(b, seedAt(segmentSeed(l.files.store, p.Segment), p.Offset), true)
	if !good || n != p.Len {
		return kv.Errorf(kv.Corruption, "the log entry at offset %d of segment %d fails its checksum", p.Offset, p.Segment)
	}
	*e = x
	return nil
}
