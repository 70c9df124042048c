package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

func TestKeyspaces(t *testing.T) {
	a := newTestApp("")
	a.must(t, "keyspace", "create", "r", "--scheme", "range", "--split-at", `m,"a,b"`, "--split-at", "0xff")
	a.must(t, "keyspace", "create", "h", "--scheme", "hash", "--partitions", "8")
	if got := a.must(t, "keyspace", "list", "-o", "raw"); got != "default\t1\trange\t1\tdefault\nr\t2\trange\t1\tdefault\nh\t3\thash\t1\tdefault\n" {
		t.Errorf("list: %q", got)
	}
	topology, err := a.fake.Topology(t.Context(), "r")
	if err != nil || topology.Keyspaces[0].Partitions != 4 {
		t.Errorf("r was created as %+v, %v; want three split points", topology.Keyspaces, err)
	}
	a.must(t, "keyspace", "create", "k", "--retention", "90m")
	a.must(t, "keyspace", "set", "r", "--retention", "10m")
	a.must(t, "keyspace", "set", "h", "--retention", "36h0m30s")
	if got := a.must(t, "keyspace", "list", "-o", "csv"); got != "name,id,scheme,partitions,retention\ndefault,1,range,1,default\nr,2,range,1,10m\nh,3,hash,1,36h0m30s\nk,4,range,1,1h30m\n" {
		t.Errorf("list: %q", got)
	}
	if got := a.must(t, "keyspace", "set", "r", "--retention", "default", "-o", "json"); !strings.Contains(got, `"retention": "default"`) {
		t.Errorf("set: %s", got)
	}
	a.must(t, "put", "k", "in r", "--keyspace", "r")
	if _, _, code := a.run("get", "k"); code != exitNotFound {
		t.Errorf("the key of another keyspace: exit code %d, want 3", code)
	}
	if got := a.must(t, "get", "k", "--keyspace", "r", "-o", "raw"); got != "in r\n" {
		t.Errorf("get in r: %q", got)
	}
	for _, c := range []struct {
		args string
		code int
	}{
		{"keyspace create r", exitConflict},
		{"keyspace create x --scheme bogus", exitUsage},
		{"keyspace create x --scheme revisioned", exitUsage},
		{"keyspace create x --scheme hash --partitions 5000", exitUsage},
		{"keyspace create x --partitions 4", exitUsage},
		{"keyspace create x --scheme hash --split-at a", exitUsage},
		{"keyspace create x --retention 9m59s", exitUsage},
		{"keyspace create x --retention soon", exitUsage},
		{"keyspace set r", exitUsage},
		{"keyspace set r --retention 1s", exitUsage},
		{"keyspace set r --retention 87601h", exitUsage},
		{"keyspace set none --retention 1h", exitNotFound},
		{"keyspace drop h", exitUsage},
		{"keyspace drop none --yes", exitNotFound},
		{"keyspace drop h --yes", exitOK},
		{"get k --keyspace h", exitNotFound},
	} {
		if _, talk, code := a.run(strings.Fields(c.args)...); code != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", c.args, code, c.code, talk)
		}
	}
}

func TestDropAsksAPerson(t *testing.T) {
	for answer, code := range map[string]int{"default\n": exitOK, "defualt\n": exitUsage, "": exitUsage} {
		a := newTestApp(answer)
		a.inTTY, a.ttErr = true, true
		if _, talk, got := a.run("keyspace", "drop", "default"); got != code || !strings.Contains(talk, "will be lost") {
			t.Errorf("the answer %q: exit code %d, want %d: %s", answer, got, code, talk)
		}
	}
}

func TestCluster(t *testing.T) {
	a := newTestApp("")
	var status struct {
		ClusterID  string                                            `json:"cluster_id"`
		Nodes      struct{ Live, Suspected, Dead int }               `json:"nodes"`
		Partitions struct{ Total, Under, Unavailable, Unknown *int } `json:"partitions"`
		Unhealthy  []string                                          `json:"unhealthy"`
		Healthy    bool                                              `json:"healthy"`
		Held       json.RawMessage                                   `json:"held"`
		HeldUntil  json.RawMessage                                   `json:"held_until"`
	}
	out := a.must(t, "status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		t.Fatal(err)
	}
	if status.ClusterID != "77" || status.Nodes.Live != 2 || status.Nodes.Suspected != 1 || *status.Partitions.Total != 2 || !strings.Contains(out, `"under_replicated": 1`) || status.Healthy || len(status.Unhealthy) != 1 {
		t.Errorf("status: %s", out)
	}
	if string(status.Held) != `"1125899906842624"` || string(status.HeldUntil) != `"2251799813685248"` {
		t.Errorf("what is held: %s", out)
	}
	if got := a.must(t, "status", "-o", "table"); !strings.Contains(got, "nodes.live") || !strings.Contains(got, "partitions.under_replicated  1") {
		t.Errorf("status as a table:\n%s", got)
	}
	if got := a.must(t, "nodes", "-o", "csv"); !strings.Contains(got, "last_heard_ms") || !strings.Contains(got, "3,127.0.0.1:7403,suspected,3000,") {
		t.Errorf("nodes: %s", got)
	}
	if got := a.must(t, "nodes", "-o", "table"); !strings.Contains(got, "LAST HEARD") || !strings.Contains(got, "3s") {
		t.Errorf("nodes as a table:\n%s", got)
	}
	if got := a.must(t, "keyspace", "create", "h", "--scheme", "hash"); !strings.Contains(got, `"partitions":16`) {
		t.Errorf("the default of partitions: %s", got)
	}
	if got := a.must(t, "partitions"); !strings.Contains(got, `"garbage":5`) || strings.Count(got, "\n") != 2 || !strings.Contains(got, `"start":"bucket 0"`) || !strings.Contains(got, `"replicas":[{"node":1,"role":"voter"}`) {
		t.Errorf("partitions: %s", got)
	}
	if got := a.must(t, "partitions"); !strings.Contains(got, `"closed_age_ms":200,"closed":[{"node":1,"age_ms":0},{"node":2,"age_ms":200},{"node":3,"age_ms":null}]`) {
		t.Errorf("partitions, how far behind: %s", got)
	}
	if got := a.must(t, "partitions", "-o", "table"); !strings.Contains(got, "CLOSED AGE") || !strings.Contains(got, "200ms       1=0s 2=200ms 3=\n") {
		t.Errorf("partitions as a table:\n%s", got)
	}
	for _, silent := range []string{"status", "node-status"} {
		a.fake.FailWith(func(op string, _ []byte) error {
			if op == silent {
				return kv.Errorf(kv.Unavailable, "it does not answer")
			}
			return nil
		})
		if got := a.must(t, "partitions"); !strings.Contains(got, `"closed_age_ms":null,"closed":[{"node":1,"age_ms":null}`) {
			t.Errorf("partitions when %s fails: %s", silent, got)
		}
	}
	a.fake.FailWith(nil)
	if got := a.must(t, "partitions", "--keyspace", "h"); strings.Count(got, "\n") != 1 {
		t.Errorf("partitions of h: %s", got)
	}
	if _, _, code := a.run("partitions", "--keyspace", "none"); code != exitNotFound {
		t.Errorf("partitions of no keyspace: exit code %d", code)
	}
	if got := a.must(t, "locate", "k"); !strings.Contains(got, `"partition":10,"leader":1,"leader_address":"127.0.0.1:7401"`) {
		t.Errorf("locate: %s", got)
	}
	if got := a.must(t, "locate", "k", "--keyspace", "h", "-o", "raw"); got != "11\n" {
		t.Errorf("locate in h: %q", got)
	}
	a.must(t, "move-leader", "10", "--to", "2")
	if m := a.fake.Moves(); len(m) != 1 || m[0] != (kv.MoveLeader{Partition: 10, To: 2}) {
		t.Errorf("moves: %+v", m)
	}
	if _, _, code := a.run("move-leader", "x"); code != exitUsage {
		t.Errorf("move-leader x: exit code %d", code)
	}
}

func TestCheck(t *testing.T) {
	digest := func(n kv.NodeID, hash uint64) kv.ReplicaDigest {
		return kv.ReplicaDigest{Node: n, Hash: hash, Keys: 2, Versions: 3}
	}
	a := newTestApp("")
	a.must(t, "keyspace", "create", "second")
	if got := a.must(t, "check"); strings.Count(got, `"equal":true`) != 2 {
		t.Errorf("check: %s", got)
	}
	a.fake.SetCheck(&kv.CheckAnswer{Partition: 10, Index: 7, Digests: []kv.ReplicaDigest{digest(1, 5), {Node: 2, Missing: true}}})
	if _, talk, code := a.run("check"); code != exitUnavailable || !strings.Contains(talk, "partition 10: node 2 did not answer") {
		t.Errorf("a missing replica: %d, %s", code, talk)
	}
	a.fake.SetCheck(&kv.CheckAnswer{Partition: 11, Index: 9, Digests: []kv.ReplicaDigest{digest(1, 5), digest(2, 5), digest(3, 6)}})
	out, talk, code := a.run("check")
	if code != exitError || !strings.Contains(talk, "partition 11 differs at index 9: node 1") || !strings.Contains(talk, "node 3") {
		t.Errorf("a difference: %d, %s", code, talk)
	}
	if strings.Count(out, "\n") != 2 {
		t.Errorf("the partitions that were checked are not printed: %s", out)
	}
}
