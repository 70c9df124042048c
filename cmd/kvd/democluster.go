package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// demoCluster is the processes of the demo.
type demoCluster struct {
	kvd   string
	dir   string
	nodes []*demoNode
}

// demoNode is one process, and what it needs to be started again.
type demoNode struct {
	id      uint64 // as its ready line says
	address string
	admin   string
	name    string // of its directory and log
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone
}

func (n *demoNode) pid() int { return n.cmd.Process.Pid }

// kill ends the process without warning.
func (n *demoNode) kill() {
	_ = n.cmd.Process.Kill() // it may be gone
	<-n.ended
}

func (c *demoCluster) node(id uint64) *demoNode {
	for _, n := range c.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

func (c *demoCluster) targets() string {
	var list []string
	for _, n := range c.nodes {
		list = append(list, n.address)
	}
	return strings.Join(list, ",")
}

// start brings all nodes up at once.
func (c *demoCluster) start(ctx context.Context, nodes int) error {
	ports, err := freePorts(nodes)
	if err != nil {
		return err
	}
	for i, p := range ports {
		c.nodes = append(c.nodes, &demoNode{address: p, name: fmt.Sprint("node", i+1)})
	}
	errs := make([]error, nodes)
	var group sync.WaitGroup
	for i, n := range c.nodes {
		group.Go(func() { errs[i] = c.restart(ctx, n) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// restart starts the process of a node and waits until it serves.
func (c *demoCluster) restart(ctx context.Context, n *demoNode) error {
	log, err := os.OpenFile(filepath.Join(c.dir, n.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	cmd := exec.Command(c.kvd, "start", "--data", filepath.Join(c.dir, n.name), "--listen", n.address, "--admin-listen", "127.0.0.1:0", "--join", c.targets())
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_ = log.Close()
		return err
	}
	n.cmd, n.ended = cmd, make(chan struct{})
	ready := make(chan string, 1)
	go func(ended chan struct{}) {
		defer close(ended)
		copyLog(log, stderr, ready)
		_ = cmd.Wait() // how it ended is in its log
	}(n.ended)
	return n.waitReady(ctx, ready)
}

func (n *demoNode) waitReady(ctx context.Context, ready <-chan string) error {
	const patience = time.Minute
	select {
	case line, ok := <-ready:
		if !ok {
			return kv.Errorf(kv.Internal, "%s ended before it was ready", n.name)
		}
		if _, err := fmt.Sscanf(line, "ready listen=%s admin=%s node=%d", &n.address, &n.admin, &n.id); err != nil {
			return kv.Errorf(kv.Internal, "%s is ready with %q, which cannot be read: %v", n.name, line, err)
		}
		return nil
	case <-time.After(patience):
		return kv.Errorf(kv.Timeout, "%s was not ready within %s", n.name, patience)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// copyLog writes what a node says to its log, and hands its ready line out. The channel
// is closed when the node says no more.
func copyLog(log io.WriteCloser, from io.Reader, ready chan<- string) {
	defer close(ready)
	defer log.Close()
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready ") {
			select {
			case ready <- lines.Text():
			default:
			}
		}
		fmt.Fprintln(log, lines.Text())
	}
}

// stop asks all nodes to stop, and kills those that do not.
func (c *demoCluster) stop() {
	const patience = 15 * time.Second
	for _, n := range c.nodes {
		if n.cmd != nil {
			_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may be gone
		}
	}
	late := time.After(patience)
	for _, n := range c.nodes {
		if n.cmd == nil {
			continue
		}
		select {
		case <-n.ended:
		case <-late:
			n.kill()
		}
	}
}

// freePorts are addresses on which nobody listens at the moment.
func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out, nil
}
