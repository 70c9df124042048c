package mvcc

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kvd-db/kvd/invariant"
	"github.com/kvd-db/kvd/kv"
)

// tables writes the tables of a snapshot being taken in. No two overlap, as Pebble demands.
//
// The old data of the span is excised when they are ingested. Pebble excises one range of keys
// only, so the old locks, records and system records, which are few, are deleted by
// range deletions in the new tables: each table deletes what was before its own keys, and
// together they cover the section without a gap.
type tables struct {
	e        *Engine
	id       uint64
	sections []section // not finished; the first one is under way
	paths    []string
	w        *sstable.Writer // open table, nil if none
	prefix   []byte          // of the last key in it
	from     []byte          // where the open, or else the next, table of the section begins
	bytes    int             // in the open table
	bytesMax int             // a table with more is closed
}

const tableBytesMax = 64 << 20

// set adds an entry; keys come in order.
func (t *tables) set(k, v []byte) error {
	for {
		if len(t.sections) == 0 || compareKeys(k, t.sections[0].lo) < 0 {
			return kv.Errorf(kv.Corruption, "a snapshot holds the engine key %x, which lies outside of its span: send it again, from another replica", k)
		}
		if compareKeys(k, t.sections[0].hi) < 0 {
			break
		}
		if err := t.passSection(); err != nil {
			return err
		}
	}
	if err := checkEntry(t.sections[0].kind, k, v); err != nil {
		return err
	}
	prefix := k[:splitKey(k)]
	if t.w != nil && t.bytes >= t.bytesMax && !bytes.Equal(prefix, t.prefix) {
		if err := t.closeTable(prefix); err != nil {
			return err
		}
	}
	if err := t.openTable(); err != nil {
		return err
	}
	t.prefix = append(t.prefix[:0], prefix...)
	t.bytes += len(k) + len(v)
	return wrapError("writing a table", t.w.Set(k, v))
}

// checkEntry refuses what this store could not read back.
func checkEntry(kind byte, k, v []byte) (err error) {
	switch kind {
	case kindData:
		if _, _, err = splitDataKey(k); err == nil {
			_, err = splitStored(v)
		}
	case kindLock:
		if _, _, _, err = splitLockKey(k); err == nil {
			err = decodeLock(v, &Lock{})
		}
	case kindRecord:
		if _, _, err = splitRecordKey(k); err == nil {
			err = decodeRecord(v, &Record{})
		}
	case kindSystem:
		_, err = splitSystemKey(k)
	}
	return err
}

func (t *tables) openTable() error {
	if t.w != nil {
		return nil
	}
	path := t.e.opts.FS.PathJoin(t.e.staging, fmt.Sprintf("%d-%d.sst", t.id, len(t.paths)))
	f, err := t.e.opts.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return wrapError("creating "+path, err)
	}
	t.paths = append(t.paths, path)
	t.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f), t.e.pebble.MakeWriterOptions(0, t.e.db.TableFormat()))
	t.bytes = 0
	if t.from == nil && len(t.sections) > 0 {
		t.from = t.sections[0].from
	}
	return nil
}

// closeTable ends the open table of the section before the key to.
func (t *tables) closeTable(to []byte) error {
	if t.sections[0].kind != kindData {
		if err := t.w.DeleteRange(t.from, to); err != nil {
			return wrapError("writing a table", err)
		}
	}
	t.from = slices.Clone(to)
	return t.closeWriter()
}

func (t *tables) closeWriter() error {
	w := t.w
	t.w = nil
	return wrapError("syncing a table", w.Close())
}

// passSection ends the section under way while the copy arrives. If nothing came for it, what the store
// will hold there must go all the same: the old replica goes on, so that what it holds now says nothing.
func (t *tables) passSection() error {
	if t.sections[0].kind != kindData && !invariant.Mutated(invariant.LocksSurviveIngest) {
		if err := t.openTable(); err != nil {
			return err
		}
	}
	return t.finishSection()
}

// finishSection ends the section under way. If nothing came for it, what the store holds there
// must go all the same. Without a table that is known on Ingest only: see passSection.
func (t *tables) finishSection() error {
	s := t.sections[0]
	if t.w == nil && s.kind != kindData {
		old, err := t.e.holds(s.from, s.to)
		if err != nil {
			return err
		}
		if old {
			if err := t.openTable(); err != nil {
				return err
			}
		}
	}
	if t.w != nil {
		if err := t.closeTable(s.to); err != nil {
			return err
		}
	}
	t.from = nil
	t.sections = t.sections[1:]
	return nil
}

// received is what the chunks of a copy have made; finish adds to it.
type received struct {
	sections []section
	paths    int
}

func (t *tables) received() received { return received{t.sections, len(t.paths)} }

// backTo undoes a finish that has failed.
func (t *tables) backTo(was received) {
	if t.w != nil {
		_ = t.w.Close() // an incomplete table, of no use
		t.w = nil
	}
	for _, p := range t.paths[was.paths:] {
		_ = t.e.opts.FS.Remove(p) // a restart removes what is left
	}
	t.sections, t.paths, t.from = was.sections, t.paths[:was.paths], nil
}

// finish ends all sections, and writes the state of the replica into a table of its own.
func (t *tables) finish(s *ReplicaState) error {
	for len(t.sections) > 0 {
		if err := t.finishSection(); err != nil {
			return err
		}
	}
	if err := t.openTable(); err != nil {
		return err
	}
	p := s.Descriptor.Partition
	if err := t.w.DeleteRange(stateBounds(p)); err != nil {
		return wrapError("writing a table", err)
	}
	for _, e := range [...]struct {
		sub   byte
		value []byte
	}{
		{stateRecord, appendStateRecord(nil, s)},
		{stateApplied, appendApplied(nil, s.Applied, s.AppliedTerm)},
		{stateCounters, appendCounters(nil, s.Counters)},
	} {
		if err := t.w.Set(appendStateKey(nil, p, e.sub), e.value); err != nil {
			return wrapError("writing a table", err)
		}
	}
	return t.closeWriter()
}

// remove deletes the tables that were not ingested.
func (t *tables) remove() {
	if t.w != nil {
		_ = t.w.Close() // an incomplete table, of no use
		t.w = nil
	}
	for _, p := range t.paths {
		_ = t.e.opts.FS.Remove(p) // a restart removes what is left
	}
	t.paths = nil
}

// holds reports whether the store has anything in [lo, hi).
func (e *Engine) holds(lo, hi []byte) (bool, error) {
	r, err := e.NewReader()
	if err != nil {
		return false, err
	}
	defer r.Close()
	r.setBounds(lo, hi)
	ok := r.it.First()
	return ok, wrapError("reading", r.it.Error())
}
