package mvcc

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kvd-db/kvd/kv"
)

// openHookFS calls before once, ahead of the next opening of a table in the store.
type openHookFS struct {
	vfs.FS
	before func(table string)
}

func (h *openHookFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if f := h.before; f != nil && strings.HasSuffix(name, ".sst") && !strings.Contains(name, "staging") {
		h.before = nil
		f(name)
	}
	return h.FS.Open(name, opts...)
}

// TestCompactionWhileACopyIsTakenIn: the tables that are looked at for damage may be compacted
// away between their listing and their opening.
func TestCompactionWhileACopyIsTakenIn(t *testing.T) {
	from, a := snapshotStore(t)
	defer from.Close()
	chunks, s := export(t, from, a)
	hook := &openHookFS{FS: NewMemFS()}
	e := openTest(t, Options{FS: hook, Deterministic: true})
	defer e.Close()
	others := []string{string(kv.MakeKey(1, nil)), string(kv.MakeKey(3, nil))}
	for range 2 { // two tables that reach beyond the span on both sides
		put(t, e, others[0], 1, []byte("below"))
		put(t, e, others[1], 1, []byte("above"))
		must(t, e.Flush())
	}
	gone := false
	sink, err := e.NewSnapshotSink(a)
	must(t, err)
	defer sink.Close()
	for _, c := range chunks {
		_, err := sink.Add(c)
		must(t, err)
	}
	hook.before = func(table string) {
		must(t, e.db.Compact(context.Background(), []byte{kindData}, []byte{kindData + 1}, false))
		for range 1000 { // Pebble deletes in the background
			if _, err := hook.FS.Stat(table); errors.Is(err, fs.ErrNotExist) {
				gone = true
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	must(t, sink.Ingest(&s))
	if !gone {
		t.Fatal("the table was not compacted away")
	}
	for _, k := range others {
		if _, ok := get(t, e, k, MaxTimestamp); !ok {
			t.Errorf("key %q is lost", k)
		}
	}
}
