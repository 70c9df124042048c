package cluster

import (
	"strings"
	"testing"
	"time"
)

// TestLife goes through the life of a node.
func TestLife(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	c := Start(t, 1)
	n := c.Nodes[0]
	c.WaitHealthy(t)
	c.MustCLI(t, "put", "k", "v")
	c.Check(t)
	if b := c.BusiestLeader(t); b != n {
		t.Fatalf("node %d leads, of one", b.Index)
	}
	id, pid := n.ID, n.PID()
	n.Kill(t)
	if n.Running() {
		t.Fatal("it runs after Kill")
	}
	n.Restart(t)
	if n.ID != id || n.PID() == pid {
		t.Errorf("node %d came back as node %d, in process %d after %d", id, n.ID, n.PID(), pid)
	}
	if got := c.MustCLI(t, "get", "k", "-o", "raw"); got != "v\n" {
		t.Errorf("the value is %q after a restart", got)
	}
	pauseAndContinue(t, c)
	if code := n.Stop(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, n.LogTail())
	}
	if got := strings.Count(n.Log(), "ready "); got != 2 {
		t.Errorf("%d ready lines in the log of two runs:\n%s", got, n.Log())
	}
	n.Wipe(t)
	n.Restart(t)
	if r := c.CLI(t, "get", "k"); r.Code != 3 {
		t.Errorf("a wiped cluster of one still has its data: %s", r)
	}
}

func pauseAndContinue(t *testing.T, c *Cluster) {
	n := c.Nodes[0]
	n.Pause(t)
	if r := c.CLI(t, "--timeout", "500ms", "get", "k"); r.Code == 0 {
		t.Errorf("a paused process answers: %s", r)
	}
	n.Continue(t)
	c.MustCLI(t, "get", "k")
}

// witness is a testing.TB that notes what the library would do to a test.
type witness struct {
	testing.TB
	cleanups []func()
	said     []string
	failed   bool
}

func (w *witness) Cleanup(f func()) { w.cleanups = append(w.cleanups, f) }
func (w *witness) Errorf(format string, a ...any) {
	w.failed = true
	w.TB.Logf("as wanted: "+format, a...)
}
func (w *witness) Logf(format string, _ ...any) { w.said = append(w.said, format) }
func (w *witness) Failed() bool                 { return w.failed }

// TestUnexpectedEnd: a process that ends by itself fails the test, and none is left.
func TestUnexpectedEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	w := &witness{TB: t}
	c := Start(w, 1)
	t.Cleanup(func() { c.Nodes[0].process.kill() }) // if this test itself fails
	_ = c.Nodes[0].process.cmd.Process.Kill()
	select {
	case <-c.Nodes[0].process.ended:
	case <-time.After(Patience):
		t.Fatal("SIGKILL did not end it")
	}
	for _, f := range w.cleanups {
		f()
	}
	if !w.failed || len(w.said) == 0 {
		t.Errorf("the test did not fail (%v), or the log was not shown (%q)", w.failed, w.said)
	}
}

func TestFreeAddresses(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range FreeAddresses(t, 20) {
		if seen[a] {
			t.Errorf("%s twice", a)
		}
		seen[a] = true
	}
}
