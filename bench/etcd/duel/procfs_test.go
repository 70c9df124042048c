package main

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestParseCPU(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 250 50 7 8 20 0 11 0 12345 100 200"
	for _, name := range []string{"kvd", "a b", "x) R 1 (y", "()"} {
		got, err := parseCPU([]byte("4711 (" + name + ")" + rest + "\n"))
		if err != nil || got != 3*time.Second {
			t.Errorf("a process named %q has used %v, %v; want 3s", name, got, err)
		}
	}
	for _, bad := range []string{"", "4711 kvd S 1", "4711 (kvd) S 1 2 3", "4711 (kvd) S 1 2 3 4 5 6 7 8 9 10 x 50 7", "4711 (kvd) S 1 2 3 4 5 6 7 8 9 10 250 -1 7"} {
		if got, err := parseCPU([]byte(bad)); err == nil {
			t.Errorf("%q gives %v, want an error", bad, got)
		}
	}
}

func TestParseKiB(t *testing.T) {
	const status = "Name:\tkvd\nVmPeak:\t  9999 kB\nVmRSS:\t    1234 kB\nThreads:\t7\n"
	if got, err := parseKiB([]byte(status), "VmRSS"); err != nil || got != 1234<<10 {
		t.Errorf("VmRSS is %d, %v; want %d", got, err, 1234<<10)
	}
	for _, name := range []string{"Threads", "VmSwap", "Name"} {
		if got, err := parseKiB([]byte(status), name); err == nil {
			t.Errorf("%s gives %d, want an error", name, got)
		}
	}
	if got := parseField([]byte("a : b: c\nmodel name\t: X 1\n"), "model name"); got != "X 1" {
		t.Errorf("model name is %q", got)
	}
}

// The real files of this process can be read.
func TestReadUse(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	for began := time.Now(); time.Since(began) < 50*time.Millisecond; { // use some CPU
	}
	u, err := readUse(os.Getpid())
	if err != nil || u.cpu <= 0 || u.residentBytes < 1<<20 {
		t.Errorf("this process uses %+v, %v", u, err)
	}
	if _, err := readUse(-1); err == nil {
		t.Error("process -1 can be read")
	}
}

func TestParseHeap(t *testing.T) {
	got, err := parseHeap("heap profile: 1: 2\n# Alloc = 5\n# HeapAlloc = 4096\n# HeapSys = 8192\n")
	if err != nil || got != 4096 {
		t.Errorf("%d, %v; want 4096", got, err)
	}
	for _, bad := range []string{"", "# HeapAlloc = \n", "# HeapAlloc = x\n"} {
		if got, err := parseHeap(bad); err == nil {
			t.Errorf("%q gives %d, want an error", bad, got)
		}
	}
}

func TestChildren(t *testing.T) {
	if p, err := parseParent([]byte("7 (a) b) c) S 3 7")); err != nil || p != 3 {
		t.Errorf("parent %d, %v", p, err)
	}
	for _, bad := range []string{"", "7 (x)", "7 (x) S x"} {
		if p, err := parseParent([]byte(bad)); err == nil {
			t.Errorf("%q has parent %d", bad, p)
		}
	}
	if stateOf(os.Getpid()) == "" {
		t.Skip("no /proc here")
	}
	c := startCluster(t, "echo ready to serve >&2; while :; do sleep 0.01; done")
	defer c.stop()
	if children := childrenOf(os.Getpid()); !slices.Contains(children, c.pids()[0]) {
		t.Errorf("%v, and no %d", children, c.pids()[0])
	}
	if children := childrenOf(1 << 30); len(children) != 0 {
		t.Errorf("children of nobody: %v", children)
	}
}
