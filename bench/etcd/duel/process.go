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
	"strings"
	"syscall"
	"time"
)

// How long a process may take to serve after its start, and to end after SIGTERM.
const (
	startMax = time.Minute
	stopMax  = 15 * time.Second
)

// process is one server, and what it needs to be started again.
type process struct {
	name    string
	path    string
	args    []string
	logPath string
	serves  string // a part of the line by which it says that it serves; "": it begins with readyPrefix
	family  bool   // it works in children, which are suspended and resumed with it
	as      *syscall.Credential
	cmd     *exec.Cmd
	ready   chan string   // the line by which it says that it serves; closed at the end of the log
	ended   chan struct{} // closed when the process is gone
}

// readyPrefix begins the line by which kvd and etcdnode say that they serve.
const readyPrefix = "ready "

func (p *process) pid() int { return p.cmd.Process.Pid }

// start begins the process; waitReady waits until it serves.
func (p *process) start() error {
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.SysProcAttr = childAttr()
	cmd.SysProcAttr.Credential = p.as
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_ = log.Close()
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.cmd, p.ready, p.ended = cmd, make(chan string, 1), make(chan struct{})
	go func(ready chan string, ended chan struct{}) {
		defer close(ended)
		p.copyLog(log, stderr, ready)
		_ = cmd.Wait() // how it ended is in its log
	}(p.ready, p.ended)
	return nil
}

// copyLog writes what a process says to its log and hands out the first line that says that it serves.
func (p *process) copyLog(log io.WriteCloser, from io.Reader, ready chan<- string) {
	defer close(ready)
	defer log.Close()
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		_, _ = io.WriteString(log, line) // a log that is not written fails no measurement
		if p.isReady(line) {
			select {
			case ready <- strings.TrimSpace(line):
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *process) isReady(line string) bool {
	if p.serves == "" {
		return strings.HasPrefix(line, readyPrefix)
	}
	return strings.Contains(line, p.serves)
}

// waitReady returns the ready line.
func (p *process) waitReady(ctx context.Context) (string, error) {
	select {
	case line, ok := <-p.ready:
		if !ok {
			return "", fmt.Errorf("%s ended before it was ready: %s", p.name, lastLine(p.logPath))
		}
		return line, nil
	case <-time.After(startMax):
		return "", fmt.Errorf("%s was not ready within %v: see %s", p.name, startMax, p.logPath)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// kill ends the process without warning.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.ended
}

// alive says whether the process is still there.
func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// cluster is the processes of one side.
type cluster struct {
	side      string
	processes []*process
	suspended bool
}

func (c *cluster) pids() []int {
	var pids []int
	for _, p := range c.processes {
		pids = append(pids, p.pid())
	}
	return pids
}

// start begins all processes and gives their ready lines.
func (c *cluster) start(ctx context.Context) ([]string, error) {
	for _, p := range c.processes {
		if err := p.start(); err != nil {
			return nil, err
		}
	}
	var lines []string
	for _, p := range c.processes {
		line, err := p.waitReady(ctx)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func (c *cluster) signal(s syscall.Signal) {
	for _, p := range c.processes {
		if p.cmd != nil && p.alive() {
			p.signal(s)
		}
	}
}

// signal tells the process, and its children where they would not learn of it: a parent that is stopped makes no
// more of them, and one that goes on finds all at work.
func (p *process) signal(s syscall.Signal) {
	own := func() { _ = p.cmd.Process.Signal(s) } // it may be gone
	children := func() {
		if !p.family {
			return
		}
		for _, pid := range childrenOf(p.pid()) {
			_ = syscall.Kill(pid, s)
		}
	}
	switch s {
	case syscall.SIGSTOP:
		own()
		children()
	case syscall.SIGCONT:
		children()
		own()
	default:
		own()
	}
}

// suspend stops the clocks of all processes.
func (c *cluster) suspend() {
	c.signal(syscall.SIGSTOP)
	c.suspended = true
}

// resume lets them go on.
func (c *cluster) resume() {
	c.signal(syscall.SIGCONT)
	c.suspended = false
}

// checkAlive says which process has ended that should not have.
func (c *cluster) checkAlive() error {
	var errs []error
	for _, p := range c.processes {
		if !p.alive() {
			errs = append(errs, fmt.Errorf("%s has ended: %s", p.name, lastLine(p.logPath)))
		}
	}
	return errors.Join(errs...)
}

// stop asks all processes to stop, and kills those that do not.
func (c *cluster) stop() {
	c.signal(syscall.SIGTERM)
	c.resume()
	late := time.After(stopMax)
	for _, p := range c.processes {
		if p.cmd == nil {
			continue
		}
		select {
		case <-p.ended:
		case <-late:
			late = closed
			p.kill()
		}
	}
}

var closed = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

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
