package wal

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

// After a failed sync the log takes nothing more; a restart believes the device, not the
// page cache (rule 57).
func TestSyncErrorIsFatal(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), entry(1, 1, 1, "durable"))
	l.fs.FailSync(1)
	if _, err := l.log.Write([]Append{entry(1, 2, 1, "lost")}, true); err == nil {
		t.Fatal("the write was acknowledged")
	}
	for _, err := range []error{
		second(l.log.Write([]Append{entry(1, 2, 1, "again")}, true)), second(l.log.Write(nil, true)),
		l.log.PrepareNext(), l.log.ReleaseBefore(1), l.log.Close(),
	} {
		l.wantKind(err, kv.Internal, "after a failed sync")
	}
	l.reopen()
	if l.views[1].LastIndex() != 1 || l.data(1, 1) != "durable" {
		t.Fatalf("last index %d: the page cache was believed", l.views[1].LastIndex())
	}
}

// A process that dies leaves unsynced writes in the page cache. A restart that shows
// them has made them durable.
func TestOpenSyncsWhatItShows(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1))
	l.write(false, entry(1, 1, 1, "in the page cache"))
	l.reopen()
	if l.views[1].LastIndex() != 1 {
		t.Fatalf("last index %d", l.views[1].LastIndex())
	}
	l.fs.Crash(nil, CrashLose)
	l.reopen()
	if l.views[1].LastIndex() != 1 {
		t.Fatal("what recovery has shown was lost by a crash")
	}
}

// A batch whose write failed, and arrived all the same, does not come back beneath its successor.
func TestRefusedBatchDoesNotComeBack(t *testing.T) {
	l := newTestLog(t)
	l.write(true, birth(1), birth(2))
	at := l.log.end.off
	l.fs.FailWrite(1, 1<<20, syscall.EIO)
	l.wantKind(second(l.log.Write([]Append{entry(1, 1, 1, "refused"), entry(2, 1, 1, "refused")}, true)), kv.Internal, "a failing write")
	refused := bytes.Clone(l.fs.names[l.segment(1)].view[at:l.log.end.wipe])
	// The retry has another content of the same length, and more follows; then the disk
	// shows the refused batch where the retry was (written back early, overwritten late).
	l.write(false, entry(1, 1, 1, "allowed"), entry(2, 1, 1, "allowed"))
	l.write(false, entry(1, 2, 1, "follows"))
	l.fs.Crash(nil, CrashKeep)
	if err := l.fs.Overwrite(l.segment(1), int64(at), refused); err != nil {
		t.Fatal(err)
	}
	rec := l.reopen()
	if len(rec.Damage) > 0 || l.views[1].LastIndex() > 1 {
		t.Fatalf("damage %v; the successor of an overwritten batch was taken over", rec.Damage)
	}
}

// A full disk: what was acknowledged stays, the write can be repeated, the reserve gives
// room to do so (S7).
func TestDiskFull(t *testing.T) {
	l := newTestLog(t)
	l.close()
	l.opt.SpareBytes = 2 * SegmentBytesMin
	l.reopen()
	if !l.log.ReserveHeld() || l.fs.FileSize("/log/reserve") != l.opt.SpareBytes {
		t.Fatal("there is no reserve")
	}
	l.write(true, birth(1))
	l.fs.SetCapacity(l.fs.Used() + 100)
	n, after := kv.LogIndex(0), strings.Repeat("y", 300)
	var err error
	for err == nil {
		n++
		_, err = l.log.Write([]Append{entry(1, n, 1, strings.Repeat("x", 200))}, true)
	}
	for range 2 {
		l.wantKind(err, kv.DiskFull, "a full disk")
		_, err = l.log.Write([]Append{entry(1, n, 1, strings.Repeat("x", 200))}, true)
	}
	l.wantKind(l.log.PrepareNext(), kv.DiskFull, "preparing on a full disk")
	if ok, err := l.log.ReleaseReserve(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := l.log.ReleaseReserve(); ok || err != nil {
		t.Fatal("released twice", err)
	}
	if _, err := l.log.Write([]Append{entry(1, n, 1, after)}, true); err != nil {
		t.Fatal(err)
	}
	l.wantKind(l.log.RestoreReserve(), kv.DiskFull, "restoring the reserve")
	l.close()
	rec := l.reopen() // opens although there is no room for a reserve
	if len(rec.Damage) > 0 || l.views[1].LastIndex() != n || l.data(1, n) != after || l.log.ReserveHeld() {
		t.Fatalf("last index %d, want %d; damage %v", l.views[1].LastIndex(), n, rec.Damage)
	}
	l.fs.SetCapacity(0)
	if err := l.log.RestoreReserve(); err != nil || !l.log.ReserveHeld() {
		t.Fatal(err)
	}
}

// A directory is refused with one sentence if it is not this store's, or newer.
func TestWrongDirectory(t *testing.T) {
	l := newTestLog(t)
	_, _, err := Create(l.opt)
	l.wantKind(err, kv.Exists, "creating twice")
	l.close()
	other := l.opt
	other.StoreID = 10
	_, _, err = Open(other)
	l.wantKind(err, kv.Invalid, "another store")
	other = l.opt
	other.Dir = "/nothing"
	_, _, err = Open(other)
	l.wantKind(err, kv.NotFound, "an empty directory")
	h := segmentHeader{version: formatVersion + 1, store: 9, segment: 1, size: SegmentBytesMin}
	if err := l.fs.Overwrite(l.segment(1), 0, h.encode()); err != nil {
		t.Fatal(err)
	}
	_, _, err = Open(l.opt)
	l.wantKind(err, kv.Denied, "a newer format")
}
