package bench

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestSumFields(t *testing.T) {
	fields := strings.Fields(" S 1 2 3 4 5 6 7 8 9 10 250 50 0 0")
	if n, err := sumFields(fields, 11, 12); err != nil || n != 300 {
		t.Errorf("utime+stime = %d, %v, want 300", n, err)
	}
	if _, err := sumFields(fields, 99); err == nil {
		t.Error("a missing field was read")
	}
	if _, err := sumFields(fields, 0); err == nil {
		t.Error("a letter was read as a number")
	}
}

func TestParseTimes(t *testing.T) {
	got, err := parseTimes("7 (a) b) c) S 3 7 7 0 -1 0 0 0 0 0 250 50 30 20 20 0")
	want := processTimes{parent: 3, own: 3 * time.Second, reaped: 500 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "7 (x) S", "7 (x) S 3 7 7 0 -1 0 0 0 0 0 250 50"} {
		if _, err := parseTimes(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// The time of a server's children counts, of those that are there and of those that have ended.
func TestServerCPU(t *testing.T) {
	const spin = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
	c := exec.Command("/bin/sh", "-c", "exec 3<&0; ("+spin+"); ("+spin+"; echo spun; read x <&3) & wait")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Skip("no shell here:", err)
	}
	defer func() { _ = c.Wait() }()
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	pid := c.Process.Pid
	alone, err := readTimes(pid)
	if err != nil {
		t.Skip("no /proc here:", err)
	}
	// A child that has ended is in the shell's own figures, one that is there is not.
	cpu, count := serverCPU([]int{pid, 1 << 30})
	if alone.reaped == 0 || cpu <= alone.own+alone.reaped || count != 1 {
		t.Errorf("%v of %d processes; the shell alone has %+v", cpu, count, alone)
	}
}

func TestDevicePath(t *testing.T) {
	if p := devicePath("no-such-device"); p != "" {
		t.Errorf("a device that does not exist is at %s", p)
	}
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil || len(entries) == 0 {
		t.Skip("no block device here")
	}
	name := entries[0].Name()
	p := devicePath(name)
	if p == "" || p != devicePath("/dev/"+name) {
		t.Fatalf("%s is at %q, /dev/%s at %q", name, p, name, devicePath("/dev/"+name))
	}
	if _, _, err := deviceCounters(p); err != nil {
		t.Error(err)
	}
}
