package mvcc

import (
	"context"
	"errors"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/kvd-db/kvd/kv"
)

// tableListsMax is how often the tables are listed anew because one that was listed is gone.
const tableListsMax = 16

// checkExcise insists that the tables which lie on both sides of an end of r can be read there. Pebble looks in them
// for what is left beside the excised keys, and takes a block that it cannot read for the end of the table (v2.1.7,
// excise.go: the errors of the point iterators are not looked at): other replicas would lose what is in
// it, and nobody would ever know.
//
// A compaction may end between the listing and the reading, and its inputs be deleted: then what took their place is looked at.
func (e *Engine) checkExcise(r pebble.KeyRange) error {
	for tries := 1; ; tries++ {
		err := e.checkTables(r)
		if tries == tableListsMax || !errors.Is(err, fs.ErrNotExist) {
			return wrapError("looking for damage before a snapshot is taken in", err)
		}
	}
}

// checkTables is one attempt. Its error is fs.ErrNotExist, unwrapped, if a table is gone.
func (e *Engine) checkTables(r pebble.KeyRange) error {
	levels, err := e.db.SSTables()
	if err != nil {
		return wrapError("listing the tables", err)
	}
	for _, level := range levels {
		for i := range level {
			x := &level[i]
			left := compareKeys(x.Smallest.UserKey, r.Start) < 0 && compareKeys(x.Largest.UserKey, r.Start) >= 0
			right := compareKeys(x.Smallest.UserKey, r.End) < 0 && compareKeys(x.Largest.UserKey, r.End) >= 0
			if !left && !right {
				continue
			}
			if err := e.checkEnds(e.tablePath(x), r, left, right); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkEnds reads the blocks that Pebble will read.
func (e *Engine) checkEnds(path string, r pebble.KeyRange, left, right bool) error {
	f, err := e.opts.FS.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return wrapError("opening "+path, err)
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		_ = f.Close() // its error says less
		return wrapError("opening "+path, err)
	}
	t, err := sstable.NewReader(context.Background(), readable, e.pebble.MakeReaderOptions())
	if err != nil {
		_ = readable.Close()
		return wrapError("reading "+path, err)
	}
	defer t.Close()
	it, err := t.NewIter(sstable.NoTransforms, nil, nil, sstable.DebugHandlesBlobContext)
	if err != nil {
		return wrapError("reading "+path, err)
	}
	defer it.Close()
	if left && it.SeekLT(r.Start, 0) == nil && it.Error() != nil {
		return damagedEnd(path, it.Error())
	}
	if right && it.SeekGE(r.End, 0) == nil && it.Error() != nil {
		return damagedEnd(path, it.Error())
	}
	return nil
}

func damagedEnd(path string, err error) error {
	err = wrapError("reading "+path, err)
	if kv.KindOf(err) != kv.Corruption {
		return err
	}
	return kv.Errorf(kv.Corruption, "a snapshot cannot take the place of a replica whose table holds others too, and is damaged: %v", err)
}
