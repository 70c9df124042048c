package node

import (
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/partition"
)

// TestReadsAreMeasured: the clock is read for those whose asker wants to know, and for no others.
func TestReadsAreMeasured(t *testing.T) {
	e, err := mvcc.Open(mvcc.Options{Dir: "state", FS: mvcc.NewMemFS(), CacheBytes: 1 << 20, MemTableBytes: 4 << 20, Deterministic: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	now := kv.Instant(0)
	clock := func() kv.Instant {
		now += kv.Instant(time.Millisecond)
		return now
	}
	read := func(traced bool) *Read {
		q := &kv.Request{Partition: 7, Read: &kv.Read{Keys: []kv.Key{kv.Key("k")}}, Trace: traced}
		return &Read{Task: partition.FollowerTask(1, q, 3, 5, 1, 1), Bare: true}
	}
	reads := []*Read{read(false), read(true), read(false)}
	RunReads(e, reads, clock, nil)
	if now != kv.Instant(2*time.Millisecond) || reads[0].Result.Took != 0 || reads[1].Result.Took != time.Millisecond || reads[2].Result.Took != 0 {
		t.Errorf("%v on the clock; %v, %v, %v", time.Duration(now), reads[0].Result.Took, reads[1].Result.Took, reads[2].Result.Took)
	}
	RunReads(e, reads, nil, nil)
	if reads[1].Result.Took != 0 {
		t.Error("measured without a clock")
	}
	reads[1].Result = &partition.ReadResult{Response: &kv.Response{}, Took: time.Microsecond}
	if r, ok := reads[1].Finish(0); !ok || r.Response.Timing == nil || r.Response.Timing.Storage != time.Microsecond {
		t.Errorf("%+v", r)
	}
}
