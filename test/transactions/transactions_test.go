package transactions

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/kv"
	"github.com/kvd-db/kvd/test/cluster"
)

// The exit codes of kvcli that scripts rely on.
const (
	exitNotFound  = 3
	exitConflict  = 4
	exitAmbiguous = 6
	exitDenied    = 7
)

const space = "pairs" // its keys before m are in one partition, the others in another

// start is a cluster of three nodes behind proxies.
func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts processes")
	}
	c := cluster.NewBehindProxies(t, 3)
	c.Restart(t)
	c.WaitHealthy(t)
	c.MustCLI(t, "keyspace", "create", space, "--split-at", "m")
	return c
}

// script runs lines to their end.
func script(t *testing.T, c *cluster.Cluster, args []string, lines ...string) cluster.Result {
	t.Helper()
	s := c.Session(t, append([]string{"--keyspace", space}, args...)...)
	s.Say(t, strings.Join(lines, "\n"))
	return s.End(t)
}

// TestScripts goes through the life of transactions.
func TestScripts(t *testing.T) {
	c := start(t)
	t.Run("conflict", func(t *testing.T) { conflict(t, c) })
	t.Run("past", func(t *testing.T) { past(t, c) })
	t.Run("unfinished", func(t *testing.T) { unfinished(t, c) })
	c.Check(t)
}

// conflict: what was read has changed, so the commit is refused, the script ends there, and
// nothing of it is there, in either partition.
func conflict(t *testing.T, c *cluster.Cluster) {
	c.MustCLI(t, "--keyspace", space, "put", "a", "1")
	s := c.Session(t, "--keyspace", space, "-o", "raw")
	s.Say(t, "begin\nget a\nput b x\nput z x")
	if got := s.Hear(t); got != "1" {
		t.Fatalf("a is %q", got)
	}
	c.MustCLI(t, "--keyspace", space, "put", "a", "2")
	s.Say(t, "commit\nput late x")
	r := s.End(t)
	if r.Code != exitConflict || !strings.Contains(r.Stdout, "line 5: ") || !strings.Contains(r.Stdout, "nothing was written, try again") || strings.Count(r.Stdout, "\n") != 1 {
		t.Errorf("want exit code %d: %s", exitConflict, r)
	}
	for _, key := range []string{"b", "z", "late"} {
		if r := c.CLI(t, "--keyspace", space, "get", key); r.Code != exitNotFound {
			t.Errorf("%s is there: %s", key, r)
		}
	}
	r = script(t, c, []string{"-o", "json"}, "begin", "get a", "put b x", "put z x", "commit")
	if r.Code != 0 || !regexp.MustCompile(`"partitions": 2,\s+"one_phase": false`).MatchString(r.Stdout) {
		t.Errorf("want a commit over two partitions: %s", r)
	}
}

// view is a state of five seconds ago.
type view struct {
	at    kv.Timestamp
	value string // "": absent
}

func look(t *testing.T, c *cluster.Cluster, key string) (v view, err error) {
	t.Helper()
	r := script(t, c, []string{"-o", "jsonl", "--keep-going"}, "begin ro at -5s", "get "+key, "commit")
	for line := range strings.Lines(r.Stdout) {
		var row struct{ Timestamp, Value string }
		if json.Unmarshal([]byte(line), &row) == nil {
			v.value += row.Value
			if n, err := strconv.ParseUint(row.Timestamp, 10, 64); err == nil {
				v.at = kv.Timestamp(n)
			}
		}
	}
	if v.at == 0 || r.Code != 0 && r.Code != exitNotFound || (r.Code == exitNotFound) != (v.value == "") {
		return v, errors.New(r.String())
	}
	return v, nil
}

func put(t *testing.T, c *cluster.Cluster, key, value string) kv.Timestamp {
	t.Helper()
	out := c.MustCLI(t, "--keyspace", space, "-o", "raw", "put", key, value)
	n, err := strconv.ParseUint(strings.TrimSpace(out), 10, 64)
	if err != nil {
		t.Fatalf("%q is no version: %v", out, err)
	}
	return kv.Timestamp(n)
}

// past: begin ro at -5s reads the state of that time, whatever has been written since.
func past(t *testing.T, c *cluster.Cluster) {
	first := put(t, c, "old", "one")
	c.Eventually(t, "five seconds after a write", func() error {
		v, err := look(t, c, "old")
		switch {
		case err != nil:
			t.Fatal(err)
		case (v.value == "one") != (v.at >= first):
			t.Fatalf("at %s it is %q; it was written at %s", v.at, v.value, first)
		case v.value == "":
			return fmt.Errorf("at %s it is not there yet", v.at)
		}
		return nil
	})
	second := put(t, c, "old", "two")
	v, err := look(t, c, "old")
	if err != nil {
		t.Fatal(err)
	}
	if (v.value == "one") != (v.at < second) {
		t.Errorf("at %s it is %q; two was written at %s", v.at, v.value, second)
	}
	at := fmt.Sprint("begin ro at ", uint64(first))
	if r := script(t, c, []string{"-o", "raw"}, at, "get old", "commit", "get old"); r.Code != 0 || r.Stdout != fmt.Sprintf("one\n%d\ntwo\n", uint64(first)) {
		t.Errorf("at the first version: %s", r)
	}
	if r := script(t, c, nil, at, "put old three"); r.Code != exitDenied {
		t.Errorf("a write in a transaction that only reads: %s", r)
	}
}

// unfinished: a script that ends inside of a transaction has it rolled back.
func unfinished(t *testing.T, c *cluster.Cluster) {
	r := script(t, c, nil, "begin", "put never x")
	if r.Code != 1 || !strings.Contains(r.Stdout, "was rolled back") {
		t.Errorf("want exit code 1: %s", r)
	}
	if r := c.CLI(t, "--keyspace", space, "get", "never"); r.Code != exitNotFound {
		t.Errorf("it was written all the same: %s", r)
	}
}

var asks = regexp.MustCompile(`([0-9a-f]{32}) may or may not have been written; ask with: kvcli outcome (\S+)`)

// TestUnknownOutcome: the network loses the answer to a commit, or holds the commit itself back. The
// script exits 6 and names the commit; its outcome is to be had then, by the id and by the token, is
// the same for all who ask, and true in both partitions.
func TestUnknownOutcome(t *testing.T) {
	c := start(t)
	ways := map[string][]cluster.Way{}
	for i := range c.Nodes {
		ways["answers"] = append(ways["answers"], cluster.Way{From: i, To: cluster.Clients})
		ways["requests"] = append(ways["requests"], cluster.Way{From: cluster.Clients, To: i})
	}
	for _, what := range []string{"answers", "requests"} {
		t.Run(what, func(t *testing.T) {
			s := c.Session(t, "--keyspace", space, "-o", "raw", "--timeout", "3s", "--keep-going")
			first, second := "a-"+what, "z-"+what
			s.Say(t, "put "+first+" before\nput "+second+" before") // it knows both leaders then
			s.Hear(t)
			s.Hear(t)
			s.Say(t, "begin\nput "+first+" after\nput "+second+" after")
			c.Network.Cut(ways[what]...)
			s.Say(t, "commit")
			told := s.Hear(t)
			c.Network.Heal(ways[what]...)
			m := asks.FindStringSubmatch(told)
			if m == nil {
				t.Fatalf("commit said %q", told)
			}
			s.Say(t, "outcome "+m[1])
			outcome := s.Hear(t)
			want := map[string]string{"committed": "after", "aborted": "before"}[outcome]
			if want == "" {
				t.Fatalf("the outcome of %s is %q", m[1], outcome)
			}
			if got := c.MustCLI(t, "-o", "raw", "outcome", m[2]); got != outcome+"\n" {
				t.Errorf("asked again, the outcome is %q; it was %s", got, outcome)
			}
			s.Say(t, "get "+first+"\nget "+second)
			for _, key := range []string{first, second} {
				if got := s.Hear(t); got != want {
					t.Errorf("%s, and %s is %q", outcome, key, got)
				}
			}
			if r := s.End(t); r.Code != exitAmbiguous || r.Stdout != "" {
				t.Errorf("want exit code %d: %s", exitAmbiguous, r)
			}
			t.Logf("%s lost: %s", what, outcome)
		})
	}
	c.WaitHealthy(t)
	c.Check(t)
}
