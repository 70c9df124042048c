package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// asKVD makes the test's own program behave as kvd.
const asKVD = "RUN_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asKVD) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// kvd prepares a run of the program.
func kvd(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, args...)
	c.Env = append(os.Environ(), asKVD+"=1")
	return c
}

// outcome runs the program to its end.
func outcome(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := kvd(t, args...)
	var out, talk bytes.Buffer
	c.Stdout, c.Stderr = &out, &talk
	_ = c.Run() // the code says it
	return c.ProcessState.ExitCode(), out.String(), talk.String()
}

// daemon is a running kvd start.
type daemon struct {
	cmd     *exec.Cmd
	address string
	admin   string
	node    uint64
	ended   chan struct{}
	mu      sync.Mutex
	talk    bytes.Buffer
}

func startServer(t *testing.T, args ...string) *daemon {
	t.Helper()
	s := &daemon{cmd: kvd(t, append([]string{"start", "--memtable-bytes", "8MiB", "--log-segment-bytes", "4MiB", "--reserve-bytes", "1MiB"}, args...)...), ended: make(chan struct{})}
	stderr, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		defer close(s.ended)
		s.read(stderr, ready)
		_ = s.cmd.Wait() // its code is looked at by those who care
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may be gone
		<-s.ended
	})
	select {
	case line := <-ready:
		if _, err := fmt.Sscanf(line, "ready listen=%s admin=%s node=%d", &s.address, &s.admin, &s.node); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	case <-s.ended:
		t.Fatalf("ended before it was ready: %s", s.said())
	case <-time.After(time.Minute):
		t.Fatalf("not ready: %s", s.said())
	}
	return s
}

func (s *daemon) read(from io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		s.mu.Lock()
		fmt.Fprintln(&s.talk, lines.Text())
		s.mu.Unlock()
		if strings.HasPrefix(lines.Text(), "ready ") {
			ready <- lines.Text()
		}
	}
}

func (s *daemon) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.talk.String()
}

// stop asks the server to stop and returns its exit code.
func (s *daemon) stop(t *testing.T) int {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		t.Fatalf("does not stop: %s", s.said())
	}
	return s.cmd.ProcessState.ExitCode()
}

func (s *daemon) http(t *testing.T, path string) (int, string) {
	t.Helper()
	r, err := http.Get("http://" + s.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

// topology asks until the cluster has nodes of these addresses.
func (s *daemon) topology(t *testing.T, want func(*kv.Topology) bool) *kv.Topology {
	t.Helper()
	var last error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		a, err := askAdmin(ctx, s.address, &kv.AdminRequest{Topology: &kv.TopologyQuery{}})
		cancel()
		if err == nil && want(a.Topology) {
			return a.Topology
		}
		last = err
	}
	t.Fatalf("the cluster's map is not as it should be: %v\n%s", last, s.said())
	return nil
}

func TestOneNodeFromStartToStop(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, "--data", dir, "--listen", "127.0.0.1:0")
	s.topology(t, func(m *kv.Topology) bool { return len(m.Partitions) > 0 && m.Partitions[0].Leader == 1 })
	for path, want := range map[string]string{"/livez": "ok", "/readyz": "ok", "/metrics": "kvd_log_syncs_total", "/debug/pprof/": "goroutine"} {
		if code, body := s.http(t, path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, %q", path, code, body)
		}
	}
	if code, _, talk := outcome(t, "start", "--data", dir, "--listen", "127.0.0.1:0"); code != exitError || !strings.Contains(talk, "in use by process "+fmt.Sprint(s.cmd.Process.Pid)) {
		t.Errorf("a second one on the same directory: code %d, %q", code, talk)
	}
	if code, _, talk := outcome(t, "start", "--data", t.TempDir(), "--listen", s.address); code != exitError || !strings.Contains(talk, "cannot listen on "+s.address) {
		t.Errorf("a second one on the same address: code %d, %q", code, talk)
	}
	if code := s.stop(t); code != exitOK {
		t.Errorf("stopped with %d: %s", code, s.said())
	}
	again := startServer(t, "--data", dir, "--listen", "127.0.0.1:0")
	if again.node != s.node {
		t.Errorf("node %d came back as %d", s.node, again.node)
	}
}

func TestDirectoryOfAnotherCluster(t *testing.T) {
	dir := t.TempDir()
	mine := startServer(t, "--data", dir, "--listen", "127.0.0.1:0")
	if code := mine.stop(t); code != exitOK {
		t.Fatal(code)
	}
	other := startServer(t, "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	code, _, talk := outcome(t, "start", "--data", dir, "--listen", "127.0.0.1:0", "--join", other.address)
	if code != exitDenied || !strings.Contains(talk, dir) || !strings.Contains(talk, "correct --join") {
		t.Errorf("code %d, %q", code, talk)
	}
}

func TestNodeJoinsAndMoves(t *testing.T) {
	first := startServer(t, "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	dir := t.TempDir()
	second := startServer(t, "--data", dir, "--listen", "127.0.0.1:0", "--join", first.address)
	if second.node == first.node || second.node == 0 {
		t.Fatalf("the second node is node %d", second.node)
	}
	knows := func(address string) func(*kv.Topology) bool {
		return func(m *kv.Topology) bool {
			for _, n := range m.Nodes {
				if n.ID == kv.NodeID(second.node) && n.Address == address {
					return true
				}
			}
			return false
		}
	}
	first.topology(t, knows(second.address))
	if code := second.stop(t); code != exitOK {
		t.Errorf("stopped with %d: %s", code, second.said())
	}
	moved := startServer(t, "--data", dir, "--listen", "127.0.0.1:0", "--join", first.address)
	if moved.node != second.node {
		t.Errorf("node %d came back as node %d", second.node, moved.node)
	}
	first.topology(t, knows(moved.address))
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	s := startServer(t, "--data", filepath.Join(t.TempDir(), "a"), "--listen", "127.0.0.1:0")
	for range 2 {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	<-s.ended
	if code := s.cmd.ProcessState.ExitCode(); code != exitInterrupted && code != exitOK { // it may have been quick enough
		t.Errorf("ended with %d: %s", code, s.said())
	}
}

func TestWrongCommandLines(t *testing.T) {
	for says, args := range map[string][]string{
		"unknown flag: --dta":       {"start", "--dta", "x"},
		"no data directory":         {"start"},
		"takes no argument":         {"start", "now"},
		"say --insecure":            {"start", "--data", t.TempDir(), "--listen", "0.0.0.0:0"},
		"it is table or json":       {"version", "-o", "xml"},
		`unknown command "strat"`:   {"strat"},
		"takes 3 to 9":              {"demo", "--nodes", "2"},
		"no such file or directory": {"config", "check", "--config", "/no/such"},
	} {
		code, stdout, stderr := outcome(t, args...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, says) || strings.Count(stderr, "\n") > 3 {
			t.Errorf("kvd %s: code %d, %q %q; want a sentence that says %q", strings.Join(args, " "), code, stdout, stderr, says)
		}
	}
}

func TestVersionAndConfigPrint(t *testing.T) {
	code, stdout, _ := outcome(t, "version", "-o", "json")
	var v versionInfo
	if err := json.Unmarshal([]byte(stdout), &v); code != exitOK || err != nil || v.StorageFormat == 0 || v.Protocol == 0 || v.Go == "" {
		t.Errorf("code %d, %q, %v", code, stdout, err)
	}
	code, stdout, _ = outcome(t, "config", "print", "--locality", "zone=a")
	if code != exitOK || !strings.Contains(stdout, "locality") || !strings.Contains(stdout, "zone=a") || !strings.Contains(stdout, "flag") {
		t.Errorf("code %d, %q", code, stdout)
	}
	code, stdout, _ = outcome(t, "config", "check", "--data", "d")
	if code != exitOK || stdout != "ok\n" {
		t.Errorf("code %d, %q", code, stdout)
	}
}

func TestBusiestNode(t *testing.T) {
	rows := []partitionRow{{Leader: 3}, {Leader: 2}, {Leader: 3}, {Leader: 2}, {Leader: 0}, {Leader: 1}}
	if n := busiest(rows); n != 2 {
		t.Errorf("node %d leads most, of several the one with the smallest id", n)
	}
}
