package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kvd-db/kvd/kv"
)

func TestImportVerifyExport(t *testing.T) {
	dir, back := t.TempDir(), t.TempDir()
	files := map[string]string{"a.txt": "one", "sub/b": "\x00\xff", "sub/deep/empty": "", "z z": "spaces"}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "a.txt"), 3); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "too-big")
	if err := errors.Join(os.WriteFile(big, nil, 0o666), os.Truncate(big, kv.ValueBytesMax+1)); err != nil {
		t.Fatal(err)
	}
	a := newTestApp("")
	out, talk, code := a.run("import", "--from-dir", dir, "-o", "json")
	var sum map[string]any
	if err := json.Unmarshal([]byte(out), &sum); err != nil || code != 0 {
		t.Fatalf("import: %d, %v: %s%s", code, err, out, talk)
	}
	if sum["imported"] != 4.0 || sum["skipped"] != 1.0 || sum["bytes"] != 11.0 || sum["longest_write_gap_ms"] == nil || !strings.Contains(talk, "skipped too-big: it has 8388609 bytes") {
		t.Errorf("import: %v, %s", sum, talk)
	}
	if got := a.must(t, "get", "sub/b"); !strings.Contains(got, `"value":{"b64":"AP8="}`) {
		t.Errorf("sub/b is %s", got)
	}
	a.must(t, "verify", "--from-dir", dir)
	a.must(t, "import", "--verify", "--from-dir", dir)
	exported := a.must(t, "export")
	a.must(t, "export", "--to-dir", back)
	for name, text := range files {
		if b, err := os.ReadFile(filepath.Join(back, name)); err != nil || string(b) != text {
			t.Errorf("%s came back as %q, %v", name, b, err)
		}
	}

	b := newTestApp(exported)
	b.must(t, "import", "--jsonl", "-")
	b.must(t, "verify", "--from-dir", dir)
	b.must(t, "put", "sub/b", "0x00fe")
	if _, talk, code := b.run("verify", "--from-dir", dir); code != exitError || !strings.Contains(talk, "sub/b differs from byte 1 on (2 bytes in the source, 2 in the store)") {
		t.Errorf("a difference: %d, %s", code, talk)
	}
	b.must(t, "del", "a.txt")
	before := b.fake.Writes()
	if _, talk, code := b.run("import", "--verify", "--from-dir", dir); code != exitError || !strings.Contains(talk, "a.txt is missing") {
		t.Errorf("a missing key: %d, %s", code, talk)
	}
	if b.fake.Writes() != before {
		t.Error("import --verify has written something")
	}
	for _, args := range []string{"import", "import --from-dir x --jsonl y", "import --from-dir /nonexistent/dir", "import --jsonl /nonexistent/file", "export --jsonl --to-dir x", "verify --from-dir . --workers 0"} {
		if _, _, code := b.run(strings.Fields(args)...); code != exitUsage {
			t.Errorf("%s: exit code %d, want 2", args, code)
		}
	}
}

func TestBench(t *testing.T) {
	dir := t.TempDir()
	a := newTestApp("")
	for _, name := range []string{"a.json", "b.json"} {
		out, talk, code := a.run("bench", "run", "--workload", "ycsb-f", "--workers", "2", "--keys", "50", "--value-bytes", "64", "--duration", "200ms", "--no-warmup",
			"--json", filepath.Join(dir, name), "--html", filepath.Join(dir, "r.html"))
		if code != 0 || !strings.Contains(out, "verdict: OK") || !strings.Contains(talk, "ycsb-f, 2 workers") {
			t.Fatalf("bench run: %d\n%s%s", code, out, talk)
		}
	}
	if html, err := os.ReadFile(filepath.Join(dir, "r.html")); err != nil || bytes.Contains(html, []byte("http://")) || !bytes.Contains(html, []byte("<svg")) {
		t.Errorf("the report is not one page that needs nothing else: %v", err)
	}
	out := a.must(t, "bench", "compare", filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json"))
	if !strings.Contains(out, "ops/s") || !strings.Contains(out, "B/A") {
		t.Errorf("bench compare:\n%s", out)
	}
	if out := a.must(t, "bench", "compare", filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json"), "-o", "json"); !json.Valid([]byte(out)) {
		t.Errorf("bench compare -o json:\n%s", out)
	}
	if _, _, code := a.run("bench", "compare", filepath.Join(dir, "a.json"), filepath.Join(dir, "none")); code != exitUsage {
		t.Errorf("a missing file: exit code %d", code)
	}
	if _, _, code := a.run("bench", "run", "--keyspace", "none"); code != exitNotFound {
		t.Errorf("no keyspace: exit code %d", code)
	}
	if _, _, code := a.run("bench", "run", "--value-bytes", "8"); code != exitUsage {
		t.Errorf("short values: exit code %d", code)
	}
	// A store that hands out damaged values must not get away with it.
	a.must(t, "put", "user000000000000", "rubbish")
	out, talk, code := a.run("bench", "run", "--workload", "get", "--workers", "1", "--keys", "1", "--duration", "50ms", "--no-warmup", "--skip-load")
	if code != exitError || !strings.Contains(out, "verdict: INVALID") || !strings.Contains(talk, "wrong value") {
		t.Errorf("a damaged value: %d\n%s%s", code, out, talk)
	}
}

func TestBenchTransactions(t *testing.T) {
	dir := t.TempDir()
	a := newTestApp("")
	for _, args := range []string{"--workload bank --accounts 3", "--workload tx --keys 20 --tx-hot 4 --tx-reads 0.5", "--workload tx --keys 20 --tx-keys 5 --tx-cross -1 --tx-hot zipf", "--workload list-append --keys 2 --tx-keys 2"} {
		out, talk, code := a.run(append(strings.Fields("bench run --workers 3 --duration 100ms --no-warmup"), strings.Fields(args)...)...)
		if code != 0 || !strings.Contains(out, "verdict: OK") || !strings.Contains(out, "attempts/tx") {
			t.Errorf("%s: exit code %d\n%s%s", args, code, out, talk)
		}
	}
	for _, args := range []string{
		"--workload bank --accounts 1", "--workload tx --tx-reads 2", "--workload tx --tx-hot some", "--workload tx --tx-cross 1",
		"--workers 0", "--duration 0s", "--workload bank --accounts 0", "--workload bank --audit-stale 0s", "--workload list-append --tx-reads 0", "--workload tx --keys 0",
	} {
		if _, talk, code := a.run(append([]string{"bench", "run"}, strings.Fields(args)...)...); code != exitUsage {
			t.Errorf("%s: exit code %d: %s", args, code, talk)
		}
	}
	if _, talk, code := a.run(strings.Fields("bench run --workload get --keys 5 --tx-keys 0 --accounts 9 --duration 50ms --no-warmup")...); code != 0 ||
		!strings.Contains(talk, "--accounts has no use in the workload get\n--tx-keys has no use") {
		t.Errorf("flags without a use: exit code %d, %s", code, talk)
	}
	if _, talk, code := a.run(strings.Fields("bench run --workload bnak --accounts 9 --tx-keys 3")...); code != exitUsage ||
		!strings.Contains(talk, `no workload "bnak"`) || strings.Contains(talk, "has no use") {
		t.Errorf("a workload that is not there: exit code %d, %s", code, talk)
	}
	a.must(t, "put", "account00001", "999")
	out, talk, code := a.run("bench", "run", "--workload", "bank", "--accounts", "2", "--duration", "50ms", "--no-warmup", "--json", filepath.Join(dir, "c.json"))
	if code != 0 {
		t.Errorf("a bank that loads its accounts: %d\n%s%s", code, out, talk)
	}
	// Money that appears from nowhere while the bank is open.
	var once atomic.Bool
	a.fake.FailWith(func(op string, key []byte) error {
		if op == "commit" && once.CompareAndSwap(false, true) {
			_, err := a.fake.Put(context.Background(), []byte("account00001"), []byte("5000"))
			return err
		}
		return nil
	})
	out, talk, code = a.run("bench", "run", "--workload", "bank", "--accounts", "2", "--duration", "50ms", "--no-warmup")
	a.fake.FailWith(nil)
	if code != exitError || !strings.Contains(out, "verdict: INVALID") || strings.Count(talk, "2 accounts hold") != 1 {
		t.Errorf("a wrong sum: %d\n%s%s", code, out, talk)
	}
}
