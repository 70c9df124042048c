package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/client"
)

// KeepVariable names a directory in which clusters are left after the test, to be looked at.
const KeepVariable = "KVD_TEST_KEEP"

// SmallFlags keep a node's files small, so that a short test goes over many of them.
var SmallFlags = []string{
	"--log-segment-bytes", "4MiB", "--log-keep-bytes", "8MiB", "--reserve-bytes", "1MiB",
	"--memtable-bytes", "4MiB", "--cache-bytes", "16MiB", "--entry-cache-bytes", "8MiB",
}

// Cluster is a list of nodes that know each other.
type Cluster struct {
	Binaries Binaries
	Dir      string
	Nodes    []*Node
	Network  *Network // nil: nodes reach each other directly

	flags []string // of all nodes
}

// New prepares a cluster without starting anything. The flags come after SmallFlags.
func New(t testing.TB, nodes int, flags ...string) *Cluster {
	t.Helper()
	c := &Cluster{Binaries: Build(t), Dir: directory(t), flags: append(SmallFlags[:len(SmallFlags):len(SmallFlags)], flags...)}
	for i, a := range FreeAddresses(t, nodes) {
		name := fmt.Sprint("node", i)
		c.Nodes = append(c.Nodes, &Node{Index: i, Address: a, listen: a, Data: filepath.Join(c.Dir, name), cluster: c, logPath: filepath.Join(c.Dir, name+".log")})
	}
	t.Cleanup(func() { c.end(t) })
	return c
}

// NewBehindProxies is New for nodes that are reached through the proxies of Cluster.Network only.
func NewBehindProxies(t testing.TB, nodes int, flags ...string) *Cluster {
	t.Helper()
	network := newNetwork(t, nodes) // before the cluster, so that it ends after it
	c := New(t, nodes, flags...)
	c.Network = network
	for i, n := range c.Nodes {
		n.Address = network.address(i)
		network.open(i, n.listen)
	}
	return c
}

// Start prepares a cluster, starts all its nodes, and waits until they serve.
func Start(t testing.TB, nodes int, flags ...string) *Cluster {
	t.Helper()
	c := New(t, nodes, flags...)
	c.Restart(t)
	return c
}

// Restart starts all nodes that do not run, and waits until they serve.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	var launched []*Node
	for _, n := range c.Nodes {
		if !n.Running() {
			n.Launch(t)
			launched = append(launched, n)
		}
	}
	for _, n := range launched {
		n.WaitReady(t)
	}
}

// directory is where a cluster lives.
func directory(t testing.TB) string {
	t.Helper()
	keep := os.Getenv(KeepVariable)
	if keep == "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(keep, strings.ReplaceAll(t.Name(), "/", "-")+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the cluster stays in %s", dir)
	return dir
}

// KeepLogs copies the nodes' logs into a new directory that outlives the test, and names it.
func (c *Cluster) KeepLogs(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kvd-logs-")
	for _, n := range c.Nodes {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(n.logPath)), []byte(n.Log()), 0o600)
		}
	}
	if err != nil {
		t.Errorf("keeping the logs: %v", err)
	}
	return dir
}

// end kills what runs. A process that was gone before is a failure, unless that was meant.
func (c *Cluster) end(t testing.TB) {
	for _, n := range c.Nodes {
		if n.EndedByItself() {
			t.Errorf("node %d ended by itself: %s\n%s", n.Index, n.process.cmd.ProcessState, n.LogTail())
		}
	}
	for _, n := range c.Nodes {
		if n.process != nil {
			n.process.kill()
		}
	}
	if t.Failed() {
		for _, n := range c.Nodes {
			t.Logf("node %d, at %s, said at last:\n%s", n.Index, n.Address, n.LogTail())
		}
	}
}

// KillAll ends all processes with SIGKILL, as near to the same moment as can be.
func (c *Cluster) KillAll(t testing.TB) {
	t.Helper()
	for _, n := range c.Nodes {
		n.process.asked.Store(true)
		_ = n.process.cmd.Process.Kill() // it may be gone
	}
	for _, n := range c.Nodes {
		<-n.process.ended
	}
}

// Target is the list of the nodes' addresses.
func (c *Cluster) Target() string {
	var list []string
	for _, n := range c.Nodes {
		list = append(list, n.Address)
	}
	return strings.Join(list, ",")
}

// Client opens a client that the test's end closes.
func (c *Cluster) Client(t testing.TB, opts ...client.Option) *client.Client {
	t.Helper()
	var open *client.Client
	c.Eventually(t, "open a client", func() (err error) {
		open, err = client.Open(t.Context(), c.Target(), opts...)
		return err
	})
	t.Cleanup(func() { _ = open.Close() }) // it never fails
	return open
}
