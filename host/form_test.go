package host

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/proto/peerpb"
)

// village is a network of formers in one process.
type village struct {
	t     *testing.T
	mu    sync.Mutex
	nodes map[string]*former // by address; those that run
	deaf  map[string]bool    // addresses whose Form calls fail
	joins int
}

func newVillage(t *testing.T) *village {
	return &village{t: t, nodes: map[string]*former{}, deaf: map[string]bool{}}
}

// start makes a node on a directory; it answers from now on.
func (v *village) start(dir, address string, join ...string) *former {
	v.t.Helper()
	d, err := openDirectory(dir, 0)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(d.close)
	f := &former{dir: d, join: join, address: address, log: hclog.NewNullLogger(), dial: v.dial, admin: v.admin}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.nodes[address] = f
	return f
}

func (v *village) stop(f *former) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.nodes, f.address)
	f.dir.close()
}

func (v *village) dial(address string) (formConn, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f := v.nodes[address]
	if f == nil {
		return nil, errors.New("connection refused")
	}
	return &villageConn{v: v, to: f}, nil
}

type villageConn struct {
	v  *village
	to *former
}

func (c *villageConn) Hello(ctx context.Context, r *peerpb.HelloRequest) (*peerpb.HelloReply, error) {
	return c.to.serveHello(ctx, r), nil
}

func (c *villageConn) Form(_ context.Context, r *peerpb.FormRequest) (*peerpb.FormReply, error) {
	c.v.mu.Lock()
	deaf := c.v.deaf[c.to.address]
	c.v.mu.Unlock()
	if deaf {
		return nil, errors.New("no answer")
	}
	return c.to.serveForm(r), nil
}

// admin takes a node into the cluster of the node at the address.
func (v *village) admin(_ context.Context, address string, r *kv.AdminRequest) (*kv.AdminResponse, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.nodes[address] == nil || r.Join.Nonce == 0 {
		return nil, errors.New("connection refused")
	}
	v.joins++
	s := v.nodes[address].dir.current()
	return &kv.AdminResponse{Join: &kv.JoinAnswer{ClusterID: s.Cluster, Node: kv.NodeID(100 + v.joins), Nodes: s.Peers}}, nil
}

func (c *villageConn) Close() error { return nil }

// steps runs rounds of all nodes until each belongs to a cluster, or rounds are over.
func steps(t *testing.T, nodes ...*former) (all bool) {
	t.Helper()
	for range 8 {
		all = true
		for _, f := range nodes {
			if s := f.dir.current(); s.isMember() {
				continue
			}
			if err := f.step(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := f.dir.current()
			all = all && s.isMember()
		}
		if all {
			return true
		}
	}
	return false
}

func TestThreeEmptyNodesFormOneCluster(t *testing.T) {
	v := newVillage(t)
	list := []string{"c:1", "a:1", "b:1"}
	c := v.start(t.TempDir(), "c:1", list...)
	a := v.start(t.TempDir(), "a:1", list...)
	if steps(t, a, c) {
		t.Fatal("a cluster was formed though b has not answered")
	}
	b := v.start(t.TempDir(), "b:1", list...)
	if !steps(t, c, b, a) {
		t.Fatal("no cluster was formed")
	}
	for i, f := range []*former{a, b, c} {
		s := f.dir.current()
		if s.Cluster != a.dir.current().Cluster || s.Node != kv.NodeID(i+1) || len(s.Founders) != 3 || !s.founder() || !s.Founders[2].Core {
			t.Errorf("%s became %+v", f.address, s)
		}
	}
}

func TestClusterOfOne(t *testing.T) {
	v := newVillage(t)
	a := v.start(t.TempDir(), "127.0.0.1:1", "localhost:1")
	v.nodes["localhost:1"] = a // another name of the same node
	if !steps(t, a) || a.dir.current().Node != 1 {
		t.Errorf("became %+v", a.dir.current())
	}
}

func TestFounderThatCrashesFoundsTheSameCluster(t *testing.T) {
	v := newVillage(t)
	list := []string{"a:1", "b:1", "c:1"}
	dir := t.TempDir()
	a, b, c := v.start(dir, "a:1", list...), v.start(t.TempDir(), "b:1", list...), v.start(t.TempDir(), "c:1", list...)
	v.deaf["c:1"] = true
	if steps(t, b, c, a) {
		t.Fatal("the founder was a member before all knew")
	}
	cluster := b.dir.current().Cluster
	if cluster == 0 {
		t.Fatal("b was not told")
	}
	v.stop(a)
	delete(v.deaf, "c:1")
	if v.joins != 0 {
		t.Fatal("c joined a cluster that it helps to found")
	}
	if !steps(t, c) || c.dir.current().Cluster != cluster || c.dir.current().Node != 3 || !c.dir.current().founder() {
		t.Fatalf("b did not tell c, who is %+v", c.dir.current())
	}
	a = v.start(dir, "a:1", list...)
	if !steps(t, a) || a.dir.current().Cluster != cluster || a.dir.current().Node != 1 {
		t.Fatalf("the founder came back as %+v", a.dir.current())
	}
}

func TestDifferentListsAreRefused(t *testing.T) {
	v := newVillage(t)
	a := v.start(t.TempDir(), "a:1", "a:1", "b:1", "c:1")
	b := v.start(t.TempDir(), "b:1", "b:1", "c:1")
	c := v.start(t.TempDir(), "c:1", "a:1", "b:1", "c:1")
	_ = b.step(t.Context()) // founds {b, c}: c refuses
	if err := c.accept(&peerpb.FormRequest{ClusterId: 9, Founders: []*peerpb.Founder{
		{NodeId: 1, Address: "b:1", Nonce: b.dir.current().Nonce}, {NodeId: 2, Address: "c:1", Nonce: c.dir.current().Nonce},
	}}); err == nil {
		t.Error("c became a member of a cluster without a")
	}
	_ = c.step(t.Context())
	for range 3 {
		_, _ = a.step(t.Context()), b.step(t.Context())
	}
	for _, f := range []*former{a, c} {
		if s := f.dir.current(); s.isMember() {
			t.Errorf("%s is a member: %+v", f.address, s)
		}
	}
}

func TestFormRefusals(t *testing.T) {
	v := newVillage(t)
	list := []string{"a:1", "b:1"}
	a, b := v.start(t.TempDir(), "a:1", list...), v.start(t.TempDir(), "b:1", list...)
	if !steps(t, a, b) {
		t.Fatal("no cluster")
	}
	s := a.dir.current()
	ask := func(cluster, nonce uint64) string {
		return b.serveForm(&peerpb.FormRequest{ClusterId: cluster, Founders: []*peerpb.Founder{{NodeId: 1, Address: "b:1", Nonce: nonce}}}).GetRefused()
	}
	if got := ask(s.Cluster+1, b.dir.current().Nonce); !strings.Contains(got, "belongs to cluster") {
		t.Errorf("a member of another cluster said %q", got)
	}
	if got := ask(s.Cluster, b.dir.current().Nonce); got != "" {
		t.Errorf("told again it said %q", got)
	}
	empty := v.start(t.TempDir(), "e:1", list...)
	if got := empty.serveForm(&peerpb.FormRequest{ClusterId: 1, Founders: []*peerpb.Founder{{NodeId: 1, Address: "e:1", Nonce: 1}}}).GetRefused(); !strings.Contains(got, "was emptied") {
		t.Errorf("a wiped founder said %q", got)
	}
}

func TestWipedNodeJoinsAsANewOne(t *testing.T) {
	v := newVillage(t)
	list := []string{"a:1", "b:1", "c:1"}
	dir := t.TempDir()
	a, b, c := v.start(t.TempDir(), "a:1", list...), v.start(t.TempDir(), "b:1", list...), v.start(filepath.Join(dir, "old"), "c:1", list...)
	if !steps(t, a, b, c) {
		t.Fatal("no cluster")
	}
	v.stop(c)
	c = v.start(filepath.Join(dir, "new"), "c:1", list...)
	if !steps(t, c) || c.dir.current().Node != 101 || c.dir.current().founder() || len(c.dir.current().Peers) != 3 {
		t.Errorf("the wiped node became %+v", c.dir.current())
	}
}

func TestOtherSupportDurationIsRefused(t *testing.T) {
	v := newVillage(t)
	a, b := v.start(t.TempDir(), "a:1", "a:1", "b:1"), v.start(t.TempDir(), "b:1", "a:1", "b:1")
	if err := b.dir.update(func(s *Store) { s.Support = time.Hour }); err != nil {
		t.Fatal(err)
	}
	if err := a.step(t.Context()); kv.KindOf(err) != kv.Denied || !strings.Contains(err.Error(), "b:1") {
		t.Errorf("got %v", err)
	}
}

func TestCoreVotersAreOdd(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5, 100: 5} {
		if got := coreVoters(n); got != want {
			t.Errorf("%d founders: %d hold the core, want %d", n, got, want)
		}
	}
}
