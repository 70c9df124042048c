package mvcc

import (
	"fmt"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// A scan lets its worker rest while it counts, and reads the same as without.
func TestScansBreathe(t *testing.T) {
	e := openTest(t, Options{FS: NewMemFS(), Deterministic: true})
	const keys, versions = 500, 6
	b := e.NewBatch()
	for i := range keys {
		for v := range versions {
			must(t, b.Put(kv.MakeKey(7, fmt.Appendf(nil, "%06d", i)), kv.Timestamp(v+1), kv.TxID{1}, []byte("v")))
		}
	}
	must(t, b.Commit())
	for _, reverse := range []bool{false, true} {
		r, err := e.NewReader()
		must(t, err)
		breaths := 0
		r.Breathe(func() { breaths++ })
		_, _, n, err := r.Scan(ScanArgs{Span: kv.Keyspace{ID: 7}.Span(), Timestamp: 1, Reverse: reverse, CountOnly: true})
		r.Close()
		must(t, err)
		if looked := keys; n != keys || breaths < looked/breatheEvery || breaths > looked*versions*2/breatheEvery {
			t.Errorf("reverse %v: %d keys, %d breaths", reverse, n, breaths)
		}
	}
}
