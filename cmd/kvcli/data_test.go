package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

func TestData(t *testing.T) {
	a := newTestApp("")
	for _, c := range []struct {
		args string
		want string
		code int
	}{
		{`put k v -o raw`, "V\n", 0},
		{`get k -o raw`, "v\n", 0},
		{`get k`, `{"key":"k","value":"v","version":"V"}` + "\n", 0},
		{`get k -o json`, "{\n  \"key\": \"k\",\n  \"value\": \"v\",\n  \"version\": \"V\"\n}\n", 0},
		{`get k -o csv`, "key,value,version\nk,v,V\n", 0},
		{`get none`, "", exitNotFound},
		{`get none -o raw`, "", exitNotFound},
		{`put 0x00ff "a\x20b"`, "", 0},
		{`get 0x00ff -o raw`, "a b\n", 0},
		{`get "\x00\xff"`, `{"key":{"b64":"AP8="},"value":"a b","version":"V"}` + "\n", 0},
		{`get "\x00\xff" -o csv`, "key,value,version\n0x00ff,\"\"\"a b\"\"\",V\n", 0},
		{`cas k --expect-value v w`, "", 0},
		{`cas k --expect-value v x`, "", exitConflict},
		{`cas k --expect-absent x`, "", exitConflict},
		{`cas new --expect-absent x -o raw`, "", 0},
		{`cas k --expect-version 1 x`, "", exitConflict},
		{`cas k x`, "", exitUsage},
		{`cas k --expect-absent --expect-value v x`, "", exitUsage},
		{`get k -o raw`, "w\n", 0},
		{`add n 5 -o raw`, "5\n", 0},
		{`add n -7 -o raw`, "-2\n", 0},
		{`add -o raw n -- -1`, "-3\n", 0},
		{`add k 1`, "", exitUsage}, // no number
		{`add n x`, "", exitUsage},
		{`count -o raw`, "4\n", 0},
		{`count`, `{"count":4}` + "\n", 0},
		{`count n`, `{"count":2}` + "\n", 0},
		{`del k -o raw`, "", 0},
		{`del k`, "", 0},
		{`get k`, "", exitNotFound},
	} {
		words := strings.Fields(c.args)
		out, talk, code := a.run(words...)
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", c.args, code, c.code, talk)
		}
		if (talk == "") != (code == 0) || strings.Count(talk, "\n") > 1 {
			t.Errorf("%s: %q on standard error, want one sentence for an error only", c.args, talk)
		}
		if c.want != "" && withoutVersions(out) != c.want {
			t.Errorf("%s printed\n%s, want\n%s", c.args, out, c.want)
		}
	}
	if a.connects != 1 {
		t.Errorf("%d connections were made, want one for all commands", a.connects)
	}
}

// withoutVersions replaces the long numbers of versions by V.
func withoutVersions(s string) string {
	out, i := "", 0
	for i < len(s) {
		j := i
		for j < len(s) && s[j] >= '0' && s[j] <= '9' {
			j++
		}
		switch {
		case j-i >= 15:
			out += "V"
			i = j
		case j > i:
			out += s[i:j]
			i = j
		default:
			out += s[i : i+1]
			i++
		}
	}
	return out
}

func TestScan(t *testing.T) {
	a := newTestApp("")
	for i := range 12 {
		a.must(t, "put", fmt.Sprintf("k%02d", i), fmt.Sprint("v", i))
	}
	a.must(t, "put", "z", "last")
	keys := func(out string) string { return strings.Join(strings.Fields(out), " ") }
	for _, c := range []struct{ args, want string }{
		{"scan k0 --keys-only --limit 3", "k00 k01 k02"},
		{"scan k --reverse --keys-only --limit 2", "k11 k10"},
		{"scan --from k10 --keys-only", "k10 k11 z"},
		{"scan --from k03 --to k05 --keys-only", "k03 k04"},
		{"scan k0 --from k08 --to z --keys-only", "k08 k09"},
		{"scan k0 --to a --keys-only", ""},
		{"scan k1", "k10 v10 k11 v11"},
		{"scan none", ""},
	} {
		if got := keys(a.must(t, append(strings.Fields(c.args), "-o", "raw")...)); got != c.want {
			t.Errorf("%s gave %q, want %q", c.args, got, c.want)
		}
	}
	if got := a.must(t, "scan", "none", "-o", "json"); got != "[]\n" {
		t.Errorf("nothing in JSON is %q, want an empty array", got)
	}
	var rows []map[string]any
	if err := json.Unmarshal([]byte(a.must(t, "scan", "k", "-o", "json")), &rows); err != nil || len(rows) != 12 || rows[3]["value"] != "v3" {
		t.Errorf("JSON: %v, %v", rows, err)
	}
	table := a.must(t, "scan", "z", "-o", "table")
	if lines := strings.Split(table, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], "KEY  VALUE  VERSION") || !strings.HasPrefix(lines[1], "z    last   ") {
		t.Errorf("the table is\n%s", table)
	}
	if _, _, code := a.run("scan", "--limit", "-1"); code != exitUsage {
		t.Errorf("--limit -1: exit code %d, want 2", code)
	}
}

func TestReadsOfThePast(t *testing.T) {
	a := newTestApp("")
	version := strings.TrimSpace(a.must(t, "put", "k", "old", "-o", "raw"))
	a.must(t, "put", "k", "new")
	for _, at := range []string{version, version + "@2026-11-24T06:00:00.000Z"} {
		if got := a.must(t, "get", "k", "--at", at, "-o", "raw"); got != "old\n" {
			t.Errorf("--at %s: %q, want old", at, got)
		}
	}
	if got := a.must(t, "scan", "--at", version, "-o", "raw"); got != "k\told\n" {
		t.Errorf("scan --at: %q", got)
	}
	if got := a.must(t, "count", "--at", "1", "-o", "raw"); got != "0\n" {
		t.Errorf("count --at 1: %q", got)
	}
	if _, _, code := a.run("get", "k", "--at", "2020-01-01T00:00:00Z"); code != exitNotFound {
		t.Errorf("a time before the key: exit code %d, want 3", code)
	}
	for _, args := range [][]string{
		{"get", "k", "--at", "yesterday"},
		{"get", "k", "--at", "1", "--stale-by", "5s"},
		{"get", "k", "--stale-by", "-5s"},
		{"get", "k", "--stale-by", "5s", "--max-stale", "5s"},
	} {
		if _, _, code := a.run(args...); code != exitUsage {
			t.Errorf("%q: exit code %d, want 2", args, code)
		}
	}
	if got := a.must(t, "get", "k", "--max-stale", "5s", "-o", "raw"); got != "new\n" {
		t.Errorf("--max-stale: %q", got)
	}
}

func TestValuesFromElsewhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "v")
	if err := os.WriteFile(file, []byte("line\nline\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newTestApp("from standard input")
	a.must(t, "put", "f", "@"+file)
	a.must(t, "put", "s", "-")
	if got := a.must(t, "get", "f", "-o", "raw"); got != "line\nline\n\n" {
		t.Errorf("@file: %q", got)
	}
	if got := a.must(t, "get", "s", "-o", "raw"); got != "from standard input\n" {
		t.Errorf("-: %q", got)
	}
	if _, talk, code := a.run("put", "f", "@"+file+"-not"); code != exitUsage || !strings.Contains(talk, "no such file") {
		t.Errorf("a missing file: %d, %s", code, talk)
	}
	if _, talk, code := a.run("put", "f", `"open`); code != exitUsage || !strings.Contains(talk, "closing quote") {
		t.Errorf("an open quote: %d, %s", code, talk)
	}
}

func TestOutcome(t *testing.T) {
	a := newTestApp("")
	id := kv.TxID{9}
	a.fake.SetOutcome(id, kv.OutcomeCommitted)
	for _, name := range []string{id.String(), "t-" + id.String()} {
		if got := a.must(t, "outcome", name, "-o", "raw"); got != "committed\n" {
			t.Errorf("outcome %s: %q", name, got)
		}
	}
	other := kv.TxID{8}
	out, _, code := a.run("outcome", other.String(), "-o", "raw")
	if code != exitAmbiguous || out != "unknown\n" {
		t.Errorf("an unknown outcome: %d, %q", code, out)
	}
	if _, _, code := a.run("outcome", "rubbish"); code != exitUsage {
		t.Errorf("no id: exit code %d", code)
	}
}
