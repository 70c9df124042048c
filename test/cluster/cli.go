package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kvd-db/kvd/kv"
)

// Result is how a command ended.
type Result struct {
	Command        string
	Stdout, Stderr string
	Code           int
}

// String shows all of it.
func (r Result) String() string {
	return fmt.Sprintf("$ %s\n%s%s-> exit code %d", r.Command, r.Stdout, r.Stderr, r.Code)
}

// Run runs a program to its end with this process' environment but for KVD_*, and env on top.
func Run(t testing.TB, env []string, program string, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = append(Environment(), env...), Attributes(), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), errors.Join(err, ctx.Err()), stdout.Bytes(), stderr.Bytes())
	}
	command := program[strings.LastIndexByte(program, '/')+1:] + " " + strings.Join(args, " ")
	return Result{Command: command, Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}

// CLI runs kvcli against all nodes.
func (c *Cluster) CLI(t testing.TB, args ...string) Result {
	t.Helper()
	return Run(t, nil, c.Binaries.KVCLI, append([]string{"--target", c.Target()}, args...)...)
}

// MustCLI is CLI for a command that has to succeed; it returns what it printed.
func (c *Cluster) MustCLI(t testing.TB, args ...string) string {
	t.Helper()
	r := c.CLI(t, args...)
	if r.Code != 0 {
		t.Fatal(r)
	}
	return r.Stdout
}

// Eventually calls f until it returns nil. The test fails if it never does, or if a node ends in
// the meantime that nobody asked to.
func (c *Cluster) Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	const pollEvery = 50 * time.Millisecond
	for end := time.Now().Add(Patience); ; time.Sleep(pollEvery) {
		err := f()
		if err == nil {
			return
		}
		for _, n := range c.Nodes {
			if n.EndedByItself() {
				t.Fatalf("%s: not yet, and node %d has ended: %v", what, n.Index, err)
			}
		}
		if time.Now().After(end) {
			t.Fatalf("%s: still not after %s: %v", what, Patience, err)
		}
	}
}

// Status is what kvcli status says.
type Status struct {
	ClusterID string `json:"cluster_id"`
	Healthy   bool   `json:"healthy"`
	Nodes     struct {
		Live, Suspected, Dead int
	} `json:"nodes"`
	Partitions struct {
		Total           int `json:"total"`
		UnderReplicated int `json:"under_replicated"`
		Unavailable     int `json:"unavailable"`
		Unknown         int `json:"unknown"`
	} `json:"partitions"`
	CoreLeader kv.NodeID `json:"core_leader"`
	Unhealthy  []string  `json:"unhealthy"`
}

// Status asks for the state of the cluster.
func (c *Cluster) Status(t testing.TB) (Status, error) {
	t.Helper()
	var s Status
	return s, c.rows(t, []string{"status"}, func(line []byte) error { return json.Unmarshal(line, &s) })
}

// Partition is a line of kvcli partitions.
type Partition struct {
	ID       kv.PartitionID `json:"id"`
	Keyspace string         `json:"keyspace"`
	Leader   kv.NodeID      `json:"leader"`
	Replicas []struct {
		Node kv.NodeID `json:"node"`
		Role string    `json:"role"`
	} `json:"replicas"`
}

// Partitions lists all partitions.
func (c *Cluster) Partitions(t testing.TB) ([]Partition, error) {
	t.Helper()
	var all []Partition
	return all, c.rows(t, []string{"partitions"}, func(line []byte) error {
		var p Partition
		err := json.Unmarshal(line, &p)
		all = append(all, p)
		return err
	})
}

// rows runs a command and hands on every line of what it prints.
func (c *Cluster) rows(t testing.TB, args []string, row func([]byte) error) error {
	t.Helper()
	r := c.CLI(t, append([]string{"-o", "jsonl"}, args...)...)
	if r.Code != 0 {
		return errors.New(r.String())
	}
	for line := range strings.Lines(r.Stdout) {
		if err := row([]byte(line)); err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
	}
	return nil
}

// WaitHealthy waits until every node listed is live, and every partition has all its replicas.
func (c *Cluster) WaitHealthy(t testing.TB) {
	t.Helper()
	c.Eventually(t, "a healthy cluster", func() error {
		s, err := c.Status(t)
		p := s.Partitions
		switch {
		case err != nil:
			return err
		case s.Nodes.Live < len(c.Nodes) || p.Total == 0 || p.UnderReplicated+p.Unavailable+p.Unknown > 0:
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// Check has kvcli compare all replicas. A difference fails the test at once; a replica that does
// not answer yet is waited for.
func (c *Cluster) Check(t testing.TB) {
	t.Helper()
	const differs = 1
	c.Eventually(t, "a check of all replicas", func() error {
		switch r := c.CLI(t, "check"); r.Code {
		case 0:
			return nil
		case differs:
			t.Fatalf("replicas differ: %s", r)
			return nil
		default:
			return errors.New(r.String())
		}
	})
}

// BusiestLeader is the running node that leads most partitions.
func (c *Cluster) BusiestLeader(t testing.TB) *Node {
	t.Helper()
	var busiest *Node
	c.Eventually(t, "find out who leads", func() error {
		all, err := c.Partitions(t)
		leads := map[kv.NodeID]int{}
		for _, p := range all {
			leads[p.Leader]++
		}
		busiest = nil
		for _, n := range c.Nodes {
			if n.Running() && leads[n.ID] > 0 && (busiest == nil || leads[n.ID] > leads[busiest.ID]) {
				busiest = n
			}
		}
		if err == nil && busiest == nil {
			err = errors.New("no running node leads a partition")
		}
		return err
	})
	return busiest
}
