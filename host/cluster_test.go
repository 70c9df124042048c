package host

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
)

// cluster is some hosts in one process, on real ports and disks.
type cluster struct {
	t     *testing.T
	dir   string
	hosts []*Host // nil: not running
	loops []int   // of each at its next start
	list  []string
}

// onLoops runs a test on clusters whose nodes have one loop, and on some whose nodes have several.
func onLoops(t *testing.T, loops []int, test func(*testing.T, *cluster)) {
	t.Run("one loop", func(t *testing.T) { test(t, newCluster(t, len(loops))) })
	t.Run(fmt.Sprint("loops ", loops), func(t *testing.T) { test(t, newClusterOf(t, loops...)) })
}

func testOptions(dir string) Options {
	return Options{
		Data: dir, Listen: "127.0.0.1:0",
		Storage: Storage{CacheBytes: 8 << 20, MemTableBytes: 4 << 20, EntryCacheBytes: 4 << 20, LogSegmentBytes: 4 << 20, ReserveBytes: 1 << 20},
		Log:     hclog.New(&hclog.LoggerOptions{Output: logOutput(), Level: hclog.Warn}),
	}
}

func newCluster(t *testing.T, n int) *cluster {
	t.Helper()
	return newClusterOf(t, make([]int, n)...)
}

// newClusterOf starts nodes with so many loops.
func newClusterOf(t *testing.T, loops ...int) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), hosts: make([]*Host, len(loops)), loops: loops}
	for i := range c.hosts {
		c.open(i, "127.0.0.1:0")
		c.list = append(c.list, c.hosts[i].Address())
	}
	var group sync.WaitGroup
	for i := range c.hosts {
		group.Go(func() { c.start(i) })
	}
	group.Wait()
	t.Cleanup(func() {
		for i, h := range c.hosts {
			if h != nil {
				c.stop(i)
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return c
}

func (c *cluster) open(i int, listen string) {
	c.t.Helper()
	o := testOptions(filepath.Join(c.dir, fmt.Sprint(i)))
	o.Listen, o.Loops = listen, c.loops[i]
	o.Log = o.Log.Named(fmt.Sprint("node", i))
	h, err := Open(o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.hosts[i] = h
}

func (c *cluster) start(i int) {
	h := c.hosts[i]
	h.former.join = c.list
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Start(ctx); err != nil {
		c.t.Error(err)
	}
}

func (c *cluster) stop(i int) {
	if err := c.hosts[i].Close(); err != nil {
		c.t.Errorf("node %d: %v", i, err)
	}
	c.hosts[i] = nil
}

// eventually tries until it works; the test fails if it does not within half a minute.
func eventually[T any](t *testing.T, what string, try func() (T, error)) T {
	t.Helper()
	var last error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		v, err := try()
		if err == nil {
			return v
		}
		last = err
	}
	t.Fatalf("%s: %v", what, last)
	panic("unreachable")
}

// admin asks running nodes in turn until one answers.
func (c *cluster) admin(req *kv.AdminRequest) *kv.AdminResponse {
	c.t.Helper()
	i := 0
	return eventually(c.t, "admin", func() (*kv.AdminResponse, error) {
		i++
		h := c.hosts[i%len(c.hosts)]
		if h == nil {
			return nil, kv.Errorf(kv.Unavailable, "node %d is down", i%len(c.hosts))
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		return h.Admin(ctx, req)
	})
}

// answer is what an Ask has got.
type answer struct {
	resp *kv.Response
	err  *kv.Error
}

type waiter chan answer

func (w waiter) Answer(r *kv.Response, err *kv.Error) { w <- answer{r, err} }

func submit(h *Host, req *kv.Request) (*kv.Response, error) {
	w := make(waiter, 1)
	var handle uint64
	h.Submit([]Ask{{Request: req, Asker: w, Handle: &handle}})
	select {
	case a := <-w:
		if a.err != nil {
			return nil, a.err
		}
		return a.resp, nil
	case <-time.After(10 * time.Second):
		h.Cancel(handle)
		a := <-w
		return a.resp, a.err
	}
}

// do sends a request to whoever leads, following the errors.
func (c *cluster) do(req *kv.Request) *kv.Response {
	c.t.Helper()
	i := 0
	return eventually(c.t, "request", func() (*kv.Response, error) {
		h := c.hosts[i%len(c.hosts)]
		i++
		if h == nil {
			return nil, kv.Errorf(kv.Unavailable, "node is down")
		}
		return submit(h, req)
	})
}

func put(p kv.PartitionID, key kv.Key, value string, term kv.Term, asOf kv.Timestamp) *kv.Request {
	id := kv.TxID{}
	for i := range 16 {
		id[i] = byte(drawID())
	}
	return &kv.Request{Partition: p, Commit: &kv.Commit{ID: id, Term: term, AsOf: asOf, Writes: []kv.Write{{Kind: kv.WritePut, Key: key, Value: []byte(value)}}}}
}

func get(p kv.PartitionID, key kv.Key) *kv.Request {
	return &kv.Request{Partition: p, Read: &kv.Read{Keys: []kv.Key{key}}}
}

func (c *cluster) firstPartition() (kv.Keyspace, kv.PartitionID) {
	c.t.Helper()
	for range 500 {
		top := c.admin(&kv.AdminRequest{Topology: &kv.TopologyQuery{Keyspace: "default"}}).Topology
		if len(top.Partitions) == 1 && len(top.Keyspaces) == 1 {
			return top.Keyspaces[0], top.Partitions[0].Descriptor.Partition
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Fatal("the default keyspace has no partition")
	return kv.Keyspace{}, 0
}

// put writes by what an Outcome-free client does: it learns the term from the answer to a read.
func (c *cluster) put(p kv.PartitionID, key kv.Key, value string) {
	c.t.Helper()
	i := 0
	eventually(c.t, "put", func() (*kv.Response, error) {
		h := c.hosts[i%len(c.hosts)]
		i++
		if h == nil {
			return nil, kv.Errorf(kv.Unavailable, "node is down")
		}
		r, err := submit(h, get(p, key))
		if err != nil {
			return nil, err
		}
		return submit(h, put(p, key, value, r.Term, r.Heard))
	})
}

func TestClusterServesAndSurvives(t *testing.T) {
	onLoops(t, []int{3, 3, 3}, clusterServesAndSurvives)
}

func clusterServesAndSurvives(t *testing.T, c *cluster) {
	ks, p := c.firstPartition()
	key := func(i int) kv.Key { return ks.FullKey(fmt.Appendf(nil, "key%d", i)) }
	for i := range 50 {
		c.put(p, key(i), fmt.Sprint("value", i))
	}
	c.stop(0)
	for i := 50; i < 100; i++ {
		c.put(p, key(i), fmt.Sprint("value", i))
	}
	c.open(0, c.list[0])
	c.start(0)
	c.stop(1)
	c.stop(2)
	c.open(1, c.list[1])
	c.open(2, c.list[2])
	c.start(1)
	c.start(2)
	for i := range 100 {
		r := c.do(get(p, key(i)))
		if len(r.Rows) != 1 || string(r.Rows[0].Value) != fmt.Sprint("value", i) {
			t.Fatalf("key %d is %+v", i, r)
		}
	}
}

// TestSnapshotBringsANodeBack lets a node miss more than the log keeps.
func TestSnapshotBringsANodeBack(t *testing.T) {
	onLoops(t, []int{3, 1, 2}, snapshotBringsANodeBack)
}

func snapshotBringsANodeBack(t *testing.T, c *cluster) {
	ks, p := c.firstPartition()
	key := func(i int) kv.Key { return ks.FullKey(fmt.Appendf(nil, "key%d", i)) }
	c.put(p, key(0), "small")
	c.stop(2)
	const large = 256 << 10
	for i := range 40 { // more than the engine keeps in memory: it flushes, and the log is cut
		c.put(p, key(i), fmt.Sprint(i, ":", strings.Repeat("x", large)))
	}
	for _, h := range c.hosts[:2] {
		h.running.Load().applier.flush()
	}
	time.Sleep(time.Second) // until that is heard of; if it is not, the log brings the node back, and the check below fails
	c.open(2, c.list[2])
	c.start(2)
	eventually(t, "snapshot", func() (int, error) {
		s, err := c.hosts[2].running.Load().nodeStatus()
		if err != nil {
			return 0, err
		}
		for _, r := range s.Replicas {
			if r.Partition == p && r.Applied >= 40 {
				return 0, nil
			}
		}
		return 0, kv.Errorf(kv.Unavailable, "node 3 has not caught up: %+v", s.Replicas)
	})
	if n := snapshotsReceived(t, c.hosts[2]); n == 0 {
		t.Error("node 3 has caught up without a snapshot: the test tests nothing")
	}
	a := c.admin(&kv.AdminRequest{Check: &kv.CheckQuery{Partition: p}})
	if a.Check == nil || !a.Check.Equal || len(a.Check.Digests) != 3 || a.Check.Digests[0].Keys != 40 {
		t.Errorf("the replicas differ: %+v", a.Check)
	}
}

// snapshotsReceived counts the snapshots that a host has taken in.
func snapshotsReceived(t *testing.T, h *Host) (n int) {
	t.Helper()
	families, err := h.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "kvd_snapshots_total" && m.GetLabel()[0].GetValue() == "received" {
				n += int(m.GetCounter().GetValue())
			}
		}
	}
	return n
}

// TestDamageInTheMiddleStopsOneReplica flips a byte of what was acknowledged.
func TestDamageInTheMiddleStopsOneReplica(t *testing.T) {
	onLoops(t, []int{3}, damageInTheMiddleStopsOneReplica)
}

func damageInTheMiddleStopsOneReplica(t *testing.T, c *cluster) {
	ks, p := c.firstPartition()
	for i := range 20 {
		c.put(p, ks.FullKey(fmt.Appendf(nil, "key%d", i)), "value")
	}
	c.stop(0)
	damageLog(t, filepath.Join(c.dir, "0", logDirName), "key7")
	c.open(0, c.list[0])
	c.start(0)
	s := eventually(t, "status", func() (*kv.NodeStatus, error) { return c.hosts[0].running.Load().nodeStatus() })
	if len(s.Faulty) == 0 || !strings.Contains(s.Faulty[0], "damaged") {
		t.Errorf("the node does not know of the damage: %+v", s)
	}
	if _, err := submit(c.hosts[0], get(p, ks.FullKey([]byte("key1")))); err == nil {
		t.Error("a damaged replica answers")
	}
	if err := c.hosts[0].alive(); err != nil {
		t.Errorf("the rest of the node does not run: %v", err)
	}
}

// damageLog flips a bit of the first place in the log that holds the text.
func damageLog(t *testing.T, dir, text string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(raw, []byte(text)); i >= 0 {
			raw[i] ^= 1
			if err := os.WriteFile(path, raw, 0o640); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no log file holds %q", text)
}

func TestLostMajorityIsToldAndNothingHangs(t *testing.T) {
	onLoops(t, []int{2, 2, 2}, lostMajorityIsToldAndNothingHangs)
}

func lostMajorityIsToldAndNothingHangs(t *testing.T, c *cluster) {
	ks, p := c.firstPartition()
	k := ks.FullKey([]byte("k"))
	leader, read := 0, (*kv.Response)(nil)
	for i := 0; read == nil; i++ {
		leader = i % 3
		read, _ = submit(c.hosts[leader], get(p, k)) // the others say that they do not lead
	}
	c.stop((leader + 1) % 3)
	c.stop((leader + 2) % 3)
	w := make(waiter, 1)
	var handle uint64
	c.hosts[leader].Submit([]Ask{{Request: put(p, k, "v", read.Term, read.Heard), Asker: w, Handle: &handle}})
	select {
	case a := <-w:
		if a.err == nil {
			t.Error("a minority has accepted a write")
		}
	case <-time.After(time.Second):
		c.hosts[leader].Cancel(handle)
		if a := <-w; a.err == nil || a.err.Kind != kv.Timeout {
			t.Errorf("given up after a second it says %+v", a)
		}
	}
}

func TestBeforeItIsReady(t *testing.T) {
	h, err := Open(testOptions(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := submit(h, get(1, kv.Key("k"))); kv.KindOf(err) != kv.Unavailable {
		t.Errorf("got %v", err)
	}
	if _, err := h.Admin(t.Context(), &kv.AdminRequest{Status: &kv.StatusQuery{}}); kv.KindOf(err) != kv.Unavailable {
		t.Errorf("got %v", err)
	}
	if h.ready() == nil || h.alive() != nil || h.Info().Address != h.Address() || h.Heard() != 0 {
		t.Error("it is ready, or not alive, or does not know its address")
	}
	h.former.join = []string{h.Address(), "127.0.0.1:1"} // nobody listens there
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := h.Start(ctx); kv.KindOf(err) != kv.Canceled {
		t.Errorf("started with %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
