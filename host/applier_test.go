package host

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/mvcc"
	"github.com/kvd-db/kvd/node"
)

// newTestApplier is an applier over a disk that can fail.
func newTestApplier(t *testing.T) (a *applier, faults *mvcc.Faults, full chan bool, failed chan error) {
	t.Helper()
	faults = &mvcc.Faults{}
	e, err := mvcc.Open(mvcc.Options{Dir: "state", FS: faults.Filesystem(mvcc.NewMemFS())})
	if err != nil {
		t.Fatal(err)
	}
	full, failed = make(chan bool, 10), make(chan error, 10)
	m := newMetrics()
	a = &applier{
		engine: e, logger: hclog.NewNullLogger(), metrics: &m.apply, applied: func([]*node.Apply) {}, flushed: func([]node.Flushed) {},
		full: func(f bool) { full <- f }, fail: func(err error) { failed <- err }, collected: func(*node.CollectTask) {},
	}
	startApplier(a)
	t.Cleanup(func() {
		a.close()
		if err := e.Abandon(); err != nil {
			t.Error(err)
		}
	})
	return a, faults, full, failed
}

func putEngine(t *testing.T, e *mvcc.Engine) {
	t.Helper()
	b := e.NewBatch()
	if err := b.Put(kv.Key("k"), 1, kv.TxID{1}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

// TestFailedFlushEndsTheNode: a disk that fails is not a full one (rule 57).
func TestFailedFlushEndsTheNode(t *testing.T) {
	a, faults, _, failed := newTestApplier(t)
	putEngine(t, a.engine)
	faults.Broken.Store(true)
	a.flush()
	if err := <-failed; kv.KindOf(err) != kv.Internal {
		t.Errorf("the node ended because of %v", err)
	}
	faults.Broken.Store(false)
}

// TestFullEngineIsTold once, however long it waits.
func TestFullEngineIsTold(t *testing.T) {
	a, faults, full, failed := newTestApplier(t)
	putEngine(t, a.engine)
	faults.Full.Store(true)
	if err := a.engine.Flush(); kv.KindOf(err) != kv.DiskFull {
		t.Fatal(err)
	}
	a.flush()
	for range 2 {
		if !a.wait(kv.Errorf(kv.DiskFull, "full")) {
			t.Fatal("the applier gives up")
		}
	}
	if !<-full || len(full) > 0 {
		t.Error("the node was told something else than: full")
	}
	faults.Full.Store(false)
	if len(failed) > 0 {
		t.Errorf("a full disk ended the node: %v", <-failed)
	}
}
