package host

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/replication"
	"github.com/kvd-db/kvd/wal"
)

func TestTornTailIsLoggedOnce(t *testing.T) {
	var out strings.Builder
	logger := hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info})
	tellRecovered(logger, &wal.Recovered{})
	if out.Len() > 0 {
		t.Errorf("of nothing it says: %s", out.String())
	}
	tellRecovered(logger, &wal.Recovered{Torn: wal.Position{Segment: 7, Offset: 4096, Len: 123}})
	if s := out.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "[INFO]") || !strings.Contains(s, "segment=7 offset=4096 bytes=123") {
		t.Errorf("it says: %s", s)
	}
}

func TestSpellIsToldOnce(t *testing.T) {
	var out strings.Builder
	s := spell{logger: hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info})}
	start := time.Now()
	at := func(d time.Duration, err error) { s.look(start.Add(d), err) }
	at(0, nil)
	for i := range 100 {
		at(time.Duration(i)*time.Second, kv.Errorf(kv.DiskFull, "000%d.sst: no space", i))
		at(time.Duration(i)*time.Second+time.Millisecond, nil) // until the next try
	}
	if got := strings.Count(out.String(), "\n"); got != 1 || !strings.Contains(out.String(), "[ERROR]") {
		t.Errorf("of a full disk it says:\n%s", out.String())
	}
	at(200*time.Second, nil)
	at(300*time.Second, nil)
	if got := strings.Count(out.String(), "\n"); got != 2 || !strings.Contains(out.String(), "well again") {
		t.Errorf("at the end it says:\n%s", out.String())
	}
	at(301*time.Second, kv.Errorf(kv.DiskFull, "no space"))
	at(302*time.Second, kv.Errorf(kv.Corruption, "a block"))
	if got := strings.Count(out.String(), "\n"); got != 4 {
		t.Errorf("of a second spell, which gets worse, it says:\n%s", out.String())
	}
}

// testDisk is a disk over a file system that can fail.
type testDisk struct {
	*disk
	fs     *wal.MemFS
	stored chan stored
	failed chan error
	slow   chan bool
}

func newTestDisk(t *testing.T) *testDisk {
	t.Helper()
	x := &testDisk{fs: wal.NewMemFS(), stored: make(chan stored, 100), failed: make(chan error, 10), slow: make(chan bool, 100)}
	log, _, err := wal.Create(wal.Options{FS: x.fs, Dir: "log", StoreID: 1, SegmentBytes: 64 << 10, SpareBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics()
	x.disk = &disk{
		log: log, health: diskHealth{retry: 10 * time.Millisecond}, stored: func(s stored) { x.stored <- s }, fail: func(err error) { x.failed <- err },
		report: func(slow bool) { x.slow <- slow }, logger: hclog.NewNullLogger(), metrics: &m.disk,
	}
	if err := startDisk(x.disk, filepath.Join(t.TempDir(), "probe")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.close)
	if err := x.log.PrepareNext(); err != nil { // from here on only the writer touches the files
		t.Fatal(err)
	}
	return x
}

func create(p kv.PartitionID) diskWork {
	return diskWork{append: replication.MarkAppend(p, wal.Mark{Kind: wal.MarkCreate, Replica: 1, Index: 1, Term: 1}, &wal.HardState{Term: 1, Commit: 1})}
}

func TestDiskReportsInOrder(t *testing.T) {
	d := newTestDisk(t)
	const n = 50
	for p := range kv.PartitionID(n) {
		d.work.put(create(p + 1))
	}
	next := kv.PartitionID(1)
	for next <= n {
		s := <-d.stored
		if len(s.appends) != len(s.positions) {
			t.Fatalf("%d writes, %d positions", len(s.appends), len(s.positions))
		}
		for _, a := range s.appends {
			if a.Partition() != next {
				t.Fatalf("partition %d came where %d was due", a.Partition(), next)
			}
			next++
		}
	}
}

func TestFailedSyncEndsTheNode(t *testing.T) {
	d := newTestDisk(t)
	d.fs.FailSync(1)
	d.work.put(create(1))
	err := <-d.failed
	if err == nil || !strings.Contains(err.Error(), "sync") {
		t.Errorf("failed with %v", err)
	}
	select {
	case s := <-d.stored:
		t.Errorf("%d writes were reported after a failed sync", len(s.appends))
	default:
	}
}

func TestFullDiskWaitsAndGoesOn(t *testing.T) {
	d := newTestDisk(t)
	if !d.log.ReserveHeld() {
		t.Fatal("no reserve")
	}
	d.fs.SetCapacity(d.fs.Used() - 32<<10) // so that the reserve does not fit again
	d.fs.FailWrite(1, 0, diskFullError())
	d.work.put(create(1))
	if !<-d.slow {
		t.Error("the node was not told that the disk is full")
	}
	if s := <-d.stored; len(s.appends) != 1 {
		t.Errorf("stored %d", len(s.appends))
	}
	if d.log.ReserveHeld() {
		t.Error("the reserve was kept though there was no space")
	}
	if !d.health.full.Load() {
		t.Error("writes are taken though the reserve is gone")
	}
	d.fs.SetCapacity(0)
	if <-d.slow {
		t.Error("told a second time that it is full")
	}
	if d.health.full.Load() || !d.log.ReserveHeld() {
		t.Error("there is space again, and the node does not go on as before")
	}
}
