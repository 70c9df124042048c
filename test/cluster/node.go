package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Patience is how long a wait may take that usually takes a second or two.
const Patience = time.Minute

// Node is one member of a cluster: a directory, an address, and mostly a process. Its
// methods have one caller at a time.
type Node struct {
	Index   int      // in Cluster.Nodes
	Address string   // under which all others reach it
	Data    string   // the data directory
	Flags   []string // of the next start, over those of all nodes
	ID      kv.NodeID
	Admin   string // address of the admin port, as the last ready line says

	cluster *Cluster
	listen  string   // where the process listens: Address, unless a proxy is in between
	process *process // the newest one
	logPath string
}

// Launch starts the node's process without waiting for it to be ready.
func (n *Node) Launch(t testing.TB) {
	t.Helper()
	if n.process != nil && !n.process.gone() {
		t.Fatalf("node %d runs already, as process %d", n.Index, n.PID())
	}
	args := []string{"start", "--data", n.Data, "--listen", n.listen, "--advertise", n.Address, "--admin-listen", "127.0.0.1:0", "--join", n.cluster.Target()}
	args = append(append(args, n.cluster.flags...), n.Flags...)
	p, err := launch(n.cluster.Binaries.KVD, args, n.logPath)
	if err != nil {
		t.Fatalf("starting node %d: %v", n.Index, err)
	}
	n.process = p
}

// Restart starts the node's process and waits until it serves.
func (n *Node) Restart(t testing.TB) {
	t.Helper()
	n.Launch(t)
	n.WaitReady(t)
}

// WaitReady waits until the process that was launched serves.
func (n *Node) WaitReady(t testing.TB) {
	t.Helper()
	select {
	case line, ok := <-n.process.ready:
		if !ok {
			n.process.asked.Store(true) // this is the report
			t.Fatalf("node %d ended before it was ready:\n%s", n.Index, n.LogTail())
		}
		if _, err := fmt.Sscanf(line, "ready listen=%s admin=%s node=%d", new(string), &n.Admin, &n.ID); err != nil {
			t.Fatalf("node %d is ready with %q, which cannot be read: %v", n.Index, line, err)
		}
	case <-time.After(Patience):
		t.Fatalf("node %d was not ready after %s:\n%s", n.Index, Patience, n.LogTail())
	}
}

// Running reports whether the node has a process.
func (n *Node) Running() bool { return n.process != nil && !n.process.gone() }

// EndedByItself reports whether the node's process is gone although nobody asked it to end.
func (n *Node) EndedByItself() bool {
	return n.process != nil && n.process.gone() && !n.process.asked.Load()
}

// PID is the number of the node's newest process.
func (n *Node) PID() int { return n.process.cmd.Process.Pid }

// Kill ends the process with SIGKILL, even a paused one, and waits until it is gone.
func (n *Node) Kill(t testing.TB) {
	t.Helper()
	n.process.kill()
}

// Pause stops the process with SIGSTOP.
func (n *Node) Pause(t testing.TB) { n.signal(t, syscall.SIGSTOP) }

// Continue lets a paused process go on, by SIGCONT.
func (n *Node) Continue(t testing.TB) { n.signal(t, syscall.SIGCONT) }

// Terminate sends SIGTERM, and does not wait.
func (n *Node) Terminate(t testing.TB) {
	n.process.asked.Store(true)
	n.signal(t, syscall.SIGTERM)
}

func (n *Node) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := n.process.signal(s); err != nil {
		t.Fatalf("node %d, %v: %v", n.Index, s, err)
	}
}

// Stop sends SIGTERM and returns the exit code.
func (n *Node) Stop(t testing.TB) int {
	t.Helper()
	n.Terminate(t)
	return n.Wait(t)
}

// Wait waits until the process ends, and returns its exit code; -1 for a signal.
func (n *Node) Wait(t testing.TB) int {
	t.Helper()
	code, err := n.process.wait(Patience)
	if err != nil {
		t.Fatalf("node %d: %v:\n%s", n.Index, err, n.LogTail())
	}
	return code
}

// Wipe removes the data of a node that does not run.
func (n *Node) Wipe(t testing.TB) {
	t.Helper()
	if n.Running() {
		t.Fatalf("node %d runs: its data cannot be removed", n.Index)
	}
	if err := os.RemoveAll(n.Data); err != nil {
		t.Fatal(err)
	}
}

// Log is all that the node's processes have said.
func (n *Node) Log() string {
	b, err := os.ReadFile(n.logPath)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(b)
}

// LogTail is the end of the log.
func (n *Node) LogTail() string {
	const linesMax = 40
	lines := strings.Split(strings.TrimRight(n.Log(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-linesMax):], "\n")
}

// File is a path below the data directory.
func (n *Node) File(parts ...string) string {
	return filepath.Join(append([]string{n.Data}, parts...)...)
}
