package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script is a process that behaves as a server does.
func script(t *testing.T, text string) *process {
	t.Helper()
	return &process{name: t.Name(), path: "/bin/sh", args: []string{"-c", text}, logPath: filepath.Join(t.TempDir(), "log")}
}

func startCluster(t *testing.T, text string) *cluster {
	t.Helper()
	c := &cluster{side: "test", processes: []*process{script(t, text)}}
	lines, err := c.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 1 || lines[0] != "ready to serve" {
		t.Fatalf("the ready lines are %q", lines)
	}
	return c
}

// stateOf is the letter of a process in /proc; "" if it is not there.
func stateOf(pid int) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return ""
	}
	letter, _, _ := strings.Cut(parseField(b, "State"), " ")
	return letter
}

// A side that is suspended does nothing, one that is resumed goes on, and stop ends even a
// suspended one, and one that ignores SIGTERM.
func TestSuspendAndStop(t *testing.T) {
	if stateOf(os.Getpid()) == "" {
		t.Skip("no /proc here")
	}
	c := startCluster(t, "echo starting >&2; echo ready to serve >&2; while :; do sleep 0.01; done")
	pid := c.pids()[0]
	await := func(want func(string) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !want(stateOf(pid)); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the process is in state %q", stateOf(pid))
			}
		}
	}
	c.suspend()
	await(func(s string) bool { return s == "T" })
	c.resume()
	await(func(s string) bool { return s != "T" })
	c.suspend()
	if err := c.checkAlive(); err != nil {
		t.Error(err)
	}
	c.stop()
	if stateOf(pid) != "" {
		t.Errorf("the process is still there, in state %q", stateOf(pid))
	}
	if err := c.checkAlive(); err == nil || !strings.Contains(err.Error(), "ready to serve") {
		t.Errorf("%v; want that it has ended, with the last line of its log", err)
	}
}

// A family is suspended and resumed as one, and ready with a line of its own.
func TestFamily(t *testing.T) {
	if stateOf(os.Getpid()) == "" {
		t.Skip("no /proc here")
	}
	p := script(t, "setsid sleep 60 & echo ready or not >&2; echo 'LOG: it serves now' >&2; wait")
	p.family, p.serves = true, "it serves"
	c := &cluster{side: "test", processes: []*process{p}}
	lines, err := c.start(t.Context())
	if err != nil || lines[0] != "LOG: it serves now" {
		t.Fatalf("%q, %v", lines, err)
	}
	children := childrenOf(p.pid())
	if len(children) != 1 {
		t.Fatalf("its children are %v", children)
	}
	await := func(want bool) {
		t.Helper()
		for _, pid := range []int{p.pid(), children[0]} {
			for deadline := time.Now().Add(10 * time.Second); (stateOf(pid) == "T") != want; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("process %d is in state %q", pid, stateOf(pid))
				}
			}
		}
	}
	c.suspend()
	await(true)
	c.resume()
	await(false)
	_ = syscall.Kill(children[0], syscall.SIGKILL) // its log ends with the last of the family
	c.stop()
}

func TestKill(t *testing.T) {
	c := startCluster(t, "trap '' TERM; echo ready to serve >&2; while :; do sleep 0.01; done")
	p := c.processes[0]
	p.kill()
	if p.alive() {
		t.Error("killed, and still alive")
	}
	// It can be started again, and its log goes on.
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.waitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.kill()
	if b, _ := os.ReadFile(p.logPath); strings.Count(string(b), "ready") != 2 {
		t.Errorf("the log is %q", b)
	}
}

func TestStartFails(t *testing.T) {
	c := &cluster{side: "test", processes: []*process{script(t, "echo the port is taken >&2; exit 3")}}
	if _, err := c.start(t.Context()); err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("%v; want the process' last words", err)
	}
	c.stop() // of a process that is gone
	c = &cluster{side: "test", processes: []*process{script(t, "exec sleep 60"), {name: "none", path: "/does/not/exist", logPath: filepath.Join(t.TempDir(), "log")}}}
	if _, err := c.start(t.Context()); err == nil {
		t.Error("a binary that is not there was started")
	}
	c.stop() // of one process that runs and one that never did
	c = &cluster{side: "test", processes: []*process{script(t, "exec sleep 60")}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.start(ctx); err == nil {
		t.Error("started although the run is over")
	}
	c.stop()
}
