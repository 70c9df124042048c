package main

import (
	"os"
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
