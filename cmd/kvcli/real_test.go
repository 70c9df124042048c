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
		{"keyspace create users --scheme hash --partitions 4", `{"name":"users","scheme":"hash","partitions":4}`, 0},
		{"keyspace create users", "", exitConflict},
		{"--keyspace users put ada 1", "", 0},
		{"--keyspace users locate ada", `{"key":"ada","keyspace":"users",`, 0},
		{"keyspace create r --split-at g,p", "", 0},
		{"partitions --keyspace r -o csv", "id,keyspace,start,end,", 0},
		{"check", `"equal":true`, 0},
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
