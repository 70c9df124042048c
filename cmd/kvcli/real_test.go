package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/host"
	"github.com/kvd-db/kvd/host/door"
	"github.com/kvd-db/kvd/server"
)

// realBackend is a host as the server wants it, as in command kvd.
type realBackend struct{ *host.Host }

func (b realBackend) Submit(batch []*server.Submission) {
	asks := make([]host.Ask, len(batch))
	for i, s := range batch {
		asks[i] = host.Ask{Request: s.Request, Asker: s.Asker, Handle: &s.Handle}
	}
	b.Host.Submit(asks)
}

func (b realBackend) Cancel(s *server.Submission) { b.Host.Cancel(s.Handle) }

// startNode starts a cluster of one, with a real disk and a real port, and returns its address.
func startNode(t *testing.T) string {
	t.Helper()
	var doors *server.Server
	h, err := host.Open(host.Options{
		Data: t.TempDir(), Listen: "127.0.0.1:0",
		Storage: host.Storage{CacheBytes: 8 << 20, MemTableBytes: 4 << 20, EntryCacheBytes: 4 << 20, LogSegmentBytes: 4 << 20, ReserveBytes: 1 << 20},
		Log:     hclog.NewNullLogger(),
		Doors: func(r grpc.ServiceRegistrar, h *host.Host) door.Plain {
			doors = server.Register(r, realBackend{h}, server.Options{Log: slog.New(slog.DiscardHandler)})
			return doors.Plain()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = doors.Close()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := h.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return h.Address()
}

// newRealApp is an app whose cluster is a real one.
func newRealApp(t *testing.T, address string) *testApp {
	a := newTestApp("")
	a.defaults.target = address
	a.connect = store.Open
	t.Cleanup(a.close)
	return a
}

// TestRealCluster is a walk through the commands with nothing made up.
func TestRealCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a node")
	}
	address := startNode(t)
	waitUntilServing(t, newRealApp(t, address))
	a := newRealApp(t, address)
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"put k v", `{"key":"k","version":"V",`, 0},
		{"get k -o raw", "v\n", 0},
		{"get none", "", exitNotFound},
		{"cas k --expect-value other w", "", exitConflict},
		{"cas k --expect-value v w", `{"key":"k",`, 0},
		{"cas k --expect-absent w", "", exitConflict},
		{"add n 5 -o raw", "5\n", 0},
		{"add n -6 -o raw", "-1\n", 0},
		{"add k 1", "", exitUsage},
		{"put 0x00ff b64:/wA=", "", 0},
		{"scan -o raw", "\x00\xff\t\xff\x00\nk\tw\nn\t-1\n", 0},
		{"scan --reverse --keys-only --limit 1 -o raw", "n\n", 0},
		{"count -o raw", "3\n", 0},
		{"keyspace create users --scheme hash --partitions 4", `{"name":"users","scheme":"hash","partitions":4,"retention":"default"}`, 0},
		{"keyspace create users", "", exitConflict},
		{"--keyspace users put ada 1", "", 0},
		{"--keyspace users locate ada", `{"key":"ada","keyspace":"users",`, 0},
		{"keyspace create r --split-at g,p", "", 0},
		{"partitions --keyspace r -o csv", "id,keyspace,start,end,", 0},
		{"check", `"equal":true`, 0},
		{"keyspace set users --retention 20m", `{"name":"users","retention":"20m"}`, 0},
		{"keyspace create logs --retention 48h", "", 0},
		{"keyspace list -o raw", "logs\t4\trange\t1\t48h\n", 0},
		{"keyspace list -o raw", "users\t2\thash\t4\t20m\n", 0},
		{"keyspace drop logs --yes", "", 0},
		{"keyspace drop users --yes", "", 0},
		{"--keyspace users get ada", "", exitNotFound},
		{"del k", "", 0},
		{"get k", "", exitNotFound},
		{"bench run --workload ycsb-a --workers 4 --keys 100 --duration 300ms", "verdict: OK", 0},
		{"keyspace create parted --scheme hash --partitions 4", "", 0},
		{"--keyspace parted bench run --workload ycsb-f --workers 4 --keys 100 --duration 300ms", "verdict: OK", 0},
		{"--keyspace parted bench run --workload bank --accounts 10 --workers 4 --duration 300ms --audit-stale 50ms", "verdict: OK", 0},
		{"--keyspace parted bench run --workload tx --keys 100 --tx-cross 0.5 --workers 4 --duration 300ms", "verdict: OK", 0},
		{"--keyspace parted bench run --workload tx --keys 100 --tx-keys 10 --tx-reads 1 --tx-cross 1 --workers 4 --duration 300ms", "verdict: OK", 0},
		{"--keyspace parted bench run --workload list-append --keys 4 --workers 4 --duration 300ms", "verdict: OK", 0},
	} {
		out, talk, code := a.run(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(withoutVersions(out), c.want) {
			t.Errorf("%s: exit code %d, want %d; printed %q, want %q: %s", c.args, code, c.code, out, c.want, talk)
		}
	}
	var status struct{ Nodes struct{ Live int } }
	if err := json.Unmarshal([]byte(a.must(t, "status", "-o", "json")), &status); err != nil || status.Nodes.Live != 1 {
		t.Errorf("status: %+v, %v", status, err)
	}
	importReal(t, a)
}

// waitUntilServing waits until a new cluster takes its first write.
func waitUntilServing(t *testing.T, a *testApp) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, talk, code := a.run("put", "first", "v")
		if code == 0 {
			a.must(t, "del", "first")
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no write was taken for half a minute: %s", talk)
		}
	}
}

// importReal takes a tree in and out again.
func importReal(t *testing.T, a *testApp) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "one", "b/c": strings.Repeat("x", 1<<20), "b/empty": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	a.must(t, "keyspace", "create", "files")
	if got := a.must(t, "--keyspace", "files", "import", "--from-dir", dir); !strings.Contains(got, `{"imported":3,"bytes":1048579,`) {
		t.Errorf("import: %s", got)
	}
	a.must(t, "--keyspace", "files", "verify", "--from-dir", dir)
	a.must(t, "--keyspace", "files", "put", "b/c", "other")
	if _, talk, code := a.run("--keyspace", "files", "verify", "--from-dir", dir); code != exitError || !strings.Contains(talk, "b/c differs") {
		t.Errorf("verify of a changed key: %d, %s", code, talk)
	}
}

// lines runs commands one by one in a script that stays open.
func (ta *testApp) lines(t *testing.T, commands ...string) (out string, err error) {
	t.Helper()
	ta.out.Reset()
	ta.mode = modeScript
	for _, line := range commands {
		if _, err := ta.execute(t.Context(), strings.Fields(line)); err != nil {
			return ta.out.String(), err
		}
	}
	return ta.out.String(), nil
}

// TestRealTransactions is two people at one cluster, over three partitions.
func TestRealTransactions(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a node")
	}
	address := startNode(t)
	waitUntilServing(t, newRealApp(t, address))
	ada, bob := newRealApp(t, address), newRealApp(t, address)
	bob.must(t, "keyspace", "create", "r", "--split-at", "g,p")
	for _, a := range []*testApp{ada, bob} {
		a.defaults.keyspace, a.defaults.format = "r", "raw"
	}
	step := func(a *testApp, want string, commands ...string) {
		t.Helper()
		if out, err := a.lines(t, commands...); err != nil || versionLine.ReplaceAllString(out, "V") != want {
			t.Fatalf("%q: printed %q, want %q: %v", commands, out, want, err)
		}
	}
	step(ada, "V\na\t1\nh\t2\nz\t3\n", "begin", "put a 1", "add h 2", "put z 3", "commit", "scan")
	step(ada, "1\n3\n", "begin", "get a", "count", "put h 7")
	step(bob, "V\n2\n", "put a 1", "get h")
	if _, err := ada.lines(t, "commit"); exitCode(err) != exitConflict {
		t.Fatalf("a was written after it was read: %v", err)
	}
	step(ada, "V\n", "retry", "commit") // the same value: the same to a person
	step(ada, "7\n", "begin", "get h", "put z 9")
	step(bob, "V\n", "put h 8")
	if _, err := ada.lines(t, "commit"); exitCode(err) != exitConflict {
		t.Fatalf("h was written after it was read: %v", err)
	}
	if _, err := ada.lines(t, "retry"); exitCode(err) != exitConflict || !strings.Contains(explain(err), "get h gave 7 and gives 8 now") {
		t.Fatalf("it is not the same: %v", err)
	}
	step(ada, "3\n", "rollback", "get z")
	step(ada, "1\n", "begin ro", "get a")
	step(bob, "V\n", "del a")
	step(ada, "1\na\t1\nh\t8\nz\t3\n", "get a", "scan", "rollback")
	step(ada, "", "begin", "cas a --expect-absent 5", "put z 6")
	out, err := ada.lines(t, "explain commit -o csv", "get a", "txs -o csv", "locks -o csv")
	if err != nil || !strings.Contains(out, ",anchor,1,"+address+",") || strings.Count(out, ",prepare,") != 1 || strings.Count(out, ",participant,1,"+address) < 1 || !strings.Contains(out, "\n5\n") {
		t.Errorf("explain commit: %v\n%s", err, out)
	}
	told(t, out)
}

// told insists that anchor and participant say that a consensus took a time, and reached one at all.
func told(t *testing.T, table string) {
	t.Helper()
	roles := map[string]string{}
	columns := map[string]int{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), ",")
		if cells[0] == "attempt" {
			for i, name := range cells {
				columns[name] = i
			}
		}
		if role, consensus := columns["role"], columns["consensus_ms"]; cells[0] == "1" && consensus > 0 && len(cells) > consensus {
			roles[cells[role]] = cells[consensus]
		}
	}
	for _, role := range []string{"anchor", "participant"} {
		if ms := roles[role]; ms == "" || ms == "0" {
			t.Errorf("the consensus of the %s took %q ms:\n%s", role, ms, table)
		}
	}
}
